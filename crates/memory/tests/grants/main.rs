//! What a grant opens and what it does not: forged, stolen, widened, expired, revoked, damaged.

#[cfg(unix)]
mod identities;
mod support;
mod text;

use std::sync::Arc;

use linkmesh_memory::{
    grant::{Grant, GrantError, GrantId, MAX_LINKS, NodeId, Presented, Refused, Signer, Slice},
    region::{AccessError, HeapRegion, RangeRights, Rights},
};
use support::{
    ALL, EXPORTER, FRIEND, HOLDER, Members, Node, STRANGER, exports, issue, now, present, rights,
    slice,
};

#[test]
fn a_grant_opens_its_slice_for_its_holder_until_it_ends() {
    let mut exports = exports();
    let grant = issue(&exports, slice(HOLDER, 64, 128, "ra"), 9);
    let access = present(&mut exports, &grant, HOLDER).unwrap();
    assert_eq!(
        (access.base, access.length, access.rights, access.epoch),
        (64, 128, rights("ra"), 77)
    );
    let at = |unix_ms| now(unix_ms).instant;
    assert_eq!(access.check(Rights::READ, 120, 8, at(9_999)), Ok(184));
    assert_eq!(
        access.check(Rights::WRITE, 0, 8, at(2_000)),
        Err(AccessError::Rights)
    );
    assert_eq!(
        access.check(Rights::READ, 0, 8, at(10_000)),
        Err(AccessError::Expired)
    );
    assert!(matches!(
        access.check(Rights::READ, 121, 8, at(2_000)),
        Err(AccessError::OutOfRange { .. })
    ));
}

#[test]
fn whoever_is_not_the_holder_is_refused_and_so_is_another_exporter() {
    let mut exports = exports();
    let grant = issue(&exports, slice(HOLDER, 0, 64, "r"), 9);
    assert_eq!(
        present(&mut exports, &grant, STRANGER).unwrap_err(),
        GrantError::WrongNode
    );
    let elsewhere = Presented::check(grant.bytes(), &STRANGER.id(), &HOLDER.id(), 0);
    assert_eq!(elsewhere.unwrap_err(), GrantError::WrongExporter);
    let late = exports.present(grant.bytes(), &HOLDER.id(), &ALL, now(10_000));
    assert_eq!(late.unwrap_err(), GrantError::Expired);
}

/// A stranger who signs in the exporter's name.
struct Forger;
impl Signer for Forger {
    fn node_id(&self) -> NodeId {
        EXPORTER.id()
    }
    fn credential(&self) -> Vec<u8> {
        Vec::new()
    }
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        STRANGER.sign(message)
    }
}

/// For a region that exists and for one that does not.
#[test]
fn a_forged_grant_says_nothing_about_what_is_exported() {
    let mut exports = exports();
    for name in ["scores", "nothing"] {
        let forged =
            Grant::issue(&Forger, name, 77, 0, slice(STRANGER, 0, 8, "r"), [1; 16]).unwrap();
        let refused = present(&mut exports, &forged, STRANGER).unwrap_err();
        assert_eq!(
            refused,
            GrantError::Signature(Refused {
                reason: "signature".into()
            })
        );
    }
}

#[test]
fn delegation_only_narrows_and_every_link_must_be_signed_by_the_holder_before() {
    let mut exports = exports();
    let grant = issue(&exports, slice(HOLDER, 64, 128, "rw"), 9);
    let wider = [
        (slice(FRIEND, 63, 10, "r"), "slice"),
        (slice(FRIEND, 64, 129, "r"), "slice"),
        (slice(FRIEND, 64, 0, "r"), "slice"),
        (slice(FRIEND, u64::MAX, 2, "r"), "slice"),
        (slice(FRIEND, 64, 8, "ra"), "rights"),
        (
            Slice {
                expires_unix_ms: 10_001,
                ..slice(FRIEND, 64, 8, "r")
            },
            "expiry",
        ),
    ];
    for (slice, field) in wider {
        assert_eq!(
            grant.delegate(&HOLDER, slice, [5; 16]).unwrap_err(),
            GrantError::Wider { field }
        );
    }
    assert_eq!(
        grant
            .delegate(&STRANGER, slice(STRANGER, 64, 8, "r"), [5; 16])
            .unwrap_err(),
        GrantError::WrongNode
    );
    let given_on = grant
        .delegate(&HOLDER, slice(FRIEND, 72, 8, "r"), [5; 16])
        .unwrap();
    assert_eq!(
        present(&mut exports, &given_on, HOLDER).unwrap_err(),
        GrantError::WrongNode
    );
    let access = present(&mut exports, &given_on, FRIEND).unwrap();
    assert_eq!(
        (access.base, access.length, access.rights),
        (72, 8, rights("r"))
    );
    // The certificate authority revoked the node in the middle of the chain.
    let members = Members {
        me: EXPORTER,
        revoked: Some(HOLDER),
    };
    let refused = exports
        .present(given_on.bytes(), &FRIEND.id(), &members, now(2_000))
        .unwrap_err();
    assert_eq!(
        refused,
        GrantError::Signature(Refused {
            reason: "revoked".into()
        })
    );
}

