//! From a node to the lanes of the threads that its frames concern.

use crate::remote::carry::append;
use crate::remote::link::Link;
use crate::remote::local::{Local, is_here};
use linkmesh_requests::Malformed;
use linkmesh_requests::frame::{
    CREDIT, ERROR, FAR_THREADS, Header, NOT_DELIVERED, PAD, THREAD_BITS, refusal_text,
};

/// What of the word with the kind another node may set: no flag but those of its own side.
const KINDS: u32 = 0xffff;

impl Local {
    /// Puts a frame into the lane of whom it concerns, or answers it.
    ///
    /// # Errors
    /// [`Malformed`]: no honest node sends this.
    pub(super) fn deliver(
        &self,
        link: &mut Link,
        mut header: Header,
        content: &[u8],
        now_ms: f64,
    ) -> Result<(), Malformed> {
        if header.kind() == PAD || header.kind() > CREDIT {
            return Err(Malformed);
        }
        let request = header;
        let allowed = if header.kind() == ERROR {
            KINDS | NOT_DELIVERED
        } else {
            KINDS
        };
        header.set_kind_word(header.kind_word() & allowed);
        if !header.is_to_instance() {
            let thread = header.instance();
            header.set_source(link.peer.id);
            header.set_instance(0);
            // A thread that has ended asks for nothing any more.
            self.push(link, thread, header, content, false);
            return Ok(());
        }
        if header.source() == 0 || header.source() >= FAR_THREADS {
            return Err(Malformed);
        }
        header.set_source(link.peer.id | header.source() << THREAD_BITS);
        match self.engine.router.thread_of(header.instance()) {
            Some(thread) if is_here(thread) => {
                if !header.is_request() {
                    self.push(link, thread, header, content, false);
                    return Ok(());
                }
                header.set_deadline(header.deadline() + now_ms);
                if !self.push(link, thread, header, content, true) {
                    refuse(
                        link,
                        &request,
                        "SaturatedError",
                        "LM_SATURATED",
                        "the thread that serves takes nothing at the moment",
                    );
                }
            }
            _ if header.is_request() => refuse(
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
                    self.push(link, thread, header, content, false);
                }
            }
        }
        Ok(())
    }
}

/// Answers a request of the other node that cannot be served.
fn refuse(link: &mut Link, request: &Header, name: &str, code: &str, message: &str) {
    let text = refusal_text(name, code, message);
    let mut header = Header::refusal(request, text.len());
    header.set_instance(request.source());
    append(link, header, text.as_bytes(), &[]);
}
