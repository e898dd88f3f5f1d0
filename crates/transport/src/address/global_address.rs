//! [`GlobalAddress`]: the name of a node, or of something it has, in 128 bits and a port.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::core::NodeId;
use crate::identity::NetworkId;

/// Bits of the prefix and of the node field.
const FIELD_BITS: u32 = 48;
const FIELD_MASK: u64 = (1 << FIELD_BITS) - 1;
/// The first byte: unique local addresses with a locally assigned global id (RFC 4193 §3.1), so that no global address is
/// ever one of the public internet.
const LOCAL: u64 = 0xfd;
/// The longest text: eight groups of four digits, brackets and a port.
const MAX_TEXT: usize = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".len();

/// The node field: the first 48 bits of a [`NodeId`], which is a hash. Two nodes of one network share a field by accident
/// once in 2⁴⁸ pairs, and by brute force sooner: it finds, it never proves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeField(u64);

impl NodeField {
    /// The field of this node.
    pub fn of(node: &NodeId) -> Self {
        Self(first_bits(&node.0, FIELD_BITS))
    }

    /// From a number; its upper 16 bits are dropped.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & FIELD_MASK)
    }

    /// The 48 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for NodeField {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NodeField({:012x})", self.0)
    }
}

/// `prefix:48 node:48 asset:32` and a 16-bit port, written like an IPv6 address.
///
/// - `prefix`: `fd` and the first 40 bits of the network's id.
/// - `node`: see [`NodeField`].
/// - `asset`: what of the node, 0 for the node itself.
/// - `port`: which service of it, 0 for none.
///
/// The text is that of RFC 5952 (lower case, no leading zeros, the longest run of zero groups as `::`), with a port in
/// brackets: `fd12:3456:789a:1:2:3::`, `[fd12:3456:789a:1:2:3:0:7]:443`. Reading takes every form of RFC 4291 §2.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobalAddress {
    bits: u128,
    port: u16,
}

/// A text or number is no global address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// Longer than any address can be.
    TooLong {
        /// The longest text, bytes.
        limit: usize,
    },
    /// No IPv6 text, or brackets that do not match.
    Malformed,
    /// The port is no number from 1 to 65,535 without leading zeros.
    Port,
    /// It does not begin with `fd`: an address of the internet or of another kind.
    Prefix,
}

impl fmt::Display for AddressError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { limit } => {
                write!(out, "a global address has at most {limit} characters")
            }
            Self::Malformed => out.write_str(
                "a global address is written like IPv6, fd12:3456:789a:1:2:3::, with a port in brackets, [fd12:…]:443",
            ),
            Self::Port => {
                out.write_str("the port of a global address is from 1 to 65535, without zeros in front")
            }
            Self::Prefix => out.write_str("a global address begins with fd"),
        }
    }
}

impl std::error::Error for AddressError {}

fn first_bits(bytes: &[u8; 32], bits: u32) -> u64 {
    let head = u64::from_be_bytes(bytes[..8].try_into().expect("eight of 32 bytes"));
    head >> (64 - bits)
}

impl GlobalAddress {
    /// The address of a node in its network.
    pub fn of_node(network: &NetworkId, node: &NodeId) -> Self {
        Self::new(Self::prefix_of(network), NodeField::of(node), 0, 0)
    }

    /// The prefix that all addresses of a network share, 48 bits.
    pub fn prefix_of(network: &NetworkId) -> u64 {
        (LOCAL << 40) | first_bits(network.as_bytes(), 40)
    }

    fn new(prefix: u64, node: NodeField, asset: u32, port: u16) -> Self {
        let bits = (u128::from(prefix) << 80) | (u128::from(node.0) << 32) | u128::from(asset);
        Self { bits, port }
    }

    /// From its 128 bits and port.
    ///
    /// # Errors
    /// [`AddressError::Prefix`].
    pub fn from_bits(bits: u128, port: u16) -> Result<Self, AddressError> {
        if (bits >> 120) as u64 != LOCAL {
            return Err(AddressError::Prefix);
        }
        Ok(Self { bits, port })
    }

    /// All 128 bits.
    pub const fn bits(self) -> u128 {
        self.bits
    }

    /// `fd` and 40 bits of the network, 48 bits in all.
    pub const fn prefix(self) -> u64 {
        (self.bits >> 80) as u64
    }

    /// Which node.
    pub const fn node(self) -> NodeField {
        NodeField::from_bits((self.bits >> 32) as u64)
    }

    /// What of the node; 0 is the node itself.
    pub const fn asset(self) -> u32 {
        self.bits as u32
    }

    /// Which service; 0 is none.
    pub const fn port(self) -> u16 {
        self.port
    }

    /// The same node's other asset.
    #[must_use]
    pub const fn with_asset(self, asset: u32) -> Self {
        Self {
            bits: (self.bits & !(u32::MAX as u128)) | asset as u128,
            port: self.port,
        }
    }

    /// The same with another port; 0 for none.
    #[must_use]
    pub const fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Whether it is this node, as far as 96 bits can tell.
    pub fn names(self, network: &NetworkId, node: &NodeId) -> bool {
        self.prefix() == Self::prefix_of(network) && self.node() == NodeField::of(node)
    }
}

