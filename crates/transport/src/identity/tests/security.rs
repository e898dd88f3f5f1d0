//! Everything that must not connect.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::{CertificateError, ClientConfig, Error, NamedGroup, ServerConfig};

use super::network::Network;
use super::pair::{Refusal, VerifyPeer, connect, handshake, meet};
use crate::core::{Authenticator, MAX_PROOF_BYTES};
use crate::identity::chain::NodeChain;
use crate::identity::keys::Keys;
use crate::identity::{NODE_SECONDS, NodeIdentity, Revoked, proof};

fn refused_in_handshake(result: Result<impl Sized, Refusal>) -> Error {
    match result {
        Err(Refusal::Tls(error)) => error,
        Err(other) => panic!("refused later: {other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

#[test]
fn nodes_of_another_network_are_refused_by_both_sides() {
    let (here, there) = (Network::new(), Network::new());
    refused_in_handshake(meet(&here.issuer, &there.issuer));
    refused_in_handshake(meet(&there.issuer, &here.issuer));
}

#[test]
fn an_expired_certificate_is_refused() {
    let network = Network::new();
    let node = network.node("late");
    let (client, server) = connect(node.tls_client(), &network.issuer).unwrap();
    let proof = node.prove(&client).unwrap();
    network.pass(NODE_SECONDS + 1);
    network.issuer.upkeep().unwrap();
    // In the handshake, and if that had been before: by the proof.
    let error = refused_in_handshake(meet(&node, &network.issuer));
    assert!(
        matches!(
            error,
            Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
        ),
        "{error:?}"
    );
    let refused = network.issuer.verify_peer(&server, &proof).unwrap_err();
    assert_eq!(refused.code, "expired");
}

#[test]
fn a_certificate_of_tomorrow_is_refused() {
    let network = Network::new();
    let today = network.now();
    network.pass(3_600);
    let node = network.node("early");
    let (client, server) = connect(node.tls_client(), &network.issuer).unwrap();
    let proof = node.prove(&client).unwrap();
    network.set(today);
    let error = refused_in_handshake(meet(&node, &network.issuer));
    assert!(
        matches!(
            error,
            Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })
        ),
        "{error:?}"
    );
    let refused = network.issuer.verify_peer(&server, &proof).unwrap_err();
    assert_eq!(refused.code, "not-yet-valid");
}

#[test]
fn a_revoked_node_is_refused_and_the_epoch_moves() {
    let network = Network::new();
    let (node, witness) = (network.node("revoked"), network.node("witness"));
    let (client, server) = connect(node.tls_client(), &network.issuer).unwrap();
    let proof = node.prove(&client).unwrap();
    let epoch = network.issuer.revocation_epoch();
    let list = network
        .issuer
        .revoke(Revoked::Node(node.node_id()))
        .unwrap();
    assert!(network.issuer.revocation_epoch() > epoch);
    assert!(NodeIdentity::is_revoked(&network.issuer, &node.node_id()));
    assert!(!NodeIdentity::is_revoked(
        &network.issuer,
        &witness.node_id()
    ));
    let error = refused_in_handshake(meet(&node, &network.issuer));
    assert_eq!(error, Error::InvalidCertificate(CertificateError::Revoked));
    assert_eq!(
        network
            .issuer
            .verify_peer(&server, &proof)
            .unwrap_err()
            .code,
        "revoked"
    );
    // It does not get a new certificate either, and others learn of it.
    refused_in_handshake(network.renew(&node));
    assert!(witness.install_revocations(list.as_bytes()).unwrap());
    assert!(!witness.install_revocations(list.as_bytes()).unwrap());
    refused_in_handshake(meet(&node, &witness));
    meet(&witness, &network.issuer).unwrap();
    // The list outlives the process.
    let reopened = network.reopen("witness").unwrap();
    assert!(NodeIdentity::is_revoked(&reopened, &node.node_id()));
    assert_eq!(reopened.revocation_epoch(), 1);
}

#[test]
fn a_stripped_proof_is_refused() {
    let network = Network::new();
    let node = network.node("quiet");
    let (client, server) = connect(node.tls_client(), &network.issuer).unwrap();
    assert_eq!(
        network.issuer.verify_peer(&server, &[]).unwrap_err().code,
        "proof-missing"
    );
    let proof = node.prove(&client).unwrap();
    let cut = network
        .issuer
        .verify_peer(&server, &proof[..proof.len() - 1]);
    assert_eq!(cut.unwrap_err().code, "malformed");
    let long = network
        .issuer
        .verify_peer(&server, &vec![1; MAX_PROOF_BYTES + 1]);
    assert_eq!(long.unwrap_err().code, "too-large");
    assert!(proof.len() < MAX_PROOF_BYTES);
}

#[test]
fn a_proof_of_another_connection_side_or_node_is_refused() {
    let network = Network::new();
    let (node, other) = (network.node("node"), network.node("other"));
    let (client, server) = connect(node.tls_client(), &network.issuer).unwrap();
    let proof = node.prove(&client).unwrap();
    network.issuer.verify_peer(&server, &proof).unwrap();
    // Replayed on the next connection.
    let (next, next_server) = connect(node.tls_client(), &network.issuer).unwrap();
    let replayed = network.issuer.verify_peer(&next_server, &proof);
    assert_eq!(replayed.unwrap_err().code, "proof-foreign");
    // Reflected to the one who made it.
    let issued = network.issuer.prove(&next_server).unwrap();
    assert_eq!(
        network
            .issuer
            .verify_peer(&next_server, &issued)
            .unwrap_err()
            .code,
        "proof-foreign"
    );
    node.verify_peer(&next, &issued).unwrap();
    // Another member's, over this connection.
    let (theirs, _) = connect(other.tls_client(), &network.issuer).unwrap();
    let foreign = network
        .issuer
        .verify_peer(&next_server, &other.prove(&theirs).unwrap());
    assert_eq!(foreign.unwrap_err().code, "proof-foreign");
}

#[test]
fn another_nodes_certificate_helps_nobody() {
    let network = Network::new();
    let (victim, thief) = (network.node("victim"), network.node("thief"));
    let (client, server) = connect(thief.tls_client(), &network.issuer).unwrap();
    let own = thief.current.get().chain.chain.clone();
    let stolen = victim.current.get().chain.chain.clone();
    let refused = |key: &Keys, chain: &NodeChain| {
        let proof = proof::prove(&client, &key.falcon, chain).unwrap();
        network
            .issuer
            .verify_peer(&server, &proof)
            .unwrap_err()
            .code
    };
    // The victim's certificates over the thief's connection: the channel names the thief.
    assert_eq!(refused(&thief.keys, &stolen), "proof-foreign");
    // The right channel, the thief's certificate, a key that is not certified.
    assert_eq!(refused(&victim.keys, &own), "unknown-issuer");
    // A certificate that the thief issued to itself, with its own key as the network's.
    let forged = NodeChain {
        node: own.node.clone(),
        network: own.node.clone(),
    };
    assert_eq!(refused(&thief.keys, &forged), "wrong-role");
    let swapped = NodeChain {
        node: own.network.clone(),
        network: own.network.clone(),
    };
    assert_eq!(refused(&thief.keys, &swapped), "proof-foreign");
    // Bytes of another node's TLS certificate in this channel: the tie to the TLS key breaks.
    let (theirs, _) = connect(victim.tls_client(), &network.issuer).unwrap();
    let mut mixed = server.clone();
    mixed.peer_certificates = connect(victim.tls_client(), &network.issuer)
        .unwrap()
        .1
        .peer_certificates;
    let proof = thief.prove(&client).unwrap();
    assert_eq!(
        network.issuer.verify_peer(&mixed, &proof).unwrap_err().code,
        "proof-foreign"
    );
    drop(theirs);
}

#[test]
fn every_changed_bit_of_a_proof_is_noticed() {
    let network = Network::new();
    let node = network.node("node");
    let (client, server) = connect(node.tls_client(), &network.issuer).unwrap();
    let proof = node.prove(&client).unwrap();
    // The boot epoch is covered by the signature like everything else. Every 97th byte: 80 changes.
    for at in (0..proof.len()).step_by(97) {
        let mut changed = proof.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(
            network.issuer.verify_peer(&server, &changed).is_err(),
            "byte {at}"
        );
    }
    network.issuer.verify_peer(&server, &proof).unwrap();
}

#[test]
fn a_classical_key_exchange_is_refused_by_both_sides() {
    let network = Network::new();
    let node = network.node("node");
    let pair = handshake(node.tls_client(), network.issuer.tls_server()).unwrap();
    let group = pair.client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);

    let classical = || {
        let mut provider = default_provider();
        provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
        Arc::new(provider)
    };
    let live = node.current.get();
    let chain = vec![live.chain.tls_node.clone(), live.chain.tls_network.clone()];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(live.trust.bundle.roots()[0].tls.clone()).unwrap();
    let mut client =
        ClientConfig::builder_with_details(classical(), node.tls_client().time_provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), node.keys.tls.private_key())
            .unwrap();
    client.alpn_protocols = vec![crate::core::ALPN.to_vec()];
    let refused = handshake(Arc::new(client), network.issuer.tls_server());
    assert!(matches!(refused, Err(Error::PeerIncompatible(_))));

    let mut server = ServerConfig::builder_with_provider(classical())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, node.keys.tls.private_key())
        .unwrap();
    server.alpn_protocols = vec![crate::core::ALPN.to_vec()];
    assert!(handshake(network.issuer.tls_client(), Arc::new(server)).is_err());
}

