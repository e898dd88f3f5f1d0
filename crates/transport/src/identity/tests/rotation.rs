//! New network keys, new roots, and who still connects meanwhile.

use super::network::Network;
use super::pair::meet;
use crate::identity::{NETWORK_SECONDS, NODE_SECONDS, NodeIdentity, Revoked, Rotation};

#[test]
fn a_new_network_key_cuts_nobody_off() {
    let network = Network::new();
    let node = network.node("node");
    let before = network.issuer.network_certificate();
    network.issuer.rotate(Rotation::Network).unwrap();
    assert_ne!(
        network.issuer.network_certificate().serial(),
        before.serial()
    );
    meet(&node, &network.issuer).unwrap();
    meet(&network.issuer, &node).unwrap();
    let newcomer = network.node("newcomer");
    meet(&node, &newcomer).unwrap();
    network.renew(&node).unwrap();
    meet(&newcomer, &node).unwrap();
}

#[test]
fn a_network_key_is_replaced_at_half_life_by_itself() {
    let network = Network::new();
    let before = network.issuer.network_certificate();
    for _ in 0..2 {
        network.pass(NETWORK_SECONDS / 2);
        // A node that slept for weeks wakes with an expired certificate of its own: opening renews it.
        let issuer = network.reopen("issuer").unwrap();
        issuer.upkeep().unwrap();
        network.pass(NODE_SECONDS / 2 + 1);
        issuer.upkeep().unwrap();
    }
    let issuer = network.reopen("issuer").unwrap();
    assert_ne!(issuer.network_certificate().serial(), before.serial());
    assert_eq!(issuer.node_id(), network.issuer.node_id());
}

#[test]
fn a_new_root_is_trusted_beside_the_old_one_until_that_retires() {
    let network = Network::new();
    let (informed, slow) = (network.node("informed"), network.node("slow"));
    let banned = network.node("banned");
    network
        .issuer
        .revoke(Revoked::Node(banned.node_id()))
        .unwrap();
    network.issuer.rotate(Rotation::PrepareRoot).unwrap();
    let both = network.issuer.trust_bundle();
    assert_eq!((both.sequence(), both.roots().len()), (2, 2));
    assert_eq!(both.network(), network.issuer.network());
    // Nothing is issued under it yet, so whoever has not heard of it is not cut off, and hears of it by renewing.
    meet(&slow, &network.issuer).unwrap();
    network.renew(&informed).unwrap();
    network.renew(&slow).unwrap();
    assert_eq!(slow.trust_bundle().sequence(), 2);
    assert!(!informed.install_bundle(both.as_bytes()).unwrap());

    network.issuer.rotate(Rotation::ActivateRoot).unwrap();
    meet(&slow, &network.issuer).unwrap();
    meet(&network.issuer, &slow).unwrap();
    network.renew(&informed).unwrap();
    meet(&slow, &informed).unwrap();
    let newcomer = network.node("newcomer");
    meet(&newcomer, &informed).unwrap();
    meet(&newcomer, &slow).unwrap();

    network.issuer.rotate(Rotation::RetireRoots).unwrap();
    let one = network.issuer.trust_bundle();
    assert_eq!((one.sequence(), one.roots().len()), (3, 1));
    assert!(informed.install_bundle(one.as_bytes()).unwrap());
    assert_eq!(
        informed
            .install_bundle(both.as_bytes())
            .map_err(|error| error.code()),
        Ok(false)
    );
    meet(&informed, &network.issuer).unwrap();
    // Certificates under the old root have ended.
    meet(&slow, &informed).unwrap_err();
    // Whoever was revoked stays so, across both, on the disk too.
    let reopened = network.reopen("issuer").unwrap();
    assert!(NodeIdentity::is_revoked(&reopened, &banned.node_id()));
    meet(&newcomer, &reopened).unwrap();
}

#[test]
fn a_bundle_that_no_trusted_root_signed_is_refused() {
    let (network, stranger) = (Network::new(), Network::new());
    let node = network.node("node");
    stranger.issuer.rotate(Rotation::PrepareRoot).unwrap();
    let theirs = stranger.issuer.trust_bundle();
    assert_eq!(
        node.install_bundle(theirs.as_bytes()).unwrap_err().code(),
        "wrong-network"
    );
    // From two rotations ahead, signed by a root that this node never trusted.
    network.issuer.rotate(Rotation::PrepareRoot).unwrap();
    network.issuer.rotate(Rotation::ActivateRoot).unwrap();
    network.issuer.rotate(Rotation::RetireRoots).unwrap();
    let ahead = network.issuer.trust_bundle();
    assert_eq!(
        node.install_bundle(ahead.as_bytes()).unwrap_err().code(),
        "unknown-issuer"
    );
}

