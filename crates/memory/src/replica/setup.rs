//! How a group comes together, and how a client comes to it: what is said around the [`Message`]s of the protocol itself.

use super::{
    GroupError, MAX_MEMBERS, Message,
    message::{HEADER, LENGTH, MAX_MESSAGE},
    wire::{Malformed, Reader, push_block},
};
use crate::{
    compress::Compression,
    frame::{Decoded, ImportRefusal, Imported, MAX_GRANT},
    grant::MAX_NAME_BYTES,
    region::Rights,
};

/// Nodes of a group by their member numbers.
pub type Members = Vec<[u8; 32]>;

/// The number of a group: the region's name and epoch at the node that made it, so that a grant says it.
pub fn group_id(creator: &[u8; 32], name: &str, epoch: u64) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"linkmesh replicated region");
    hasher.update(creator);
    hasher.update(&epoch.to_le_bytes());
    hasher.update(name.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(id)
}

/// A message before or beside the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Creator to node: become member number `me`.
    Create {
        /// Which.
        me: u8,
        /// Of the group.
        acknowledgements: u8,
        /// Bytes of the region.
        length: u64,
        /// Of the region.
        epoch: u64,
        /// Of the region.
        name: String,
        /// Who else; the creator is number 0.
        members: Members,
    },
    /// Node to creator: it does not become one.
    Declined,
    /// Member to member: the creator has ended the group, or has given it up before it formed.
    Ended,
    /// Client to member: what it may do in this session.
    Present {
        /// Whose.
        session: u128,
        /// As the creator gave it out.
        grant: Vec<u8>,
    },
    /// Member to client: what it opened.
    Presented {
        /// Whose.
        session: u128,
        /// What, and who the members are; or why not.
        result: Result<(Imported, Members), ImportRefusal>,
    },
}

/// Anything that goes over a stream between members and clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Of the protocol.
    Message(Message),
    /// Around it.
    Setup(Setup),
}

const CREATE: u8 = 64;
const DECLINED: u8 = 65;
const PRESENT: u8 = 66;
const PRESENTED: u8 = 67;
const ENDED: u8 = 68;

impl Packet {
    /// Appends the packet of `group`.
    pub fn encode(&self, group: u128, out: &mut Vec<u8>) {
        match self {
            Self::Message(message) => message.encode(group, out),
            Self::Setup(setup) => setup.encode(group, out),
        }
    }

    /// Decodes the packet at the front of `bytes`, and whose group's it is.
    ///
    /// # Errors
    /// [`Malformed`] as soon as the bytes that are there show that no correct peer sent them.
    pub fn decode(bytes: &[u8]) -> Result<Decoded<(u128, Self)>, Malformed> {
        if bytes.get(HEADER - 1).is_some_and(|kind| *kind >= CREATE) {
            return Setup::decode(bytes);
        }
        Ok(match Message::decode(bytes)? {
            Decoded::Frame((group, message), length) => {
                Decoded::Frame((group, Self::Message(message)), length)
            }
            Decoded::Needs(whole) => Decoded::Needs(whole.max(HEADER)),
        })
    }
}

