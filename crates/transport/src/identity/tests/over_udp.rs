//! Joining and renewing over real sockets, against plain quinn at the issuer's end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;

use super::network::Network;
use super::pair::meet;
use crate::core::{Authenticator, Channel, CloseCode, EXPORTER_LABEL, Side};
use crate::identity::{
    IdentityError, Joining, NODE_SECONDS, NodeIdentity, Revoked, Upkeeper, exchange,
};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Answers joiners and members for as long as it lives.
struct Issuer {
    address: SocketAddr,
    endpoint: quinn::Endpoint,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Issuer {
    fn listen(identity: &Arc<NodeIdentity>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let crypto = QuicServerConfig::try_from(identity.tls_server()).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let guard = runtime.enter();
        let endpoint = quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap();
        drop(guard);
        let (identity, accepting) = (Arc::clone(identity), endpoint.clone());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                while let Some(incoming) = accepting.accept().await {
                    let identity = Arc::clone(&identity);
                    tokio::spawn(async move {
                        let Ok(connection) = incoming.await else {
                            return;
                        };
                        if serve(&identity, &connection).await.is_none() {
                            connection.close((CloseCode::NotAuthenticated as u32).into(), b"");
                        }
                        connection.closed().await;
                    });
                }
            });
        });
        Self {
            address: endpoint.local_addr().unwrap(),
            endpoint,
            thread: Some(thread),
        }
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.endpoint.close(0u32.into(), b"");
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn serve(identity: &NodeIdentity, connection: &quinn::Connection) -> Option<()> {
    let (mut send, mut receive) = connection.accept_bi().await.ok()?;
    let mut length = [0; 4];
    receive.read_exact(&mut length).await.ok()?;
    let mut request = vec![0; u32::from_le_bytes(length) as usize];
    receive.read_exact(&mut request).await.ok()?;
    let mut exporter = [0; 64];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
        .ok()?;
    let channel = Channel {
        side: Side::Server,
        exporter,
        peer_certificates: *connection.peer_identity()?.downcast().ok()?,
        boot_epoch: [0; 16],
    };
    let answer = identity.answer(&channel, &request).ok()?;
    send.write_all(&(answer.len() as u32).to_le_bytes())
        .await
        .ok()?;
    send.write_all(&answer).await.ok()
}

#[test]
fn a_node_joins_and_renews_over_quic() {
    let network = Network::new();
    let issuer = Issuer::listen(&network.issuer);
    let token = network.issuer.invite("", 60).unwrap().to_text();
    let joining = Joining::new(&token, network.options("node")).unwrap();
    let address = format!("quic://{}", issuer.address);
    let node = exchange::join(&address, joining, TIMEOUT).unwrap();
    assert_eq!(node.issuer_address().unwrap(), issuer.address.to_string());
    meet(&node, &network.issuer).unwrap();
    let before = node.certificate();
    network.pass(60);
    exchange::renew(&node, TIMEOUT).unwrap();
    assert_eq!(
        node.certificate().validity().not_after,
        before.validity().not_after + 60
    );
    // The same token again, while another invitation keeps the door open.
    let _open = network.issuer.invite("", 60).unwrap();
    let again = Joining::new(&token, network.options("again")).unwrap();
    let refused = exchange::join(&address, again, TIMEOUT).unwrap_err();
    assert_eq!(refused.code(), "refused-by-issuer");
    // A revoked node gets no certificate.
    network
        .issuer
        .revoke(Revoked::Node(node.node_id()))
        .unwrap();
    let refused = exchange::renew(&node, TIMEOUT).unwrap_err();
    assert_eq!(refused.code(), "refused-by-issuer");
}

#[test]
fn with_the_wrong_root_or_nobody_there_joining_says_so() {
    let (network, stranger) = (Network::new(), Network::new());
    let issuer = Issuer::listen(&stranger.issuer);
    let _open = stranger.issuer.invite("", 60).unwrap();
    let token = network.issuer.invite("", 60).unwrap().to_text();
    let join = |address: &str| {
        let joining = Joining::new(&token, network.options("node")).unwrap();
        exchange::join(address, joining, TIMEOUT).unwrap_err()
    };
    assert_eq!(join(&issuer.address.to_string()).code(), "unknown-issuer");
    let closed = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = join(&closed.to_string());
    assert!(nobody.is_retryable(), "{nobody}");
    for malformed in ["", "localhost", "127.0.0.1:99999"] {
        assert_eq!(join(malformed).code(), "unreachable");
    }
}

#[test]
fn the_upkeeper_renews_at_half_life_and_follows_revocations() {
    let network = Network::new();
    let issuer = Issuer::listen(&network.issuer);
    let token = network.issuer.invite("", 60).unwrap().to_text();
    let joining = Joining::new(&token, network.options("node")).unwrap();
    let node = exchange::join(&issuer.address.to_string(), joining, TIMEOUT).unwrap();
    let before = node.certificate();
    let upkeepers = [
        Upkeeper::start(Arc::clone(&node)).unwrap(),
        Upkeeper::start(Arc::clone(&network.issuer)).unwrap(),
    ];
    network.pass(NODE_SECONDS / 2 + 1);
    wait_until(|| node.certificate().serial() != before.serial());
    assert_eq!(upkeepers[0].last_error(), None);
    // From another process.
    let other = network.reopen("issuer").unwrap();
    other.revoke(Revoked::Certificate([1; 16])).unwrap();
    wait_until(|| network.issuer.revocation_epoch() == 1);
    // Nobody there: it says so, and stops when told to.
    drop(issuer);
    network.pass(NODE_SECONDS / 2 + 1);
    wait_until(|| {
        matches!(
            upkeepers[0].last_error(),
            Some(IdentityError::Unreachable { .. })
        )
    });
}

/// Yields until it holds. The bound is only for a test that would never end.
fn wait_until(holds: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < 6 * TIMEOUT, "it never came");
        std::thread::yield_now();
    }
}