#[test]
fn nobody_connects_without_a_certificate_and_nothing_is_resumed() {
    let network = Network::new();
    let node = network.node("node");
    let live = node.current.get();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(live.trust.bundle.roots()[0].tls.clone()).unwrap();
    let provider = Arc::clone(node.tls_client().crypto_provider());
    let time = node.tls_client().time_provider.clone();
    let mut anonymous = ClientConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    anonymous.alpn_protocols = vec![crate::core::ALPN.to_vec()];
    let refused = handshake(Arc::new(anonymous), network.issuer.tls_server());
    assert!(matches!(refused, Err(Error::NoCertificatesPresented)));

    let (client, server) = (node.tls_client(), network.issuer.tls_server());
    assert!(!client.enable_early_data);
    assert_eq!(
        (server.max_early_data_size, server.send_tls13_tickets),
        (0, 0)
    );
    for _ in 0..3 {
        let pair = handshake(Arc::clone(&client), Arc::clone(&server)).unwrap();
        assert_eq!(
            pair.client.handshake_kind(),
            Some(rustls::HandshakeKind::Full)
        );
        assert_eq!(pair.client.tls13_tickets_received(), 0);
    }
}

#[test]
fn a_joiner_gets_no_further_than_joining() {
    let network = Network::new();
    let token = network.issuer.invite("", 60).unwrap();
    let joining =
        crate::identity::Joining::new(&token.to_text(), network.options("joiner")).unwrap();
    let (_, server) = connect(joining.tls_client(), &network.issuer).unwrap();
    let member = network.node("member");
    let (client, _) = connect(member.tls_client(), &network.issuer).unwrap();
    let proof = member.prove(&client).unwrap();
    let refused = network.issuer.verify_peer(&server, &proof).unwrap_err();
    assert_eq!(refused.code, "binding-mismatch");
}

