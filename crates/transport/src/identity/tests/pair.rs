//! Two ends of a TLS connection in memory, as the engine would have them.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, ProtocolVersion, ServerConfig, ServerConnection};

use crate::core::{
    AuthError, Authenticator, Channel, EXPORTER_LABEL, PeerIdentity, SERVER_NAME, Side,
};
use crate::identity::{IdentityError, NodeIdentity};

/// Where a connection or an exchange was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// In the TLS handshake; the words of the side that refused.
    Tls(rustls::Error),
    /// After it.
    Identity(IdentityError),
    Auth(AuthError),
}

impl Refusal {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Tls(_) => "handshake",
            Self::Identity(error) => error.code(),
            Self::Auth(error) => error.code,
        }
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

/// Both ends after a handshake.
pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
}

/// Runs the handshake to its end, whichever side refuses first.
pub(super) fn handshake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<Pair, rustls::Error> {
    let mut client = ClientConnection::new(client, SERVER_NAME.try_into().unwrap())?;
    let mut server = ServerConnection::new(server)?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |rest| server.read_tls(rest).unwrap());
        let result = server.process_new_packets().map(drop);
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        result?;
        feed(&wire, |rest| client.read_tls(rest).unwrap());
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    Ok(Pair { client, server })
}

fn feed(mut wire: &[u8], mut read: impl FnMut(&mut &[u8]) -> usize) {
    while !wire.is_empty() {
        read(&mut wire);
    }
}

impl Pair {
    /// What each end's engine hands to its identity: the client's and the server's.
    pub(super) fn channels(&self) -> (Channel, Channel) {
        let channel = |side, exporter, certificates: Option<&[_]>| Channel {
            side,
            exporter,
            peer_certificates: certificates.unwrap_or_default().to_vec(),
            boot_epoch: [side as u8; 16],
        };
        let (mut ours, mut theirs) = ([0; 64], [0; 64]);
        self.client
            .export_keying_material(&mut ours, EXPORTER_LABEL, Some(b""))
            .unwrap();
        self.server
            .export_keying_material(&mut theirs, EXPORTER_LABEL, Some(b""))
            .unwrap();
        assert_eq!(ours, theirs);
        (
            channel(Side::Client, ours, self.client.peer_certificates()),
            channel(Side::Server, theirs, self.server.peer_certificates()),
        )
    }
}

/// A handshake with a node: the channel as its two ends see it.
pub(super) fn connect(
    client: Arc<ClientConfig>,
    server: &NodeIdentity,
) -> Result<(Channel, Channel), Refusal> {
    handshake(client, server.tls_server())
        .map(|pair| pair.channels())
        .map_err(Refusal::Tls)
}

/// A connection with both proofs: whom the client met and whom the server met.
pub(super) fn meet(
    client: &NodeIdentity,
    server: &NodeIdentity,
) -> Result<(PeerIdentity, PeerIdentity), Refusal> {
    let (here, there) = connect(client.tls_client(), server)?;
    let met_by_server = server.verify_peer(&there, &client.prove(&here)?)?;
    let met_by_client = client.verify_peer(&here, &server.prove(&there)?)?;
    Ok((met_by_client, met_by_server))
}

/// `Authenticator::verify`, told apart from the identity's own `verify`.
pub(super) trait VerifyPeer {
    fn verify_peer(&self, channel: &Channel, proof: &[u8]) -> Result<PeerIdentity, AuthError>;
}

impl VerifyPeer for NodeIdentity {
    fn verify_peer(&self, channel: &Channel, proof: &[u8]) -> Result<PeerIdentity, AuthError> {
        Authenticator::verify(self, channel, proof)
    }
}
