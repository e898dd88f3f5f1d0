//! What a grant opens and what it does not: forged, stolen, widened, expired, revoked, damaged.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use linkmesh_memory::{
    grant::{
        Exports, Grant, GrantError, GrantId, MAX_GRANT_BYTES, MAX_LINKS, Moment, NodeId, Presented,
        Refused, Signer, Slice, Verifier,
    },
    region::{Access, AccessError, HeapRegion, RangeRights, Rights},
};
use proptest::prelude::*;

/// A node whose signature is a keyed hash: enough to tell who signed what. The credential is its key, as a certificate
/// would carry a public one.
#[derive(Clone, Copy)]
struct Node(u8);

impl Node {
    fn id(self) -> NodeId {
        [self.0; 32]
    }
}

fn mac(node: &NodeId, message: &[u8]) -> Vec<u8> {
    let mut hasher = DefaultHasher::new();
    (b"a secret of the test", node, message).hash(&mut hasher);
    let mut signature = b"\x01\x01".to_vec();
    signature.extend_from_slice(&hasher.finish().to_le_bytes());
    signature
}

impl Signer for Node {
    fn node_id(&self) -> NodeId {
        self.id()
    }

    fn credential(&self) -> Vec<u8> {
        vec![self.0; 100]
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refused> {
        Ok(mac(&self.id(), message))
    }
}

/// The exporter's view: itself without a credential, others with theirs, and `revoked` not at all.
struct Members {
    me: Node,
    revoked: Option<Node>,
}

impl Verifier for Members {
    fn verify(
        &self,
        issuer: &NodeId,
        credential: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Refused> {
        let refuse = |reason: &str| {
            Err(Refused {
                reason: reason.into(),
            })
        };
        let expected: &[u8] = if *issuer == self.me.id() {
            &[]
        } else {
            &[issuer[0]; 100]
        };
        if credential != expected {
            return refuse("credential");
        }
        if self.revoked.is_some_and(|node| node.id() == *issuer) {
            return refuse("revoked");
        }
        if signature == mac(issuer, message) {
            Ok(())
        } else {
            refuse("signature")
        }
    }
}

const EXPORTER: Node = Node(1);
const HOLDER: Node = Node(2);
const FRIEND: Node = Node(3);
const STRANGER: Node = Node(4);
const ALL: Members = Members {
    me: EXPORTER,
    revoked: None,
};

fn now(unix_ms: u64) -> Moment {
    // One origin, so that both forms move together.
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    Moment {
        instant: *ORIGIN.get_or_init(Instant::now) + Duration::from_millis(unix_ms),
        unix_ms,
    }
}

fn rights(text: &str) -> Rights {
    Rights::parse(text).unwrap()
}

fn slice(holder: Node, offset: u64, length: u64, letters: &str) -> Slice {
    Slice {
        holder: holder.id(),
        offset,
        length,
        rights: rights(letters),
        expires_unix_ms: 10_000,
    }
}

fn exports() -> Exports {
    let mut exports = Exports::new(EXPORTER.id());
    let mut limits = RangeRights::uniform(Rights::ALL);
    limits.set(4000..4096, Rights::READ).unwrap();
    exports
        .export("scores", Arc::new(HeapRegion::new(4096, 77)), limits)
        .unwrap();
    exports
}

fn issue(exports: &Exports, slice: Slice, nonce: u8) -> Grant {
    exports
        .issue(&EXPORTER, "scores", slice, [nonce; 16], now(1_000))
        .unwrap()
}

fn present(exports: &mut Exports, grant: &Grant, peer: Node) -> Result<Access, GrantError> {
    exports.present(grant.bytes(), &peer.id(), &ALL, now(2_000))
}

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

fn sample() -> Grant {
    let exports = exports();
    issue(&exports, slice(HOLDER, 8, 64, "ra"), 7)
        .delegate(&HOLDER, slice(FRIEND, 8, 8, "r"), [8; 16])
        .unwrap()
}

#[test]
fn the_text_survives_a_mail_and_nothing_else() {
    let grant = sample();
    let text = grant.to_string();
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "safe in a URL"
    );
    assert_eq!(Grant::from_str(&text).unwrap(), grant);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(60)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    let wrapped = format!("  {}\r\n", lines.join("\r\n  "));
    assert_eq!(Grant::from_str(&wrapped).unwrap(), grant);
    for damaged in [
        &text[4..],
        &text[..text.len() - 1],
        &(text.clone() + "A"),
        &(text.clone() + "="),
        "",
    ] {
        assert!(Grant::from_str(damaged).is_err(), "{damaged}");
    }
    let huge = "lmg_".to_owned() + &"A".repeat(1 << 20);
    assert_eq!(
        Grant::from_str(&huge).unwrap_err(),
        GrantError::TooLong {
            field: "grant",
            limit: MAX_GRANT_BYTES
        }
    );
    assert!(!format!("{grant:?}").contains("signature"));
}

proptest! {
    /// What was made decodes to itself, in bytes and in text.
    #[test]
    fn every_grant_comes_back_whole(
        name in "[a-z/é]{1,40}", epoch: u64, issued: u64, offset: u64, length: u64, bits in 0u8..8, expires: u64, nonce: [u8; 16],
    ) {
        let slice = Slice {
            holder: HOLDER.id(), offset, length, rights: Rights::from_bits(bits).unwrap(), expires_unix_ms: expires,
        };
        let made = Grant::issue(&EXPORTER, &name, epoch, issued, slice, nonce);
        if slice.end().is_none() {
            prop_assert_eq!(made.unwrap_err(), GrantError::Wider { field: "slice" });
            return Ok(());
        }
        let made = made.unwrap();
        prop_assert_eq!(made.name(), name);
        prop_assert_eq!((made.epoch(), made.issued_unix_ms(), *made.slice(), made.id()), (epoch, issued, slice, GrantId(nonce)));
        prop_assert_eq!(&Grant::decode(made.bytes()).unwrap(), &made);
        prop_assert_eq!(&made.to_string().parse::<Grant>().unwrap(), &made);
    }

    /// A changed byte is noticed by the checksum; with the checksum put right it is noticed by a signature or is no grant.
    #[test]
    fn no_byte_can_be_changed(at: prop::sample::Index, change in 1u8..) {
        let grant = sample();
        let mut bytes = grant.bytes().to_vec();
        let at = at.index(bytes.len() - 4);
        bytes[at] ^= change;
        let refused = matches!(Grant::decode(&bytes), Err(GrantError::Checksum | GrantError::Malformed { .. }));
        prop_assert!(refused);
        let body = bytes.len() - 4;
        let sum = crc32c::crc32c(&bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&sum);
        let mut exports = exports();
        prop_assert!(exports.present(&bytes, &FRIEND.id(), &ALL, now(2_000)).is_err(), "byte {} was changed unnoticed", at);
    }

    #[test]
    fn random_bytes_never_panic_and_are_no_grant(mut bytes in prop::collection::vec(any::<u8>(), 0..600), framed: bool) {
        if framed {
            bytes.splice(..bytes.len().min(4), *b"LMG\x01");
            let sum = crc32c::crc32c(&bytes).to_le_bytes();
            bytes.extend_from_slice(&sum);
        }
        if let Ok(grant) = Grant::decode(&bytes) {
            prop_assert_eq!(grant.bytes(), &bytes);
        }
        let _ = String::from_utf8_lossy(&bytes).parse::<Grant>();
    }
}

/// With identities as they are: FALCON-1024 signatures, certificates on disk.
#[cfg(unix)]
mod identities {
    use std::{fs, path::Path, time::Instant};

    use linkmesh_memory::{
        grant::{Exports, Grant, GrantError, MAX_GRANT_BYTES, Moment, Slice, Verifier},
        region::{HeapRegion, RangeRights, Rights},
    };
    use linkmesh_transport::identity::{IdentityOptions, NodeIdentity};

    use super::Arc;

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
}
