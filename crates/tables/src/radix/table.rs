//! The arena that others see: both namespaces, growth, names.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use super::{
    arena::{Arena, MAX_WORDS, Space},
    draft::{Draft, NoRoom, find},
    error::RadixError,
    pattern::Pattern,
    route::{Place, Route, capture_places},
    walk::{Ends, Walk, longest_prefix},
};
use crate::{
    epoch::{Domain, Guard, Snapshot},
    sync::{AtomicUsize, Mutex, Ordering},
};

/// Room that a compacted arena adds, words.
const SPARE_WORDS: usize = 1024;

/// The pattern that a path matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// What was inserted with the pattern.
    pub value: u32,
    /// Which pattern: key of [`CompressedRadixArena::names`].
    pub pattern_id: u32,
    /// How many captures it has, whether or not the caller's array had room for all.
    pub captures: usize,
}

/// Patterns and prefixes → `u32`, shared by any number of threads. The rules are in the [module](crate::radix)'s documentation.
///
/// Reads are wait-free and take a [`Guard`] of [`Domain::global`]. Writers take turns; a write copies the nodes on its
/// way, a microsecond or so, and now and then the whole arena.
#[derive(Debug)]
pub struct CompressedRadixArena {
    arena: Snapshot<Arena>,
    writer: Mutex<Names>,
    patterns: AtomicUsize,
    prefixes: AtomicUsize,
    memory: AtomicUsize,
}

/// What only writers and the curious need. Whoever holds it is the writer.
#[derive(Debug)]
struct Names {
    of: BTreeMap<u32, Box<[Box<str>]>>,
    next_id: u32,
}

impl CompressedRadixArena {
    /// Longest literal prefix, bytes.
    pub const MAX_PREFIX_BYTES: usize = 4_096;

    /// An arena without patterns or prefixes.
    ///
    /// # Errors
    /// [`RadixError::OutOfMemory`].
    pub fn new() -> Result<Self, RadixError> {
        let arena = Arena::new(SPARE_WORDS)?;
        let memory = AtomicUsize::new(arena.memory_bytes());
        Ok(Self {
            arena: Snapshot::new_in(Domain::global(), arena),
            writer: Mutex::new(Names {
                of: BTreeMap::new(),
                next_id: 1,
            }),
            patterns: AtomicUsize::new(0),
            prefixes: AtomicUsize::new(0),
            memory,
        })
    }

    /// Inserts a pattern, or replaces the value, names and captures of an equal one; returns the value that one had.
    ///
    /// # Errors
    /// [`RadixError`]; nothing has changed then.
    pub fn insert_pattern(&self, pattern: &str, value: u32) -> Result<Option<u32>, RadixError> {
        let pattern = Pattern::parse(pattern)?;
        check_value(value)?;
        let (route, without_rest) = Route::of_pattern(&pattern);
        let places = capture_places(&pattern);
        let mut names = self.writer.lock();
        let before = self.record(&route);
        let new_names: Box<[Box<str>]> = pattern
            .captures
            .into_iter()
            .map(|capture| capture.name)
            .collect();
        // The same captures under the same names: whoever knows the pattern's id may go on using it.
        let same = before
            .as_ref()
            .filter(|before| {
                before.places == places && names.of.get(&before.id) == Some(&new_names)
            })
            .map(|before| before.id);
        let id = same.unwrap_or(names.next_id);
        self.change(Space::Patterns, |draft, mut root| {
            for route in without_rest.iter().chain([&route]) {
                let record = draft.record(value, id, &places)?;
                if let Some(before) = &before {
                    draft.drop_places(before.places.len());
                }
                root = draft.set(root, route, Some(record))?;
            }
            Ok(root)
        })?;
        if same.is_none() {
            // 2^32 insertions of new patterns: at a microsecond each, an hour and more of nothing else.
            names.next_id = names.next_id.checked_add(1).unwrap_or(1);
            names.of.insert(id, new_names);
            match &before {
                Some(before) => drop(names.of.remove(&before.id)),
                None => drop(self.patterns.fetch_add(1, Ordering::Relaxed)),
            }
        }
        Ok(before.map(|before| before.value))
    }

    /// Removes the pattern equal to this one, whatever its captures are called; returns its value.
    ///
    /// # Errors
    /// [`RadixError`]; nothing has changed then.
    pub fn remove_pattern(&self, pattern: &str) -> Result<Option<u32>, RadixError> {
        let (route, without_rest) = Route::of_pattern(&Pattern::parse(pattern)?);
        let mut names = self.writer.lock();
        let Some(before) = self.record(&route) else {
            return Ok(None);
        };
        self.change(Space::Patterns, |draft, mut root| {
            for route in without_rest.iter().chain([&route]) {
                draft.drop_places(before.places.len());
                root = draft.set(root, route, None)?;
            }
            Ok(root)
        })?;
        names.of.remove(&before.id);
        self.patterns.fetch_sub(1, Ordering::Relaxed);
        Ok(Some(before.value))
    }

