//! Plain quinn on tokio's current-thread runtime, with the same TLS and the same windows as it comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use bytes::Bytes;
use linkmesh_transport::core::{Authenticator as _, SERVER_NAME};

use crate::network::member;
use crate::rival::Rival;
use crate::server::{announce, end_with_input};
use crate::{BLOCK, BULK_BYTES, SIZE};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

pub(super) fn serve(any: SocketAddr) {
    end_with_input();
    runtime().block_on(async {
        let tls = member("server").tls_server();
        let crypto = QuicServerConfig::try_from(tls).expect("a TLS configuration");
        let config = ::quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = ::quinn::Endpoint::server(config, any).expect("a socket");
        announce(endpoint.local_addr().expect("bound"));
        while let Some(incoming) = endpoint.accept().await {
            let connection = incoming.await.expect("a handshake");
            let (mut send, mut receive) = connection.accept_bi().await.expect("a stream");
            tokio::spawn(async move {
                while let Ok(mut bulk) = connection.accept_uni().await {
                    while let Ok(Some(_)) = bulk.read_chunk(usize::MAX, false).await {}
                    let mut answer = connection.open_uni().await.expect("a stream");
                    answer.write_all(&[1]).await.expect("an open stream");
                    let _ = answer.finish();
                }
            });
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(Some(length)) = receive.read(&mut buffer).await {
                    if send.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

pub(super) fn connect(address: SocketAddr) -> Quinn {
    let runtime = runtime();
    let (endpoint, connection, send, receive) = runtime.block_on(async {
        let tls = member("client").tls_client();
        let crypto = QuicClientConfig::try_from(tls).expect("a TLS configuration");
        let any = "127.0.0.1:0".parse().expect("an address");
        let endpoint = ::quinn::Endpoint::client(any).expect("a socket");
        let config = ::quinn::ClientConfig::new(Arc::new(crypto));
        let connecting = endpoint
            .connect_with(config, address, SERVER_NAME)
            .expect("an address");
        let connection = connecting.await.expect("a handshake");
        let (send, receive) = connection.open_bi().await.expect("a stream");
        (endpoint, connection, send, receive)
    });
    Quinn {
        runtime,
        connection,
        send,
        receive,
        _endpoint: endpoint,
    }
}

pub(super) struct Quinn {
    runtime: tokio::runtime::Runtime,
    connection: ::quinn::Connection,
    send: ::quinn::SendStream,
    receive: ::quinn::RecvStream,
    _endpoint: ::quinn::Endpoint,
}

impl Rival for Quinn {
    fn exchange(&mut self, depth: usize) {
        let bytes = vec![0; SIZE * depth];
        let mut answer = vec![1; SIZE * depth];
        self.runtime.block_on(async {
            self.send.write_all(&bytes).await.expect("written");
            self.receive.read_exact(&mut answer).await.expect("read");
        });
        assert!(answer == bytes);
    }

    fn bulk(&mut self) -> Option<Duration> {
        let block = Bytes::from(vec![0x5a; BLOCK]);
        let start = Instant::now();
        self.runtime.block_on(async {
            let mut stream = self.connection.open_uni().await.expect("a stream");
            for _ in 0..BULK_BYTES / BLOCK {
                stream.write_chunk(block.clone()).await.expect("written");
            }
            stream.finish().expect("open");
            let mut answer = self.connection.accept_uni().await.expect("an answer");
            answer.read_chunk(1, true).await.expect("an answer");
        });
        Some(start.elapsed())
    }
}
