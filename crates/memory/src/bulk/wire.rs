//! What the transfers need of a connection.

use bytes::Bytes;

/// One connection to the other side, as it is lent to the transfers for the time of a call.
pub trait Wire {
    /// A stream's name; valid until the connection is lost.
    type Stream: Copy + Eq + std::fmt::Debug;

    /// Opens a one-way stream; `None` while the peer allows no more (`retry` is called later).
    fn open(&mut self, kind: StreamKind) -> Option<Self::Stream>;

    /// Appends the front of `block`, without copying it, and takes off what was accepted. What is left is offered again after
    /// `writable`. An error means that the stream is dead; `stopped`, `reset` or `disconnected` says why, or said so.
    ///
    /// # Errors
    /// [`Dead`].
    fn write(&mut self, stream: Self::Stream, block: &mut Bytes) -> Result<(), Dead>;

    /// Ends a stream after what was written.
    fn finish(&mut self, stream: Self::Stream);

    /// Gives up a stream that this side opened.
    fn reset(&mut self, stream: Self::Stream);

    /// Asks the peer to give up its stream.
    fn stop(&mut self, stream: Self::Stream);

    /// Sends a message of [`Message`](super::Message) on the transfers' control stream, in order, after all sent before.
    fn control(&mut self, message: &[u8]);
}

/// The stream takes no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead;

/// How the bytes of a transfer's stream are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Plain bytes: read unordered, placed where their offset says.
    Plain,
    /// Framed blocks with flags and checksums: read in order.
    Blocks,
}
