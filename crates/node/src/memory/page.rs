//! The operation page: memory in which a JavaScript thread writes operations and finds what became of them.
//!
//! Layout and names are those of `ts/binding/contract-memory.ts`.

use std::cell::UnsafeCell;

use linkmesh_memory::frame::Operation;

const RECORD_BYTES: usize = 64;
pub(crate) const PAGE_RECORDS: usize = 1_024;
const PAGE_DATA_BYTES: usize = 1 << 20;
const HEADER_BYTES: usize = 64;
const RECORDS_BYTES: usize = PAGE_RECORDS * RECORD_BYTES;
pub(crate) const PAGE_BYTES: usize = HEADER_BYTES + 2 * RECORDS_BYTES + 2 * PAGE_DATA_BYTES;

/// Largest offset that JavaScript can name exactly.
pub(super) const MAX_OFFSET: f64 = 9_007_199_254_740_991.0;

/// Owned by the thread's operations and by each `ArrayBuffer` over it.
#[derive(Debug)]
pub(crate) struct Page(Box<[UnsafeCell<u64>]>);

// SAFETY: only the thread that made it touches the words, from Rust and from JavaScript, never at the same time; other
// threads at most drop the last reference, which touches no word.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

/// The page in its parts, for the time of a call.
pub(super) struct Parts<'p> {
    pub(super) submissions: Submissions<'p>,
    pub(super) completions: Completions<'p>,
}

impl Page {
    pub(super) fn new() -> Self {
        Self((0..PAGE_BYTES / 8).map(|_| UnsafeCell::new(0)).collect())
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr().cast::<u8>().cast_mut()
    }

    /// # Safety
    /// On the page's own thread, while nothing else that was made by this is in use and no JavaScript runs.
    #[expect(
        clippy::mut_from_ref,
        reason = "the cells are handed out under the promise above"
    )]
    unsafe fn bytes(&self) -> &mut [u8] {
        // SAFETY: PAGE_BYTES bytes that live as long as the page, and for now nobody else's by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), PAGE_BYTES) }
    }

    /// # Safety
    /// As [`bytes`](Self::bytes).
    pub(super) unsafe fn parts(&self) -> Parts<'_> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.bytes() };
        let (_, bytes) = bytes.split_at_mut(HEADER_BYTES);
        let (submitted, bytes) = bytes.split_at_mut(RECORDS_BYTES);
        let (completed, bytes) = bytes.split_at_mut(RECORDS_BYTES);
        let (bodies, answers) = bytes.split_at_mut(PAGE_DATA_BYTES);
        Parts {
            submissions: Submissions {
                records: submitted,
                bodies,
            },
            completions: Completions {
                records: completed,
                bodies: answers,
                count: 0,
                used: 0,
            },
        }
    }

    /// One of the three 64-bit words at the start, `SyncWord` of the contract.
    ///
    /// # Safety
    /// As [`bytes`](Self::bytes).
    pub(super) unsafe fn header(&self, index: usize) -> u64 {
        // SAFETY: the caller's promise.
        long(unsafe { self.bytes() }, index * 8)
    }

    /// # Safety
    /// As [`bytes`](Self::bytes).
    pub(super) unsafe fn set_header(&self, index: usize, value: u64) {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.bytes() };
        bytes[index * 8..index * 8 + 8].copy_from_slice(&value.to_ne_bytes());
    }
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

#[inline(always)]
fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// An operation, taken out of its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submission<'p> {
    pub(super) name: Name,
    pub(super) remote: u32,
    pub(super) fence: bool,
    pub(super) timeout_ms: f64,
    pub(super) operation: Operation<'p>,
}

/// What the shell calls an operation: its id, and its place in a batch that shares one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) id: u32,
    pub(super) index: u32,
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Submissions<'p> {
    records: &'p [u8],
    bodies: &'p [u8],
}

