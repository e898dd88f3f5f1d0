//! What a node is: owned while a writer changes it, words in the arena for everybody else.
//!
//! Layout, in words, each part only when it is there:
//!
//! ```text
//! header   label length << 16 | flags << 9 | number of children
//! label    bytes, padded
//! end      value or record     flag END
//! empty    record              flag EMPTY_REST
//! ones     list                flag ONES
//! one      node                flag ONE
//! rests    list                flag RESTS
//! rest     record              flag REST
//! keys     first byte of each child, padded for SIMD
//! children node of each key
//! ```
//!
//! A list is `count`, then per entry `suffix length, target, suffix bytes`, longest suffix first. A record is
//! `value, pattern id, number of captures`, then two [`Place`](super::route::Place)s per capture.

use alloc::{boxed::Box, vec::Vec};

use super::search::{find_key, padded};

pub(super) const END: u32 = 1;
pub(super) const EMPTY_REST: u32 = 1 << 1;
pub(super) const ONES: u32 = 1 << 2;
pub(super) const ONE: u32 = 1 << 3;
pub(super) const RESTS: u32 = 1 << 4;
pub(super) const REST: u32 = 1 << 5;
/// Flags that make a match come back to the node.
pub(super) const WILD: u32 = ONES | ONE | RESTS | REST;

pub(super) const RECORD_WORDS: usize = 3;

/// The first bytes of some words.
#[inline(always)]
pub(super) fn bytes_of(words: &[u32], length: usize) -> &[u8] {
    let words = &words[..length.div_ceil(4)];
    // SAFETY: `length` bytes inside `words`; any bytes are valid, and a byte has no alignment.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), length) }
}

/// A node as it lies in the arena.
#[derive(Clone, Copy)]
pub(super) struct View<'w> {
    words: &'w [u32],
    at: usize,
    header: u32,
}

impl<'w> View<'w> {
    #[inline(always)]
    pub(super) fn new(words: &'w [u32], node: u32) -> Self {
        Self {
            words,
            at: node as usize,
            header: words[node as usize],
        }
    }

    #[inline(always)]
    pub(super) fn flags(&self) -> u32 {
        self.header >> 9 & 0x3F
    }

    #[inline(always)]
    fn count(&self) -> usize {
        (self.header & 0x1FF) as usize
    }

    #[inline(always)]
    fn label_length(&self) -> usize {
        (self.header >> 16) as usize
    }

    #[inline(always)]
    pub(super) fn label(&self) -> &'w [u8] {
        bytes_of(&self.words[self.at + 1..], self.label_length())
    }

    #[inline(always)]
    fn parts_at(&self) -> usize {
        self.at + 1 + self.label_length().div_ceil(4)
    }

    /// Where the word behind a flag that is set lies.
    #[inline(always)]
    pub(super) fn part_at(&self, flag: u32) -> usize {
        self.parts_at() + (self.flags() & (flag - 1)).count_ones() as usize
    }

    /// The word behind a flag, when it is set.
    #[inline(always)]
    pub(super) fn part(&self, flag: u32) -> Option<u32> {
        (self.flags() & flag != 0).then(|| self.words[self.part_at(flag)])
    }

    #[inline(always)]
    fn keys_at(&self) -> usize {
        self.parts_at() + self.flags().count_ones() as usize
    }

    /// The child whose key is `byte`.
    #[inline(always)]
    pub(super) fn child(&self, byte: u8) -> Option<u32> {
        let (count, keys_at) = (self.count(), self.keys_at());
        let length = padded(count);
        let index = find_key(bytes_of(&self.words[keys_at..], length), count, byte)?;
        Some(self.words[keys_at + length / 4 + index])
    }

    /// Offsets of the words that name children.
    pub(super) fn children_at(&self) -> core::ops::Range<usize> {
        let start = self.keys_at() + padded(self.count()) / 4;
        start..start + self.count()
    }

    /// Words of the node itself.
    pub(super) fn size(&self) -> usize {
        self.children_at().end - self.at
    }

    /// The entries of the list behind a flag.
    #[inline(always)]
    pub(super) fn list(&self, flag: u32) -> List<'w> {
        match self.part(flag) {
            None => List {
                words: self.words,
                at: 0,
                left: 0,
            },
            Some(list) => List::new(self.words, list),
        }
    }
}

