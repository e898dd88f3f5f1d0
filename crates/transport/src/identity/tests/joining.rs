//! The first start, tokens, renewal, and what is on the disk afterwards.

use super::network::Network;
use super::pair::{connect, handshake, meet};
use crate::core::Authenticator;
use crate::identity::{
    IdentityError, Joining, NODE_SECONDS, NodeIdentity, ObjectKind, RevocationList,
};

#[test]
fn the_first_start_makes_a_network_and_the_next_finds_it() {
    let network = Network::new();
    let again = NodeIdentity::open_or_create(network.options("issuer"), "other").unwrap();
    assert_eq!(again.node_id(), network.issuer.node_id());
    assert_eq!(again.network(), network.issuer.network());
    assert!(again.issues_certificates());
}

#[test]
fn a_node_joins_with_a_token_and_both_meet() {
    let network = Network::new();
    let node = network.node("joined");
    assert!(!node.issues_certificates());
    assert_eq!(node.issuer_address().unwrap(), "127.0.0.1:7443");
    let (issuer, joined) = meet(&node, &network.issuer).unwrap();
    assert_eq!(issuer.node_id, network.issuer.node_id());
    assert_eq!(joined.node_id, node.node_id());
    assert_eq!(
        (issuer.name.as_str(), joined.name.as_str()),
        ("issuer", "joined")
    );
    assert_eq!(joined.network, network.issuer.network().to_string());
    assert_eq!(joined.not_after, network.now() + NODE_SECONDS);
    assert_eq!((issuer.boot_epoch, joined.boot_epoch), ([1; 16], [0; 16]));
    // And two that joined meet without the issuer.
    let other = network.node("other");
    meet(&node, &other).unwrap();
    meet(&other, &node).unwrap();
    // What is stored is what was joined.
    let reopened = network.reopen("joined").unwrap();
    assert_eq!(reopened.node_id(), node.node_id());
    meet(&reopened, &network.issuer).unwrap();
}

#[test]
fn a_token_is_good_once_and_in_its_time() {
    let network = Network::new();
    let token = network.issuer.invite("named", 60).unwrap().to_text();
    let node = network.join(&token, "first").unwrap();
    assert_eq!(node.certificate().name(), "named");
    network.issuer.upkeep().unwrap();
    // With no token open, whoever has no certificate is refused in the handshake already.
    assert_eq!(
        network.join(&token, "second").unwrap_err().code(),
        "handshake"
    );
    let _open = network.issuer.invite("", 60).unwrap();
    assert_eq!(
        network.join(&token, "second").unwrap_err().code(),
        "token-refused"
    );
    let late = network.issuer.invite("", 60).unwrap().to_text();
    network.pass(61);
    let _open = network.issuer.invite("", 60).unwrap();
    assert_eq!(
        network.join(&late, "late").unwrap_err().code(),
        "token-refused"
    );
    assert_eq!(
        node.invite("", 60).unwrap_err(),
        IdentityError::NotAuthority
    );
}

#[test]
fn a_joiner_believes_the_root_of_its_token_alone() {
    let (network, stranger) = (Network::new(), Network::new());
    let token = network.issuer.invite("", 60).unwrap().to_text();
    let _open = stranger.issuer.invite("", 60).unwrap();
    let joining = Joining::new(&token, network.options("joiner")).unwrap();
    let refused = handshake(joining.tls_client(), stranger.issuer.tls_server());
    assert!(refused.is_err());
    // It was not spent by that.
    network.join(&token, "joiner").unwrap();
}

#[test]
fn a_request_or_reply_of_another_channel_is_refused() {
    let network = Network::new();
    let token = network.issuer.invite("", 60).unwrap().to_text();
    let joining = Joining::new(&token, network.options("joiner")).unwrap();
    let (client, server) = connect(joining.tls_client(), &network.issuer).unwrap();
    let (_, elsewhere) = connect(joining.tls_client(), &network.issuer).unwrap();
    let request = joining.request(&client);
    let refused = network.issuer.answer(&elsewhere, &request).unwrap_err();
    assert_eq!(refused, IdentityError::TokenRefused);
    // Nor does it spend the token.
    let answer = network.issuer.answer(&server, &request).unwrap();
    for at in [0, 5, 4_000, answer.len() - 1] {
        let mut wrong = answer.clone();
        wrong[at] ^= 1;
        let joining = Joining::new(&token, network.options("joiner")).unwrap();
        assert!(joining.accept(&client, &wrong, "a:1").is_err(), "byte {at}");
        assert!(network.reopen("joiner").is_err(), "nothing is stored");
    }
    let (other, _) = connect(joining.tls_client(), &network.issuer).unwrap();
    let moved = Joining::new(&token, network.options("joiner")).unwrap();
    assert_eq!(
        moved.accept(&other, &answer, "a:1").unwrap_err(),
        IdentityError::TokenRefused
    );
    joining.accept(&client, &answer, "a:1").unwrap();
}