impl<'p> Submissions<'p> {
    /// The one at `index`; only its name when its numbers make no sense.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Result<Submission<'p>, Name> {
        let at = index * RECORD_BYTES;
        let record = &self.records[at..at + RECORD_BYTES];
        let name = Name {
            id: word(record, 4),
            index: word(record, 56),
        };
        let op = word(record, 0);
        let operation = self.operation(op, record).ok_or(name)?;
        Ok(Submission {
            name,
            remote: word(record, 8),
            fence: op == 5,
            timeout_ms: f64::from_bits(long(record, 24)),
            operation,
        })
    }

    #[inline]
    fn operation(&self, op: u32, record: &[u8]) -> Option<Operation<'p>> {
        let length = word(record, 12);
        let offset = f64::from_bits(long(record, 16));
        if !(0.0..=MAX_OFFSET).contains(&offset) {
            return None;
        }
        let offset = offset as u64;
        let (a, b) = (long(record, 32), long(record, 40));
        Some(match op {
            1 => Operation::Read { offset, length },
            2 => {
                let start = word(record, 48) as usize;
                let end = start.checked_add(length as usize)?;
                Operation::Write {
                    offset,
                    data: self.bodies.get(start..end)?,
                }
            }
            3 => Operation::FetchAdd { offset, operand: a },
            4 => Operation::CompareSwap {
                offset,
                expected: a,
                desired: b,
            },
            5 => Operation::Nop,
            6 => Operation::ReadVersioned {
                offset,
                length,
                version: a,
            },
            _ => return None,
        })
    }
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Completion {
    pub(super) name: Name,
    pub(super) fate: Fate,
    pub(super) value: u64,
    pub(super) before: u64,
    pub(super) after: u64,
}

/// How it ended: a status of the contract, 0 for well, and what belongs to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    pub(super) status: i32,
    /// `CompletionFlag` of the contract.
    pub(super) flags: u32,
    /// `CompletionField` of the contract.
    pub(super) field: u32,
    pub(super) limit: f64,
}

/// Written one after the other, as long as there is room.
#[derive(Debug)]
pub(super) struct Completions<'p> {
    records: &'p mut [u8],
    bodies: &'p mut [u8],
    pub(super) count: usize,
    used: usize,
}

impl Completions<'_> {
    /// True when one more with a body of `length` bytes fits.
    #[inline]
    pub(super) fn fits(&self, length: usize) -> bool {
        self.count < PAGE_RECORDS && self.used + length <= PAGE_DATA_BYTES
    }

    /// Writes a completion and a copy of its body. False when there is no room: nothing is written then.
    #[inline]
    pub(super) fn push(&mut self, completion: &Completion, body: &[u8]) -> bool {
        if !self.fits(body.len()) {
            return false;
        }
        self.bodies[self.used..self.used + body.len()].copy_from_slice(body);
        self.finish(completion, body.len());
        true
    }

    /// As [`push`](Self::push) when it [`fits`](Self::fits), with a body that `fill` writes in place. `None` takes the
    /// completion back.
    #[inline]
    pub(super) fn fill(
        &mut self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Option<Completion>,
    ) -> bool {
        let completion = fill(&mut self.bodies[self.used..self.used + length]);
        if let Some(completion) = &completion {
            // A refusal has no body, whatever was to be read.
            let length = if completion.fate.status == 0 {
                length
            } else {
                0
            };
            self.finish(completion, length);
        }
        completion.is_some()
    }

    /// Writes a completion whose `length` bytes lie elsewhere, when it [`fits`](Self::fits).
    pub(super) fn push_without_body(&mut self, completion: &Completion, length: usize) {
        self.record(completion, length);
    }

    #[inline]
    fn finish(&mut self, completion: &Completion, length: usize) {
        self.record(completion, length);
        // The next body stays aligned.
        self.used = (self.used + length + 7) & !7;
    }

    #[inline]
    fn record(&mut self, completion: &Completion, length: usize) {
        let at = self.count * RECORD_BYTES;
        let record = &mut self.records[at..at + RECORD_BYTES];
        let Fate {
            status,
            flags,
            field,
            limit,
        } = completion.fate;
        record[0..4].copy_from_slice(&completion.name.id.to_ne_bytes());
        record[4..8].copy_from_slice(&status.to_ne_bytes());
        record[8..12].copy_from_slice(&(length as u32).to_ne_bytes());
        record[12..16].copy_from_slice(&flags.to_ne_bytes());
        record[16..24].copy_from_slice(&completion.value.to_ne_bytes());
        record[24..32].copy_from_slice(&completion.before.to_ne_bytes());
        record[32..40].copy_from_slice(&completion.after.to_ne_bytes());
        record[40..44].copy_from_slice(&(self.used as u32).to_ne_bytes());
        record[44..48].copy_from_slice(&field.to_ne_bytes());
        record[48..56].copy_from_slice(&limit.to_ne_bytes());
        record[56..60].copy_from_slice(&completion.name.index.to_ne_bytes());
        self.count += 1;
    }
}
