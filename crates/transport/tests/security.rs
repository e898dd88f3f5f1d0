//! Attacks on whole engines with the identities of the product, in virtual time: each is refused, and says why.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use linkmesh_transport::core::{
    ALPN, Authenticator, CloseCode, CloseReason, Limits, MAX_PROOF_BYTES, Target,
};
use linkmesh_transport::identity::{NODE_SECONDS, NodeIdentity, Revoked};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group, sign::any_supported_type};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use support::attacker::Attacker;
use support::channels::connect;
use support::echo::{ECHO, Echo, Event};
use support::members::Members;
use support::network::{Faults, Network, address};

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits {
        idle_timeout: 10 * SECOND,
        keep_alive: Some(2 * SECOND),
        hello_timeout: 2 * SECOND,
        ..Limits::default()
    }
}

fn network(nodes: &[Arc<dyn Authenticator>]) -> Network<Echo> {
    let mut network = Network::new(1, Faults::none());
    for node in nodes {
        network.add(node.clone(), limits(), Echo::default());
    }
    network
}

fn dial(network: &mut Network<Echo>, from: usize, to: usize) {
    let target = Target::at(address(to));
    network.with(from, |_, io| io.connect(target)).unwrap();
}

fn connected(network: &Network<Echo>, node: usize, count: usize) -> bool {
    network.nodes[node].application.peers().len() == count
}

/// Why the dialling node, the last, failed.
fn refusal(network: &mut Network<Echo>) -> CloseReason {
    let node = network.nodes.len() - 1;
    let failed = |network: &Network<Echo>| {
        let events = &network.nodes[node].application.events;
        events.iter().find_map(|event| match event {
            Event::Unreachable(_, reason, _) => Some(reason.clone()),
            _ => None,
        })
    };
    assert!(
        network.run_until(20 * SECOND, |network| failed(network).is_some()),
        "not refused: {:?}",
        network.nodes[node].application.events
    );
    failed(network).unwrap()
}

/// The second node dials the first and is refused; neither application hears of the other.
fn refused(server: Arc<dyn Authenticator>, client: Arc<dyn Authenticator>) -> CloseReason {
    let mut network = network(&[server, client]);
    dial(&mut network, 1, 0);
    let reason = refusal(&mut network);
    network.run(5 * SECOND);
    for node in &network.nodes {
        let events = &node.application.events;
        assert!(
            !events
                .iter()
                .any(|event| matches!(event, Event::Connected(..))),
            "{events:?}"
        );
        assert_eq!(node.core.stats().established, 0);
    }
    reason
}

fn not_authenticated(reason: &CloseReason) -> bool {
    *reason == CloseReason::Peer(CloseCode::NotAuthenticated as u64)
}

/// TLS refused it, at this end or by an alert of the other.
fn refused_by_tls(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Transport(_))
}

#[test]
fn a_member_of_another_network_is_refused_by_tls() {
    let (here, there) = (Members::new(), Members::new());
    let reason = refused(here.issuer.clone(), there.join("stranger"));
    assert!(refused_by_tls(&reason), "{reason}");
}

#[test]
fn an_expired_certificate_is_refused_and_a_live_connection_stays() {
    let members = Members::new();
    let late = members.join("late");
    let mut network = network(&[members.issuer.clone(), late.clone()]);
    dial(&mut network, 1, 0);
    assert!(network.run_until(5 * SECOND, |network| connected(network, 0, 1)));
    members.pass(NODE_SECONDS + 1);
    members.issuer.upkeep().unwrap();
    network.run(5 * SECOND);
    assert!(
        connected(&network, 0, 1),
        "renewal happens under connections, not between them"
    );
    let reason = refused(members.issuer.clone(), late);
    assert!(refused_by_tls(&reason), "{reason}");
}

#[test]
fn a_revoked_node_is_cut_off_everywhere_within_a_second_and_stays_out() {
    let members = Members::new();
    let (witness, revoked) = (members.join("witness"), members.join("revoked"));
    // The witness has its trust from its own disk and learns of the list from its peers alone.
    let mut network = network(&[members.issuer.clone(), witness.clone(), revoked.clone()]);
    dial(&mut network, 1, 0);
    dial(&mut network, 2, 0);
    dial(&mut network, 2, 1);
    assert!(network.run_until(5 * SECOND, |network| {
        (0..3).all(|node| connected(network, node, 2))
    }));
    members
        .issuer
        .revoke(Revoked::Node(revoked.node_id()))
        .unwrap();
    let cut = network.run_until(SECOND, |network| {
        connected(network, 0, 1) && connected(network, 1, 1)
    });
    assert!(cut, "still connected a second later");
    assert_eq!(witness.revocation_epoch(), 1);
    for node in [0, 1] {
        let events = &network.nodes[node].application.events;
        let told = events.iter().find_map(|event| match event {
            Event::Revoked(nodes) => Some(nodes.clone()),
            _ => None,
        });
        assert_eq!(
            told,
            Some(vec![revoked.node_id()]),
            "its grants end with it"
        );
    }
    network.run(20 * SECOND);
    assert!(
        connected(&network, 0, 1) && connected(&network, 1, 1),
        "it came back"
    );
    // Who connects later is told as well.
    let newcomer = members.join("newcomer");
    let behind = newcomer.revocation_epoch();
    let at = network.add(newcomer.clone(), limits(), Echo::default());
    assert_eq!(behind, 1, "joining brings the list");
    dial(&mut network, at, 1);
    assert!(network.run_until(5 * SECOND, |network| connected(network, at, 1)));
}

