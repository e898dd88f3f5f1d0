//! Which addresses this machine has, as far as the kernel says without privileges.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Somewhere outside, of each family: reserved for documentation (RFC 5737, RFC 3849), so what leads there is the default
/// route.
const OUTSIDE: [(&str, &str); 2] = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];

/// Where others may reach who listens there. An address that means every interface stands for those that lead out of this
/// machine, or for loopback when none does.
pub fn reachable_at(listening: SocketAddr) -> Vec<SocketAddr> {
    if !listening.ip().is_unspecified() {
        return vec![listening];
    }
    // Connecting a UDP socket sends nothing: it has the kernel choose the address it would send from.
    let mut all: Vec<IpAddr> = OUTSIDE
        .into_iter()
        .filter(|(any, _)| listening.is_ipv6() || any.starts_with('0'))
        .filter_map(|(any, outside)| {
            let socket = UdpSocket::bind(any).ok()?;
            socket.connect(outside).ok()?;
            Some(socket.local_addr().ok()?.ip().to_canonical())
        })
        .filter(|ip| !ip.is_unspecified())
        .collect();
    if all.is_empty() {
        all.push(Ipv4Addr::LOCALHOST.into());
    }
    all.into_iter()
        .map(|ip| SocketAddr::new(ip, listening.port()))
        .collect()
}

/// Whether an address is one of this machine: then it can be bound. One system call or three.
pub fn is_own_address(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stands_for_itself_and_a_wildcard_for_real_ones() {
        let one: SocketAddr = "10.1.2.3:7443".parse().unwrap();
        assert_eq!(reachable_at(one), [one]);
        for any in ["0.0.0.0:7443", "[::]:7443"] {
            let found = reachable_at(any.parse().unwrap());
            assert!(!found.is_empty());
            for address in found {
                assert!(!address.ip().is_unspecified() && is_own_address(address.ip()));
                assert_eq!(address.port(), 7443);
            }
        }
        assert!(!is_own_address("192.0.2.7".parse().unwrap()));
    }
}
