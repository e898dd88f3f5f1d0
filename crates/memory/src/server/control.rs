//! The control stream of one client connection, at the server.

use std::time::Instant;

use linkmesh_transport::core::NodeId;

use super::{ServerConnection, ServerError};
use crate::{
    frame::{Control, ImportRefusal, Imported, Step, decode_control},
    region::Access,
    session::Sessions,
};

/// How a presented grant is verified: signature, node, expiry, region. What it opens is then checked by each operation.
pub trait Grants {
    /// Verifies `grant` for `node`.
    ///
    /// # Errors
    /// Why it opens nothing.
    fn open(&mut self, node: &NodeId, grant: &[u8], now: Instant) -> Result<Access, ImportRefusal>;
}

impl ServerConnection {
    /// Takes in the bytes that came next on the control stream. Answers are in
    /// [`control_output`](Self::control_output).
    ///
    /// # Errors
    /// [`ServerError`]: the connection must be closed.
    pub fn receive_control(
        &mut self,
        sessions: &mut Sessions,
        grants: &mut impl Grants,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), ServerError> {
        let mut input = std::mem::take(&mut self.control_input);
        let result = input.feed(bytes, |rest| {
            Step::of(decode_control(rest)?, |message| {
                self.control(sessions, grants, message, now)
            })
        });
        self.control_input = input;
        result
    }

    fn control(
        &mut self,
        sessions: &mut Sessions,
        grants: &mut impl Grants,
        message: Control<'_>,
        now: Instant,
    ) -> Result<(), ServerError> {
        let out = self.control_output.tail();
        if let Control::Attach(attach) = message {
            if self.key.is_some() {
                return Err(ServerError::Control);
            }
            let (key, attached) = sessions.attach(&self.node, attach, now)?;
            self.key = Some(key);
            Control::Attached(attached).encode(out);
            return Ok(());
        }
        let key = self.key.ok_or(ServerError::Control)?;
        let session = sessions.get(key).ok_or(ServerError::Superseded)?;
        match message {
            Control::Import { handle, grant } => {
                let result = grants.open(&self.node, grant, now).and_then(|access| {
                    let imported = Imported {
                        rights: access.rights,
                        length: access.length,
                        compression: access.compression,
                    };
                    session
                        .handles
                        .insert(handle, access)
                        .map_err(|_| ImportRefusal::TooMany)?;
                    Ok(imported)
                });
                Control::Imported { handle, result }.encode(out);
            }
            Control::Release { handle } => session.handles.remove(handle),
            Control::End => {
                sessions.end(key);
                self.key = None;
                self.is_ended = true;
            }
            _ => return Err(ServerError::Control),
        }
        Ok(())
    }

    /// Tells the client which of its grants are dead: those for which `is_dead` says so. They stay refused either way.
    pub fn announce_revoked(&mut self, sessions: &mut Sessions, is_dead: impl Fn(&Access) -> bool) {
        let Some(session) = self.key.and_then(|key| sessions.get(key)) else {
            return;
        };
        let out = self.control_output.tail();
        for (handle, _) in session.handles.iter().filter(|(_, access)| is_dead(access)) {
            Control::Revoked { handle }.encode(out);
        }
    }

    /// The connection is gone: the session's lease runs from now.
    pub fn disconnected(&mut self, sessions: &mut Sessions, now: Instant) {
        if let Some(key) = self.key.take() {
            sessions.detach(key, now);
        }
    }
}