#[test]
fn a_stolen_key_cannot_be_certified_for_somebody_else() {
    let network = Network::new();
    let (token, other) = (
        network.issuer.invite("", 60).unwrap().to_text(),
        network.issuer.invite("", 60).unwrap().to_text(),
    );
    // Two joiners; one sends its request over the other's connection, whose TLS key is another.
    let joining = Joining::new(&token, network.options("a")).unwrap();
    let stranger = Joining::new(&other, network.options("b")).unwrap();
    let (client, server) = connect(stranger.tls_client(), &network.issuer).unwrap();
    let refused = network.issuer.answer(&server, &joining.request(&client));
    assert_eq!(refused.unwrap_err().code(), "binding-mismatch");
}

#[test]
fn a_certificate_is_renewed_at_half_life_and_the_node_stays_itself() {
    let network = Network::new();
    let node = network.node("joined");
    assert!(!node.upkeep().unwrap().renewal_due);
    network.pass(NODE_SECONDS / 2 + 1);
    // Where the network's keys are, upkeep renews by itself.
    let before = network.issuer.certificate();
    assert!(network.issuer.upkeep().unwrap().reloaded);
    assert!(network.issuer.certificate().validity().not_after > before.validity().not_after);
    assert!(node.upkeep().unwrap().renewal_due);
    let (client, server) = connect(node.tls_client(), &network.issuer).unwrap();
    network.renew(&node).unwrap();
    assert!(!node.upkeep().unwrap().renewal_due);
    assert_eq!(node.certificate().node_id(), before_id(&node));
    // A connection from before the renewal still proves itself: the keys are the same.
    network
        .issuer
        .verify_with(&server, &node.prove(&client).unwrap());
    network.pass(NODE_SECONDS / 2 + 1);
    network.issuer.upkeep().unwrap();
    meet(&node, &network.issuer).unwrap();
}

fn before_id(node: &NodeIdentity) -> crate::core::NodeId {
    node.node_id()
}

trait VerifyWith {
    fn verify_with(&self, channel: &crate::core::Channel, proof: &[u8]);
}

impl VerifyWith for NodeIdentity {
    fn verify_with(&self, channel: &crate::core::Channel, proof: &[u8]) {
        Authenticator::verify(self, channel, proof).unwrap();
    }
}

#[test]
fn keys_with_a_passphrase_open_with_it_alone() {
    let network = Network::new();
    let options = || network.encrypted("safe", "a long passphrase");
    let made = NodeIdentity::open_or_create(options(), "safe").unwrap();
    let again = NodeIdentity::open_or_create(options(), "safe").unwrap();
    assert_eq!(made.node_id(), again.node_id());
    let refused = NodeIdentity::open(network.options("safe")).unwrap_err();
    assert_eq!(refused.code(), "passphrase");
    let wrong = NodeIdentity::open(network.encrypted("safe", "another"));
    assert_eq!(wrong.unwrap_err().code(), "passphrase");
}

#[test]
fn what_a_node_signs_is_checked_by_members_alone() {
    let network = Network::new();
    let (signer, checker) = (network.node("signer"), network.node("checker"));
    let stranger = Network::new().issuer;
    let kind = ObjectKind::FIRST_APPLICATION;
    let signature = signer.sign(kind, b"grant").unwrap();
    let id = signer.node_id();
    let credential = signer.credential();
    checker
        .verify(kind, &id, &credential, b"grant", &signature)
        .unwrap();
    signer.verify(kind, &id, &[], b"grant", &signature).unwrap();
    let code = |result: Result<(), IdentityError>| result.unwrap_err().code();
    assert_eq!(
        code(checker.verify(kind, &id, &[], b"grant", &signature)),
        "unknown-issuer"
    );
    meet(&checker, &signer).unwrap();
    checker
        .verify(kind, &id, &[], b"grant", &signature)
        .unwrap();
    assert_eq!(
        code(checker.verify(kind, &id, &[], b"grand", &signature)),
        "bad-signature"
    );
    assert_eq!(
        code(checker.verify(kind, &checker.node_id(), &credential, b"grant", &signature)),
        "bad-signature"
    );
    assert_eq!(
        code(stranger.verify(kind, &id, &credential, b"grant", &signature)),
        "wrong-network"
    );
    assert_eq!(
        code(signer.sign(ObjectKind::CERTIFICATE, b"x").map(drop)),
        "invalid-field"
    );
    // Revoked: nothing that it signed holds any more.
    let list = network
        .issuer
        .revoke(crate::identity::Revoked::Node(id))
        .unwrap();
    assert_eq!(
        RevocationList::decode(list.as_bytes()).unwrap().sequence(),
        1
    );
    checker.install_revocations(list.as_bytes()).unwrap();
    assert_eq!(
        code(checker.verify(kind, &id, &credential, b"grant", &signature)),
        "revoked"
    );
    assert_eq!(
        code(checker.verify(kind, &id, &[], b"grant", &signature)),
        "revoked"
    );
}
