//! Between the lanes of this process and the streams to other nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use linkmesh_registry::exchange::{Change, Message};
use linkmesh_tables::epoch::{Domain, Reader};
use linkmesh_transport::core::{Io, PeerInfo, PeerSlot, Reading, StreamId};

use crate::engine::{Engine, FIRST_NODE_THREAD};
use crate::peer::LaneLink;
use crate::remote::frame::{
    self, BLOB, ERROR, HEADER_BYTES, Header, MAX_FRAME_BYTES, NOT_DELIVERED, PAD, THREAD_BITS,
    aligned, refusal_text,
};
use crate::remote::inbound::{FrameReader, Malformed};
use crate::remote::link::Link;
use crate::remote::outlet::{Outlet, REFUSE_BYTES};
use crate::remote::{FRAMES, JsClock, REGISTRY};

/// Between two looks whether the registry has changed without anybody saying so (leases do).
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks whether a full lane has room again.
const ROOM: Duration = Duration::from_millis(1);
/// Code that closes a connection whose frames are not understood.
const PROTOCOL: u64 = 256;

/// The part of the engine's application that carries requests. Called by whoever drives the engine, never two at once.
#[derive(Debug)]
pub(crate) struct Bridge {
    engine: Arc<Engine>,
    /// This node's id: a connection to itself carries nothing.
    me: String,
    clock: JsClock,
    reader: Reader,
    /// By the slot's index.
    links: Vec<Option<Box<Link>>>,
    /// Registry epoch that the other nodes were told.
    told: u32,
    next_look: Option<Instant>,
}

impl Bridge {
    pub(crate) fn new(engine: Arc<Engine>, me: String, clock: JsClock) -> Self {
        Self {
            told: engine.router.registry_epoch(),
            engine,
            me,
            clock,
            reader: Domain::global().register(),
            links: Vec::new(),
            next_look: None,
        }
    }

