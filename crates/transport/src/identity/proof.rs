//! A node's proof on a connection: its certificates and a FALCON-1024 signature that belongs to this channel alone.
//!
//! ```text
//! channel    32   SHAKE256 of exporter, prover's side, prover's id, verifier's id
//! boot epoch 16
//! //! node       u32 length, node certificate
//! network    u32 length, network certificate
//! ```
//! signed by the node's key. About 8 KB. TLS has exported the same keying material at both ends and in no other
//! connection, so a proof that is replayed, relayed or taken from the other side is one of another channel. Both ids are
//! known before the proofs cross, from the TLS certificates, so both sides send theirs at once.

use rustls_pki_types::CertificateDer;

use super::chain::NodeChain;
use super::codec::Reader;
use super::error::IdentityError;
use super::falcon::FalconKey;
use super::id::shake256;
use super::signed::{Envelope, ObjectKind, seal};
use super::tls_certificate::{TlsName, name_of, spki_of};
use super::trust::Trust;
use crate::core::{Channel, MAX_PROOF_BYTES, NodeId, Side};

const OBJECT: &str = "proof";

/// What a proof that held says.
#[derive(Clone, Debug)]
pub(super) struct ProvenPeer {
    pub(super) chain: NodeChain,
    pub(super) boot_epoch: [u8; 16],
}

/// The channel as both ends name it, seen by `side`.
fn binding(exporter: &[u8; 64], side: Side, prover: &NodeId, verifier: &NodeId) -> [u8; 32] {
    let side = match side {
        Side::Client => b"client",
        Side::Server => b"server",
    };
    shake256(
        "linkmesh node proof",
        &[exporter, side, &prover.0, &verifier.0],
    )
}

/// The node that the peer's TLS certificate names, and its TLS key.
fn tls_peer(certificates: &[CertificateDer<'_>]) -> Result<(NodeId, Vec<u8>), IdentityError> {
    let leaf = certificates.first().ok_or(IdentityError::BindingMismatch {
        reason: "the peer showed no TLS certificate",
    })?;
    match name_of(leaf)? {
        TlsName::Node(_, node) => Ok((node, spki_of(leaf)?)),
        _ => Err(IdentityError::BindingMismatch {
            reason: "the peer's TLS certificate is not a node's",
        }),
    }
}

/// Proves to the other end of `channel` that this node holds `key`. Cost: one signature.
pub(super) fn prove(
    channel: &Channel,
    key: &FalconKey,
    chain: &NodeChain,
) -> Result<Vec<u8>, IdentityError> {
    let (peer, _) = tls_peer(&channel.peer_certificates)?;
    let mut payload = Vec::with_capacity(MAX_PROOF_BYTES / 2);
    payload.extend_from_slice(&binding(
        &channel.exporter,
        channel.side,
        &chain.node.node_id(),
        &peer,
    ));
    payload.extend_from_slice(&channel.boot_epoch);
    chain.put(&mut payload);
    Ok(seal(ObjectKind::NODE_PROOF, key, &payload).into())
}

/// Checks the peer's proof: form, channel, tie to its TLS certificate, chain, validity, revocation, signature; the cheap
/// ones first. Cost: three signature verifications, about 150 µs.
pub(super) fn verify(
    channel: &Channel,
    proof: &[u8],
    own: &NodeId,
    trust: &Trust,
    now: u64,
) -> Result<ProvenPeer, IdentityError> {
    if proof.is_empty() {
        return Err(IdentityError::ProofMissing);
    }
    let (peer, tls_spki) = tls_peer(&channel.peer_certificates)?;
    let envelope = Envelope::open(OBJECT, ObjectKind::NODE_PROOF, proof, MAX_PROOF_BYTES)?;
    let mut reader = Reader::new(OBJECT, envelope.payload, MAX_PROOF_BYTES)?;
    let theirs = match channel.side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    };
    if *reader.array()? != binding(&channel.exporter, theirs, &peer, own) {
        return Err(IdentityError::ProofForeign);
    }
    let boot_epoch = *reader.array()?;
    let chain = NodeChain::read(&mut reader)?;
    reader.finish()?;
    let NodeChain { node, network } = &chain;
    if node.tls_spki() != tls_spki {
        return Err(IdentityError::BindingMismatch {
            reason: "the node certificate has another TLS key than the connection",
        });
    }
    if node.network() != trust.bundle.network() {
        return Err(IdentityError::WrongNetwork {
            object: "node certificate",
        });
    }
    if node.node_id() != peer {
        return Err(IdentityError::BindingMismatch {
            reason: "the TLS certificate names another node than the node certificate",
        });
    }
    trust.check_node(node, network, now)?;
    envelope.verify(node.falcon())?;
    Ok(ProvenPeer { chain, boot_epoch })
}
