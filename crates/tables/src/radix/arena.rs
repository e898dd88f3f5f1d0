//! The words: append-only, so that what is published never changes.

use alloc::vec::Vec;
use core::cell::UnsafeCell;

use super::{
    error::RadixError,
    node::{EMPTY_REST, END, List, ONE, ONES, RECORD_WORDS, REST, RESTS, View},
};
use crate::{
    lines::{Lines, Zeroed},
    sync::{AtomicU64, AtomicUsize, Ordering},
};

/// Most words: 1 GiB.
pub(super) const MAX_WORDS: usize = 1 << 28;

/// Which tree of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// `end` is a record.
    Patterns = 0,
    /// `end` is a value.
    Prefixes = 1,
}

#[derive(Debug)]
#[repr(transparent)]
struct Word(UnsafeCell<u32>);

// SAFETY: an integer.
unsafe impl Zeroed for Word {}
// SAFETY: words below a published end are only read; the one writer writes above all published ends.
unsafe impl Sync for Word {}

/// One generation of both trees.
#[derive(Debug)]
pub(super) struct Arena {
    words: Lines<Word>,
    /// Per space `end << 32 | root`: the words below `end` never change again. Root 0: an empty tree.
    roots: [AtomicU64; 2],
    /// End of what is published, whichever root says so. Only the writer uses it, and the next.
    used: AtomicUsize,
    /// Words that no root reaches any more.
    dead: AtomicUsize,
}

impl Arena {
    /// An empty arena. Word 0 is nobody's.
    pub(super) fn new(capacity: usize) -> Result<Self, RadixError> {
        if capacity > MAX_WORDS {
            return Err(RadixError::ArenaFull {
                limit: MAX_WORDS * 4,
            });
        }
        Ok(Self {
            words: Lines::new(capacity.max(1)).ok_or(RadixError::OutOfMemory)?,
            roots: [AtomicU64::new(0), AtomicU64::new(0)],
            used: AtomicUsize::new(1),
            dead: AtomicUsize::new(0),
        })
    }

    /// The published words and the root of a tree; no words when it is empty.
    #[inline(always)]
    pub(super) fn tree(&self, space: Space) -> (&[u32], u32) {
        // Acquire pairs with the Release of `publish`: the words below the end are written.
        let root = self.roots[space as usize].load(Ordering::Acquire);
        (self.published((root >> 32) as usize), root as u32)
    }

    /// Words below an end that was published, or that this thread, the writer, has written.
    #[inline(always)]
    fn published(&self, end: usize) -> &[u32] {
        // SAFETY: inside the allocation (`append` checks); these words are written and never written again.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr().cast(), end) }
    }

    /// Words that roots reach, word 0 included.
    pub(super) fn live(&self) -> usize {
        self.used.load(Ordering::Relaxed) - self.dead.load(Ordering::Relaxed)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.words.bytes()
    }

    /// What is reachable, in an arena of `capacity` words. None when it does not fit.
    pub(super) fn compacted(&self, capacity: usize) -> Result<Self, RadixError> {
        let next = Self::new(capacity)?;
        let mut append = next.append();
        let mut done = Vec::new();
        for space in [Space::Patterns, Space::Prefixes] {
            let (words, root) = self.tree(space);
            let root = if root == 0 {
                Some(0)
            } else {
                copy(words, root, space, &mut append)
            };
            done.push((
                space,
                root.ok_or(RadixError::ArenaFull {
                    limit: MAX_WORDS * 4,
                })?,
            ));
        }
        append.publish(&done, 0);
        Ok(next)
    }

    /// Begins to append. One at a time: the caller is the writer.
    pub(super) fn append(&self) -> Append<'_> {
        Append {
            arena: self,
            end: self.used.load(Ordering::Relaxed),
        }
    }
}

/// Words written and not yet published; gone when it is dropped.
#[derive(Debug)]
pub(super) struct Append<'a> {
    arena: &'a Arena,
    end: usize,
}