    /// Thread numbers and ids of the connected nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (PeerSlot, u32, &str)> {
        self.links
            .iter()
            .flatten()
            .map(|link| (link.slot, link.peer.id, link.node.as_str()))
    }

    fn link(&mut self, slot: PeerSlot) -> Option<&mut Link> {
        self.links
            .get_mut(slot.index as usize)?
            .as_deref_mut()
            .filter(|link| link.slot == slot)
    }

    // --- nodes come and go --------------------------------------------------------------------------------

    pub(crate) fn connected(&mut self, io: &mut Io<'_>, slot: PeerSlot, info: &PeerInfo) {
        let node = info.identity.node_id.to_string();
        let active = node != self.me && !self.nodes().any(|(_, _, other)| other == node);
        let opened = self
            .engine
            .join_node(&node)
            .ok()
            .and_then(|peer| Link::open(io, slot, node, peer, active).ok());
        let Some(link) = opened else {
            io.close(slot, PROTOCOL);
            return;
        };
        let index = slot.index as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, || None);
        }
        self.links[index] = Some(Box::new(link));
        self.publish_to(io, slot);
        self.next_look.get_or_insert(io.now() + LOOK);
    }

    /// The connection is gone. Its requests end with what is true of them.
    pub(crate) fn disconnected(&mut self, slot: PeerSlot) {
        if self.link(slot).is_none() {
            return;
        }
        let Some(link) = self.links[slot.index as usize].take() else {
            return;
        };
        // What came before the end still counts: it is in the lanes before the thread is called ended.
        self.engine.thread_ended(&link.peer);
        if !link.active {
            return;
        }
        let next = self
            .links
            .iter_mut()
            .flatten()
            .find(|other| other.node == link.node);
        if let Some(next) = next {
            next.active = true;
            let changes = next.subscriber.offers().cloned().map(Change::Put).collect();
            apply(&self.engine, next, changes);
        }
    }

    // --- streams ------------------------------------------------------------------------------------------

    pub(crate) fn opened(&mut self, slot: PeerSlot, stream: StreamId, kind: u8) -> Reading {
        let Some(link) = self.link(slot) else {
            return Reading::Refuse;
        };
        match kind {
            FRAMES if link.readers.len() < crate::remote::FRAME_STREAMS => {
                link.readers.push((stream, FrameReader::default()));
                Reading::Ordered
            }
            REGISTRY => Reading::Ordered,
            _ => Reading::Refuse,
        }
    }

    /// Bytes of a stream. True when they were the first that tell of the other node's services.
    pub(crate) fn received(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        stream: StreamId,
        bytes: &[u8],
    ) -> bool {
        let Some(link) = self.link(slot) else {
            return false;
        };
        let reader = link.readers.iter().position(|(one, _)| *one == stream);
        let known = link.subscriber.is_started();
        let understood = match reader {
            Some(reader) => self.frames(io, slot, reader, bytes),
            None => self.registry(io, slot, bytes),
        };
        if understood.is_err() {
            io.close(slot, PROTOCOL);
        }
        !known
            && self
                .link(slot)
                .is_some_and(|link| link.subscriber.is_started())
    }

    pub(crate) fn settled(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        if let Some(link) = self.link(slot) {
            link.settle(io);
            link.flush(io);
            if link.is_waiting() {
                self.look_within(io.now() + ROOM);
            }
        }
    }

    pub(crate) fn writable(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        if self.link(slot).is_some_and(|link| link.flush(io)) {
            self.pump_link(io, slot);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next_look
    }

    pub(crate) fn timeout(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        if self.next_look.is_none_or(|at| at > now) {
            return;
        }
        let slots: Vec<PeerSlot> = self.nodes().map(|(slot, _, _)| slot).collect();
        self.next_look = (!slots.is_empty()).then(|| now + LOOK);
        self.publish(io);
        for slot in slots {
            self.settled(io, slot);
        }
    }

    fn look_within(&mut self, at: Instant) {
        self.next_look = Some(self.next_look.map_or(at, |next| next.min(at)));
    }

    // --- the registry exchange ----------------------------------------------------------------------------

    /// Tells the other nodes what has changed here, if anything has.
    pub(crate) fn publish(&mut self, io: &mut Io<'_>) {
        let epoch = self.engine.router.registry_epoch();
        if std::mem::replace(&mut self.told, epoch) == epoch {
            return;
        }
        let slots: Vec<PeerSlot> = self.nodes().map(|(slot, _, _)| slot).collect();
        for slot in slots {
            self.publish_to(io, slot);
        }
    }

    fn publish_to(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        let offers = self.engine.router.offers(is_here);
        let Some(link) = self.link(slot) else { return };
        for message in link.publisher.publish(offers) {
            message.encode(&mut link.registry.bytes);
        }
        link.flush(io);
    }

    fn registry(&mut self, io: &mut Io<'_>, slot: PeerSlot, bytes: &[u8]) -> Result<(), Malformed> {
        let engine = Arc::clone(&self.engine);
        let Some(link) = self.link(slot) else {
            return Ok(());
        };
        link.registry_in.extend_from_slice(bytes);
        let mut resync = false;
        while let Some(message) = Message::decode(&mut link.registry_in).map_err(|_| Malformed)? {
            if message == (Message::Resync {}) {
                link.publisher.resync();
                resync = true;
                continue;
            }
            let (changes, ask) = link.subscriber.receive(message).map_err(|_| Malformed)?;
            if ask {
                Message::Resync {}.encode(&mut link.registry.bytes);
            }
            if link.active {
                apply(&engine, link, changes);
            }
        }
        if resync {
            self.publish_to(io, slot);
        }
        Ok(())
    }

    // --- from lanes to streams ----------------------------------------------------------------------------

    /// Carries what lies in the lanes to the node that appears as `thread`.
    pub(crate) fn pump(&mut self, io: &mut Io<'_>, thread: u32) {
        let slot = self
            .links
            .iter()
            .flatten()
            .find(|link| link.peer.id == thread)
            .map(|link| link.slot);
        if let Some(slot) = slot {
            self.pump_link(io, slot);
        }
    }

    fn pump_link(&mut self, io: &mut Io<'_>, slot: PeerSlot) {
        let now_ms = self.clock.at(io.now());
        let engine = Arc::clone(&self.engine);
        let reader = &self.reader;
        let Some(link) = self
            .links
            .get_mut(slot.index as usize)
            .and_then(Option::as_deref_mut)
            .filter(|link| link.slot == slot)
        else {
            return;
        };
        for lane in link.lanes() {
            let memory = &lane.memory;
            let capacity = memory.capacity() as usize;
            let (mut head, tail) = (memory.head(), memory.tail());
            while head != tail && link.takes() {
                let at = head as usize & (capacity - 1);
                let left = tail.wrapping_sub(head) as usize;
                // SAFETY: bytes between head and tail are the consumer's, which this is alone; a frame does not wrap.
                let bytes = unsafe {
                    std::slice::from_raw_parts(memory.as_ptr().add(at), left.min(capacity - at))
                };
                let Some(length) = frame_length(bytes) else {
                    // The writer is this process's own code; what it has broken cannot be carried.
                    head = tail;
                    break;
                };
                if let Some(header) = bytes[..length].first_chunk::<HEADER_BYTES>() {
                    let header = Header::from_lane(header);
                    if header.kind() != PAD {
                        let refused =
                            carry(&engine, link, header, &bytes[HEADER_BYTES..length], now_ms);
                        if let Some(text) = refused {
                            refuse_here(&engine, reader, link, &lane, &header, &text);
                        }
                    }
                }
                head = head.wrapping_add(length as u32);
            }
            // Cannot fail: the head lies between the old one and the tail.
            let _ = memory.release(head);
        }
        link.settle(io);
        link.flush(io);
    }

    // --- from streams to lanes ----------------------------------------------------------------------------

    fn frames(
        &mut self,
        io: &mut Io<'_>,
        slot: PeerSlot,
        index: usize,
        bytes: &[u8],
    ) -> Result<(), Malformed> {
        let now_ms = self.clock.at(io.now());
        let engine = Arc::clone(&self.engine);
        let reader = &self.reader;
        let Some(link) = self
            .links
            .get_mut(slot.index as usize)
            .and_then(Option::as_deref_mut)
            .filter(|link| link.slot == slot)
        else {
            return Ok(());
        };
        let mut frames = std::mem::take(&mut link.readers[index].1);
        let mut understood = Ok(());
        let read = frames.read(bytes, |header, content| {
            if deliver(&engine, reader, link, header, content, now_ms).is_err() {
                understood = Err(Malformed);
            }
        });
        link.readers[index].1 = frames;
        read.and(understood)
    }
}

