//! This node's sessions with replicated regions.

use std::{collections::HashMap, time::Instant};

use bytes::Bytes;
use linkmesh_transport::core::NodeId;

use super::room::{Replicas, Talk};
use crate::{
    client::{
        Completion, ImportError, OperationError, OperationFailure, Outcome, SubmitError, Success,
        check_operation,
    },
    endpoint::{CompletionQueues, RemoteId},
    frame::{ImportRefusal, Imported, Operation, Status},
    grant::Grant,
    region::AccessError,
    replica::{
        self, Client, ClientOptions, FailureCause, Members, Message, Mutation, Packet, Refusal,
        Setup, group_id,
    },
};

/// Replicated regions that one node may import.
pub(super) const MAX_IMPORTS: usize = 4096;

/// One import.
#[derive(Debug)]
pub(super) struct Import {
    session: u128,
    group: u128,
    grant: Vec<u8>,
    /// Of the import itself.
    token: u64,
    members: Members,
    /// None until a member accepted the grant.
    opened: Option<(Client, Imported, RemoteId)>,
    next_id: u64,
    /// By the operations' numbers, the tokens of their callers.
    tokens: HashMap<u64, u64>,
}

/// A call that a replicated region cannot take.
#[derive(Debug)]
pub(in crate::endpoint) enum Refused {
    /// It was let go.
    Gone,
    /// As any operation.
    Submit(SubmitError),
    /// Not for regions that are replicated.
    Kind(&'static str),
}

impl Replicas {
    /// Presents a grant to `members`, or to the node that made it.
    pub(in crate::endpoint) fn import(
        &mut self,
        grant: &Grant,
        members: &[NodeId],
        session: u128,
        token: u64,
    ) -> Result<(), ImportError> {
        let free = self.imports.iter().position(Option::is_none);
        let at = match free {
            Some(at) => at,
            None if self.imports.len() < MAX_IMPORTS => {
                self.imports.push(None);
                self.imports.len() - 1
            }
            None => return Err(ImportError::Full { limit: MAX_IMPORTS }),
        };
        let creator = grant.exporter();
        let mut nodes: Members = members.iter().map(|node| node.0).collect();
        if nodes.is_empty() {
            nodes.push(creator);
        }
        let group = group_id(&creator, grant.name(), grant.epoch());
        let import = Import {
            session,
            group,
            grant: grant.bytes().to_vec(),
            token,
            members: nodes,
            opened: None,
            next_id: 0,
            tokens: HashMap::new(),
        };
        let presented = import.members.clone();
        self.imports[at] = Some(import);
        for node in presented {
            self.present(at, NodeId(node));
        }
        Ok(())
    }

    /// Shows one node the grant of one import: before anything else that it says to it.
    fn present(&mut self, at: usize, node: NodeId) {
        if let Some(Some(import)) = self.imports.get(at) {
            let (session, grant) = (import.session, import.grant.clone());
            let packet = Packet::Setup(Setup::Present { session, grant });
            let group = import.group;
            self.say(node, group, packet);
        }
    }

    /// A node is reached anew: what it knew of this node's grants went with the connection before.
    pub(super) fn imports_connected(&mut self, node: NodeId) {
        for at in 0..self.imports.len() {
            let is_member = |import: &Import| import.members.contains(&node.0);
            if self.imports[at].as_ref().is_some_and(is_member) {
                self.present(at, node);
            }
        }
    }

    /// A member answers for a grant.
    pub(super) fn import_answered(
        &mut self,
        talk: Talk,
        session: u128,
        result: Result<(Imported, Members), ImportRefusal>,
        now: Instant,
        remotes: &mut dyn FnMut(u16) -> RemoteId,
        queues: &mut CompletionQueues,
    ) {
        let Some(at) = self.import_at(talk.group, session) else {
            return;
        };
        let Some(import) = &mut self.imports[at] else {
            return;
        };
        if !import.members.contains(&talk.node.0) || import.opened.is_some() {
            return;
        }
        match result {
            Ok((imported, members)) => {
                let options = ClientOptions::default();
                let client = Client::new(session, members.len() as u8, options, now);
                let remote = remotes(at as u16);
                import.opened = Some((client, imported, remote));
                queues.imported(import.token, Ok((remote, imported)));
                let known = std::mem::replace(&mut import.members, members.clone());
                for node in members.iter().filter(|node| !known.contains(node)) {
                    self.present(at, NodeId(*node));
                }
            }
            Err(refusal) => {
                // One that knows no such group may have restarted: another may answer.
                import.members.retain(|member| *member != talk.node.0);
                if import.members.is_empty() || refusal != ImportRefusal::UnknownRegion {
                    let token = import.token;
                    self.imports[at] = None;
                    queues.imported(token, Err(ImportError::Refused(refusal)));
                }
            }
        }
    }

