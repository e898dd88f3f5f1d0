//! The lanes of one client connection, at the server.

use std::{fmt, time::Instant};

use linkmesh_transport::core::NodeId;

use super::execute::{BeyondWindow, answer};
use crate::{
    frame::{
        AckBelow, BATCH_REPLY_HEADER, Batch, Decoded, ENTRY_HEADER, FrameBuffer, FrameError,
        REPLY_HEADER, Request, RequestFrame, Step, WINDOW, batch_reply_header, decode_request,
        entry_header, reply_header, widen_sequence,
    },
    outgoing::Outgoing,
    session::{AttachError, Session, SessionKey, Sessions},
};

/// Replies that may wait for a stream to take them before its lane stops executing.
pub const MAX_OUTPUT: usize = 256 * 1024;
/// Operations that may wait behind a fence or a slow reader. A correct client has fewer bytes outstanding.
pub const MAX_INPUT: usize = 4 * 1024 * 1024;

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// Bytes that are no frame.
    Frame(FrameError),
    /// More operations outstanding than [`WINDOW`].
    Window,
    /// More bytes waiting than [`MAX_INPUT`].
    Input,
    /// A lane that does not exist.
    Lane(usize),
    /// The session ended, or another connection of the client holds it.
    Superseded,
    /// The session could not be entered.
    Attach(AttachError),
    /// A control message that a client does not send, or not now; operations before ATTACH.
    Control,
}

impl From<AttachError> for ServerError {
    fn from(error: AttachError) -> Self {
        Self::Attach(error)
    }
}

impl From<FrameError> for ServerError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Window => write!(f, "more than {WINDOW} operations outstanding"),
            Self::Input => write!(f, "more than {MAX_INPUT} bytes of operations waiting"),
            Self::Lane(lane) => write!(f, "there is no lane {lane}"),
            Self::Attach(error) => error.fmt(f),
            Self::Control => f.write_str(
                "a control message out of place, or operations before the session was entered",
            ),
            Self::Superseded => f.write_str("the session ended or moved to another connection"),
        }
    }
}

impl std::error::Error for ServerError {}

#[derive(Debug, Default)]
struct Lane {
    input: FrameBuffer,
    output: Outgoing,
    /// Stopped at a fence, or until the replies are taken.
    stopped: bool,
}

/// A client's connection, and its hold on a session.
#[derive(Debug)]
pub struct ServerConnection {
    pub(super) node: NodeId,
    pub(super) key: Option<SessionKey>,
    /// The client said END: what still comes on the lanes is dropped.
    pub(super) is_ended: bool,
    pub(super) control_input: FrameBuffer,
    pub(super) control_output: Outgoing,
    lanes: Box<[Lane]>,
}

impl ServerConnection {
    /// A connection of `node` with `lanes` lanes. It holds no session until the control stream said ATTACH.
    pub fn new(node: NodeId, lanes: usize) -> Self {
        Self {
            node,
            key: None,
            is_ended: false,
            control_input: FrameBuffer::default(),
            control_output: Outgoing::default(),
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
        }
    }

    /// Which session it holds, if any.
    pub(crate) fn key(&self) -> Option<SessionKey> {
        self.key
    }

    /// Control messages to send.
    pub fn control_output(&mut self) -> &mut Outgoing {
        &mut self.control_output
    }

    /// Replies that wait for the stream of `lane`. After taking from it, call [`resume`](Self::resume).
    pub fn output(&mut self, lane: usize) -> &mut Outgoing {
        &mut self.lanes[lane].output
    }

    /// Lanes there are.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// True while `lane` executes nothing: at a fence, or because its replies are not taken. Better not to read its stream.
    pub fn is_stopped(&self, lane: usize) -> bool {
        self.lanes[lane].stopped
    }

    /// Executes the operations in `bytes`, which came next on `lane`, and whatever other lanes had waiting for them.
    ///
    /// A READ of 64 bytes, decoded, executed and encoded, costs about 30 ns, in a batch about 20 (`benches/operations.rs`).
    ///
    /// # Errors
    /// [`ServerError`]: the connection must be closed. What was executed before stays executed, and its results are kept.
    pub fn receive(
        &mut self,
        sessions: &mut Sessions,
        lane: usize,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), ServerError> {
        if self.is_ended {
            return Ok(());
        }
        let session = sessions
            .get(self.key.ok_or(ServerError::Control)?)
            .ok_or(ServerError::Superseded)?;
        let lanes = &mut self.lanes;
        let Some(this) = lanes.get_mut(lane) else {
            return Err(ServerError::Lane(lane));
        };
        this.receive(session, bytes, now)?;
        if lanes.iter().any(|lane| lane.stopped) {
            resume(lanes, session, now)?;
        }
        Ok(())
    }

