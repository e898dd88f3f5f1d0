//! The events of a host, as a queue that a test takes from.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use linkmesh_memory::host::{
    Channel, Host, HostEvents, HostOptions, Link, MappedRegion, Refusal, Session,
};

/// More than any of the events here can take on a busy machine; nothing waits for it to pass.
pub(crate) const LONG: Duration = Duration::from_secs(30);

#[derive(Debug)]
#[expect(
    dead_code,
    reason = "some are only shown when another event was expected"
)]
pub(crate) enum Event {
    Linked(Arc<Link>, Channel),
    Offered(MappedRegion),
    Unmappable(io::Error),
    Woken,
    Gone(Session),
    Refused(Session, Refusal),
}

struct Queue(Sender<Event>);

impl Queue {
    fn put(&self, event: Event) {
        // The test may be over.
        let _ = self.0.send(event);
    }
}

impl HostEvents for Queue {
    fn linked(&self, link: &Arc<Link>, channel: Channel) {
        self.put(Event::Linked(Arc::clone(link), channel));
    }
    fn offered(&self, _: &Arc<Link>, region: MappedRegion) {
        self.put(Event::Offered(region));
    }
    fn unmappable(&self, _: &Arc<Link>, _: [u8; 16], error: io::Error) {
        self.put(Event::Unmappable(error));
    }
    fn woken(&self, _: &Arc<Link>) {
        self.put(Event::Woken);
    }
    fn gone(&self, link: &Arc<Link>) {
        self.put(Event::Gone(link.session()));
    }
    fn refused(&self, session: Session, why: Refusal) {
        self.put(Event::Refused(session, why));
    }
}

/// A host and its events.
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) events: Receiver<Event>,
}

impl Node {
    pub(crate) fn open(options: HostOptions) -> Self {
        let (sender, events) = channel();
        let host = Host::open(options, Arc::new(Queue(sender))).unwrap();
        Self { host, events }
    }

    pub(crate) fn next(&self) -> Event {
        self.events.recv_timeout(LONG).expect("an event")
    }

    pub(crate) fn linked(&self) -> (Arc<Link>, Channel) {
        match self.next() {
            Event::Linked(link, channel) => (link, channel),
            other => panic!("a link, not {other:?}"),
        }
    }

    pub(crate) fn offered(&self) -> MappedRegion {
        match self.next() {
            Event::Offered(region) => region,
            other => panic!("a region, not {other:?}"),
        }
    }

    pub(crate) fn refused(&self) -> Refusal {
        match self.next() {
            Event::Refused(_, why) => why,
            other => panic!("a refusal, not {other:?}"),
        }
    }

    pub(crate) fn gone(&self) {
        match self.next() {
            Event::Gone(_) => {}
            other => panic!("the end of a link, not {other:?}"),
        }
    }
}

pub(crate) fn options() -> HostOptions {
    HostOptions {
        ring_bytes: 64 << 10,
        ..HostOptions::default()
    }
}