impl Append<'_> {
    /// Where the next words will lie.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// All words, those not yet published included.
    pub(super) fn words(&self) -> &[u32] {
        self.arena.published(self.end)
    }

    /// Writes words; false when there is no room.
    pub(super) fn push(&mut self, words: &[u32]) -> bool {
        if words.len() > self.arena.words.len() - self.end {
            return false;
        }
        // SAFETY: inside the allocation, checked above; above every published end, so nobody reads there, and `&mut
        // self` ends the borrows of `words`.
        unsafe {
            let to = self.arena.words.as_ptr().cast::<u32>().add(self.end);
            core::ptr::copy_nonoverlapping(words.as_ptr(), to, words.len());
        }
        self.end += words.len();
        true
    }

    /// Changes a word that is not yet published.
    fn set(&mut self, at: usize, word: u32) {
        assert!(
            (self.arena.used.load(Ordering::Relaxed)..self.end).contains(&at),
            "only words of this append"
        );
        // SAFETY: as in `push`: nobody else reads this word yet.
        unsafe { self.arena.words.as_ptr().cast::<u32>().add(at).write(word) };
    }

    /// Publishes roots; `dead` words are no longer reached.
    pub(super) fn publish(self, roots: &[(Space, u32)], dead: usize) {
        let arena = self.arena;
        arena.used.store(self.end, Ordering::Relaxed);
        arena
            .dead
            .store(arena.dead.load(Ordering::Relaxed) + dead, Ordering::Relaxed);
        for (space, root) in roots {
            // Release: a reader that sees the root sees every word below the end.
            arena.roots[*space as usize].store(
                (self.end as u64) << 32 | u64::from(*root),
                Ordering::Release,
            );
        }
    }
}

/// Copies a tree; none when there is no room. Every copied word that names something is set once that has its place.
fn copy(words: &[u32], root: u32, space: Space, to: &mut Append<'_>) -> Option<u32> {
    let new_root = to.end() as u32;
    // Nodes to copy, and the word that will name the copy.
    let mut waiting = Vec::from([(root, None)]);
    while let Some((node, slot)) = waiting.pop() {
        let (old, new) = (node as usize, to.end());
        let view = View::new(words, node);
        to.push(&words[old..old + view.size()]).then_some(())?;
        if let Some(slot) = slot {
            to.set(slot, new as u32);
        }
        waiting.extend(
            view.children_at()
                .map(|at| (words[at], Some(at - old + new))),
        );
        if let Some(child) = view.part(ONE) {
            waiting.push((child, Some(view.part_at(ONE) - old + new)));
        }
        if let Some(list) = view.part(ONES) {
            to.set(view.part_at(ONES) - old + new, to.end() as u32);
            for (target, at) in copy_list(words, list, to)? {
                waiting.push((target, Some(at)));
            }
        }
        let mut records = Vec::new();
        if let Some(list) = view.part(RESTS) {
            to.set(view.part_at(RESTS) - old + new, to.end() as u32);
            records = copy_list(words, list, to)?;
        }
        if space == Space::Patterns {
            for flag in [END, EMPTY_REST, REST] {
                records.extend(
                    view.part(flag)
                        .map(|record| (record, view.part_at(flag) - old + new)),
                );
            }
        }
        for (record, at) in records {
            to.set(at, to.end() as u32);
            let length = RECORD_WORDS + words[record as usize + 2] as usize * 2;
            to.push(&words[record as usize..][..length]).then_some(())?;
        }
    }
    Some(new_root)
}

/// Copies a list; returns each target with the word of the copy that names it.
fn copy_list(words: &[u32], list: u32, to: &mut Append<'_>) -> Option<Vec<(u32, usize)>> {
    let mut entries = List::new(words, list);
    let shift = |at: usize, new: usize| at - list as usize + new;
    let new = to.end();
    let mut targets = Vec::new();
    loop {
        let at = entries.at();
        let Some((_, target)) = entries.next() else {
            to.push(&words[list as usize..at]).then_some(())?;
            return Some(targets);
        };
        targets.push((target, shift(at + 1, new)));
    }
}
