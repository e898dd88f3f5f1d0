//! Operations on memory of this host that a peer has shared by descriptor: a load or one instruction, and no engine.
//!
//! Everything here answers `None` when the memory is not mapped here, or not any more: QUIC then does the operation, or
//! knows why it cannot be done.

#[cfg(target_os = "linux")]
pub(super) use linux::{atomic, bulk_may_read, bulk_read, bulk_write, execute, is_mapped, read};
#[cfg(not(target_os = "linux"))]
pub(super) use nowhere::{atomic, bulk_may_read, bulk_read, bulk_write, execute, is_mapped, read};

#[cfg(target_os = "linux")]
mod linux {
    use linkmesh_memory::frame::{MAX_INLINE, Operation};
    use linkmesh_memory::host::{MappedError, MappedRegion};
    use linkmesh_memory::region::{AccessError, check_range};

    use crate::memory::fate;
    use crate::memory::page::{Completion, Completions, Fate, Submission};
    use crate::memory::remotes::Remote;

    type Answer<T> = Option<Result<T, Fate>>;

    /// What the exporter may have ended is asked of the exporter: a link that is gone has revoked its mappings, too.
    fn answer<T>(result: Result<T, MappedError>) -> Answer<T> {
        match result {
            Ok(value) => Some(Ok(value)),
            Err(
                MappedError::PeerGone
                | MappedError::Access(AccessError::Revoked | AccessError::Expired),
            ) => None,
            Err(MappedError::Access(error)) => Some(Err(fate::of_access(error))),
        }
    }

    pub(in crate::memory) fn is_mapped(remote: &Remote) -> bool {
        remote.mapped().is_some()
    }

    #[inline]
    pub(in crate::memory) fn read(remote: &Remote, offset: u64, target: &mut [u8]) -> Answer<()> {
        // A length that no operation may have is refused where all lengths are.
        if target.is_empty() || target.len() > MAX_INLINE as usize {
            return None;
        }
        answer(remote.mapped()?.read(offset, target))
    }

    /// A fetch-and-add or a compare-and-swap; what was there before.
    #[inline]
    pub(in crate::memory) fn atomic(remote: &Remote, operation: Operation<'_>) -> Answer<u64> {
        let region = remote.mapped()?;
        match operation {
            Operation::FetchAdd { offset, operand } => answer(region.fetch_add(offset, operand)),
            Operation::CompareSwap {
                offset,
                expected,
                desired,
            } => answer(region.compare_swap(offset, expected, desired)),
            _ => None,
        }
    }

    /// Whether a bulk read of these bytes is allowed.
    pub(in crate::memory) fn bulk_may_read(
        remote: &Remote,
        offset: u64,
        length: u64,
    ) -> Answer<()> {
        let region = remote.mapped()?;
        answer(
            check_range(offset, length, region.len())
                .map_err(MappedError::Access)
                .and_then(|()| region.read(offset, &mut [])),
        )
    }

    pub(in crate::memory) fn bulk_read(
        remote: &Remote,
        offset: u64,
        target: &mut [u8],
    ) -> Answer<()> {
        answer(remote.mapped()?.read(offset, target))
    }

    pub(in crate::memory) fn bulk_write(remote: &Remote, offset: u64, source: &[u8]) -> Answer<()> {
        answer(remote.mapped()?.write(offset, source))
    }

    /// Does an operation and writes its completion, which has room. False: it was not done.
    #[inline]
    pub(in crate::memory) fn execute(
        remote: &Remote,
        submission: &Submission<'_>,
        completions: &mut Completions<'_>,
    ) -> bool {
        let Some(region) = remote.mapped() else {
            return false;
        };
        let mut completion = Completion {
            name: submission.name,
            ..Completion::default()
        };
        completion.fate.flags = fate::NEARBY;
        match submission.operation {
            Operation::Read { offset, length } => {
                read_into(region, offset, length, None, completion, completions)
            }
            Operation::ReadVersioned {
                offset,
                length,
                version,
            } => read_into(
                region,
                offset,
                length,
                Some(version),
                completion,
                completions,
            ),
            Operation::Write { offset, data } => {
                if data.is_empty() || data.len() > MAX_INLINE as usize {
                    return false;
                }
                finish(
                    answer(region.write(offset, data).map(|()| 0)),
                    completion,
                    completions,
                )
            }
            Operation::FetchAdd { .. } | Operation::CompareSwap { .. } => finish(
                atomic(remote, submission.operation),
                completion,
                completions,
            ),
            Operation::Nop => completions.push(&completion, &[]),
        }
    }

    fn finish(
        answer: Answer<u64>,
        mut completion: Completion,
        completions: &mut Completions<'_>,
    ) -> bool {
        match answer {
            None => return false,
            Some(Ok(value)) => completion.value = value,
            Some(Err(fate)) => completion.fate = fate,
        }
        completions.push(&completion, &[])
    }

    fn read_into(
        region: &MappedRegion,
        offset: u64,
        length: u32,
        version: Option<u64>,
        mut completion: Completion,
        completions: &mut Completions<'_>,
    ) -> bool {
        let length = length as usize;
        if length == 0 || length > MAX_INLINE as usize || !completions.fits(length) {
            return false;
        }
        completions.fill(length, |target| {
            let result = match version {
                None => region.read(offset, target).map(|()| (0, 0)),
                Some(version) => region.read_versioned(offset, target, version),
            };
            match answer(result)? {
                Ok((before, after)) => (completion.before, completion.after) = (before, after),
                Err(fate) => completion.fate = fate,
            }
            Some(completion)
        })
    }
}

/// Where no memory comes by descriptor.
#[cfg(not(target_os = "linux"))]
mod nowhere {
    use linkmesh_memory::frame::Operation;

    use crate::memory::page::{Completions, Fate, Submission};
    use crate::memory::remotes::Remote;

    type Answer<T> = Option<Result<T, Fate>>;

    pub(in crate::memory) fn is_mapped(_: &Remote) -> bool {
        false
    }

    pub(in crate::memory) fn read(_: &Remote, _: u64, _: &mut [u8]) -> Answer<()> {
        None
    }

    pub(in crate::memory) fn atomic(_: &Remote, _: Operation<'_>) -> Answer<u64> {
        None
    }

    pub(in crate::memory) fn bulk_may_read(_: &Remote, _: u64, _: u64) -> Answer<()> {
        None
    }

    pub(in crate::memory) fn bulk_read(_: &Remote, _: u64, _: &mut [u8]) -> Answer<()> {
        None
    }

    pub(in crate::memory) fn bulk_write(_: &Remote, _: u64, _: &[u8]) -> Answer<()> {
        None
    }

    pub(in crate::memory) fn execute(
        _: &Remote,
        _: &Submission<'_>,
        _: &mut Completions<'_>,
    ) -> bool {
        false
    }
}