    fn import_at(&self, group: u128, session: u128) -> Option<usize> {
        self.imports.iter().position(|import| {
            import
                .as_ref()
                .is_some_and(|import| import.group == group && import.session == session)
        })
    }

    pub(in crate::endpoint) fn submit(
        &mut self,
        at: u16,
        operation: &Operation<'_>,
        deadline: Option<Instant>,
        token: u64,
        now: Instant,
    ) -> Result<u64, Refused> {
        let import = self.imports.get_mut(usize::from(at));
        let Some(Some(import)) = import else {
            return Err(Refused::Gone);
        };
        let Some((client, imported, _)) = &mut import.opened else {
            return Err(Refused::Gone);
        };
        check_operation(imported, operation).map_err(Refused::Submit)?;
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Refused::Submit(SubmitError::DeadlinePast));
        }
        let operation = match *operation {
            Operation::Read { offset, length } => replica::Operation::Read { offset, length },
            Operation::ReadVersioned { .. } => {
                return Err(Refused::Kind(
                    "reads of replicated regions are never torn and have no versions",
                ));
            }
            Operation::Write { offset, data } => replica::Operation::Mutate(Mutation::Write {
                offset,
                data: Bytes::copy_from_slice(data),
            }),
            Operation::FetchAdd { offset, operand } => {
                replica::Operation::Mutate(Mutation::FetchAdd { offset, operand })
            }
            Operation::CompareSwap {
                offset,
                expected,
                desired,
            } => replica::Operation::Mutate(Mutation::CompareSwap {
                offset,
                expected,
                desired,
            }),
            // Operations of one session are in order anyway: this is answered when those before it are done.
            Operation::Nop => replica::Operation::Mutate(Mutation::Nop),
        };
        let id = import.next_id;
        let mut out = Vec::new();
        if !client.submit(operation, deadline, id, now, &mut out) {
            return Err(Refused::Submit(match client.over() {
                Some(FailureCause::Refused(Refusal::Revoked)) => {
                    SubmitError::Access(AccessError::Revoked)
                }
                Some(FailureCause::Refused(Refusal::Expired)) => {
                    SubmitError::Access(AccessError::Expired)
                }
                Some(_) => SubmitError::Closed,
                None => SubmitError::Full {
                    limit: ClientOptions::default().pending,
                },
            }));
        }
        import.next_id += 1;
        import.tokens.insert(id, token);
        self.ask(usize::from(at), out);
        Ok(id)
    }

    /// Stops waiting; as [`Endpoint::cancel`](crate::endpoint::Endpoint::cancel).
    pub(in crate::endpoint) fn cancel(
        &mut self,
        at: u16,
        id: u64,
        queues: &mut CompletionQueues,
    ) -> Option<Outcome> {
        let import = self.imports.get_mut(usize::from(at))?.as_mut()?;
        let (client, ..) = import.opened.as_mut()?;
        let outcome = client.cancel(id);
        self.complete(usize::from(at), queues);
        outcome
    }

    pub(in crate::endpoint) fn release(&mut self, at: u16, queues: &mut CompletionQueues) {
        let mut out = Vec::new();
        if let Some(Some(import)) = self.imports.get_mut(usize::from(at))
            && let Some((client, ..)) = &mut import.opened
        {
            client.close(&mut out);
        }
        self.ask(usize::from(at), out);
        self.complete(usize::from(at), queues);
        if let Some(import) = self.imports.get_mut(usize::from(at)) {
            *import = None;
        }
    }

    /// Something of the protocol came for a session of this node.
    pub(super) fn client_heard(
        &mut self,
        talk: Talk,
        session: u128,
        message: Message,
        now: Instant,
        queues: &mut CompletionQueues,
    ) {
        let Some(at) = self.import_at(talk.group, session) else {
            return;
        };
        let mut out = Vec::new();
        if let Some(Some(import)) = self.imports.get_mut(at)
            && let Some(from) = import
                .members
                .iter()
                .position(|member| *member == talk.node.0)
            && let Some((client, ..)) = &mut import.opened
        {
            client.receive(from as u8, message, now, &mut out);
        }
        self.ask(at, out);
        self.complete(at, queues);
    }

    pub(super) fn clients_timeout(&mut self, now: Instant, queues: &mut CompletionQueues) {
        for at in 0..self.imports.len() {
            let mut out = Vec::new();
            if let Some(import) = &mut self.imports[at]
                && let Some((client, ..)) = &mut import.opened
                && client.deadline().is_some_and(|due| due <= now)
            {
                client.timeout(now, &mut out);
            }
            self.ask(at, out);
            self.complete(at, queues);
        }
    }

    pub(super) fn clients_deadline(&self) -> Option<Instant> {
        let clients = self.imports.iter().flatten();
        clients
            .filter_map(|import| import.opened.as_ref()?.0.deadline())
            .min()
    }

    fn ask(&mut self, at: usize, out: Vec<(u8, Message)>) {
        let Some(Some(import)) = self.imports.get(at) else {
            return;
        };
        for (member, message) in out {
            if let Some(node) = import.members.get(usize::from(member)) {
                let packet = Packet::Message(message);
                let to = Err(NodeId(*node));
                self.queue.push_back((to, import.group, packet));
            }
        }
    }

    /// A packet was dropped before it left: if it was a question, whoever asked it knows more than if it was lost later.
    pub(super) fn not_sent(&mut self, group: u128, packet: &Packet) {
        if let Packet::Message(Message::Request { session, ask, .. }) = packet
            && let Some(at) = self.import_at(group, *session)
            && let Some(Some(import)) = self.imports.get_mut(at)
            && let Some((client, ..)) = &mut import.opened
        {
            client.not_sent(ask);
        }
    }

    /// Hands over what ended.
    fn complete(&mut self, at: usize, queues: &mut CompletionQueues) {
        let Some(Some(import)) = self.imports.get_mut(at) else {
            return;
        };
        let Some((client, ..)) = &mut import.opened else {
            return;
        };
        for replica::Completion { token: id, result } in client.completions() {
            let Some(token) = import.tokens.remove(&id) else {
                continue;
            };
            let result = match &result {
                Ok(replica::Success::Done) => Ok(Success::Done),
                Ok(replica::Success::Value(value)) => Ok(Success::Value(*value)),
                Ok(replica::Success::Bytes(bytes)) => Ok(Success::Bytes(bytes)),
                Err(failure) => Err(OperationError {
                    failure: failure_of(failure.cause),
                    outcome: failure.outcome,
                }),
            };
            queues.completed(&Completion { id, token, result });
        }
    }
}

const fn failure_of(cause: FailureCause) -> OperationFailure {
    match cause {
        FailureCause::Refused(refusal) => match refusal {
            Refusal::Unavailable | Refusal::Sessions => OperationFailure::Unavailable,
            Refusal::UnknownSession => OperationFailure::SessionLost,
            Refusal::Stale => OperationFailure::Refused(Status::Stale, 0),
            Refusal::OutOfRange => OperationFailure::Refused(Status::OutOfRange, 0),
            Refusal::Misaligned => OperationFailure::Refused(Status::Misaligned, 8),
            Refusal::Rights => OperationFailure::Refused(Status::Rights, 0),
            Refusal::Expired => OperationFailure::Refused(Status::Expired, 0),
            Refusal::Revoked => OperationFailure::Refused(Status::Revoked, 0),
        },
        FailureCause::DeadlineExceeded => OperationFailure::DeadlineExceeded,
        FailureCause::Cancelled => OperationFailure::Cancelled,
        FailureCause::SessionLost => OperationFailure::SessionLost,
        FailureCause::Closed => OperationFailure::Closed,
    }
}
