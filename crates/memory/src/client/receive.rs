//! From the lanes and the control stream to the callers.

use super::{
    Client, ClientError, Completion, Completions, ImportError, OperationError, OperationFailure,
    Outcome, Success,
    client::Link,
    imports::Standing,
    pending::{Kind, Stage},
};
use crate::frame::{
    Attached, Control, Decoded, ImportRefusal, Imported, Reply, ReplyFrame, Status, Step,
    decode_control, decode_reply, widen_sequence,
};

impl Client {
    /// Takes in the bytes that came next on `lane` and completes what they answer.
    ///
    /// # Errors
    /// [`ClientError`]: the connection must be closed. What waits, waits for the next one.
    pub fn receive(
        &mut self,
        lane: usize,
        bytes: &[u8],
        completions: &mut impl Completions,
    ) -> Result<(), ClientError> {
        let Some(this) = self.lanes.get_mut(lane) else {
            return Err(ClientError::Lane(lane));
        };
        let mut input = std::mem::take(&mut this.input);
        let result = input.feed(bytes, |rest| {
            let (frame, length) = match decode_reply(rest)? {
                Decoded::Frame(frame, length) => (frame, length),
                Decoded::Needs(whole) => return Ok(Step::Needs(whole)),
            };
            match frame {
                ReplyFrame::Reply(reply) => self.answered(&reply, completions)?,
                ReplyFrame::Batch(batch) => {
                    for reply in batch.entries() {
                        self.answered(&reply, completions)?;
                    }
                }
            }
            Ok(Step::Consumed(length))
        });
        self.lanes[lane].input = input;
        self.pop_done();
        result
    }

    #[inline]
    fn answered(
        &mut self,
        reply: &Reply<'_>,
        completions: &mut impl Completions,
    ) -> Result<(), ClientError> {
        let id = widen_sequence(reply.sequence, self.base);
        if id < self.base {
            // The answer to a NOP whose place was given up meanwhile.
            return Ok(());
        }
        if id >= self.next_sent {
            return Err(ClientError::Reply(id));
        }
        let pending = &mut self.pending[(id - self.base) as usize];
        match pending.stage {
            Stage::Sent => {
                let result =
                    result(pending.kind, pending.length, reply).ok_or(ClientError::Reply(id))?;
                self.in_flight -= pending.cost();
                pending.stage = Stage::Done;
                completions.completed(Completion {
                    id,
                    token: pending.token,
                    result,
                });
            }
            Stage::Abandoned => {
                self.in_flight -= pending.cost();
                pending.stage = Stage::Done;
            }
            Stage::Done | Stage::Queued => {}
        }
        Ok(())
    }

    /// Takes in the bytes that came next on the control stream.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_control(
        &mut self,
        bytes: &[u8],
        completions: &mut impl Completions,
    ) -> Result<(), ClientError> {
        let mut input = std::mem::take(&mut self.control_input);
        let result = input.feed(bytes, |rest| {
            Step::of(decode_control(rest)?, |message| match message {
                Control::Attached(attached) => self.attached(attached, completions),
                Control::Imported { handle, result } => self.imported(handle, result, completions),
                Control::Revoked { handle } => {
                    if self
                        .imports
                        .get(handle)
                        .is_some_and(|import| !import.released)
                    {
                        completions.revoked(handle);
                    }
                    Ok(())
                }
                _ => Err(ClientError::Control),
            })
        });
        self.control_input = input;
        result
    }

    /// The server holds the session again, or a new one under its number.
    fn attached(
        &mut self,
        attached: Attached,
        completions: &mut impl Completions,
    ) -> Result<(), ClientError> {
        if self.link != Link::Attaching {
            return Err(ClientError::Control);
        }
        self.link = Link::Attached;
        let incarnation = Some((attached.boot_epoch, attached.incarnation));
        if self.incarnation != incarnation {
            self.incarnation = incarnation;
            // What was sent may have happened. The server would take it for new: it must never be sent again.
            self.lose(completions);
            self.imports.forget();
        }
        let control = self.control.tail();
        for (handle, import) in self.imports.waiting() {
            Control::Import {
                handle,
                grant: &import.grant,
            }
            .encode(control);
        }
        Ok(())
    }

    fn imported(
        &mut self,
        handle: u16,
        result: Result<Imported, ImportRefusal>,
        completions: &mut impl Completions,
    ) -> Result<(), ClientError> {
        let import = self
            .imports
            .answer(handle, result)
            .ok_or(ClientError::Control)?;
        if import.released {
            self.imports.remove(handle);
            return Ok(());
        }
        let again = import.allows.is_some();
        if let Standing::Held(imported) = import.standing {
            import.allows = Some(imported);
        }
        let token = import.token;
        match result {
            Ok(imported) if !again => completions.imported(handle, token, Ok(imported)),
            Ok(_) => {}
            Err(refusal) => {
                if again {
                    completions.revoked(handle);
                } else {
                    completions.imported(handle, token, Err(ImportError::Refused(refusal)));
                    self.imports.remove(handle);
                }
                self.fail_where(
                    completions,
                    OperationFailure::ImportRefused(refusal),
                    |pending| pending.handle == handle && pending.kind != Kind::Nop,
                );
            }
        }
        Ok(())
    }
}

/// What a reply says about an operation of this kind; `None` if it cannot be the answer to it.
#[inline]
fn result<'a>(
    kind: Kind,
    length: u32,
    reply: &Reply<'a>,
) -> Option<Result<Success<'a>, OperationError>> {
    let data = reply.data;
    if reply.status != Status::Ok {
        let limit = u64::from_le_bytes(data.try_into().ok()?);
        let failure = OperationFailure::Refused(reply.status, limit);
        return Some(Err(OperationError {
            failure,
            outcome: Outcome::NotDelivered,
        }));
    }
    let success = match kind {
        Kind::Read if data.len() == length as usize => Success::Bytes(data),
        Kind::ReadVersioned if data.len() == 16 + length as usize => Success::Versioned {
            before: u64::from_le_bytes(data[..8].try_into().ok()?),
            after: u64::from_le_bytes(data[8..16].try_into().ok()?),
            bytes: &data[16..],
        },
        Kind::FetchAdd | Kind::CompareSwap => {
            Success::Value(u64::from_le_bytes(data.try_into().ok()?))
        }
        Kind::Write | Kind::Nop if data.is_empty() => Success::Done,
        _ => return None,
    };
    Some(Ok(success))
}
