//! Who gets a link and who does not.

use std::{
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    sync::Arc,
    time::Duration,
};

use linkmesh_memory::host::{HostError, HostOptions, Link, Refusal, Session};

use crate::{
    child::{Other, SECRET},
    events::{Node, options},
};

/// Links two nodes of this process; answers the left one's end.
pub(crate) fn link_here(left: &Node, right: &Node) -> Arc<Link> {
    let invitation = left.host.invite(Session(1), SECRET).unwrap();
    right.host.join(Session(2), &invitation, SECRET).unwrap();
    right.linked();
    left.linked().0
}

fn quick() -> HostOptions {
    HostOptions {
        handover_timeout: Duration::from_millis(300),
        ..options()
    }
}

#[test]
fn without_the_secret_there_is_no_link_and_the_invitation_still_stands() {
    let node = Node::open(options());
    let invitation = node.host.invite(Session(1), SECRET).unwrap();
    let mut stranger = Other::start_with(&invitation, [0; 32], "stranger");
    // The door closes without a word.
    assert_ne!(stranger.line(), "");
    let _friend = Other::start_with(&invitation, SECRET, "echo");
    node.linked();
    let mut late = Other::start_with(&invitation, SECRET, "stranger");
    assert_ne!(late.line(), "", "an invitation holds once");
}

#[test]
fn an_invitation_that_nobody_follows_ends() {
    let node = Node::open(quick());
    let invitation = node.host.invite(Session(1), SECRET).unwrap();
    assert!(matches!(node.refused(), Refusal::TimedOut));
    let mut late = Other::start_with(&invitation, SECRET, "stranger");
    assert_ne!(late.line(), "");
}

#[test]
fn a_connection_that_says_nothing_is_closed_and_does_not_keep_others_out() {
    let node = Node::open(quick());
    let silent: Vec<_> = (0..8).map(|_| seqpacket(node.host.path())).collect();
    let _friend = Other::start(&node, "echo");
    node.linked();
    for socket in silent {
        // Blocks until the other end is closed.
        assert_eq!(receive(&socket), 0);
    }
}

