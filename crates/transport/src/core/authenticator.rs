//! Who a peer is: the trait by which the engine asks, and what it gets to know.
//!
//! TLS proves possession of a certificate; the proofs on the control stream bind the node's post-quantum key to the same
//! channel. The engine knows neither certificates nor signatures: it carries the bytes and refuses whoever is not proved.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

/// The largest proof that is read or sent, in bytes. A longer one is refused before a byte of it is stored.
pub const MAX_PROOF_BYTES: usize = 16 * 1024;
/// The largest request of a joining node, in bytes.
pub const MAX_JOIN_REQUEST_BYTES: usize = 16 * 1024;
/// The largest reply to a joining node, in bytes.
pub const MAX_JOIN_REPLY_BYTES: usize = 64 * 1024;
/// The largest notice that is read or sent, in bytes: a revocation list of full length.
pub const MAX_NOTICE_BYTES: usize = 1 << 20;
/// The label of the TLS exporter (RFC 8446 §7.5) that proofs are bound to. The context is empty.
pub const EXPORTER_LABEL: &[u8] = b"linkmesh node proof";
/// The application protocol (ALPN) of a connection between members.
pub const ALPN: &[u8] = b"linkmesh/1";
/// The application protocol of a node that holds a one-time token and nothing else yet.
pub const JOIN_ALPN: &[u8] = b"linkmesh-join/1";
/// The name every node answers to in TLS. The identity is in the certificate, never in the name.
pub const SERVER_NAME: &str = "node.linkmesh.internal";

/// A node's identity: 256 bits that its certificate is bound to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl fmt::Display for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NodeId({self})")
    }
}

/// Which end of a connection this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// It dialled.
    Client,
    /// It was dialled.
    Server,
}

/// One TLS channel as its end sees it: what a proof is bound to.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Whose end this is.
    pub side: Side,
    /// Keying material exported from the TLS session with [`EXPORTER_LABEL`] and no context: the same bytes at both ends
    /// and in no other connection.
    pub exporter: [u8; 64],
    /// The peer's certificates from TLS, leaf first.
    pub peer_certificates: Vec<CertificateDer<'static>>,
    /// This process's boot epoch: random at start, so that a peer notices a restart.
    pub boot_epoch: [u8; 16],
}

/// A peer whose proof held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Who it is.
    pub node_id: NodeId,
    /// The name in its certificate, for people.
    pub name: String,
    /// The network both belong to.
    pub network: String,
    /// The end of its certificate, in seconds since 1970. The connection is not cut then; a new one is refused.
    pub not_after: u64,
    /// The boot epoch of the peer's process. Another one after a reconnect means that the peer lost its memory.
    pub boot_epoch: [u8; 16],
}

/// Why a proof, a join or a key was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthError {
    /// The stable word for programs, such as `revoked` or `expired`.
    pub code: &'static str,
    /// The sentence for people. It never leaves this process: the peer learns the close code alone.
    pub message: String,
}

impl fmt::Display for AuthError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for AuthError {}

/// What the engine asks of a node's identity. Implemented by `identity::NodeIdentity`; tests bring their own.
///
/// Every method may be called from any thread. `prove`, `verify` and `join_reply` take from 0.1 to several milliseconds
/// and are called on helper threads (`notice` too), never on the engine's own.
pub trait Authenticator: Send + Sync + 'static {
    /// The TLS configuration for accepting, asked once per accepted connection. Certificates are swapped behind it.
    fn tls_server(&self) -> Arc<rustls::ServerConfig>;

    /// The TLS configuration for dialling, asked once per dialled connection.
    fn tls_client(&self) -> Arc<rustls::ClientConfig>;

    /// This node's proof for `channel`: at most [`MAX_PROOF_BYTES`], opaque to the engine.
    ///
    /// # Errors
    /// When this node has no usable key or certificate at the moment.
    fn prove(&self, channel: &Channel) -> Result<Vec<u8>, AuthError>;

    /// Checks the peer's proof for `channel` (whose `side` is ours, not the peer's).
    ///
    /// # Errors
    /// When the proof does not hold; the connection is closed and the peer never reported to the application.
    fn verify(&self, channel: &Channel, proof: &[u8]) -> Result<PeerIdentity, AuthError>;

    /// Whether this node has been revoked. Asked for every live peer when the epoch below moves.
    fn is_revoked(&self, node_id: &NodeId) -> bool;

    /// A number that changes with the list of revoked nodes: one atomic load, looked at several times a second.
    fn revocation_epoch(&self) -> u64;

    /// Answers a node that came with [`JOIN_ALPN`] and a token. Such a connection carries this exchange and nothing else.
    ///
    /// # Errors
    /// When no invitation is open or the request is not good.
    fn join_reply(&self, channel: &Channel, request: &[u8]) -> Result<Vec<u8>, AuthError> {
        let _ = (channel, request);
        Err(AuthError {
            code: "join-closed",
            message: "this node takes no joining nodes".into(),
        })
    }

    /// What every member should know of the network, as signed objects of at most [`MAX_NOTICE_BYTES`]: given to each peer
    /// that connects, and to all of them when [`notice_epoch`](Self::notice_epoch) moves. None at first.
    fn notices(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// A number that changes with [`notices`](Self::notices); looked at as often as the revocation epoch.
    fn notice_epoch(&self) -> u64 {
        self.revocation_epoch()
    }

    /// Takes a notice from a peer, on a helper thread. `true` when it was new: then it is in force.
    ///
    /// # Errors
    /// When it does not hold. The peer is not to blame: it may have been told so itself.
    fn notice(&self, bytes: &[u8]) -> Result<bool, AuthError> {
        let _ = bytes;
        Err(AuthError {
            code: "unknown-notice",
            message: "this node takes no notices".into(),
        })
    }
}
