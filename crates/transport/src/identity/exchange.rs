//! Joining and renewing over UDP: one connection, one request, one reply, on the calling thread.
//!
//! A node joins before it has an engine, and renews once in half a day, so this drives `quinn-proto` plainly and blocks.
//! The issuer's end is its engine's ([`Authenticator::join_reply`](crate::core::Authenticator::join_reply)).

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, StreamId, VarInt,
};
use rustls_pki_types::CertificateDer;

use super::error::IdentityError;
use super::membership::Joining;
use super::node_identity::NodeIdentity;
use super::random;
use crate::core::{Channel, CloseCode, EXPORTER_LABEL, MAX_JOIN_REPLY_BYTES, SERVER_NAME, Side};

/// How long an exchange may take unless told otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most addresses of a host name that are tried.
const MAX_ADDRESSES: usize = 8;
/// Largest datagram that is read, bytes.
const MAX_DATAGRAM_BYTES: usize = 65_535;
/// Shortest time to sleep for, so that a due timer does not spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Joins a network through a member that holds its keys. `address` is `host:port` or `quic://host:port`.
///
/// Blocks for at most `timeout`, for about two round trips and 10 ms if all is well.
///
/// # Errors
/// [`IdentityError::Unreachable`] when nobody answers in time; [`IdentityError::RefusedByIssuer`] when the token is not
/// good there; whatever is wrong with the answer. Nothing is stored then, and unless the answer was lost on the way, the
/// token is still good.
pub fn join(
    address: &str,
    joining: Joining,
    timeout: Duration,
) -> Result<Arc<NodeIdentity>, IdentityError> {
    let place = strip_scheme(address);
    let (channel, answer) = exchange(place, &joining.tls_client(), timeout, |channel| {
        Ok(joining.request(channel))
    })?;
    joining.accept(&channel, &answer, place)
}

/// Has this node's certificate renewed by its issuer. Live connections keep theirs.
///
/// # Errors
/// As [`join`]; [`IdentityError::NotFound`] when this node knows no issuer. What was in force stays.
pub fn renew(identity: &NodeIdentity, timeout: Duration) -> Result<(), IdentityError> {
    let address = identity
        .issuer_address()
        .ok_or_else(|| IdentityError::NotFound {
            path: identity.data().join("identity/issuer.address"),
        })?;
    let (_, answer) = exchange(&address, &identity.tls_renewal(), timeout, |channel| {
        identity.renewal_request(channel)
    })?;
    identity.accept_renewal(&answer)
}

fn strip_scheme(address: &str) -> &str {
    address.strip_prefix("quic://").unwrap_or(address)
}

/// Tries the addresses in turn, each for its share of the time, until one answers.
fn exchange(
    place: &str,
    tls: &Arc<rustls::ClientConfig>,
    timeout: Duration,
    request: impl Fn(&Channel) -> Result<Vec<u8>, IdentityError>,
) -> Result<(Channel, Vec<u8>), IdentityError> {
    let unreachable = |reason: String| IdentityError::Unreachable {
        address: place.to_owned(),
        reason,
    };
    let addresses: Vec<SocketAddr> = place
        .to_socket_addrs()
        .map_err(|error| unreachable(error.to_string()))?
        .take(MAX_ADDRESSES)
        .collect();
    let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = unreachable("the name has no address".to_owned());
    for address in addresses {
        match Exchange::start(address, tls, share).and_then(|exchange| exchange.run(&request)) {
            Ok(answered) => return Ok(answered),
            Err(Ended::Refused) => {
                return Err(IdentityError::RefusedByIssuer {
                    address: place.to_owned(),
                });
            }
            Err(Ended::Identity(error)) => return Err(error),
            Err(Ended::Unreachable(reason)) => last = unreachable(reason),
        }
    }
    Err(last)
}

/// Why there is no answer.
enum Ended {
    Unreachable(String),
    Refused,
    Identity(IdentityError),
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

struct Exchange {
    socket: UdpSocket,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    deadline: Instant,
    stream: Option<StreamId>,
    /// What is still to be written, and how far it is.
    outgoing: (Vec<u8>, usize),
    incoming: Vec<u8>,
}

impl Exchange {
    fn start(
        address: SocketAddr,
        tls: &Arc<rustls::ClientConfig>,
        timeout: Duration,
    ) -> Result<Self, Ended> {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        let crypto = QuicClientConfig::try_from(Arc::clone(tls))
            .map_err(|error| Ended::Unreachable(error.to_string()))?;
        let mut endpoint = Endpoint::new(
            Arc::new(EndpointConfig::default()),
            None,
            true,
            Some(random::bytes()),
        );
        let now = Instant::now();
        let (handle, connection) = endpoint
            .connect(
                now,
                ClientConfig::new(Arc::new(crypto)),
                address,
                SERVER_NAME,
            )
            .map_err(|error| Ended::Unreachable(error.to_string()))?;
        Ok(Self {
            socket,
            endpoint,
            handle,
            connection,
            deadline: now + timeout,
            stream: None,
            outgoing: (Vec::new(), 0),
            incoming: Vec::new(),
        })
    }