#[test]
fn a_list_reaches_a_node_that_was_away() {
    let members = Members::new();
    let (away, revoked) = (members.join("away"), members.join("revoked"));
    members
        .issuer
        .revoke(Revoked::Node(revoked.node_id()))
        .unwrap();
    assert_eq!(away.revocation_epoch(), 0);
    let mut network = network(&[members.issuer.clone(), away.clone(), revoked]);
    dial(&mut network, 2, 1);
    assert!(
        network.run_until(5 * SECOND, |network| connected(network, 1, 1)),
        "nobody told it yet"
    );
    dial(&mut network, 1, 0);
    let told = network.run_until(5 * SECOND, |network| {
        away.revocation_epoch() == 1 && connected(network, 2, 0)
    });
    assert!(told, "{:?}", network.nodes[1].application.events);
    assert!(connected(&network, 1, 1), "the issuer stays");
}

#[test]
fn a_stripped_proof_is_refused() {
    let members = Members::new();
    let attacker = Attacker::proving(&members.join("node"), |_, _| Vec::new());
    let reason = refused(members.issuer.clone(), attacker.clone());
    assert!(not_authenticated(&reason), "{reason}");
    // The other way round the dialling side refuses.
    let reason = refused(attacker, members.issuer.clone());
    assert!(
        matches!(&reason, CloseReason::NotAuthenticated(error) if error.code == "proof-missing"),
        "{reason}"
    );
}

#[test]
fn a_replayed_proof_is_refused() {
    let members = Members::new();
    let attacker = Attacker::replaying(&members.join("node"));
    let mut network = network(&[members.issuer.clone(), attacker.clone()]);
    dial(&mut network, 1, 0);
    assert!(
        network.run_until(5 * SECOND, |network| connected(network, 0, 1)),
        "the first is its own"
    );
    let reason = refused(members.issuer.clone(), attacker);
    assert!(not_authenticated(&reason), "{reason}");
}

#[test]
fn a_proof_that_another_node_made_is_refused() {
    let members = Members::new();
    let (victim, thief) = (members.join("victim"), members.join("thief"));
    let attacker = Attacker::proving(&thief, move |_, channel| victim.prove(channel).unwrap());
    let reason = refused(members.issuer.clone(), attacker);
    assert!(not_authenticated(&reason), "{reason}");
}

#[test]
fn a_proof_above_the_limit_closes_the_connection_before_it_is_read() {
    let members = Members::new();
    let attacker = Attacker::proving(&members.join("node"), |_, _| vec![7; MAX_PROOF_BYTES + 1]);
    let reason = refused(members.issuer.clone(), attacker);
    assert_eq!(reason, CloseReason::Peer(CloseCode::Protocol as u64));
}

/// Believes every server: an attacker asks nobody.
#[derive(Debug)]
struct Credulous(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// TLS 1.3 as an attacker would have it: any server, these key exchanges, this certificate.
fn lax(provider: CryptoProvider, certificate: Arc<dyn ResolvesClientCert>) -> rustls::ClientConfig {
    let credulous = Credulous(provider.signature_verification_algorithms);
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(credulous))
        .with_client_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

fn own_certificate(node: &NodeIdentity) -> Arc<dyn ResolvesClientCert> {
    node.tls_client().client_auth_cert_resolver.clone()
}

#[test]
fn a_classical_key_exchange_is_refused_though_everything_else_is_right() {
    let members = Members::new();
    let node = members.join("node");
    // With the post-quantum exchange the same configuration gets in.
    let modern = lax(default_provider(), own_certificate(&node));
    let mut open = network(&[members.issuer.clone(), Attacker::dialling(&node, modern)]);
    dial(&mut open, 1, 0);
    assert!(open.run_until(5 * SECOND, |network| connected(network, 0, 1)));

    let classical = CryptoProvider {
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
        ..default_provider()
    };
    let attacker = Attacker::dialling(&node, lax(classical, own_certificate(&node)));
    let reason = refused(members.issuer.clone(), attacker);
    assert!(refused_by_tls(&reason), "{reason}");
}

/// One certificate chain with a key that may not be its own.
#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl ResolvesClientCert for Stolen {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn another_nodes_certificate_is_worth_nothing_without_its_key() {
    let members = Members::new();
    let (victim, thief) = (members.join("victim"), members.join("thief"));
    // Certificates are no secret: every peer of the victim has them.
    let [_, seen] = connect(victim.tls_client(), members.issuer.tls_server());
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let stolen = CertifiedKey::new(seen.peer_certificates, any_supported_type(&key).unwrap());
    let config = lax(default_provider(), Arc::new(Stolen(Arc::new(stolen))));
    let reason = refused(members.issuer.clone(), Attacker::dialling(&thief, config));
    assert!(refused_by_tls(&reason), "{reason}");
}

