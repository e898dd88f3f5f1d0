//! A client and the connection that it uses.

use std::collections::HashMap;

use linkmesh_transport::core::{Direction, Io, NodeId, PeerSlot, StreamError, StreamId};

use super::{
    CLOSE_PROTOCOL, CONTROL, CompletionQueues, Endpoint, LANE, LANES, PRIORITY, RemoteId,
    nearby::Expected,
    peers::{ClientSide, send},
    remotes::{Remote, Remotes},
};
use crate::{
    bulk,
    client::{Client, ClientOptions, Completion, Completions, ImportError},
    frame::Imported,
};

/// Imported regions by the client's own numbers.
pub(super) type Imports = HashMap<u16, Held>;

/// An imported region.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) remote: RemoteId,
    /// Of its import.
    token: u64,
    /// How it may come by descriptor.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "nothing comes there")
    )]
    pub(super) expected: Expected,
}

#[derive(Debug)]
pub(super) struct ClientLink {
    pub(super) node: NodeId,
    pub(super) client: Client,
    /// The connection in use.
    pub(super) slot: Option<PeerSlot>,
    pub(super) is_dirty: bool,
    pub(super) imports: Imports,
    /// Grants that are presented, by the tokens of their imports.
    pub(super) expected: HashMap<u64, Expected>,
    /// Bulk transfers of the session.
    pub(super) transfers: bulk::Client<StreamId>,
    /// The server's making of the session in which they run; `None` when none has begun.
    pub(super) transfers_session: Option<(u128, u64)>,
    /// By a transfer's number, the token that its caller gave.
    pub(super) transfer_tokens: HashMap<u64, u64>,
}

impl ClientLink {
    pub(super) fn new(node: NodeId, session: u128, options: ClientOptions) -> Self {
        let client = Client::new(session, options);
        Self {
            node,
            client,
            slot: None,
            is_dirty: false,
            imports: Imports::new(),
            expected: HashMap::new(),
            // The clock times codecs, nothing else.
            transfers: bulk::Client::new(std::time::Instant::now),
            transfers_session: None,
            transfer_tokens: HashMap::new(),
        }
    }
}

/// Puts what a client completes into the queues.
pub(super) struct Sink<'a> {
    queues: &'a mut CompletionQueues,
    remotes: &'a mut Remotes,
    imports: &'a mut Imports,
    expected: &'a mut HashMap<u64, Expected>,
    client: u32,
}

pub(super) fn sink<'a>(
    queues: &'a mut CompletionQueues,
    remotes: &'a mut Remotes,
    imports: &'a mut Imports,
    expected: &'a mut HashMap<u64, Expected>,
    client: u32,
) -> Sink<'a> {
    Sink {
        queues,
        remotes,
        imports,
        expected,
        client,
    }
}

impl Completions for Sink<'_> {
    #[inline]
    fn completed(&mut self, completion: Completion<'_>) {
        self.queues.completed(&completion);
    }

    fn imported(&mut self, handle: u16, token: u64, result: Result<Imported, ImportError>) {
        let expected = self.expected.remove(&token).unwrap_or_default();
        let result = result.map(|imported| {
            let remote = self.remotes.insert(Remote {
                client: self.client,
                handle,
            });
            let held = Held {
                remote,
                token,
                expected,
            };
            self.imports.insert(handle, held);
            (remote, imported)
        });
        self.queues.imported(token, result);
    }

    fn revoked(&mut self, handle: u16) {
        if let Some(held) = self.imports.get(&handle) {
            self.queues.revoked(held.token, held.remote);
        }
    }
}

impl Endpoint {
    /// Lets a client without a connection enter its session over one that leads to its node, if there is one.
    pub(super) fn attach(&mut self, io: &mut Io<'_>, at: u32) {
        let link = &mut self.clients[at as usize];
        if link.slot.is_some() {
            return;
        }
        let Some(slot) = self.peers.of_node(&link.node) else {
            return;
        };
        // Without a place for a stream, `streams_available` comes here again.
        let Ok(control) = io.open(slot, CONTROL, Direction::Bidirectional, PRIORITY) else {
            return;
        };
        let Some(peer) = self.peers.get(slot) else {
            return;
        };
        peer.client = Some(ClientSide {
            client: at,
            control,
            lanes: [None; LANES],
            transfers: None,
        });
        link.slot = Some(slot);
        for expected in link.expected.values_mut() {
            self.nearby.expect(slot, expected);
        }
        link.client.connected();
        self.mark(at);
    }

    /// Lets the client's connection take what there is.
    pub(super) fn send_client(&mut self, io: &mut Io<'_>, at: u32) {
        let link = &mut self.clients[at as usize];
        link.client.flush();
        let Some(slot) = link.slot else { return };
        let Some(side) = self.peers.get(slot).and_then(|peer| peer.client.as_mut()) else {
            return;
        };
        let mut result = send(io, slot, side.control, link.client.control_output());
        for lane in 0..link.client.lanes() {
            let output = link.client.output(lane);
            if output.is_empty() {
                continue;
            }
            let stream = match side.lanes[lane] {
                Some(stream) => stream,
                None => match io.open(slot, LANE, Direction::Bidirectional, PRIORITY) {
                    Ok(stream) => *side.lanes[lane].insert(stream),
                    // `streams_available` comes here again; a peer that is gone is told of by `disconnected`.
                    Err(_) => continue,
                },
            };
            result = result.and(send(io, slot, stream, output));
        }
        if matches!(result, Err(StreamError::Stopped(_) | StreamError::Closed)) {
            io.close(slot, CLOSE_PROTOCOL);
        }
    }
}
