//! From lanes of this process to the node that they end at.

use crate::peer::LaneLink;
use crate::remote::link::Link;
use crate::remote::local::Local;
use linkmesh_requests::frame::{
    BLOB, HEADER_BYTES, Header, MAX_FRAME_BYTES, NOT_DELIVERED, PAD, TAKEN, aligned, refusal_text,
};

impl Local {
    /// Carries what lies in the lanes, as far as the ways to the node take it. True when nothing is left there.
    pub(super) fn carry_lanes(&self, link: &mut Link, now_ms: f64) -> bool {
        let lanes = link.take_lanes();
        let mut all = true;
        for lane in &lanes {
            all &= self.carry_lane(link, lane, now_ms);
        }
        link.keep_lanes(lanes);
        all
    }

    fn carry_lane(&self, link: &mut Link, lane: &LaneLink, now_ms: f64) -> bool {
        let memory = &lane.memory;
        let capacity = memory.capacity() as usize;
        let (mut head, tail) = (memory.head(), memory.tail());
        while head != tail && link.departures.takes() {
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
                    let content = &bytes[HEADER_BYTES..length];
                    if let Some(text) = self.carry(link, header, content, now_ms) {
                        self.refuse(link, lane.from.id, &header, &text);
                    }
                }
            }
            head = head.wrapping_add(length as u32);
        }
        // Cannot fail: the head lies between the old one and the tail.
        let _ = memory.release(head);
        head == tail
    }

    /// Puts a frame on its way. The text of a refusal when that is not possible and somebody waits for an answer.
    fn carry(
        &self,
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
            blob = self.engine.blobs.take(id as u32);
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
        header.set_kind_word(header.kind_word() & !(BLOB | TAKEN));
        if header.is_request() {
            header.set_deadline(header.deadline() - now_ms);
        }
        append(link, header, body, extras);
        None
    }

    /// Answers a request of a thread here that cannot be carried.
    fn refuse(&self, link: &mut Link, thread: u32, request: &Header, text: &str) {
        let mut header = Header::refusal(request, text.len());
        header.set_source(link.peer.id);
        if let Some(outlet) = self.outlet(link, thread) {
            outlet.push(&header.to_lane(), text.as_bytes(), header.length() as usize);
        }
    }
}

/// Appends a frame to what its way is to take.
pub(super) fn append(link: &mut Link, header: Header, body: &[u8], extras: &[u8]) {
    let out = link.departures.bytes(header.id());
    let end = out.len() + header.length() as usize;
    out.extend_from_slice(&header.to_wire());
    out.extend_from_slice(body);
    out.extend_from_slice(extras);
    out.resize(end, 0);
}

/// Bytes of the frame at the start of `bytes`.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(*bytes.first_chunk::<4>()?) as usize;
    (length >= 8 && length.is_multiple_of(8) && length <= bytes.len()).then_some(length)
}