    fn run(
        mut self,
        request: &impl Fn(&Channel) -> Result<Vec<u8>, IdentityError>,
    ) -> Result<(Channel, Vec<u8>), Ended> {
        let mut channel = None;
        let mut datagram = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            while let Some(event) = self.connection.poll() {
                match event {
                    Event::Connected => {
                        let connected = self.channel()?;
                        let message = request(&connected).map_err(Ended::Identity)?;
                        self.stream = self.connection.streams().open(Dir::Bi);
                        self.outgoing.0 = (message.len() as u32).to_le_bytes().to_vec();
                        self.outgoing.0.extend_from_slice(&message);
                        channel = Some(connected);
                    }
                    Event::ConnectionLost { reason } => return Err(lost(reason)),
                    _ => {}
                }
            }
            self.write();
            if let Some(answer) = self.read()? {
                self.connection.close(
                    Instant::now(),
                    VarInt::from_u32(CloseCode::Done as u32),
                    bytes::Bytes::new(),
                );
                self.transmit()?;
                let channel = channel.ok_or_else(|| {
                    Ended::Unreachable("it answered before it was asked".to_owned())
                })?;
                return Ok((channel, answer));
            }
            self.transmit()?;
            self.wait(&mut datagram)?;
        }
    }

    /// The channel as it is after the handshake.
    fn channel(&self) -> Result<Channel, Ended> {
        let session = self.connection.crypto_session();
        let mut exporter = [0; 64];
        session
            .export_keying_material(&mut exporter, EXPORTER_LABEL, b"")
            .map_err(|_| Ended::Unreachable("TLS exports no keying material".to_owned()))?;
        let certificates = session
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        Ok(Channel {
            side: Side::Client,
            exporter,
            peer_certificates: certificates.map_or_else(Vec::new, |certificates| *certificates),
            boot_epoch: random::bytes(),
        })
    }

    fn write(&mut self) {
        let Some(stream) = self.stream else {
            return;
        };
        let (bytes, written) = &mut self.outgoing;
        while *written < bytes.len() {
            // Blocked, or the stream is gone: then the connection's end is what is reported.
            let Ok(count) = self
                .connection
                .send_stream(stream)
                .write(&bytes[*written..])
            else {
                return;
            };
            *written += count;
        }
    }

    /// The answer, once it is whole.
    fn read(&mut self) -> Result<Option<Vec<u8>>, Ended> {
        let Some(stream) = self.stream else {
            return Ok(None);
        };
        let mut receive = self.connection.recv_stream(stream);
        let Ok(mut chunks) = receive.read(true) else {
            return Ok(None);
        };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            // A byte more than is allowed is enough to know.
            let room = (4 + MAX_JOIN_REPLY_BYTES + 1).saturating_sub(self.incoming.len());
            self.incoming
                .extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(room)]);
        }
        let _ = chunks.finalize();
        let Some(header) = self.incoming.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*header) as usize;
        if length > MAX_JOIN_REPLY_BYTES {
            return Err(Ended::Identity(IdentityError::TooLarge {
                object: "join reply",
                limit: MAX_JOIN_REPLY_BYTES,
            }));
        }
        Ok(self.incoming.get(4..4 + length).map(<[u8]>::to_vec))
    }

    fn transmit(&mut self) -> Result<(), Ended> {
        let mut buffer = Vec::new();
        while let Some(transmit) = self
            .connection
            .poll_transmit(Instant::now(), 1, &mut buffer)
        {
            match self.socket.send(&buffer[..transmit.size]) {
                Err(error) if !passing(error.kind()) => return Err(error.into()),
                // Lost like any other packet.
                _ => {}
            }
            buffer.clear();
        }
        Ok(())
    }

    /// Sleeps until a datagram comes or a timer is due, and hands over what there is.
    fn wait(&mut self, datagram: &mut [u8]) -> Result<(), Ended> {
        let now = Instant::now();
        if now >= self.deadline {
            return Err(Ended::Unreachable("it did not answer in time".to_owned()));
        }
        let due = self.connection.poll_timeout().unwrap_or(self.deadline);
        let wait = due.min(self.deadline).saturating_duration_since(now);
        self.socket
            .set_read_timeout(Some(wait.max(SHORTEST_WAIT)))?;
        match self.socket.recv(datagram) {
            Ok(length) => self.receive(&datagram[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                return Err(Ended::Unreachable("nobody listens on that port".to_owned()));
            }
            Err(error) if passing(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        if self.connection.poll_timeout().is_some_and(|due| due <= now) {
            self.connection.handle_timeout(now);
        }
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        Ok(())
    }

    fn receive(&mut self, datagram: &[u8]) {
        let Ok(remote) = self.socket.peer_addr() else {
            return;
        };
        let mut response = Vec::new();
        let event = self.endpoint.handle(
            Instant::now(),
            remote,
            None,
            None,
            BytesMut::from(datagram),
            &mut response,
        );
        match event {
            Some(DatagramEvent::ConnectionEvent(_, event)) => self.connection.handle_event(event),
            Some(DatagramEvent::Response(transmit)) => {
                // A version negotiation or reset; if it is lost the peer asks again.
                let _ = self.socket.send(&response[..transmit.size]);
            }
            _ => {}
        }
    }
}

const fn passing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn lost(reason: ConnectionError) -> Ended {
    match reason {
        ConnectionError::ApplicationClosed(close)
            if close.error_code == VarInt::from_u32(CloseCode::NotAuthenticated as u32) =>
        {
            Ended::Refused
        }
        // A TLS alert in the handshake: without an open invitation nobody gets further (RFC 9001 §4.8).
        ConnectionError::ConnectionClosed(close) if is_alert(close.error_code.into()) => {
            Ended::Refused
        }
        // Ours: the certificate that was shown is not under the token's root.
        ConnectionError::TransportError(error) if is_alert(error.code.into()) => {
            Ended::Identity(IdentityError::UnknownIssuer {
                object: "issuer's certificate",
            })
        }
        reason => Ended::Unreachable(reason.to_string()),
    }
}

/// The range of `CRYPTO_ERROR` (RFC 9001 §4.8).
const fn is_alert(code: u64) -> bool {
    code >= 0x100 && code < 0x200
}