#[test]
fn a_chain_has_eight_links_at_most() {
    let mut exports = exports();
    let mut grant = issue(&exports, slice(Node(10), 0, 64, "r"), 0);
    for link in 1..MAX_LINKS as u8 {
        grant = grant
            .delegate(
                &Node(9 + link),
                slice(Node(10 + link), 0, 64, "r"),
                [link; 16],
            )
            .unwrap();
    }
    assert_eq!(grant.links().len(), MAX_LINKS);
    assert!(present(&mut exports, &grant, Node(17)).is_ok());
    let beyond = grant.delegate(&Node(17), slice(Node(18), 0, 64, "r"), [99; 16]);
    assert_eq!(
        beyond.unwrap_err(),
        GrantError::TooLong {
            field: "links",
            limit: MAX_LINKS
        }
    );
}

#[test]
fn a_grant_is_refused_for_more_than_the_region_gives() {
    let exports = exports();
    let ask = |offset, length, letters| {
        exports
            .issue(
                &EXPORTER,
                "scores",
                slice(HOLDER, offset, length, letters),
                [0; 16],
                now(0),
            )
            .unwrap_err()
    };
    assert_eq!(
        ask(4090, 7, "r"),
        GrantError::OutOfRange {
            end: 4097,
            available: 4096
        }
    );
    assert_eq!(
        ask(0, 4096, "rw"),
        GrantError::Rights {
            allowed: Rights::READ
        }
    );
    assert_eq!(
        ask(3999, 2, "a"),
        GrantError::Rights {
            allowed: Rights::READ
        }
    );
    assert_eq!(ask(0, 0, "r"), GrantError::Wider { field: "slice" });
    let expired = exports.issue(
        &EXPORTER,
        "scores",
        slice(HOLDER, 0, 8, "r"),
        [0; 16],
        now(10_000),
    );
    assert_eq!(expired.unwrap_err(), GrantError::Expired);
    let unknown = exports.issue(
        &EXPORTER,
        "other",
        slice(HOLDER, 0, 8, "r"),
        [0; 16],
        now(0),
    );
    assert_eq!(unknown.unwrap_err(), GrantError::UnknownRegion);
}

#[test]
fn revocation_ends_one_grant_with_its_delegations_a_node_or_a_region() {
    let mut exports = exports();
    let first = issue(&exports, slice(HOLDER, 0, 64, "r"), 1);
    let second = issue(&exports, slice(HOLDER, 0, 64, "r"), 2);
    let child = first
        .delegate(&HOLDER, slice(FRIEND, 0, 8, "r"), [3; 16])
        .unwrap();
    let holders = [(&first, HOLDER), (&second, HOLDER), (&child, FRIEND)];
    let accesses = holders.map(|(grant, peer)| present(&mut exports, grant, peer).unwrap());
    let alive = || {
        accesses
            .each_ref()
            .map(|access| access.check(Rights::READ, 0, 8, now(2_000).instant).is_ok())
    };
    assert_eq!(alive(), [true; 3]);

    assert_eq!(exports.revoke_grant("scores", GrantId([1; 16])), Ok(2));
    assert_eq!(alive(), [false, true, false]);
    assert_eq!(
        present(&mut exports, &child, FRIEND).unwrap_err(),
        GrantError::Revoked
    );

    assert_eq!(exports.revoke_node(&HOLDER.id(), now(2_000)), 1);
    assert_eq!(alive(), [false; 3]);
    assert_eq!(
        present(&mut exports, &second, HOLDER).unwrap_err(),
        GrantError::Revoked
    );
    // A grant issued after that, even in the same millisecond, is a new one.
    let later = exports
        .issue(
            &EXPORTER,
            "scores",
            slice(HOLDER, 0, 8, "r"),
            [4; 16],
            now(2_000),
        )
        .unwrap();
    let access = present(&mut exports, &later, HOLDER).unwrap();

    let region = Arc::clone(exports.region("scores").unwrap());
    assert_eq!(exports.revoke_region("scores"), Ok(1));
    assert!(region.is_revoked() && exports.region("scores").is_none());
    assert_eq!(
        access.check(Rights::READ, 0, 8, now(2_000).instant),
        Err(AccessError::Revoked)
    );
    assert_eq!(
        present(&mut exports, &later, HOLDER).unwrap_err(),
        GrantError::UnknownRegion
    );
    // Exported anew under the same name: grants of the former export open nothing.
    exports
        .export(
            "scores",
            Arc::new(HeapRegion::new(4096, 78)),
            RangeRights::uniform(Rights::ALL),
        )
        .unwrap();
    assert_eq!(
        present(&mut exports, &later, HOLDER).unwrap_err(),
        GrantError::StaleEpoch
    );
    let taken = exports.export(
        "scores",
        Arc::new(HeapRegion::new(8, 79)),
        RangeRights::uniform(Rights::ALL),
    );
    assert_eq!(taken.unwrap_err(), GrantError::NameTaken);
}

#[test]
fn accesses_that_are_not_held_any_more_are_forgotten() {
    let mut exports = exports();
    let grant = issue(&exports, slice(HOLDER, 0, 64, "r"), 1);
    let kept: Vec<_> = (0..10)
        .map(|_| present(&mut exports, &grant, HOLDER).unwrap())
        .collect();
    for _ in 0..20_000 {
        drop(present(&mut exports, &grant, HOLDER).unwrap());
    }
    let ended = exports.revoke_grant("scores", grant.id()).unwrap();
    assert!(
        (10..=2_100).contains(&ended),
        "{ended} accesses were remembered"
    );
    assert!(kept.iter().all(
        |access| access.check(Rights::READ, 0, 1, now(0).instant) == Err(AccessError::Revoked)
    ));
}
