//! The limits and the identity, in quinn-proto's words.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hkdf, hmac};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig,
    VarInt,
};

use super::authenticator::Authenticator;
use super::cid::ShardedIds;
use super::limits::Limits;
use super::send_window;

/// The round trip that is assumed before one has been measured.
const INITIAL_RTT: Duration = Duration::from_millis(50);
/// First packets that may wait for the core at a time. It takes each at once, so this is only a fence.
const MAX_INCOMING: usize = 1024;

/// What quinn-proto needs, made once; the TLS part again when the identity gives another one.
pub(super) struct Configs {
    authenticator: Arc<dyn Authenticator>,
    dialling: Arc<TransportConfig>,
    accepting: Arc<TransportConfig>,
    token_key: Arc<hkdf::Prk>,
    server: Option<(Arc<rustls::ServerConfig>, Arc<ServerConfig>)>,
    client: Option<(Arc<rustls::ClientConfig>, ClientConfig)>,
}

impl std::fmt::Debug for Configs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Configs").finish_non_exhaustive()
    }
}

fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).expect("limits are checked")
}

fn transport(limits: &Limits) -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(limits.mtu);
    let idle = IdleTimeout::try_from(limits.idle_timeout).expect("limits are checked");
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(limits.streams.into())
        .max_concurrent_uni_streams(limits.streams.into())
        .max_idle_timeout(Some(idle))
        .stream_receive_window(limits.stream_window.into())
        .receive_window(limits.unproved_window.into())
        .send_window(send_window::first(limits.send_window))
        .initial_rtt(INITIAL_RTT)
        .mtu_discovery_config((limits.mtu > 1200).then_some(discovery))
        .datagram_receive_buffer_size(None)
        .allow_spin(false);
    transport
}

/// The endpoint's own configuration: ids, reset key, packet sizes.
pub(super) fn endpoint(
    limits: &Limits,
    seed: &[u8; 32],
    shard: u8,
    shards: u8,
) -> Arc<EndpointConfig> {
    let derive = |label: &[u8]| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), label);
        <[u8; 32]>::try_from(tag.as_ref()).expect("SHA-256 has 32 bytes")
    };
    // The ids and the reset key are shared by the shards: a packet that lands on the wrong one is not taken for a stray.
    let ids = derive(b"connection ids");
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &derive(b"stateless reset"));
    let mut config = EndpointConfig::new(Arc::new(reset));
    let mut own = derive(b"endpoint");
    own[0] ^= shard;
    config
        .cid_generator(move || Box::new(ShardedIds::new(&ids, shard, shards)))
        .max_udp_payload_size(limits.mtu.max(1472))
        .expect("limits are checked")
        .rng_seed(Some(own));
    Arc::new(config)
}

impl Configs {
    pub(super) fn new(
        limits: &Limits,
        authenticator: Arc<dyn Authenticator>,
        seed: &[u8; 32],
    ) -> Self {
        let mut dialling = transport(limits);
        dialling.keep_alive_interval(limits.keep_alive);
        let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"retry token").extract(seed);
        Self {
            authenticator,
            dialling: Arc::new(dialling),
            accepting: Arc::new(transport(limits)),
            token_key: Arc::new(token_key),
            server: None,
            client: None,
        }
    }

    /// The window of a peer that has proved itself.
    pub(super) fn receive_window(limits: &Limits) -> VarInt {
        varint(limits.receive_window.into())
    }

    /// For accepting.
    ///
    /// # Errors
    /// When the identity's TLS configuration has no suite that QUIC can use.
    pub(super) fn server(&mut self) -> Result<Arc<ServerConfig>, String> {
        let tls = self.authenticator.tls_server();
        if let Some((known, config)) = &self.server
            && Arc::ptr_eq(known, &tls)
        {
            return Ok(config.clone());
        }
        let crypto = QuicServerConfig::try_from(tls.clone()).map_err(|error| error.to_string())?;
        let mut config = ServerConfig::new(Arc::new(crypto), self.token_key.clone());
        config
            .transport_config(self.accepting.clone())
            .migration(true)
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(64 << 10)
            .incoming_buffer_size_total(16 << 20);
        let config = Arc::new(config);
        self.server = Some((tls, config.clone()));
        Ok(config)
    }

    /// For dialling.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    pub(super) fn client(&mut self) -> Result<ClientConfig, String> {
        let tls = self.authenticator.tls_client();
        if let Some((known, config)) = &self.client
            && Arc::ptr_eq(known, &tls)
        {
            return Ok(config.clone());
        }
        let crypto = QuicClientConfig::try_from(tls.clone()).map_err(|error| error.to_string())?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(self.dialling.clone());
        self.client = Some((tls, config.clone()));
        Ok(config)
    }
}
