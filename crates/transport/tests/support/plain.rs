//! Plain quinn on tokio, with the control stream spelled out from its description: the oracle of the engine's wire.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use linkmesh_transport::core::{ALPN, Authenticator, Channel, EXPORTER_LABEL, SERVER_NAME, Side};
use linkmesh_transport::transport::{Transport, TransportError};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use tokio::runtime::Runtime;

use super::identity::TestIdentity;

const PATIENCE: Duration = Duration::from_secs(30);

fn other(error: impl std::fmt::Display) -> TransportError {
    TransportError::Other(error.to_string())
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Both proofs and both acceptances, as `core::control` documents them.
async fn greet(
    connection: &quinn::Connection,
    side: Side,
    identity: &TestIdentity,
    send: &mut quinn::SendStream,
    receive: &mut quinn::RecvStream,
) {
    let mut exporter = [0; 64];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
        .unwrap();
    let channel = Channel {
        side,
        exporter,
        peer_certificates: Vec::new(),
        boot_epoch: [3; 16],
    };
    let proof = identity.prove(&channel).unwrap();
    let mut hello = vec![1];
    hello.extend_from_slice(&(10 + proof.len() as u32).to_le_bytes());
    hello.extend_from_slice(&1_u16.to_le_bytes());
    hello.extend_from_slice(&0_u64.to_le_bytes());
    hello.extend_from_slice(&proof);
    send.write_all(&hello).await.unwrap();
    let mut header = [0; 5];
    receive.read_exact(&mut header).await.unwrap();
    assert_eq!(header[0], 1, "HELLO comes first");
    let mut payload = vec![0; u32::from_le_bytes(header[1..].try_into().unwrap()) as usize];
    receive.read_exact(&mut payload).await.unwrap();
    assert_eq!(payload[..2], [1, 0], "version 1");
    identity.verify(&channel, &payload[10..]).unwrap();
    send.write_all(&[2, 0, 0, 0, 0]).await.unwrap();
    receive.read_exact(&mut header).await.unwrap();
    assert_eq!(header, [2, 0, 0, 0, 0], "ACCEPT comes second");
}

/// Plain quinn as a client.
pub struct PlainClient {
    runtime: Runtime,
    connection: quinn::Connection,
    streams: HashMap<u64, (quinn::SendStream, quinn::RecvStream)>,
    _control: (quinn::SendStream, quinn::RecvStream),
    _endpoint: quinn::Endpoint,
}

impl PlainClient {
    pub fn connect(identity: &TestIdentity, address: SocketAddr) -> Self {
        let runtime = runtime();
        let (endpoint, connection, control) = runtime.block_on(async {
            let crypto = QuicClientConfig::try_from(identity.tls_client()).unwrap();
            let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
            let config = quinn::ClientConfig::new(Arc::new(crypto));
            let connection = endpoint
                .connect_with(config, address, SERVER_NAME)
                .unwrap()
                .await
                .unwrap();
            let data = connection.handshake_data().unwrap();
            let data = data
                .downcast::<quinn::crypto::rustls::HandshakeData>()
                .unwrap();
            assert_eq!(data.protocol.as_deref(), Some(ALPN));
            let (mut send, mut receive) = connection.open_bi().await.unwrap();
            greet(&connection, Side::Client, identity, &mut send, &mut receive).await;
            (endpoint, connection, (send, receive))
        });
        Self {
            runtime,
            connection,
            streams: HashMap::new(),
            _control: control,
            _endpoint: endpoint,
        }
    }
}

impl Transport for PlainClient {
    fn open(&mut self, kind: u8) -> Result<u64, TransportError> {
        let (id, pair) = self.runtime.block_on(async {
            let (mut send, receive) = self.connection.open_bi().await.map_err(other)?;
            send.write_all(&[kind]).await.map_err(other)?;
            Ok::<_, TransportError>((u64::from(quinn::VarInt::from(send.id())), (send, receive)))
        })?;
        self.streams.insert(id, pair);
        Ok(id)
    }

    fn send(&mut self, stream: u64, bytes: &[u8]) -> Result<(), TransportError> {
        let (send, _) = self
            .streams
            .get_mut(&stream)
            .ok_or_else(|| other("no such stream"))?;
        self.runtime.block_on(send.write_all(bytes)).map_err(other)
    }

    fn finish(&mut self, stream: u64) -> Result<(), TransportError> {
        let (send, _) = self
            .streams
            .get_mut(&stream)
            .ok_or_else(|| other("no such stream"))?;
        send.finish().map_err(other)
    }

    fn receive(&mut self, stream: u64, at_least: usize) -> Result<Vec<u8>, TransportError> {
        let (_, receive) = self
            .streams
            .get_mut(&stream)
            .ok_or_else(|| other("no such stream"))?;
        let mut taken = Vec::new();
        let reading = async {
            while taken.len() < at_least {
                match receive.read_chunk(usize::MAX, true).await.map_err(other)? {
                    Some(chunk) => taken.extend_from_slice(&chunk.bytes),
                    None => break,
                }
            }
            Ok(())
        };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, reading).await })
            .map_err(|_| TransportError::Timeout)??;
        Ok(taken)
    }
}

/// Plain quinn as a server that echoes: its address. It runs until the process ends.
pub fn plain_server(identity: Arc<TestIdentity>) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async move {
            let crypto = QuicServerConfig::try_from(identity.tls_server()).unwrap();
            let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
            let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
            tell.send(endpoint.local_addr().unwrap()).unwrap();
            while let Some(incoming) = endpoint.accept().await {
                let connection = incoming.await.unwrap();
                let (mut send, mut receive) = connection.accept_bi().await.unwrap();
                greet(
                    &connection,
                    Side::Server,
                    &identity,
                    &mut send,
                    &mut receive,
                )
                .await;
                tokio::spawn(async move {
                    let _control = (send, receive);
                    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                        tokio::spawn(async move {
                            let mut kind = [0];
                            receive.read_exact(&mut kind).await.unwrap();
                            while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
                                if send.write_chunk(chunk.bytes).await.is_err() {
                                    return;
                                }
                            }
                            let _ = send.finish();
                        });
                    }
                });
            }
        });
    });
    told.recv().unwrap()
}