    /// Goes on where replies had to wait; call it after the output of a lane was taken.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn resume(&mut self, sessions: &mut Sessions, now: Instant) -> Result<(), ServerError> {
        if !self.is_ended && self.lanes.iter().any(|lane| lane.stopped) {
            let session = sessions
                .get(self.key.ok_or(ServerError::Control)?)
                .ok_or(ServerError::Superseded)?;
            resume(&mut self.lanes, session, now)?;
        }
        Ok(())
    }
}

/// Lets every stopped lane try again until none gets further: what one executes may open another's fence.
#[cold]
fn resume(lanes: &mut [Lane], session: &mut Session, now: Instant) -> Result<(), ServerError> {
    loop {
        let mut moved = false;
        for lane in lanes.iter_mut().filter(|lane| lane.stopped) {
            let before = lane.input.len();
            lane.receive(session, &[], now)?;
            moved |= lane.input.len() < before;
        }
        if !moved {
            return Ok(());
        }
    }
}

impl Lane {
    fn receive(
        &mut self,
        session: &mut Session,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), ServerError> {
        let Self {
            input,
            output,
            stopped,
        } = self;
        *stopped = false;
        input.feed(bytes, |rest| {
            if output.len() > MAX_OUTPUT {
                *stopped = true;
                return Ok(Step::Stop);
            }
            let (frame, length) = match decode_request(rest)? {
                Decoded::Frame(frame, length) => (frame, length),
                Decoded::Needs(whole) => return Ok(Step::Needs(whole)),
            };
            let passed = match frame {
                RequestFrame::Request(request) => one(session, &request, now, output.tail())?,
                RequestFrame::Batch(batch) => all(session, &batch, now, output.tail())?,
                RequestFrame::AckBelow(AckBelow(wire)) => {
                    let base = session.window.base();
                    let sequence = widen_sequence(wire, base);
                    // Nothing beyond was executed, so nothing beyond was answered; a number from before the first one is
                    // there, too.
                    if sequence > base + WINDOW {
                        return Err(ServerError::Window);
                    }
                    session.window.acknowledge(sequence);
                    true
                }
            };
            *stopped = !passed;
            Ok::<_, ServerError>(if passed {
                Step::Consumed(length)
            } else {
                Step::Stop
            })
        })?;
        if input.len() > MAX_INPUT {
            return Err(ServerError::Input);
        }
        Ok(())
    }
}

impl From<BeyondWindow> for ServerError {
    fn from(_: BeyondWindow) -> Self {
        Self::Window
    }
}

/// The whole sequence, and whether the fence before it is open.
#[inline]
fn pass(session: &Session, wire: u32, fence: bool) -> (u64, bool) {
    let sequence = widen_sequence(wire, session.window.base());
    (
        sequence,
        !fence || session.window.is_executed_below(sequence),
    )
}

/// Executes one operation; false if its fence is closed.
#[inline]
fn one(
    session: &mut Session,
    request: &Request<'_>,
    now: Instant,
    out: &mut Vec<u8>,
) -> Result<bool, ServerError> {
    let (sequence, open) = pass(session, request.sequence, request.fence);
    if !open {
        return Ok(false);
    }
    let access = session.handles.get(request.handle);
    let start = out.len();
    out.extend_from_slice(&[0; REPLY_HEADER]);
    let status = answer(
        &mut session.window,
        access,
        sequence,
        &request.operation,
        now,
        out,
    )?;
    let header = reply_header(request.sequence, status, out.len() - start - REPLY_HEADER);
    out[start..start + REPLY_HEADER].copy_from_slice(&header);
    Ok(true)
}

/// Executes the operations of a batch in order; false, and nothing is executed, if its fence is closed.
fn all(
    session: &mut Session,
    batch: &Batch<'_>,
    now: Instant,
    out: &mut Vec<u8>,
) -> Result<bool, ServerError> {
    let (first, open) = pass(session, batch.sequence, batch.fence);
    if !open {
        return Ok(false);
    }
    if first.checked_add(u64::from(batch.count)).is_none() {
        return Err(ServerError::Window);
    }
    let access = session.handles.get(batch.handle);
    let start = out.len();
    out.extend_from_slice(&[0; BATCH_REPLY_HEADER]);
    for (sequence, operation) in (first..).zip(batch.entries()) {
        let entry = out.len();
        out.extend_from_slice(&[0; ENTRY_HEADER]);
        let status = answer(&mut session.window, access, sequence, &operation, now, out)?;
        let header = entry_header(status, out.len() - entry - ENTRY_HEADER);
        out[entry..entry + ENTRY_HEADER].copy_from_slice(&header);
    }
    let header = batch_reply_header(
        batch.sequence,
        batch.count,
        out.len() - start - BATCH_REPLY_HEADER,
    );
    out[start..start + BATCH_REPLY_HEADER].copy_from_slice(&header);
    Ok(true)
}
