//! Connection ids that say which engine thread they belong to.

use std::time::Duration;

use aws_lc_rs::hmac;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

/// Length of a connection id, bytes.
pub(crate) const LENGTH: usize = 12;

/// Eight unguessable bytes and a tag of three, behind a byte that names the shard.
///
/// The first byte modulo the number of shards is the shard: the kernel's socket filter (see `engine::steering`) and a
/// relay read it without any key. The tag lets a stray packet be dropped before it costs a stateless reset.
pub(crate) struct ShardedIds {
    key: hmac::Key,
    counter: u64,
    shard: u8,
    shards: u8,
}

impl ShardedIds {
    /// # Panics
    /// When `shard` is not below `shards`: the engine's options are checked before.
    pub(crate) fn new(seed: &[u8; 32], shard: u8, shards: u8) -> Self {
        assert!(shard < shards, "shard {shard} of {shards}");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, seed),
            counter: 0,
            shard,
            shards,
        }
    }
}

impl ConnectionIdGenerator for ShardedIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.counter += 1;
        let mut message = [0; 9];
        message[0] = self.shard;
        message[1..].copy_from_slice(&self.counter.to_le_bytes());
        let random = hmac::sign(&self.key, &message);
        let mut id = [0; LENGTH];
        id[..9].copy_from_slice(&random.as_ref()[..9]);
        // The largest multiple of `shards` that leaves room for the shard itself.
        let rounds = (256 - u16::from(self.shard)).div_ceil(u16::from(self.shards));
        id[0] =
            ((u16::from(id[0]) % rounds) * u16::from(self.shards) + u16::from(self.shard)) as u8;
        let tag = hmac::sign(&self.key, &id[..9]);
        id[9..].copy_from_slice(&tag.as_ref()[..3]);
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let bytes: &[u8] = id;
        if bytes.len() != LENGTH {
            return Err(InvalidCid);
        }
        let tag = hmac::sign(&self.key, &bytes[..9]);
        if tag.as_ref()[..3] == bytes[9..] {
            Ok(())
        } else {
            Err(InvalidCid)
        }
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_names_the_shard_and_the_tag_holds() {
        for shards in [1_u8, 2, 3, 7, 16, 255] {
            for shard in [0, shards / 2, shards - 1] {
                let mut ids = ShardedIds::new(&[5; 32], shard, shards);
                for _ in 0..200 {
                    let id = ids.generate_cid();
                    assert_eq!(id[0] % shards, shard);
                    assert!(ids.validate(&id).is_ok());
                    let mut forged = id.to_vec();
                    forged[4] ^= 1;
                    assert!(ids.validate(&ConnectionId::new(&forged)).is_err());
                }
            }
        }
    }
}