impl Setup {
    fn encode(&self, group: u128, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH]);
        out.extend_from_slice(&group.to_le_bytes());
        match self {
            Self::Create {
                me,
                acknowledgements,
                length,
                epoch,
                name,
                members,
            } => {
                out.extend_from_slice(&[CREATE, *me, *acknowledgements]);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&epoch.to_le_bytes());
                push_block(out, name.as_bytes());
                push_members(out, members);
            }
            Self::Declined => out.push(DECLINED),
            Self::Ended => out.push(ENDED),
            Self::Present { session, grant } => {
                out.push(PRESENT);
                out.extend_from_slice(&session.to_le_bytes());
                push_block(out, grant);
            }
            Self::Presented { session, result } => {
                out.push(PRESENTED);
                out.extend_from_slice(&session.to_le_bytes());
                match result {
                    Ok((Imported { rights, length, .. }, members)) => {
                        out.extend_from_slice(&[0, rights.bits()]);
                        out.extend_from_slice(&length.to_le_bytes());
                        push_members(out, members);
                    }
                    Err(refusal) => out.push(*refusal as u8),
                }
            }
        }
        let length = (out.len() - start - LENGTH) as u32;
        out[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Decoded<(u128, Packet)>, Malformed> {
        let Some(length) = bytes.first_chunk::<LENGTH>() else {
            return Ok(Decoded::Needs(LENGTH));
        };
        let whole = LENGTH + u32::from_le_bytes(*length) as usize;
        if !(HEADER..=MAX_MESSAGE).contains(&whole) {
            return Err(Malformed);
        }
        let Some(frame) = bytes.get(LENGTH..whole) else {
            return Ok(Decoded::Needs(whole));
        };
        let mut reader = Reader::new(frame);
        let group = reader.u128()?;
        let setup = match reader.u8()? {
            CREATE => Self::Create {
                me: reader.u8()?,
                acknowledgements: reader.u8()?,
                length: reader.u64()?,
                epoch: reader.u64()?,
                name: name(reader.block(MAX_NAME_BYTES)?)?,
                members: members(&mut reader)?,
            },
            DECLINED => Self::Declined,
            ENDED => Self::Ended,
            PRESENT => Self::Present {
                session: reader.u128()?,
                grant: reader.block(MAX_GRANT)?.to_vec(),
            },
            PRESENTED => {
                let session = reader.u128()?;
                let result = match reader.u8()? {
                    0 => {
                        let rights = Rights::from_bits(reader.u8()?).ok_or(Malformed)?;
                        let length = reader.u64()?;
                        let imported = Imported {
                            rights,
                            length,
                            compression: Compression::None,
                        };
                        Ok((imported, members(&mut reader)?))
                    }
                    code => Err(ImportRefusal::from_code(code).ok_or(Malformed)?),
                };
                Self::Presented { session, result }
            }
            _ => return Err(Malformed),
        };
        if !reader.is_at_end() {
            return Err(Malformed);
        }
        Ok(Decoded::Frame((group, Packet::Setup(setup)), whole))
    }
}

fn name(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
}

fn push_members(out: &mut Vec<u8>, members: &Members) {
    out.push(members.len() as u8);
    for member in members {
        out.extend_from_slice(member);
    }
}

fn members(reader: &mut Reader<'_>) -> Result<Members, Malformed> {
    let count = usize::from(reader.u8()?);
    if count == 0 || count > MAX_MEMBERS {
        return Err(Malformed);
    }
    let members: Members = (0..count)
        .map(|_| reader.array())
        .collect::<Result<_, _>>()?;
    check_distinct(&members).map_err(|_| Malformed)?;
    Ok(members)
}

/// Whether each node is named once.
///
/// # Errors
/// [`GroupError::Members`].
pub fn check_distinct(members: &Members) -> Result<(), GroupError> {
    let is_new = |(at, member): (usize, &[u8; 32])| !members[..at].contains(member);
    if members.iter().enumerate().all(is_new) {
        Ok(())
    } else {
        Err(GroupError::Members(members.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    #[test]
    fn every_packet_comes_back_and_no_part_of_one_does() {
        let imported = Imported {
            rights: Rights::ALL,
            length: 99,
            compression: Compression::None,
        };
        let members = vec![[1; 32], [2; 32]];
        let packets = [
            Packet::Setup(Setup::Create {
                me: 1,
                acknowledgements: 1,
                length: 64,
                epoch: 5,
                name: "scores".into(),
                members: members.clone(),
            }),
            Packet::Setup(Setup::Declined),
            Packet::Setup(Setup::Ended),
            Packet::Setup(Setup::Present {
                session: 7,
                grant: vec![3; 40],
            }),
            Packet::Setup(Setup::Presented {
                session: 7,
                result: Ok((imported, members)),
            }),
            Packet::Setup(Setup::Presented {
                session: 7,
                result: Err(ImportRefusal::Expired),
            }),
            Packet::Message(Message::Fenced {
                epoch: Epoch::new(3, 1),
            }),
        ];
        for packet in packets {
            let mut bytes = Vec::new();
            packet.encode(11, &mut bytes);
            let length = bytes.len();
            assert_eq!(
                Packet::decode(&bytes),
                Ok(Decoded::Frame((11, packet), length))
            );
            for cut in 0..length {
                assert!(
                    matches!(Packet::decode(&bytes[..cut]), Ok(Decoded::Needs(whole)) if whole > cut)
                );
            }
        }
        let twice = vec![[1; 32], [1; 32]];
        assert_eq!(check_distinct(&twice), Err(GroupError::Members(2)));
    }
}
