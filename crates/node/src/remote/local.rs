//! This process, as a link to a node sees it: threads with lanes, large bodies, the registry.

use std::sync::Arc;
use std::time::Instant;

use linkmesh_tables::epoch::{Domain, Reader};

use crate::engine::{Engine, FIRST_NODE_THREAD};
use crate::remote::JsClock;
use crate::remote::link::Link;
use crate::remote::outlet::{Outlet, REFUSE_BYTES};
use linkmesh_requests::frame::{BLOB, HEADER_BYTES, Header, aligned};

#[derive(Debug)]
pub(super) struct Local {
    pub(super) engine: Arc<Engine>,
    clock: JsClock,
    reader: Reader,
}

impl Local {
    pub(super) fn new(engine: Arc<Engine>, clock: JsClock) -> Self {
        Self {
            engine,
            clock,
            reader: Domain::global().register(),
        }
    }

    /// What JavaScript's clock says at `now`, milliseconds.
    pub(super) fn ms(&self, now: Instant) -> f64 {
        self.clock.at(now)
    }

    /// The lane to a thread here; `None` when it has ended.
    pub(super) fn outlet<'l>(&self, link: &'l mut Link, thread: u32) -> Option<&'l mut Outlet> {
        if !is_here(thread) {
            return None;
        }
        if !link.outlets.get(&thread).is_some_and(Outlet::is_open) {
            link.outlets.remove(&thread);
            let lane = self
                .engine
                .open_lane(&self.reader.pin(), &link.peer, thread)
                .ok()?;
            link.outlets.insert(thread, Outlet::new(lane));
        }
        link.outlets.get_mut(&thread)
    }

    /// Writes into the lane of a thread here. False when it has ended, or takes nothing and this one may be refused.
    pub(super) fn push(
        &self,
        link: &mut Link,
        thread: u32,
        mut header: Header,
        content: &[u8],
        refusable: bool,
    ) -> bool {
        let Some(outlet) = self.outlet(link, thread) else {
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
        let Ok(blob) = self.engine.blobs.put(body) else {
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
}

/// True for a thread of this process.
pub(super) fn is_here(thread: u32) -> bool {
    thread != 0 && thread < FIRST_NODE_THREAD
}
