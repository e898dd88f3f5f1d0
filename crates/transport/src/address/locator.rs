//! [`Locator`]: where a node is, as it says itself.
//!
//! ```text
//! 0   version   u8   1
//! 1   network   32   NetworkId
//! 33  node      32   NodeId
//! 65  sequence  u64  grows with every record of the node, across restarts
//! 73  issued    u64  Unix seconds
//! 81  ttl       u32  seconds
//! 85  count     u8   of endpoints, 1 to 16, best first
//!     kind      u8   1 = the node itself, 2 = a relay
//!     family    u8   4 or 6
//!     ip        4 or 16
//!     port      u16
//!     relay     32   NodeId of the relay, for kind 2 alone
//! ```
//! Little-endian; nothing may follow. An object has one encoding, so equal bytes are equal records.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::core::NodeId;
use crate::identity::NetworkId;

/// Endpoints of one record.
pub const MAX_ENDPOINTS: usize = 16;
/// Longest life of a record: a node that is there renews it at half life.
pub const MAX_TTL_SECONDS: u32 = 86_400;
/// The longest encoding, bytes.
pub const MAX_LOCATOR_BYTES: usize = FIXED_BYTES + MAX_ENDPOINTS * ENDPOINT_BYTES;
/// How far the issuer's clock may be ahead of ours.
const SKEW_SECONDS: u64 = 300;

const VERSION: u8 = 1;
const FIXED_BYTES: usize = 86;
const ENDPOINT_BYTES: usize = 2 + 16 + 2 + 32;
const DIRECT: u8 = 1;
const RELAYED: u8 = 2;

/// One way to reach a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// The node listens there.
    Direct(SocketAddr),
    /// This relay knows the node and listens there.
    Relay {
        /// Who the relay is.
        relay: NodeId,
        /// Where the relay is.
        address: SocketAddr,
    },
}

/// Where a node is. Not worth anything without its signature: [`SignedLocator`](super::SignedLocator).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locator {
    /// The network it is a member of.
    pub network: NetworkId,
    /// Whose record it is.
    pub node: NodeId,
    /// The newer of two records has the larger one.
    pub sequence: u64,
    /// When it was made, Unix seconds.
    pub issued: u64,
    /// For how long it holds, seconds, 1 to [`MAX_TTL_SECONDS`].
    pub ttl: u32,
    /// Best first, 1 to [`MAX_ENDPOINTS`], none twice.
    pub endpoints: Vec<Endpoint>,
}

/// Why bytes are no locator, or a locator cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocatorError {
    /// Made by a later version.
    Version(u8),
    /// A field is out of its range.
    Field {
        /// Its name.
        field: &'static str,
        /// The bound that was crossed.
        limit: u64,
    },
    /// The bytes end early, go on after the end, or are not the one encoding of what they say.
    Malformed,
}

impl fmt::Display for LocatorError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(out, "a locator of version {version}, not {VERSION}"),
            Self::Field { field, limit } => {
                write!(out, "{field} of a locator is beyond its bound of {limit}")
            }
            Self::Malformed => out.write_str("the bytes are no locator"),
        }
    }
}

impl std::error::Error for LocatorError {}

fn field<T>(field: &'static str, limit: u64) -> Result<T, LocatorError> {
    Err(LocatorError::Field { field, limit })
}

impl Endpoint {
    /// Where packets go.
    pub fn address(&self) -> SocketAddr {
        match *self {
            Self::Direct(address) | Self::Relay { address, .. } => address,
        }
    }

