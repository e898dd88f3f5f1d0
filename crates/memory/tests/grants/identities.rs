//! With identities as they are: FALCON-1024 signatures, certificates on disk.

use std::{fs, path::Path, sync::Arc, time::Instant};

use linkmesh_memory::{
    grant::{Exports, Grant, GrantError, MAX_GRANT_BYTES, Moment, Slice, Verifier},
    region::{HeapRegion, RangeRights, Rights},
};
use linkmesh_transport::identity::{IdentityOptions, NodeIdentity};

/// Another node of the network whose keys are in `first`: they issue its certificate when it is opened.
fn sibling(first: &Path, data: &Path) -> Arc<NodeIdentity> {
    copy_all_but_the_node(&first.join("identity"), &data.join("identity"));
    NodeIdentity::open(IdentityOptions::new(data)).unwrap()
}

fn copy_all_but_the_node(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            copy_all_but_the_node(&entry.path(), &to.join(name));
        } else if !name.to_string_lossy().starts_with("node.") {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_node_signs_another_delegates_a_third_presents() {
    let place = tempfile::tempdir().unwrap();
    let first = place.path().join("exporter");
    let exporter = NodeIdentity::open_or_create(IdentityOptions::new(&first), "net").unwrap();
    let holder = sibling(&first, &place.path().join("holder"));
    let friend = sibling(&first, &place.path().join("friend"));
    let stranger_place = place.path().join("stranger");
    let stranger =
        NodeIdentity::open_or_create(IdentityOptions::new(stranger_place), "net").unwrap();
    let ids = [&exporter, &holder, &friend].map(|node| node.node_id().0);
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);

    let now = Moment {
        instant: Instant::now(),
        unix_ms: 1_000,
    };
    let slice = |holder, length| Slice {
        holder,
        offset: 0,
        length,
        rights: Rights::READ,
        expires_unix_ms: 9_000,
    };
    let mut exports = Exports::new(ids[0]);
    exports
        .export(
            "scores",
            Arc::new(HeapRegion::new(64, 1)),
            RangeRights::uniform(Rights::ALL),
        )
        .unwrap();
    let grant = exports
        .issue(&*exporter, "scores", slice(ids[1], 64), [1; 16], now)
        .unwrap();
    assert!(
        grant.to_string().len() < 2_100,
        "{} letters",
        grant.to_string().len()
    );
    let verifier: &dyn Verifier = &*exporter;
    assert_eq!(
        exports
            .present(grant.bytes(), &ids[1], verifier, now)
            .unwrap()
            .length,
        64
    );

    let mut given_on = grant.delegate(&*holder, slice(ids[2], 8), [2; 16]).unwrap();
    assert_eq!(
        exports
            .present(given_on.bytes(), &ids[2], verifier, now)
            .unwrap()
            .length,
        8
    );
    // A chain of eight with certificates in each link still fits.
    for (link, nodes) in [(&friend, 1), (&holder, 2)]
        .into_iter()
        .cycle()
        .take(6)
        .enumerate()
    {
        let (from, to) = nodes;
        given_on = given_on
            .delegate(&**from, slice(ids[to], 8), [3 + link as u8; 16])
            .unwrap();
    }
    assert_eq!(given_on.links().len(), 8);
    assert!(given_on.bytes().len() <= MAX_GRANT_BYTES);
    exports
        .present(given_on.bytes(), &given_on.holder(), verifier, now)
        .unwrap();

    // The exporter's name in a stranger's hand, and a holder of another network.
    let forged = Grant::issue(&*stranger, "scores", 1, 0, slice(ids[1], 64), [9; 16]).unwrap();
    assert_eq!(
        exports
            .present(forged.bytes(), &ids[1], verifier, now)
            .unwrap_err(),
        GrantError::WrongExporter
    );
    let to_stranger = exports
        .issue(
            &*exporter,
            "scores",
            slice(stranger.node_id().0, 64),
            [4; 16],
            now,
        )
        .unwrap()
        .delegate(&*stranger, slice(ids[2], 8), [5; 16])
        .unwrap();
    let refused = exports
        .present(to_stranger.bytes(), &ids[2], verifier, now)
        .unwrap_err();
    assert!(matches!(refused, GrantError::Signature(_)), "{refused}");
}