#[test]
fn a_revoked_network_key_takes_its_nodes_with_it() {
    let network = Network::new();
    let (old, witness) = (network.node("old"), network.node("witness"));
    let stolen = network.issuer.network_certificate().falcon().id();
    network.issuer.rotate(Rotation::Network).unwrap();
    network.renew(&witness).unwrap();
    let list = network.issuer.revoke(Revoked::Issuer(stolen)).unwrap();
    witness.install_revocations(list.as_bytes()).unwrap();
    meet(&witness, &network.issuer).unwrap();
    meet(&old, &network.issuer).unwrap_err();
    meet(&old, &witness).unwrap_err();
}

#[test]
fn what_the_command_line_does_reaches_the_running_process() {
    let network = Network::new();
    let node = network.node("node");
    // Another process on the same folder: it issues, revokes and rotates.
    let other = network.reopen("issuer").unwrap();
    let token = other.invite("guest", 60).unwrap().to_text();
    assert_eq!(network.issuer.upkeep().unwrap().open_tokens, 1);
    network.join(&token, "guest").unwrap();
    other.rotate(Rotation::Network).unwrap();
    other.revoke(Revoked::Node(node.node_id())).unwrap();
    assert_eq!(network.issuer.revocation_epoch(), 0);
    assert!(network.issuer.upkeep().unwrap().reloaded);
    assert_eq!(network.issuer.revocation_epoch(), 1);
    assert_eq!(
        network.issuer.network_certificate().serial(),
        other.network_certificate().serial()
    );
    meet(&node, &network.issuer).unwrap_err();
    assert!(!network.issuer.upkeep().unwrap().reloaded);
}

#[test]
fn who_was_revoked_is_out_even_when_ones_own_certificate_has_expired() {
    let network = Network::new();
    let (asleep, bad) = (network.node("asleep"), network.node("bad"));
    let list = network.issuer.revoke(Revoked::Node(bad.node_id())).unwrap();
    network.pass(NODE_SECONDS + 1);
    std::fs::write(
        asleep.data().join("identity/trust.revocations"),
        list.as_bytes(),
    )
    .unwrap();
    set_owner_only(&asleep.data().join("identity/trust.revocations"));
    assert_eq!(asleep.upkeep().unwrap_err().code(), "expired");
    assert!(NodeIdentity::is_revoked(&asleep, &bad.node_id()));
    assert_eq!(asleep.revocation_epoch(), 1);
}

fn set_owner_only(path: &std::path::Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[test]
fn changes_by_many_hands_undo_none() {
    let network = Network::new();
    let nodes: Vec<_> = (0..4).map(|at| network.node(&format!("n{at}"))).collect();
    let witness = network.node("witness");
    network.pass(NODE_SECONDS / 2 + 1);
    // Renewals, revocations and upkeep at once, in several threads on both sides.
    std::thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(|| {
                let list = network
                    .issuer
                    .revoke(Revoked::Node(node.node_id()))
                    .unwrap();
                witness.install_revocations(list.as_bytes()).unwrap();
            });
        }
        for _ in 0..2 {
            scope.spawn(|| network.issuer.upkeep().unwrap());
            scope.spawn(|| witness.upkeep().unwrap());
        }
        scope.spawn(|| network.renew(&witness).unwrap());
    });
    for identity in [&network.issuer, &witness] {
        assert_eq!(identity.revocation_epoch(), 4);
        assert!(
            nodes
                .iter()
                .all(|node| NodeIdentity::is_revoked(identity, &node.node_id()))
        );
    }
}

#[test]
fn a_first_start_that_was_cut_off_is_repeated() {
    let network = Network::new();
    let data = network.issuer.data().join("identity");
    std::fs::remove_file(data.join("trust.bundle")).unwrap();
    let again = NodeIdentity::open_or_create(network.options("issuer"), "test").unwrap();
    assert_ne!(again.network(), network.issuer.network());
    // The keys that nobody trusts are out of the way, not lost.
    let kept = std::fs::read_dir(data.join("ca")).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("root.key.")
    });
    assert_eq!(kept.count(), 1);
}
