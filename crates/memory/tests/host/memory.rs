//! Regions of one process used by another: what a grant gives, and how it ends.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use linkmesh_memory::{
    host::{Link, MappedError, OfferError, OfferTerms, OfferedGrant, SharedObject, Sharing},
    region::{AccessError, Rights},
};

use crate::{
    child::{Other, terms},
    events::{Node, options},
};

fn bytes(object: &SharedObject, offset: usize) -> u64 {
    word(object, offset).load(Ordering::SeqCst)
}

fn word(object: &SharedObject, offset: usize) -> &AtomicU64 {
    assert!(offset + 8 <= object.len() && offset.is_multiple_of(8));
    // SAFETY: an aligned word inside the object; all processes access it by atomics.
    unsafe { AtomicU64::from_ptr(object.as_ptr().add(offset).cast()) }
}

fn offer(link: &std::sync::Arc<Link>, object: &SharedObject, rights: Rights) -> OfferedGrant {
    link.offer(object, &terms(rights, object.len() as u64))
        .unwrap()
}

#[test]
fn a_peer_reads_writes_and_adds_in_place_until_the_grant_is_revoked() {
    let node = Node::open(options());
    let mut other = Other::start(&node, "use");
    let (link, _channel) = node.linked();
    assert_eq!(link.peer_process(), other.id());
    let object = SharedObject::create(4096, Sharing::ReadWrite).unwrap();
    word(&object, 0).store(u64::from_ne_bytes(*b"from us."), Ordering::SeqCst);
    word(&object, 64).store(7, Ordering::SeqCst);
    let offered = offer(&link, &object, Rights::ALL);
    assert_eq!(other.line(), "from us.");
    assert_eq!(other.line(), "7 12");
    assert_eq!(bytes(&object, 8).to_ne_bytes(), *b"from me.");
    assert_eq!(bytes(&object, 64), 100);
    offered.revoke();
    assert_eq!(other.line(), AccessError::Revoked.to_string());
}

#[test]
fn a_peer_that_may_read_is_refused_to_write() {
    let node = Node::open(options());
    let mut other = Other::start(&node, "use");
    let (link, _channel) = node.linked();
    let object = SharedObject::create(100, Sharing::Read).unwrap();
    word(&object, 0).store(u64::from_ne_bytes(*b"from us."), Ordering::SeqCst);
    let offered = offer(&link, &object, Rights::READ);
    assert_eq!(other.line(), "from us.");
    assert_eq!(other.line(), AccessError::Rights.to_string());
    drop(offered);
    assert_eq!(other.line(), AccessError::Revoked.to_string());
}

#[test]
fn a_grant_ends_with_its_time_and_with_the_session() {
    let node = Node::open(options());
    for unlink in [false, true] {
        let mut other = Other::start(&node, "use");
        let (link, _channel) = node.linked();
        let object = SharedObject::create(100, Sharing::Read).unwrap();
        word(&object, 0).store(u64::from_ne_bytes(*b"from us."), Ordering::SeqCst);
        let terms = OfferTerms {
            lifetime: (!unlink).then_some(Duration::from_millis(200)),
            ..terms(Rights::READ, 100)
        };
        let _offered = link.offer(&object, &terms).unwrap();
        if unlink {
            assert_eq!(other.line(), "from us.");
            assert_eq!(other.line(), AccessError::Rights.to_string());
            node.host.unlink(link.session());
            node.gone();
            assert!(link.is_gone());
            let refused = link.offer(&object, &terms);
            assert!(matches!(refused, Err(OfferError::PeerGone)), "{refused:?}");
            assert_eq!(other.line(), AccessError::Revoked.to_string());
        } else {
            // A slow machine may meet the expiry before the first read; then that read is refused instead of the last.
            while other.line() != AccessError::Expired.to_string() {}
            drop(other);
            node.gone();
        }
    }
}

#[test]
fn what_cannot_be_enforced_is_not_handed_over() {
    let node = Node::open(options());
    let _other = Other::start(&node, "echo");
    let (link, _channel) = node.linked();
    let both = SharedObject::create(8192, Sharing::ReadWrite).unwrap();
    let read = SharedObject::create(8192, Sharing::Read).unwrap();
    let (w, wa) = (Rights::WRITE, Rights::WRITE.with(Rights::ATOMIC));
    for (object, rights) in [
        (&both, Rights::READ),
        (&both, w),
        (&both, wa),
        (&read, Rights::ALL),
    ] {
        let refused = link.offer(object, &terms(rights, 8192));
        assert!(
            matches!(refused, Err(OfferError::Rights { .. })),
            "{refused:?}"
        );
    }
    let part = OfferTerms {
        offset: 4096,
        ..terms(Rights::READ, 4096)
    };
    for window in [part, terms(Rights::READ, 4096), terms(Rights::READ, 8193)] {
        let refused = link.offer(&read, &window);
        assert!(
            matches!(refused, Err(OfferError::Window { len: 8192 })),
            "{refused:?}"
        );
    }
    assert!(SharedObject::create(0, Sharing::Read).is_err());
    assert!(SharedObject::create(SharedObject::MAX_BYTES + 1, Sharing::Read).is_err());
}

#[test]
fn bad_accesses_touch_nothing() {
    let (left, right) = (Node::open(options()), Node::open(options()));
    let link = crate::handover::link_here(&left, &right);
    let object = SharedObject::create(20, Sharing::ReadWrite).unwrap();
    let ra = Rights::READ.with(Rights::ATOMIC);
    let _offered = offer(&link, &object, ra);
    let region = right.offered();
    assert_eq!(
        (region.len(), region.rights(), *region.grant()),
        (20, ra, [9; 16])
    );
    let out = |offset, length| {
        let available = 20;
        Err(MappedError::Access(AccessError::OutOfRange {
            offset,
            length,
            available,
        }))
    };
    let mut target = [7; 8];
    assert_eq!(region.read(13, &mut target), out(13, 8));
    assert_eq!(region.read(u64::MAX, &mut target), out(u64::MAX, 8));
    assert_eq!(target, [7; 8]);
    assert_eq!(region.write(0, &[1]), Err(AccessError::Rights.into()));
    assert_eq!(
        region.fetch_add(4, 1),
        Err(AccessError::Misaligned { offset: 4 }.into())
    );
    assert_eq!(region.fetch_add(16, 1).map(drop), out(16, 8));
    assert_eq!(region.fetch_add(8, 3), Ok(0));
    assert_eq!(region.compare_swap(8, 4, 9), Ok(3));
    assert_eq!(region.compare_swap(8, 3, 9), Ok(3));
    assert_eq!(region.load(8), Ok(9));
    assert_eq!(region.read_versioned(0, &mut target, 8), Ok((9, 9)));
    assert_eq!(bytes(&object, 8), 9);
}