/// True for a thread of this process.
fn is_here(thread: u32) -> bool {
    thread != 0 && thread < FIRST_NODE_THREAD
}

/// Bytes of the frame at the start of `bytes`.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(*bytes.first_chunk::<4>()?) as usize;
    (length >= 8 && length.is_multiple_of(8) && length <= bytes.len()).then_some(length)
}

/// Brings the registry here to what the other node offers.
fn apply(engine: &Engine, link: &mut Link, changes: Vec<Change>) {
    if changes.is_empty() {
        return;
    }
    let now = engine.now();
    for change in changes {
        match change {
            Change::Put(offer) => {
                let known = link.near.get(&offer.instance).copied();
                let put = |known| {
                    engine
                        .router
                        .put_remote(known, &offer, &link.node, link.peer.id, now)
                };
                // Somebody here may have removed it: then it comes anew. What the other node offers beyond our limits is
                // not there for us.
                let added = put(known).or_else(|error| {
                    if known.is_some() {
                        put(None)
                    } else {
                        Err(error)
                    }
                });
                if let Ok(near) = added {
                    link.near.insert(offer.instance, near);
                    link.far.insert(near, offer.instance);
                }
            }
            Change::Gone(far) => {
                if let Some(near) = link.near.remove(&far) {
                    link.far.remove(&near);
                    // Gone already: removed here.
                    drop(engine.router.remove_instance(near, now));
                }
            }
        }
    }
    engine.deadline_moved();
    engine.wake_all();
}

/// Puts a frame from a lane on its stream. The text of a refusal when that is not possible and somebody waits for an answer.
fn carry(
    engine: &Engine,
    link: &mut Link,
    mut header: Header,
    content: &[u8],
    now_ms: f64,
) -> Option<String> {
    let mut blob = None;
    if header.has(BLOB) {
        let id = content
            .first_chunk()
            .map_or(0.0, |id| f64::from_ne_bytes(*id));
        blob = engine.blobs.take(id as u32);
    }
    if header.is_to_instance() {
        let Some(far) = link.far.get(&header.instance()).copied() else {
            return header.is_request().then(|| {
                refusal_text(
                    "NoInstanceError",
                    "LM_NO_INSTANCE",
                    "the instance has left its node",
                )
            });
        };
        header.set_instance(far);
    }
    let extras_at = header.body() as usize;
    let extras = content
        .get(extras_at..extras_at + header.extras() as usize)
        .unwrap_or(&[]);
    let body = match &blob {
        Some(blob) => &blob[..],
        None => content.get(..extras_at).unwrap_or(&[]),
    };
    let length = HEADER_BYTES + aligned(body.len() + extras.len());
    if length > MAX_FRAME_BYTES {
        // Only large bodies come here, and only requests and answers have bodies.
        let text = refusal_text(
            "LinkmeshError",
            "LM_LIMIT_EXCEEDED",
            "the body is larger than 64 MiB, the most that goes to another node",
        );
        if header.is_request() {
            return Some(text);
        }
        // The far side waits for this answer: it gets the refusal instead.
        let mut error = Header::refusal(&header, text.len());
        error.set_kind_word(error.kind_word() & !NOT_DELIVERED);
        error.set_instance(header.instance());
        error.set_source(header.source());
        append(link, error, text.as_bytes(), &[]);
        return None;
    }
    header.set_length(length as u32);
    header.set_body(body.len() as u32);
    header.set_kind_word(header.kind_word() & !(BLOB | frame::TAKEN));
    if header.is_request() {
        header.set_deadline(header.deadline() - now_ms);
    }
    append(link, header, body, extras);
    None
}

