//! Nodes whose signatures cost nothing, and an export to be granted.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use linkmesh_memory::{
    grant::{Exports, Grant, GrantError, Moment, NodeId, Refused, Signer, Slice, Verifier},
    region::{Access, HeapRegion, RangeRights, Rights},
};

/// A node whose signature is a keyed hash: enough to tell who signed what. The credential is its key, as a certificate
/// would carry a public one.
#[derive(Clone, Copy)]
pub(crate) struct Node(pub(crate) u8);

impl Node {
    pub(crate) fn id(self) -> NodeId {
        [self.0; 32]
    }
}

pub(crate) fn mac(node: &NodeId, message: &[u8]) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    (b"a secret of the test", node, message).hash(&mut hasher);
    let mut signature = b"\x01\x01".to_vec();
    signature.extend_from_slice(&hasher.finish().to_le_bytes());
    signature
}

impl Signer for Node {
    fn node_id(&self) -> NodeId {
        self.id()
    }

    fn credential(&self) -> Vec<u8> {
        vec![self.0; 100]
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        Ok(mac(&self.id(), message))
    }
}

/// The exporter's view: itself without a credential, others with theirs, and `revoked` not at all.
pub(crate) struct Members {
    pub(crate) me: Node,
    pub(crate) revoked: Option<Node>,
}

impl Verifier for Members {
    fn verify(
        &self,
        issuer: &NodeId,
        credential: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refused> {
        let refuse = |reason: &str| {
            Err(Refused {
                reason: reason.into(),
            })
        };
        let expected: &[u8] = if *issuer == self.me.id() {
            &[]
        } else {
            &[issuer[0]; 100]
        };
        if credential != expected {
            return refuse("credential");
        }
        if self.revoked.is_some_and(|node| node.id() == *issuer) {
            return refuse("revoked");
        }
        if signature == mac(issuer, message) {
            Ok(())
        } else {
            refuse("signature")
        }
    }
}

pub(crate) const EXPORTER: Node = Node(1);
pub(crate) const HOLDER: Node = Node(2);
pub(crate) const FRIEND: Node = Node(3);
pub(crate) const STRANGER: Node = Node(4);
pub(crate) const ALL: Members = Members {
    me: EXPORTER,
    revoked: None,
};

pub(crate) fn now(unix_ms: u64) -> Moment {
    // One origin, so that both forms move together.
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    Moment {
        instant: *ORIGIN.get_or_init(Instant::now) + Duration::from_millis(unix_ms),
        unix_ms,
    }
}

pub(crate) fn rights(text: &str) -> Rights {
    Rights::parse(text).unwrap()
}

pub(crate) fn slice(holder: Node, offset: u64, length: u64, letters: &str) -> Slice {
    Slice {
        holder: holder.id(),
        offset,
        length,
        rights: rights(letters),
        expires_unix_ms: 10_000,
    }
}

pub(crate) fn exports() -> Exports {
    let mut exports = Exports::new(EXPORTER.id());
    let mut limits = RangeRights::uniform(Rights::ALL);
    limits.set(4000..4096, Rights::READ).unwrap();
    exports
        .export("scores", Arc::new(HeapRegion::new(4096, 77)), limits)
        .unwrap();
    exports
}

pub(crate) fn issue(exports: &Exports, slice: Slice, nonce: u8) -> Grant {
    exports
        .issue(&EXPORTER, "scores", slice, [nonce; 16], now(1_000))
        .unwrap()
}

pub(crate) fn present(
    exports: &mut Exports,
    grant: &Grant,
    peer: Node,
) -> Result<Access, GrantError> {
    exports.present(grant.bytes(), &peer.id(), &ALL, now(2_000))
}