    /// Which relay, if any.
    pub fn relay(&self) -> Option<NodeId> {
        match *self {
            Self::Direct(_) => None,
            Self::Relay { relay, .. } => Some(relay),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.relay().is_some() {
            RELAYED
        } else {
            DIRECT
        });
        let address = self.address();
        match address.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&address.port().to_le_bytes());
        if let Some(relay) = self.relay() {
            out.extend_from_slice(&relay.0);
        }
    }

    fn decode(rest: &mut &[u8]) -> Result<Self, LocatorError> {
        let [kind, family] = take(rest)?;
        let ip = match family {
            4 => IpAddr::V4(Ipv4Addr::from(take::<4>(rest)?)),
            6 => IpAddr::V6(Ipv6Addr::from(take::<16>(rest)?)),
            _ => return Err(LocatorError::Malformed),
        };
        // One address, one encoding.
        if ip != ip.to_canonical() {
            return Err(LocatorError::Malformed);
        }
        let address = SocketAddr::new(ip, u16::from_le_bytes(take(rest)?));
        match kind {
            DIRECT => Ok(Self::Direct(address)),
            RELAYED => Ok(Self::Relay {
                relay: NodeId(take(rest)?),
                address,
            }),
            _ => Err(LocatorError::Malformed),
        }
    }

    /// Whether packets can be sent there at all.
    fn is_usable(&self) -> bool {
        let address = self.address();
        let ip = address.ip();
        address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && ip == ip.to_canonical()
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], LocatorError> {
    let (taken, after) = rest
        .split_first_chunk::<N>()
        .ok_or(LocatorError::Malformed)?;
    *rest = after;
    Ok(*taken)
}

