//! What is in front of a relayed packet.
//!
//! ```text
//! 0   mark   u8   0x21 = a QUIC packet follows, 0x22 = a probe, 0x23 = its echo
//! 1   id     12   the relay's id of the session, as the receiver of the packet knows it
//! 13  the packet
//! ```
//! The upper two bits of a QUIC packet's first byte are not both clear (RFC 9000 §17: the fixed bit), and where a peer clears
//! the fixed bit (RFC 9287) the id decides: it is unguessable. The first byte of the id names the engine's shard at the
//! place where the kernel's filter looks for it in a QUIC packet.

/// Bytes in front of a relayed packet.
pub(crate) const HEADER: usize = 13;
/// Bytes of an id.
pub(crate) const ID: usize = 12;

/// The relay's name of one end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RelayId(pub(crate) [u8; ID]);

/// What follows the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Packet,
    Probe,
    Echo,
}

impl Mark {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Packet => 0x21,
            Self::Probe => 0x22,
            Self::Echo => 0x23,
        }
    }
}

/// The header, if this may be a relayed packet.
#[inline]
pub(crate) fn parse(datagram: &[u8]) -> Option<(Mark, RelayId)> {
    let mark = match datagram.first()? {
        0x21 => Mark::Packet,
        0x22 => Mark::Probe,
        0x23 => Mark::Echo,
        _ => return None,
    };
    Some((mark, RelayId(datagram.get(1..HEADER)?.try_into().ok()?)))
}

/// Puts a header in front of `packet`.
pub(crate) fn write(out: &mut Vec<u8>, mark: Mark, id: RelayId, packet: &[u8]) {
    out.push(mark.byte());
    out.extend_from_slice(&id.0);
    out.extend_from_slice(packet);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_quic_is_never_taken_for_it() {
        let id = RelayId([7; ID]);
        for mark in [Mark::Packet, Mark::Probe, Mark::Echo] {
            let mut out = Vec::new();
            write(&mut out, mark, id, b"packet");
            assert_eq!(parse(&out), Some((mark, id)));
            assert_eq!(&out[HEADER..], b"packet");
            assert_eq!(parse(&out[..HEADER - 1]), None);
        }
        // Every first byte with the fixed bit.
        for first in 0x40..=0xff {
            assert_eq!(parse(&[first; 40]), None);
        }
        assert_eq!(parse(&[]), None);
    }
}
