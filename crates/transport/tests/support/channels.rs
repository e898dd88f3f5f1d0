//! A TLS connection in memory, as far as an identity sees it.

use std::sync::Arc;

use linkmesh_transport::core::{Channel, EXPORTER_LABEL, SERVER_NAME, Side};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

/// The client's and the server's end after the handshake.
///
/// # Panics
/// When either side refuses.
pub fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> [Channel; 2] {
    let mut client = ClientConnection::new(client, SERVER_NAME.try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
        }
        server.process_new_packets().unwrap();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
        }
        client.process_new_packets().unwrap();
    }
    let mut exporter = [0; 64];
    client
        .export_keying_material(&mut exporter, EXPORTER_LABEL, Some(b""))
        .unwrap();
    let channel = |side, certificates: Option<&[_]>| Channel {
        side,
        exporter,
        peer_certificates: certificates.unwrap_or_default().to_vec(),
        boot_epoch: [0; 16],
    };
    [
        channel(Side::Client, client.peer_certificates()),
        channel(Side::Server, server.peer_certificates()),
    ]
}
