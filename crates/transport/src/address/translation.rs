//! [`Translation`]: from an address to the connection that leads there, for every thread of the process.
//!
//! The engine's thread writes it as peers come and go; any other reads it without a lock: a lookup in the
//! [`FingerprintedIdTable`], one load of the cell's [`Snapshot`], one store of the time. It is a cache in front of the
//! engine: what was idle for long, or made room, is asked for again.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use linkmesh_tables::epoch::Guard;
use linkmesh_tables::{FingerprintedIdTable, Snapshot, TableError};

use super::global_address::NodeField;
use crate::core::{NodeId, PeerSlot};

/// Most entries that may be asked for.
const MAX_ENTRIES: usize = 1 << 20;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TranslationLimits {
    /// Entries, 1 to 1,048,576; 100 bytes each, from the start.
    pub entries: usize,
    /// An entry that nobody looks up for so long is given up.
    pub idle: Duration,
}

impl Default for TranslationLimits {
    fn default() -> Self {
        Self {
            entries: 4096,
            idle: Duration::from_secs(300),
        }
    }
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The connection.
    pub peer: PeerSlot,
    /// Who is there, proved.
    pub node: NodeId,
    /// Moves whenever the entry changes: whoever kept a route compares this alone. Set by [`Translation::insert`].
    pub epoch: u64,
}

impl Route {
    /// A route that has not been entered yet.
    pub fn new(peer: PeerSlot, node: NodeId) -> Self {
        Self {
            peer,
            node,
            epoch: 0,
        }
    }
}

/// What it has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TranslationStats {
    /// Entries now.
    pub entries: u64,
    /// Lookups that found a route.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Entries that were idle for too long.
    pub expired: u64,
    /// Entries that made room for others.
    pub evicted: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    field: NodeField,
    route: Route,
}

struct Cell {
    entry: Snapshot<Option<Entry>>,
    /// Milliseconds since `started` of the last lookup. Relaxed: a number on its own, nothing is read through it.
    used: AtomicU32,
}

#[derive(Debug, Default)]
struct Writer {
    free: Vec<u32>,
    epoch: u64,
    expired: u64,
    evicted: u64,
}

/// The table. Shared by reference; all methods take `&self`.
pub struct Translation {
    table: FingerprintedIdTable,
    cells: Box<[Cell]>,
    idle_ms: u32,
    started: Instant,
    writer: Mutex<Writer>,
    // Relaxed both: counters, read for metrics alone.
    hits: AtomicU64,
    misses: AtomicU64,
}

