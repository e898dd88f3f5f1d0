//! The addresses by which QUIC knows relayed ways.
//!
//! They are of the discard-only prefix `100::/64` (RFC 6666), which no packet can come from or go to: never mistaken for
//! a place on a network. The place in the table and a random salt make the rest, so that a way that is gone is not met again
//! under the same address.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// QUIC refuses port 0.
const PORT: u16 = 1;

/// Whether this address is a relayed way.
#[inline]
pub fn is_virtual(address: &SocketAddr) -> bool {
    match address {
        SocketAddr::V4(_) => false,
        SocketAddr::V6(address) => address.ip().segments()[..4] == [0x100, 0, 0, 0],
    }
}

pub(super) fn make(index: u32, salt: u32) -> SocketAddr {
    let [high, low] = [(index >> 16) as u16, index as u16];
    let [first, second] = [(salt >> 16) as u16, salt as u16];
    let ip = Ipv6Addr::new(0x100, 0, 0, 0, high, low, first, second);
    SocketAddr::new(IpAddr::V6(ip), PORT)
}

pub(super) fn index(address: &SocketAddr) -> Option<u32> {
    let IpAddr::V6(ip) = address.ip() else {
        return None;
    };
    let segments = ip.segments();
    is_virtual(address).then(|| u32::from(segments[4]) << 16 | u32::from(segments[5]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_here_is_virtual() {
        let address = make(0x0001_0203, 0xdead_beef);
        assert!(is_virtual(&address));
        assert_eq!(index(&address), Some(0x0001_0203));
        for real in [
            "10.0.0.1:1",
            "[::1]:1",
            "[fd00::1]:1",
            "[100:1::]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            let real = real.parse().unwrap();
            assert!(!is_virtual(&real));
            assert_eq!(index(&real), None);
        }
    }
}