#[test]
fn a_process_that_passes_messages_on_gets_nothing() {
    let left = Node::open(quick());
    // The man in the middle listens on a socket of its own, which the invitation names instead of the real one. It runs
    // as another process than the connector, so the process id under the connector's proof is not its own.
    let invitation = left.host.invite(Session(1), SECRET).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host");
    let listener = listen(&path);
    let mut forged = invitation[..33].to_vec();
    forged.extend_from_slice(path.as_os_str().as_encoded_bytes());
    let mut connector = Other::start_with(&forged, SECRET, "stranger");
    // SAFETY: a descriptor of ours; no address is asked for.
    let accepted = unsafe {
        libc::accept(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    assert!(accepted >= 0);
    // SAFETY: just made, and nobody else has it.
    let towards_connector = unsafe { OwnedFd::from_raw_fd(accepted) };
    let mut hello = [0; 256];
    let length = receive_into(&towards_connector, &mut hello);
    assert!(length > 60);
    let towards_acceptor = seqpacket(left.host.path());
    send(&towards_acceptor, &hello[..length]);
    assert_eq!(
        receive(&towards_acceptor),
        0,
        "the acceptor closes the door"
    );
    assert!(matches!(left.refused(), Refusal::TimedOut));
    drop(towards_connector);
    assert_ne!(connector.line(), "");
}

#[test]
fn nonsense_is_refused_at_the_edge() {
    let node = Node::open(options());
    let join = |invitation: &[u8]| node.host.join(Session(2), invitation, SECRET);
    assert!(matches!(join(&[]), Err(HostError::Malformed)));
    assert!(matches!(join(&[1; 500]), Err(HostError::Malformed)));
    let mut elsewhere = node.host.invite(Session(1), SECRET).unwrap();
    elsewhere[1] ^= 1;
    assert!(matches!(join(&elsewhere), Err(HostError::OtherHost)));
    let mut nowhere = node.host.invite(Session(1), SECRET).unwrap();
    nowhere.push(b'x');
    join(&nowhere).unwrap();
    assert!(matches!(node.refused(), Refusal::Io(_)));
}

#[test]
fn options_have_limits() {
    let events = || {
        struct Nobody;
        impl linkmesh_memory::host::HostEvents for Nobody {
            fn linked(&self, _: &Arc<Link>, _: linkmesh_memory::host::Channel) {}
            fn offered(&self, _: &Arc<Link>, _: linkmesh_memory::host::MappedRegion) {}
            fn unmappable(&self, _: &Arc<Link>, _: [u8; 16], _: std::io::Error) {}
            fn woken(&self, _: &Arc<Link>) {}
            fn gone(&self, _: &Arc<Link>) {}
            fn refused(&self, _: Session, _: Refusal) {}
        }
        Arc::new(Nobody)
    };
    let refused = |options: HostOptions| match linkmesh_memory::host::Host::open(options, events())
    {
        Err(HostError::Option { field, .. }) => field,
        other => panic!("refused, not {other:?}"),
    };
    for ring_bytes in [0, 2048, 5000, 128 << 20] {
        assert_eq!(
            refused(HostOptions {
                ring_bytes,
                ..options()
            }),
            "ring_bytes"
        );
    }
    for max_links in [0, 5000] {
        assert_eq!(
            refused(HostOptions {
                max_links,
                ..options()
            }),
            "max_links"
        );
    }
}

#[test]
fn the_socket_is_behind_an_owner_only_folder_and_goes_with_the_host() {
    let node = Node::open(options());
    let path = node.host.path().to_owned();
    let folder = path.parent().unwrap();
    assert_eq!(std::fs::metadata(folder).unwrap().mode() & 0o777, 0o700);
    assert!(path.exists());
    drop(node);
    assert!(!path.exists());
}

#[test]
fn no_descriptor_is_left_after_a_hundred_links() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (left, right) = (Node::open(options()), Node::open(options()));
    drop(link_here(&left, &right));
    left.host.unlink(Session(1));
    left.gone();
    right.gone();
    let before = count();
    for _ in 0..100 {
        drop(link_here(&left, &right));
        left.host.unlink(Session(1));
        left.gone();
        right.gone();
    }
    // Other tests of this process open and close descriptors meanwhile: far fewer than the 600 that 100 links have.
    assert!(count() < before + 200, "{} after {before}", count());
}

fn socket() -> OwnedFd {
    // SAFETY: numbers only; what it makes belongs to nobody else.
    unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0)) }
}

fn address(path: &std::path::Path) -> libc::sockaddr_un {
    // SAFETY: all zeroes is a valid address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address
        .sun_path
        .iter_mut()
        .zip(path.as_os_str().as_encoded_bytes())
    {
        *to = *from as libc::c_char;
    }
    address
}

fn seqpacket(path: &std::path::Path) -> OwnedFd {
    let (socket, address) = (socket(), address(path));
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: an address that lives and has the length.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(done, 0);
    socket
}

fn listen(path: &std::path::Path) -> OwnedFd {
    let (socket, address) = (socket(), address(path));
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: an address that lives and has the length.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(done, 0);
    // SAFETY: a descriptor of ours.
    assert_eq!(unsafe { libc::listen(socket.as_raw_fd(), 4) }, 0);
    socket
}

fn send(socket: &OwnedFd, bytes: &[u8]) {
    // SAFETY: bytes that live.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
    assert_eq!(sent, bytes.len() as isize);
}

fn receive_into(socket: &OwnedFd, bytes: &mut [u8]) -> usize {
    // SAFETY: bytes of ours.
    let got = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            0,
        )
    };
    got.max(0) as usize
}

fn receive(socket: &OwnedFd) -> usize {
    receive_into(socket, &mut [0; 256])
}