fn append(link: &mut Link, header: Header, body: &[u8], extras: &[u8]) {
    let out = &mut link.sender(header.id()).bytes;
    let end = out.len() + header.length() as usize;
    out.extend_from_slice(&header.to_wire());
    out.extend_from_slice(body);
    out.extend_from_slice(extras);
    out.resize(end, 0);
}

/// Answers a request of this process that cannot be carried.
fn refuse_here(
    engine: &Engine,
    reader: &Reader,
    link: &mut Link,
    lane: &LaneLink,
    request: &Header,
    text: &str,
) {
    let mut header = Header::refusal(request, text.len());
    header.set_source(link.peer.id);
    if let Some(outlet) = outlet(engine, reader, link, lane.from.id) {
        outlet.push(&header.to_lane(), text.as_bytes(), header.length() as usize);
    }
}

/// Answers a request of the other node that cannot be served.
fn refuse_there(link: &mut Link, request: &Header, name: &str, code: &str, message: &str) {
    let text = refusal_text(name, code, message);
    let mut header = Header::refusal(request, text.len());
    header.set_instance(request.source());
    append(link, header, text.as_bytes(), &[]);
}

/// The lane to a thread here; `None` when it has ended.
fn outlet<'l>(
    engine: &Engine,
    reader: &Reader,
    link: &'l mut Link,
    thread: u32,
) -> Option<&'l mut Outlet> {
    if !is_here(thread) {
        return None;
    }
    if !link.outlets.get(&thread).is_some_and(Outlet::is_open) {
        link.outlets.remove(&thread);
        let lane = engine.open_lane(&reader.pin(), &link.peer, thread).ok()?;
        link.outlets.insert(thread, Outlet::new(lane));
    }
    link.outlets.get_mut(&thread)
}

/// Puts a frame from the wire into the lane of whom it concerns.
fn deliver(
    engine: &Engine,
    reader: &Reader,
    link: &mut Link,
    mut header: Header,
    content: &[u8],
    now_ms: f64,
) -> Result<(), Malformed> {
    if header.kind() == PAD || header.kind() > frame::CREDIT {
        return Err(Malformed);
    }
    let request = header;
    let allowed = if header.kind() == ERROR {
        0xffff | NOT_DELIVERED
    } else {
        0xffff
    };
    header.set_kind_word(header.kind_word() & allowed);
    if !header.is_to_instance() {
        let thread = header.instance();
        header.set_source(link.peer.id);
        header.set_instance(0);
        // A thread that has ended asks for nothing any more.
        push(engine, reader, link, thread, header, content, false);
        return Ok(());
    }
    if header.source() == 0 || header.source() >= frame::FAR_THREADS {
        return Err(Malformed);
    }
    header.set_source(link.peer.id | header.source() << THREAD_BITS);
    match engine.router.thread_of(header.instance()) {
        Some(thread) if is_here(thread) => {
            if !header.is_request() {
                push(engine, reader, link, thread, header, content, false);
                return Ok(());
            }
            header.set_deadline(header.deadline() + now_ms);
            if !push(engine, reader, link, thread, header, content, true) {
                refuse_there(
                    link,
                    &request,
                    "SaturatedError",
                    "LM_SATURATED",
                    "the thread that serves takes nothing at the moment",
                );
            }
        }
        _ if header.is_request() => refuse_there(
            link,
            &request,
            "NoInstanceError",
            "LM_NO_INSTANCE",
            "the instance has left its node",
        ),
        // The instance has left the registry; whoever still works for it takes this, nobody else knows the id.
        _ => {
            let threads: Vec<u32> = link.outlets.keys().copied().collect();
            for thread in threads {
                push(engine, reader, link, thread, header, content, false);
            }
        }
    }
    Ok(())
}

/// Writes into the lane of a thread here. False when it has ended, or takes nothing and this one may be refused.
fn push(
    engine: &Engine,
    reader: &Reader,
    link: &mut Link,
    thread: u32,
    mut header: Header,
    content: &[u8],
    refusable: bool,
) -> bool {
    let Some(outlet) = outlet(engine, reader, link, thread) else {
        return false;
    };
    if refusable && outlet.queued() > REFUSE_BYTES {
        return false;
    }
    let length = HEADER_BYTES + aligned(content.len());
    if length <= outlet.largest() {
        header.set_length(length as u32);
        outlet.push(&header.to_lane(), content, length);
        return true;
    }
    let (body, extras) = content.split_at(header.body() as usize);
    let Ok(blob) = engine.blobs.put(body) else {
        return false;
    };
    let mut small = f64::from(blob).to_ne_bytes().to_vec();
    small.extend_from_slice(extras);
    let length = HEADER_BYTES + aligned(small.len());
    header.set_length(length as u32);
    header.set_body(8);
    header.set_kind_word(header.kind_word() | BLOB);
    outlet.push(&header.to_lane(), &small, length);
    true
}