#[test]
fn revocation_lists_are_neither_tampered_with_nor_rolled_back() {
    let network = Network::new();
    let (a, b, witness) = (
        network.node("a"),
        network.node("b"),
        network.node("witness"),
    );
    let first = network.issuer.revoke(Revoked::Node(a.node_id())).unwrap();
    let second = network.issuer.revoke(Revoked::Node(b.node_id())).unwrap();
    for at in [0, 40, 80, 100, 3_000, second.as_bytes().len() - 1] {
        let mut tampered = second.as_bytes().to_vec();
        tampered[at] ^= 1;
        assert!(witness.install_revocations(&tampered).is_err(), "byte {at}");
    }
    assert!(witness.install_revocations(second.as_bytes()).unwrap());
    // An older one changes nothing, not on the wire and not on the disk.
    assert!(!witness.install_revocations(first.as_bytes()).unwrap());
    let file = witness.data().join("identity/trust.revocations");
    std::fs::write(&file, first.as_bytes()).unwrap();
    witness.upkeep().unwrap();
    assert_eq!(witness.revocation_epoch(), 2);
    assert!(NodeIdentity::is_revoked(&witness, &b.node_id()));
    // Another network's list, signed as well as can be.
    let stranger = Network::new();
    let theirs = stranger
        .issuer
        .revoke(Revoked::Node(witness.node_id()))
        .unwrap();
    assert_eq!(
        witness
            .install_revocations(theirs.as_bytes())
            .unwrap_err()
            .code(),
        "wrong-network"
    );
    // A network key adds and never removes: a list that forgets an entry is believed from a root alone.
    let empty = crate::identity::RevocationList::empty(network.issuer.network());
    let shortened = network
        .issuer
        .with_authority(|authority| authority.sign_list(&empty, 9, network.now()))
        .unwrap();
    assert_eq!(
        witness
            .install_revocations(shortened.as_bytes())
            .unwrap_err()
            .code(),
        "roll-back"
    );
}
