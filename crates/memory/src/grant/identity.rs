//! A node's identity signs its grants and checks those of others.

use linkmesh_transport::{
    core::NodeId as TransportNodeId,
    identity::{IdentityError, NodeIdentity, ObjectKind},
};

use super::{NodeId, Refused, Signer, Verifier};

/// What a signature over a grant is one of: no other signature of the same key is one over a grant.
const GRANT: ObjectKind = ObjectKind::FIRST_APPLICATION;

fn refused(error: &IdentityError) -> Refused {
    Refused {
        reason: error.to_string(),
    }
}

/// FALCON-1024: about 1 ms a signature.
impl Signer for NodeIdentity {
    fn node_id(&self) -> NodeId {
        NodeIdentity::node_id(self).0
    }

    fn credential(&self) -> Vec<u8> {
        NodeIdentity::credential(self)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        NodeIdentity::sign(self, GRANT, message).map_err(|error| refused(&error))
    }
}

/// FALCON-1024: about 50 µs a signature, 150 with a credential.
impl Verifier for NodeIdentity {
    fn verify(
        &self,
        issuer: &NodeId,
        credential: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refused> {
        NodeIdentity::verify(
            self,
            GRANT,
            &TransportNodeId(*issuer),
            credential,
            message,
            signature,
        )
        .map_err(|error| refused(&error))
    }
}