#[test]
fn an_address_that_never_answers_gets_three_times_its_bytes_at_most() {
    let members = Members::new();
    let stranger = members.join("stranger");
    let mut network = network(&[members.issuer.clone(), stranger]);
    network.nodes[1].address = "10.99.0.1:9".parse().unwrap();
    let flight = network.record(1, |network| dial(network, 1, 0));
    network.nodes.truncate(1);
    let from: SocketAddr = "172.16.0.9:4433".parse().unwrap();
    let mut injected = 0;
    // Its two datagrams, one after the other, and then silence: certificates and proofs would be more than three times that.
    for datagram in &flight {
        network.inject(from, address(0), datagram);
        injected += datagram.len() as u64;
        network.run(SECOND);
        let sent = network.nodes[0].sent;
        assert!(sent > 0, "the handshake is answered");
        assert!(sent <= 3 * injected, "{sent} bytes for {injected}");
    }
    network.run(30 * SECOND);
    let sent = network.nodes[0].sent;
    assert!(sent <= 3 * injected, "{sent} bytes for {injected}");
    assert_eq!(network.nodes[0].core.stats().connections, 0);
}

#[test]
fn a_slow_reader_holds_a_window_and_slows_nobody_else() {
    let members = Members::new();
    let issuer: Arc<dyn Authenticator> = members.issuer.clone();
    let mut network = network(&[issuer]);
    let limits = Limits {
        stream_window: 64 << 10,
        receive_window: 64 << 10,
        ..limits()
    };
    for name in ["slow", "fast"] {
        let at = network.add(members.join(name), limits.clone(), Echo::default());
        dial(&mut network, at, 0);
    }
    assert!(network.run_until(5 * SECOND, |network| connected(network, 0, 2)));
    network.nodes[1].application.pause = true;
    let slow = network
        .with(0, |echo, io| {
            let slow = echo
                .peers()
                .into_iter()
                .find(|&peer| io.address(peer) == Some(address(1)));
            echo.send(io, slow.unwrap(), ECHO, 5_000_000);
            slow
        })
        .unwrap();
    network.run(SECOND);
    let held = network.nodes[0].application.sent();
    assert!(
        held < 200 << 10,
        "{held} bytes were taken for a reader that reads nothing"
    );
    let peer = network.nodes[2].application.peers()[0];
    network.with(2, |echo, io| echo.send(io, peer, ECHO, 300_000));
    assert!(
        network.run_until(SECOND, |network| network.nodes[2].application.is_done()),
        "the fast one waits for the slow one"
    );
    let stats = network.with(0, |_, io| io.stats(slow)).unwrap();
    assert!(stats.bytes_sent < 300 << 10, "{stats:?}");
}

#[test]
fn early_data_finds_neither_a_ticket_nor_a_connection() {
    let members = Members::new();
    let node = members.join("node");
    let mut eager = rustls::ClientConfig::clone(&node.tls_client());
    eager.enable_early_data = true;
    eager.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let mut network = network(&[members.issuer.clone(), Attacker::dialling(&node, eager)]);
    dial(&mut network, 1, 0);
    assert!(network.run_until(5 * SECOND, |network| connected(network, 0, 1)));
    // A ticket would have come with the handshake.
    network.run(SECOND);
    let mut flight = network.record(1, |network| dial(network, 1, 0));
    // RFC 9000 §17.2: a long header of type 0, Initial; type 1 is 0-RTT.
    assert!(!flight.is_empty() && flight.iter().all(|datagram| datagram[0] & 0xb0 == 0x80));
    let before = (
        network.nodes[0].sent,
        network.nodes[0].core.stats().connections,
    );
    for datagram in &mut flight {
        datagram[0] |= 0x10;
        network.inject("172.16.0.9:4433".parse().unwrap(), address(0), datagram);
    }
    network.run(Duration::from_millis(100));
    let after = (
        network.nodes[0].sent,
        network.nodes[0].core.stats().connections,
    );
    assert_eq!(after, before, "neither answered nor remembered");
}
