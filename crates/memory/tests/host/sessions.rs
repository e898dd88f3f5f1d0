//! Regions and grants as the layer with the QUIC connections sees them.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use linkmesh_memory::{
    host::{Import, MappedError, OfferTerms, SameHost, Session, SharedObject, Sharing},
    region::{AccessError, HeapRegion, Region, Rights, SharedRegion},
};

use crate::{
    child::{SECRET, terms},
    events::{LONG, options},
};

const LEFT: Session = Session(10);
const RIGHT: Session = Session(20);

/// Two nodes of one process with a session between them.
struct Pair {
    left: SameHost,
    right: SameHost,
    wakes: mpsc::Receiver<()>,
}

impl Pair {
    fn open() -> Self {
        let (left, right) = (
            SameHost::open(options()).unwrap(),
            SameHost::open(options()).unwrap(),
        );
        let (sender, wakes) = mpsc::channel();
        for host in [&left, &right] {
            let sender = sender.clone();
            // The test may be over.
            host.on_wake(move |_| sender.send(()).unwrap_or(()));
        }
        Self { left, right, wakes }
    }

    fn link(&self) {
        let invitation = self.left.invite(LEFT, SECRET).unwrap();
        self.right.join(RIGHT, &invitation, SECRET).unwrap();
        self.until(|| self.left.is_linked(LEFT) && self.right.is_linked(RIGHT));
    }

    /// Looks again after each wake.
    fn until(&self, done: impl Fn() -> bool) {
        while !done() {
            self.wakes.recv_timeout(LONG).expect("a wake");
        }
    }
}

fn region(sharing: Sharing) -> SharedRegion<Arc<SharedObject>> {
    SharedRegion::new(Arc::new(SharedObject::create(4096, sharing).unwrap()), 1)
}

/// Regions arrive without a wake: nobody has to act on them.
fn mapped(import: &Import) {
    let start = std::time::Instant::now();
    while import.region().is_none() {
        assert!(start.elapsed() < LONG, "no region came");
        std::thread::yield_now();
    }
}

fn with_nonce(nonce: u8, rights: Rights) -> OfferTerms {
    OfferTerms {
        grant: [nonce; 16],
        ..terms(rights, 4096)
    }
}

#[test]
fn grants_made_before_and_after_the_link_are_mapped() {
    let pair = Pair::open();
    let early = region(Sharing::ReadWrite);
    early.write(0, b"early").unwrap();
    let import = pair.right.import(RIGHT, [1; 16]);
    assert!(pair.left.grant(LEFT, &early, with_nonce(1, Rights::ALL)));
    let invitation = pair.left.invite(LEFT, SECRET).unwrap();
    pair.right.join(RIGHT, &invitation, SECRET).unwrap();
    pair.until(|| pair.left.is_linked(LEFT) && pair.right.is_linked(RIGHT));
    let late = region(Sharing::Read);
    late.write(0, b"later").unwrap();
    let import_late = pair.right.import(RIGHT, [2; 16]);
    assert!(pair.left.grant(LEFT, &late, with_nonce(2, Rights::READ)));
    mapped(&import);
    mapped(&import_late);
    for (import, content) in [(&import, b"early"), (&import_late, b"later")] {
        let mut bytes = [0; 5];
        import.region().unwrap().read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, content);
    }
    assert_eq!(import.region().unwrap().fetch_add(8, 4), Ok(0));
    assert_eq!(
        early.load(8),
        Ok(4),
        "the exporter's own region is the same memory"
    );
    let counts = (pair.left.counts().offered, pair.right.counts().mapped);
    assert_eq!(counts, (2, 2));
}