    /// Inserts a literal prefix; returns the value it had.
    ///
    /// # Errors
    /// [`RadixError`]; nothing has changed then.
    pub fn insert_prefix(&self, prefix: &[u8], value: u32) -> Result<Option<u32>, RadixError> {
        check_prefix(prefix)?;
        check_value(value)?;
        let route = Route::of_prefix(prefix);
        let _writer = self.writer.lock();
        let before = self.prefix(&route);
        self.change(Space::Prefixes, |draft, root| {
            draft.set(root, &route, Some(value))
        })?;
        if before.is_none() {
            self.prefixes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(before)
    }

    /// Removes a literal prefix; returns the value it had.
    ///
    /// # Errors
    /// [`RadixError`]; nothing has changed then.
    pub fn remove_prefix(&self, prefix: &[u8]) -> Result<Option<u32>, RadixError> {
        check_prefix(prefix)?;
        let route = Route::of_prefix(prefix);
        let _writer = self.writer.lock();
        let before = self.prefix(&route);
        if before.is_some() {
            self.change(Space::Prefixes, |draft, root| draft.set(root, &route, None))?;
            self.prefixes.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(before)
    }

    /// The most specific pattern that matches `path`. Captures go to `captures` as pairs of byte offsets into `path`
    /// (start, end), as many pairs as it has room for.
    ///
    /// Wait-free and without allocation.
    #[inline]
    pub fn match_path(
        &self,
        path: &[u8],
        captures: &mut [u32],
        guard: &Guard<'_>,
    ) -> Option<Match> {
        let (words, root) = self.arena.load(guard).tree(Space::Patterns);
        if root == 0 || path.len() >= u32::MAX as usize {
            return None;
        }
        let mut ends: Ends = [0; Pattern::MAX_CAPTURES];
        let record = Walk::new(words, path).best(root, &mut ends)? as usize;
        let [value, pattern_id, count] = words[record..][..3] else {
            unreachable!("three words")
        };
        let places = &words[record + 3..][..count as usize * 2];
        // Whole pairs only.
        let room = captures.len() & !1;
        for (capture, place) in captures[..room].iter_mut().zip(places) {
            *capture = Place::locate(*place, &ends, path.len() as u32);
        }
        Some(Match {
            value,
            pattern_id,
            captures: count as usize,
        })
    }

    /// The value of the longest inserted prefix that `key` begins with. Wait-free and without allocation.
    #[inline]
    pub fn longest_prefix(&self, key: &[u8], guard: &Guard<'_>) -> Option<u32> {
        let (words, root) = self.arena.load(guard).tree(Space::Prefixes);
        if root == 0 {
            None
        } else {
            longest_prefix(words, root, key)
        }
    }

    /// Names of a pattern's captures, in the order of their offsets; none when no pattern has this id any more.
    pub fn names(&self, pattern_id: u32) -> Option<Vec<String>> {
        let names = self.writer.lock();
        Some(
            names
                .of
                .get(&pattern_id)?
                .iter()
                .map(|name| String::from(&**name))
                .collect(),
        )
    }

    /// Patterns and prefixes together. A moment's truth when a writer is at work.
    pub fn len(&self) -> usize {
        self.patterns.load(Ordering::Relaxed) + self.prefixes.load(Ordering::Relaxed)
    }

    /// True when there is neither pattern nor prefix.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of the current arena, bytes: reserved, not necessarily touched. Names are not counted.
    pub fn memory_bytes(&self) -> usize {
        self.memory.load(Ordering::Relaxed) + size_of::<Self>()
    }

    /// Gives back the room for changes: after a table was filled that will be read for long.
    ///
    /// # Errors
    /// [`RadixError::OutOfMemory`]; nothing has changed then.
    pub fn compact(&self) -> Result<(), RadixError> {
        let _writer = self.writer.lock();
        let live = self.arena.write().live();
        self.move_to(live)
    }

    /// Makes a change and publishes it; makes room first as often as it must.
    fn change(
        &self,
        space: Space,
        edit: impl Fn(&mut Draft<'_>, u32) -> Result<u32, NoRoom>,
    ) -> Result<(), RadixError> {
        let mut spare = SPARE_WORDS;
        loop {
            let live = {
                let arena = self.arena.write();
                let mut draft = Draft::new(arena.append());
                if let Ok(root) = edit(&mut draft, arena.tree(space).1) {
                    draft.publish(space, root);
                    return Ok(());
                }
                arena.live()
            };
            if live + spare > MAX_WORDS {
                return Err(RadixError::ArenaFull {
                    limit: MAX_WORDS * 4,
                });
            }
            self.move_to((live * 2 + spare).min(MAX_WORDS))?;
            spare *= 4;
        }
    }

    /// Moves what is reachable to an arena of `capacity` words.
    fn move_to(&self, capacity: usize) -> Result<(), RadixError> {
        let mut arena = self.arena.write();
        let next = arena.compacted(capacity)?;
        self.memory.store(next.memory_bytes(), Ordering::Relaxed);
        arena.publish(next);
        Ok(())
    }

    /// What hangs at the end of a pattern's way now. The caller is the writer.
    fn record(&self, route: &Route) -> Option<Record> {
        let arena = self.arena.write();
        let (words, root) = arena.tree(Space::Patterns);
        let record = find(words, root, route)? as usize;
        let places = words[record + 3..][..words[record + 2] as usize * 2].to_vec();
        Some(Record {
            value: words[record],
            id: words[record + 1],
            places,
        })
    }

    fn prefix(&self, route: &Route) -> Option<u32> {
        let arena = self.arena.write();
        let (words, root) = arena.tree(Space::Prefixes);
        find(words, root, route)
    }
}

/// A record, copied out.
struct Record {
    value: u32,
    id: u32,
    places: Vec<u32>,
}

fn check_value(value: u32) -> Result<(), RadixError> {
    if value == u32::MAX {
        Err(RadixError::ValueReserved)
    } else {
        Ok(())
    }
}

fn check_prefix(prefix: &[u8]) -> Result<(), RadixError> {
    let limit = CompressedRadixArena::MAX_PREFIX_BYTES;
    match prefix.len() {
        0 => Err(RadixError::PrefixEmpty),
        length if length > limit => Err(RadixError::PrefixTooLong { length, limit }),
        _ => Ok(()),
    }
}