impl fmt::Display for GlobalAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The standard library writes IPv6 by RFC 5952; nothing that begins with fd is an IPv4 address in disguise.
        let text = Ipv6Addr::from_bits(self.bits);
        match self.port {
            0 => write!(out, "{text}"),
            port => write!(out, "[{text}]:{port}"),
        }
    }
}

impl fmt::Debug for GlobalAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "GlobalAddress({self})")
    }
}

fn port(text: &str) -> Result<u16, AddressError> {
    // `parse` would take a sign and leading zeros: an address has one text.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if !digits {
        return Err(AddressError::Port);
    }
    text.parse().map_err(|_| AddressError::Port)
}

impl FromStr for GlobalAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEXT {
            return Err(AddressError::TooLong { limit: MAX_TEXT });
        }
        let (address, port) = match text.strip_prefix('[') {
            None => (text, 0),
            Some(rest) => match rest.split_once(']').ok_or(AddressError::Malformed)? {
                (address, "") => (address, 0),
                (address, rest) => (
                    address,
                    port(rest.strip_prefix(':').ok_or(AddressError::Malformed)?)?,
                ),
            },
        };
        let bits: Ipv6Addr = address.parse().map_err(|_| AddressError::Malformed)?;
        Self::from_bits(bits.to_bits(), port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> GlobalAddress {
        text.parse().unwrap()
    }

    #[test]
    fn the_fields_are_where_the_text_shows_them() {
        let address = address("[fd12:3456:789a:1:2:3:0:7]:443");
        assert_eq!(address.prefix(), 0xfd12_3456_789a);
        assert_eq!(address.node(), NodeField::from_bits(0x0001_0002_0003));
        assert_eq!((address.asset(), address.port()), (7, 443));
        assert_eq!(address.to_string(), "[fd12:3456:789a:1:2:3:0:7]:443");
        assert_eq!(
            address.with_asset(0).with_port(0).to_string(),
            "fd12:3456:789a:1:2:3::"
        );
    }

    #[test]
    fn a_node_has_the_address_of_its_id_and_another_network_another_prefix() {
        let (shop, other) = (NetworkId([0xab; 32]), NetworkId([0xac; 32]));
        let node = NodeId(std::array::from_fn(|at| at as u8));
        let address = GlobalAddress::of_node(&shop, &node);
        assert_eq!(address.to_string(), "fdab:abab:abab:1:203:405::");
        assert!(address.names(&shop, &node) && address.with_asset(9).names(&shop, &node));
        assert!(!address.names(&other, &node));
        assert!(!address.names(&shop, &NodeId([9; 32])));
    }

    #[test]
    fn every_text_of_an_address_is_read_and_one_is_written() {
        for (text, canonical) in [
            ("FD00:0:0:0:0:0:0:1", "fd00::1"),
            ("fd00:0000:0:00:000:0:0:0001", "fd00::1"),
            ("[fd00::]", "fd00::"),
            ("fd00::1.2.3.4", "fd00::102:304"),
            ("fd00:1:0:0:2:0:0:3", "fd00:1::2:0:0:3"),
            ("fd00:1:2:3:4:5:6:0", "fd00:1:2:3:4:5:6:0"),
        ] {
            assert_eq!(address(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_by_what_is_wrong_with_it() {
        for (text, error) in [
            ("", AddressError::Malformed),
            ("fd00", AddressError::Malformed),
            ("fd00:::1", AddressError::Malformed),
            ("fd00::1::", AddressError::Malformed),
            ("fd00::1%eth0", AddressError::Malformed),
            ("fd00::1/64", AddressError::Malformed),
            (" fd00::1", AddressError::Malformed),
            ("[fd00::1", AddressError::Malformed),
            ("fd00::1]", AddressError::Malformed),
            ("[fd00::1]443", AddressError::Malformed),
            ("[fd00::1]:", AddressError::Port),
            ("[fd00::1]:0", AddressError::Port),
            ("[fd00::1]:0443", AddressError::Port),
            ("[fd00::1]:+443", AddressError::Port),
            ("[fd00::1]:65536", AddressError::Port),
            ("[fd00::1]:4４", AddressError::Port),
            ("::1", AddressError::Prefix),
            ("fc00::1", AddressError::Prefix),
            ("2001:db8::1", AddressError::Prefix),
        ] {
            assert_eq!(text.parse::<GlobalAddress>(), Err(error), "{text:?}");
        }
        let long = "0".repeat(MAX_TEXT + 1);
        assert!(matches!(
            long.parse::<GlobalAddress>(),
            Err(AddressError::TooLong { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_address_reads_back_and_its_fields_make_it_again(
            low in any::<u128>(), port in any::<u16>(),
        ) {
            let bits = (u128::from(LOCAL) << 120) | (low >> 8);
            let address = GlobalAddress::from_bits(bits, port).unwrap();
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            prop_assert!(address.to_string().len() <= MAX_TEXT);
            let again = GlobalAddress::new(address.prefix(), address.node(), address.asset(), port);
            prop_assert_eq!(again, address);
        }

        #[test]
        fn whatever_is_read_is_written_shorter_or_equal_and_means_the_same(text in "[fF][dD][0-9a-fA-F:.\\[\\]]{0,45}") {
            if let Ok(address) = text.parse::<GlobalAddress>() {
                let written = address.to_string();
                prop_assert_eq!(written.parse(), Ok(address));
                prop_assert_eq!(written.parse::<GlobalAddress>().unwrap().to_string(), written);
            }
        }
    }
}