impl Locator {
    /// Whether each field is in its range.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), LocatorError> {
        if self.ttl == 0 || self.ttl > MAX_TTL_SECONDS {
            return field("ttl", u64::from(MAX_TTL_SECONDS));
        }
        if self.endpoints.is_empty() || self.endpoints.len() > MAX_ENDPOINTS {
            return field("endpoints", MAX_ENDPOINTS as u64);
        }
        let twice = |at: usize| self.endpoints[..at].contains(&self.endpoints[at]);
        if (0..self.endpoints.len()).any(|at| !self.endpoints[at].is_usable() || twice(at)) {
            return field("endpoints", MAX_ENDPOINTS as u64);
        }
        if self.issued > u64::MAX / 2 {
            return field("issued", u64::MAX / 2);
        }
        Ok(())
    }

    /// The bytes that are signed.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn encode(&self) -> Result<Vec<u8>, LocatorError> {
        self.check()?;
        let mut out = Vec::with_capacity(FIXED_BYTES + self.endpoints.len() * ENDPOINT_BYTES);
        out.push(VERSION);
        out.extend_from_slice(&self.network.0);
        out.extend_from_slice(&self.node.0);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.issued.to_le_bytes());
        out.extend_from_slice(&self.ttl.to_le_bytes());
        out.push(self.endpoints.len() as u8);
        for endpoint in &self.endpoints {
            endpoint.encode(&mut out);
        }
        Ok(out)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// See [`LocatorError`]. Nothing is allocated before the count is known to be in its range.
    pub fn decode(bytes: &[u8]) -> Result<Self, LocatorError> {
        if bytes.len() > MAX_LOCATOR_BYTES {
            return field("bytes", MAX_LOCATOR_BYTES as u64);
        }
        let mut rest = bytes;
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return Err(LocatorError::Version(version));
        }
        let mut locator = Self {
            network: NetworkId(take(&mut rest)?),
            node: NodeId(take(&mut rest)?),
            sequence: u64::from_le_bytes(take(&mut rest)?),
            issued: u64::from_le_bytes(take(&mut rest)?),
            ttl: u32::from_le_bytes(take(&mut rest)?),
            endpoints: Vec::new(),
        };
        let [count] = take(&mut rest)?;
        if usize::from(count) > MAX_ENDPOINTS {
            return field("endpoints", MAX_ENDPOINTS as u64);
        }
        for _ in 0..count {
            locator.endpoints.push(Endpoint::decode(&mut rest)?);
        }
        if !rest.is_empty() {
            return Err(LocatorError::Malformed);
        }
        locator.check()?;
        Ok(locator)
    }

    /// The first Unix second at which it does not hold any more, for somebody who got it at `now`: an issuer whose clock is
    /// ahead does not live longer for that.
    pub fn expires(&self, now: u64) -> u64 {
        self.issued.min(now) + u64::from(self.ttl)
    }

    /// Whether it holds at `now`, Unix seconds.
    pub fn is_current(&self, now: u64) -> bool {
        self.issued <= now.saturating_add(SKEW_SECONDS) && self.expires(now) > now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint() -> impl Strategy<Value = Endpoint> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(|ip| IpAddr::V4(ip.into())),
            any::<[u8; 16]>().prop_map(|ip| IpAddr::V6(ip.into())),
        ];
        (ip, 1..=u16::MAX, any::<Option<[u8; 32]>>()).prop_map(|(ip, port, relay)| {
            let address = SocketAddr::new(ip, port);
            relay.map_or(Endpoint::Direct(address), |relay| Endpoint::Relay {
                relay: NodeId(relay),
                address,
            })
        })
    }

    fn locator() -> Locator {
        Locator {
            network: NetworkId([1; 32]),
            node: NodeId([2; 32]),
            sequence: 3,
            issued: 1_800_000_000,
            ttl: 60,
            endpoints: vec![Endpoint::Direct(([10, 0, 0, 1], 7443).into())],
        }
    }

    #[test]
    fn fields_out_of_their_range_are_refused_by_name() {
        type Spoil = fn(&mut Locator);
        let cases: [(&str, Spoil); 7] = [
            ("ttl", |it| it.ttl = 0),
            ("ttl", |it| it.ttl = MAX_TTL_SECONDS + 1),
            ("endpoints", |it| it.endpoints.clear()),
            ("endpoints", |it| {
                it.endpoints = (1..=17)
                    .map(|port| Endpoint::Direct(([10, 0, 0, 1], port).into()))
                    .collect();
            }),
            ("endpoints", |it| it.endpoints.push(it.endpoints[0])),
            ("endpoints", |it| {
                it.endpoints = vec![Endpoint::Direct(([0, 0, 0, 0], 1).into())];
            }),
            ("endpoints", |it| {
                it.endpoints = vec![Endpoint::Direct(([10, 0, 0, 1], 0).into())];
            }),
        ];
        for (name, spoil) in cases {
            let mut locator = locator();
            spoil(&mut locator);
            let Err(LocatorError::Field { field, .. }) = locator.encode() else {
                panic!("{locator:?} was taken");
            };
            assert_eq!(field, name);
        }
    }

    #[test]
    fn it_holds_from_a_little_before_its_time_to_the_end_of_its_life() {
        let locator = locator();
        let issued = locator.issued;
        for (now, current) in [
            (issued - SKEW_SECONDS - 1, false),
            (issued - SKEW_SECONDS, true),
            (issued, true),
            (issued + 59, true),
            (issued + 60, false),
        ] {
            assert_eq!(locator.is_current(now), current, "at {now}");
        }
    }

    #[test]
    fn a_byte_more_or_less_is_no_locator() {
        let bytes = locator().encode().unwrap();
        for end in 0..bytes.len() {
            assert!(Locator::decode(&bytes[..end]).is_err());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Locator::decode(&longer), Err(LocatorError::Malformed));
        assert_eq!(Locator::decode(&bytes), Ok(locator()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(
            ids in any::<([u8; 32], [u8; 32])>(), sequence in any::<u64>(), issued in 0..u64::MAX / 2,
            ttl in 1..=MAX_TTL_SECONDS, endpoints in prop::collection::vec(endpoint(), 1..=MAX_ENDPOINTS),
        ) {
            let locator = Locator {
                network: NetworkId(ids.0), node: NodeId(ids.1), sequence, issued, ttl, endpoints,
            };
            if let Ok(bytes) = locator.encode() {
                prop_assert!(bytes.len() <= MAX_LOCATOR_BYTES);
                prop_assert_eq!(Locator::decode(&bytes), Ok(locator));
            }
        }

        #[test]
        fn what_is_read_encodes_to_the_same_bytes(flips in prop::collection::vec((0..140_usize, any::<u8>()), 0..4)) {
            let mut bytes = locator().encode().unwrap();
            for (at, value) in flips {
                let length = bytes.len();
                bytes[at % length] = value;
            }
            if let Ok(locator) = Locator::decode(&bytes) {
                prop_assert_eq!(locator.encode(), Ok(bytes));
            }
        }
    }
}