impl fmt::Debug for Translation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Translation")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Translation {
    /// An empty table; `now` is where its time begins.
    ///
    /// # Errors
    /// [`TableError`] when there is no memory for it.
    pub fn new(limits: TranslationLimits, now: Instant) -> Result<Self, TableError> {
        let entries = limits.entries.clamp(1, MAX_ENTRIES);
        let cells = (0..entries).map(|_| Cell {
            entry: Snapshot::new(None),
            used: AtomicU32::new(0),
        });
        Ok(Self {
            table: FingerprintedIdTable::with_capacity(entries)?,
            cells: cells.collect(),
            idle_ms: u32::try_from(limits.idle.as_millis()).unwrap_or(u32::MAX),
            started: now,
            writer: Mutex::new(Writer {
                free: (0..entries as u32).rev().collect(),
                ..Writer::default()
            }),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    fn milliseconds(&self, now: Instant) -> u32 {
        // Wraps after 49 days, and all comparisons are of differences.
        now.saturating_duration_since(self.started).as_millis() as u32
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // Nothing in here panics half-way.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, field: NodeField, guard: &Guard<'_>) -> Option<(u32, &Cell)> {
        let index = self.table.get_u64(field.bits(), guard)?;
        Some((index, self.cells.get(index as usize)?))
    }

    /// Where an address leads. No lock, no allocation; the route lives as long as the guard.
    pub fn lookup<'g>(
        &self,
        field: NodeField,
        now: Instant,
        guard: &'g Guard<'_>,
    ) -> Option<&'g Route> {
        let now = self.milliseconds(now);
        let found = self.cell(field, guard).and_then(|(_, cell)| {
            // The cell may have been given to another address since the table was read: it says itself whose it is.
            let entry = cell
                .entry
                .load(guard)
                .as_ref()
                .filter(|entry| entry.field == field)?;
            if now.wrapping_sub(cell.used.load(Ordering::Relaxed)) > self.idle_ms {
                return None;
            }
            cell.used.store(now, Ordering::Relaxed);
            Some(&entry.route)
        });
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Enters a route, in place of an older one of the same address. Returns its epoch. Costs some microseconds.
    pub fn insert(&self, field: NodeField, route: &Route, now: Instant) -> u64 {
        let mut writer = self.writer();
        let now = self.milliseconds(now);
        writer.epoch += 1;
        let route = Route {
            epoch: writer.epoch,
            ..route.clone()
        };
        let reader = linkmesh_tables::epoch::Domain::global().register();
        let known = self.cell(field, &reader.pin()).map(|(index, _)| index);
        let index = match known.or_else(|| writer.free.pop()) {
            Some(index) => index,
            None => self.make_room(&mut writer, now),
        };
        let cell = &self.cells[index as usize];
        cell.used.store(now, Ordering::Relaxed);
        cell.entry.store(Some(Entry { field, route }));
        if known.is_none() && self.table.insert_u64(field.bits(), index).is_err() {
            // No memory: the engine is asked instead.
            cell.entry.store(None);
            writer.free.push(index);
        }
        writer.epoch
    }

    /// Frees what is idle, or else what was used least recently. Returns one free cell.
    fn make_room(&self, writer: &mut Writer, now: u32) -> u32 {
        let age =
            |index: u32| now.wrapping_sub(self.cells[index as usize].used.load(Ordering::Relaxed));
        let all = 0..self.cells.len() as u32;
        let idle: Vec<u32> = all
            .clone()
            .filter(|&index| age(index) > self.idle_ms)
            .collect();
        writer.expired += idle.len() as u64;
        for index in &idle {
            self.clear(*index);
        }
        writer.free.extend(idle);
        writer.free.pop().unwrap_or_else(|| {
            let oldest = all.max_by_key(|&index| age(index)).unwrap_or(0);
            writer.evicted += 1;
            self.clear(oldest);
            oldest
        })
    }

    fn clear(&self, index: u32) {
        let mut entry = self.cells[index as usize].entry.write();
        if let Some(field) = entry.as_ref().map(|entry| entry.field) {
            self.table.remove_u64(field.bits());
            entry.publish(None);
        }
    }

    /// The connection is gone. Nothing happens when the address leads over another one by now.
    pub fn remove(&self, field: NodeField, peer: PeerSlot) {
        let mut writer = self.writer();
        let reader = linkmesh_tables::epoch::Domain::global().register();
        let guard = reader.pin();
        let Some((index, cell)) = self.cell(field, &guard) else {
            return;
        };
        let mine = |entry: &Entry| entry.field == field && entry.route.peer == peer;
        if cell.entry.load(&guard).as_ref().is_some_and(mine) {
            drop(guard);
            self.clear(index);
            writer.epoch += 1;
            writer.free.push(index);
        }
    }

    /// What it has done.
    pub fn stats(&self) -> TranslationStats {
        let writer = self.writer();
        TranslationStats {
            entries: (self.cells.len() - writer.free.len()) as u64,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            expired: writer.expired,
            evicted: writer.evicted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::AtomicBool;

    use linkmesh_tables::epoch::Domain;
    use proptest::prelude::*;

    use super::*;

    fn field(number: u64) -> NodeField {
        NodeField::from_bits(number)
    }

    fn route(number: u32) -> Route {
        let slot = PeerSlot {
            index: number,
            generation: 7,
        };
        Route::new(slot, NodeId([number as u8; 32]))
    }

    fn translation(entries: usize, start: Instant) -> Translation {
        let limits = TranslationLimits {
            entries,
            idle: Duration::from_secs(10),
        };
        Translation::new(limits, start).unwrap()
    }

    #[test]
    fn an_entry_changes_its_epoch_with_its_route_and_only_its_own_connection_takes_it_out() {
        let now = Instant::now();
        let table = translation(8, now);
        let reader = Domain::global().register();
        let first = table.insert(field(1), &route(1), now);
        let second = table.insert(field(1), &route(2), now);
        assert!(second > first);
        let found = table.lookup(field(1), now, &reader.pin()).cloned().unwrap();
        assert_eq!((found.peer, found.epoch), (route(2).peer, second));
        table.remove(field(1), route(1).peer);
        assert!(table.lookup(field(1), now, &reader.pin()).is_some());
        table.remove(field(1), route(2).peer);
        assert!(table.lookup(field(1), now, &reader.pin()).is_none());
        assert_eq!(table.stats().entries, 0);
    }

    #[test]
    fn what_nobody_looks_up_is_given_up_and_what_is_used_stays() {
        let start = Instant::now();
        let table = translation(2, start);
        let reader = Domain::global().register();
        table.insert(field(1), &route(1), start);
        table.insert(field(2), &route(2), start);
        let later = start + Duration::from_secs(8);
        assert!(table.lookup(field(2), later, &reader.pin()).is_some());
        let last = start + Duration::from_secs(11);
        assert!(table.lookup(field(1), last, &reader.pin()).is_none());
        assert!(table.lookup(field(2), last, &reader.pin()).is_some());
        table.insert(field(3), &route(3), last);
        assert_eq!((table.stats().expired, table.stats().evicted), (1, 0));
        let soon = last + Duration::from_secs(1);
        assert!(table.lookup(field(3), soon, &reader.pin()).is_some());
        table.insert(field(4), &route(4), soon);
        assert_eq!((table.stats().expired, table.stats().evicted), (1, 1));
        assert!(
            table.lookup(field(2), soon, &reader.pin()).is_none(),
            "it was used least recently"
        );
    }

    #[test]
    fn readers_never_see_the_route_of_another_address() {
        let now = Instant::now();
        let table = translation(16, now);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let reader = Domain::global().register();
                    let (mut found, mut number) = (0, 0);
                    // What the writer leaves behind is found in the end, however late this thread begins.
                    while !done.load(Ordering::Relaxed) || found == 0 {
                        number = (number + 1) % 48;
                        let guard = reader.pin();
                        if let Some(route) = table.lookup(field(number), now, &guard) {
                            assert_eq!(u64::from(route.peer.index), number);
                            found += 1;
                        }
                    }
                });
            }
            for step in 0..2_000_u32 {
                let number = step * 7 % 48;
                table.insert(field(number.into()), &route(number), now);
                if step % 3 == 0 {
                    table.remove(field(number.into()), route(number).peer);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(table.stats().entries > 0);
        assert!(table.stats().entries <= 16);
    }

    proptest! {
        #[test]
        fn it_answers_as_a_map_does(steps in prop::collection::vec((0..12_u64, 0..4_u32, any::<bool>()), 0..200)) {
            let now = Instant::now();
            let table = translation(16, now);
            let reader = Domain::global().register();
            let mut oracle: HashMap<u64, u32> = HashMap::new();
            for (number, peer, insert) in steps {
                if insert {
                    table.insert(field(number), &route(peer), now);
                    oracle.insert(number, peer);
                } else {
                    table.remove(field(number), route(peer).peer);
                    if oracle.get(&number) == Some(&peer) {
                        oracle.remove(&number);
                    }
                }
                for number in 0..12 {
                    let guard = reader.pin();
                    let found = table.lookup(field(number), now, &guard).map(|route| route.peer.index);
                    prop_assert_eq!(found, oracle.get(&number).copied());
                }
            }
            prop_assert_eq!(table.stats().entries, oracle.len() as u64);
        }
    }
}