#[test]
fn revoking_a_grant_a_region_or_a_session_ends_exactly_those() {
    let pair = Pair::open();
    pair.link();
    let (first, second) = (region(Sharing::ReadWrite), region(Sharing::ReadWrite));
    let imports: Vec<_> = (0..4_u8)
        .map(|nonce| {
            let import = pair.right.import(RIGHT, [nonce; 16]);
            let region = if nonce < 2 { &first } else { &second };
            assert!(
                pair.left
                    .grant(LEFT, region, with_nonce(nonce, Rights::ALL))
            );
            mapped(&import);
            import
        })
        .collect();
    let states = || -> Vec<bool> {
        let alive = |import: &Arc<Import>| import.region().unwrap().load(0).is_ok();
        imports.iter().map(alive).collect()
    };
    assert_eq!(states(), [true; 4]);
    pair.left.revoke(&[0; 16]);
    assert_eq!(states(), [false, true, true, true]);
    pair.left.revoke_region(&second);
    assert_eq!(states(), [false, true, false, false]);
    let refused = imports[0].region().unwrap().load(0);
    assert_eq!(refused, Err(MappedError::Access(AccessError::Revoked)));
    pair.left.end(LEFT);
    assert_eq!(states(), [false; 4]);
    pair.until(|| !pair.right.is_linked(RIGHT));
}

#[test]
fn what_stays_on_quic_says_so_and_is_counted() {
    let pair = Pair::open();
    let object = region(Sharing::ReadWrite);
    let all = with_nonce(1, Rights::ALL);
    let elsewhere = Session(30);
    let mut invitation = pair.right.invite(Session(31), SECRET).unwrap();
    invitation[1] ^= 1;
    assert!(pair.left.join(elsewhere, &invitation, SECRET).is_err());
    assert!(
        !pair.left.grant(elsewhere, &object, all.clone()),
        "another host"
    );
    pair.link();
    assert!(
        !pair
            .left
            .grant(LEFT, &HeapRegion::new(4096, 1), all.clone()),
        "not an object"
    );
    let read = with_nonce(2, Rights::READ);
    assert!(
        !pair.left.grant(LEFT, &object, read),
        "no seal holds it to reading"
    );
    let part = OfferTerms {
        length: 64,
        ..all.clone()
    };
    assert!(!pair.left.grant(LEFT, &object, part), "a part");
    object.revoke();
    assert!(!pair.left.grant(LEFT, &object, all), "revoked");
    assert_eq!(pair.left.counts().kept, 2);
    assert!(pair.right.import(RIGHT, [1; 16]).region().is_none());
}

#[test]
fn a_region_that_nobody_expects_is_not_kept() {
    let pair = Pair::open();
    pair.link();
    let object = region(Sharing::ReadWrite);
    let (dropped, kept) = (
        pair.right.import(RIGHT, [1; 16]),
        pair.right.import(RIGHT, [2; 16]),
    );
    drop(dropped);
    assert!(pair.left.grant(LEFT, &object, with_nonce(1, Rights::ALL)));
    assert!(pair.left.grant(LEFT, &object, with_nonce(2, Rights::ALL)));
    mapped(&kept);
    assert_eq!(pair.right.counts().mapped, 1);
}

#[test]
fn the_channel_is_given_once_and_wakes_the_other_side() {
    let pair = Pair::open();
    pair.link();
    let mut left = pair.left.channel(LEFT).unwrap();
    let mut right = pair.right.channel(RIGHT).unwrap();
    assert!(pair.left.channel(LEFT).is_none());
    while pair.wakes.recv_timeout(Duration::ZERO).is_ok() {}
    assert_eq!(right.receiver.arm(), Ok(true));
    left.sender.send(b"wake up").unwrap();
    pair.wakes.recv_timeout(LONG).unwrap();
    right.receiver.disarm();
    assert_eq!(
        right
            .receiver
            .poll(9, |frame| assert_eq!(frame, b"wake up")),
        Ok(1)
    );
    pair.right.end(RIGHT);
    pair.until(|| !pair.left.is_linked(LEFT));
    assert!(left.receiver.is_peer_gone());
}
