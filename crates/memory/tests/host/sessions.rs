//! Regions and grants as the layer with the QUIC connections sees them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use linkmesh_memory::{
    compress::Compression,
    host::{Import, MappedError, SameHost, Session, SharedObject, Sharing},
    region::{Access, AccessError, HeapRegion, Region, Rights, SharedRegion},
};

use crate::{
    child::SECRET,
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

    fn grant(&self, nonce: u8, access: &Access) -> bool {
        self.left.grant(LEFT, [nonce; 16], access, Instant::now())
    }

    fn import(&self, nonce: u8) -> Arc<Import> {
        self.right.import(RIGHT, [nonce; 16])
    }
}

fn region(sharing: Sharing) -> Arc<dyn Region> {
    let object = SharedObject::create(4096, sharing).unwrap();
    Arc::new(SharedRegion::new(Arc::new(object), 1))
}

/// All of a region.
fn access(region: &Arc<dyn Region>, rights: Rights) -> Access {
    Access {
        region: Arc::clone(region),
        epoch: 1,
        base: 0,
        length: 4096,
        rights,
        expires: None,
        revoked: Arc::new(AtomicBool::new(false)),
        compression: Compression::None,
    }
}

/// Regions arrive without a wake: nobody has to act on them.
fn mapped(import: &Import) {
    let start = Instant::now();
    while import.region().is_none() {
        assert!(start.elapsed() < LONG, "no region came");
        std::thread::yield_now();
    }
}

#[test]
fn grants_made_before_and_after_the_link_are_mapped() {
    let pair = Pair::open();
    let early = region(Sharing::ReadWrite);
    early.write(0, b"early").unwrap();
    let import = pair.import(1);
    assert!(pair.grant(1, &access(&early, Rights::ALL)));
    pair.link();
    let late = region(Sharing::Read);
    late.write(0, b"later").unwrap();
    let import_late = pair.import(2);
    assert!(pair.grant(2, &access(&late, Rights::READ)));
    mapped(&import);
    mapped(&import_late);
    for (import, content) in [(&import, b"early"), (&import_late, b"later")] {
        let mut bytes = [0; 5];
        import.region().unwrap().read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, content);
    }
    assert_eq!(import.region().unwrap().fetch_add(8, 4), Ok(0));
    let own = early.load(8);
    assert_eq!(own, Ok(4), "the exporter's own region is the same memory");
    let counts = (pair.left.counts().offered, pair.right.counts().mapped);
    assert_eq!(counts, (2, 2));
}

#[test]
fn revoking_a_grant_a_region_or_a_session_ends_exactly_those() {
    let pair = Pair::open();
    pair.link();
    let (first, second) = (region(Sharing::ReadWrite), region(Sharing::ReadWrite));
    let accesses: Vec<_> = [&first, &first, &second, &second]
        .map(|region| access(region, Rights::ALL))
        .into();
    let imports: Vec<_> = (0..4_u8)
        .map(|nonce| {
            let import = pair.import(nonce);
            assert!(pair.grant(nonce, &accesses[usize::from(nonce)]));
            mapped(&import);
            import
        })
        .collect();
    let states = || -> Vec<bool> {
        let alive = |import: &Arc<Import>| import.region().unwrap().load(0).is_ok();
        imports.iter().map(alive).collect()
    };
    assert_eq!(states(), [true; 4]);
    accesses[0].revoked.store(true, Ordering::Relaxed);
    pair.left.end_revoked();
    assert_eq!(states(), [false, true, true, true]);
    second.revoke();
    pair.left.end_revoked();
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
    let all = access(&object, Rights::ALL);
    let elsewhere = Session(30);
    let mut invitation = pair.right.invite(Session(31), SECRET).unwrap();
    invitation[1] ^= 1;
    assert!(pair.left.join(elsewhere, &invitation, SECRET).is_err());
    let now = Instant::now();
    assert!(
        !pair.left.grant(elsewhere, [1; 16], &all, now),
        "another host"
    );
    pair.link();
    let heap: Arc<dyn Region> = Arc::new(HeapRegion::new(4096, 1));
    assert!(!pair.grant(1, &access(&heap, Rights::ALL)), "not an object");
    let read = access(&object, Rights::READ);
    assert!(!pair.grant(2, &read), "no seal holds it to reading");
    let part = Access {
        length: 64,
        ..all.clone()
    };
    assert!(!pair.grant(3, &part), "a part");
    let late = Access {
        expires: Some(now),
        ..all.clone()
    };
    assert!(!pair.grant(4, &late), "expired");
    object.revoke();
    assert!(!pair.grant(5, &all), "revoked");
    assert_eq!(pair.left.counts().kept, 2);
    assert!((1..=5).all(|nonce| pair.import(nonce).region().is_none()));
}

#[test]
fn a_region_that_nobody_expects_is_not_kept_and_two_imports_of_one_grant_share_it() {
    let pair = Pair::open();
    pair.link();
    let object = region(Sharing::ReadWrite);
    let (dropped, kept) = (pair.import(1), pair.import(2));
    drop(dropped);
    for nonce in [1, 2, 2] {
        assert!(pair.grant(nonce, &access(&object, Rights::ALL)));
    }
    mapped(&kept);
    assert_eq!(pair.right.counts().mapped, 1);
    let again = pair.import(2);
    assert!(Arc::ptr_eq(&kept, &again));
    assert_eq!(again.region().unwrap().load(0), Ok(0));
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