/// Goes through a list.
pub(super) struct List<'w> {
    words: &'w [u32],
    at: usize,
    left: u32,
}

impl<'w> List<'w> {
    pub(super) fn new(words: &'w [u32], list: u32) -> Self {
        Self {
            words,
            at: list as usize + 1,
            left: words[list as usize],
        }
    }

    /// Where the entry after the last one given begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }
}

impl<'w> Iterator for List<'w> {
    type Item = (&'w [u8], u32);
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let length = self.words[self.at] as usize;
        let target = self.words[self.at + 1];
        let suffix = bytes_of(&self.words[self.at + 2..], length);
        self.at += 2 + length.div_ceil(4);
        Some((suffix, target))
    }
}

/// A node under change.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) label: Vec<u8>,
    pub(super) end: Option<u32>,
    pub(super) empty_rest: Option<u32>,
    pub(super) ones: Vec<(Box<[u8]>, u32)>,
    pub(super) one: Option<u32>,
    pub(super) rests: Vec<(Box<[u8]>, u32)>,
    pub(super) rest: Option<u32>,
    pub(super) children: Vec<(u8, u32)>,
}

impl Node {
    pub(super) fn read(words: &[u32], node: u32) -> Self {
        let view = View::new(words, node);
        let own = |list: List<'_>| {
            list.map(|(suffix, target)| (suffix.into(), target))
                .collect()
        };
        let keys = bytes_of(&words[view.keys_at()..], view.count());
        Self {
            label: view.label().to_vec(),
            end: view.part(END),
            empty_rest: view.part(EMPTY_REST),
            ones: own(view.list(ONES)),
            one: view.part(ONE),
            rests: own(view.list(RESTS)),
            rest: view.part(REST),
            children: keys
                .iter()
                .copied()
                .zip(words[view.children_at()].iter().copied())
                .collect(),
        }
    }

    /// Nothing hangs here.
    pub(super) fn is_empty(&self) -> bool {
        self.is_bare() && self.children.is_empty()
    }

    /// Nothing but children.
    pub(super) fn is_bare(&self) -> bool {
        self.end
            .or(self.empty_rest)
            .or(self.one)
            .or(self.rest)
            .is_none()
            && self.ones.is_empty()
            && self.rests.is_empty()
    }

    /// The node as words. Lists come first and are named by their offsets from `at`, where the words will lie; returns
    /// the offset of the node too.
    pub(super) fn write(&self, at: usize, out: &mut Vec<u32>) -> u32 {
        let ones = write_list(&self.ones, at, out);
        let rests = write_list(&self.rests, at, out);
        let node = (at + out.len()) as u32;
        let parts = [self.end, self.empty_rest, ones, self.one, rests, self.rest];
        let flags = parts.iter().enumerate().fold(0, |flags, (bit, part)| {
            flags | u32::from(part.is_some()) << bit
        });
        out.push((self.label.len() as u32) << 16 | flags << 9 | self.children.len() as u32);
        write_bytes(&self.label, self.label.len(), out);
        out.extend(parts.into_iter().flatten());
        let keys: Vec<u8> = self.children.iter().map(|(key, _)| *key).collect();
        write_bytes(&keys, padded(keys.len()), out);
        out.extend(self.children.iter().map(|(_, child)| *child));
        node
    }
}

fn write_list(list: &[(Box<[u8]>, u32)], at: usize, out: &mut Vec<u32>) -> Option<u32> {
    if list.is_empty() {
        return None;
    }
    let start = (at + out.len()) as u32;
    out.push(list.len() as u32);
    for (suffix, target) in list {
        out.extend([suffix.len() as u32, *target]);
        write_bytes(suffix, suffix.len(), out);
    }
    Some(start)
}

/// Appends `bytes`, zeroes up to `length`, and zeroes up to a word.
fn write_bytes(bytes: &[u8], length: usize, out: &mut Vec<u32>) {
    for at in (0..length).step_by(4) {
        let mut word = [0; 4];
        if let Some(rest) = bytes.get(at..) {
            let count = rest.len().min(4);
            word[..count].copy_from_slice(&rest[..count]);
        }
        // The bytes lie in memory in their own order, so a label is a slice.
        out.push(u32::from_ne_bytes(word));
    }
}
