//! The index: from a letter's id to what is known of it, in redb. Never the truth, always rebuildable.

use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::filter::{Filter, Page};
use super::queue::{EVENT, LETTER};
use super::state::{Event, LetterState, Summary};
use crate::error::{ErrorKind, JournalError};
use crate::log::{Position, Scan};

const LETTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("letters");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const META_KEY: &str = "index";
/// Records that one transaction takes.
const BATCH: usize = 8_192;
/// Letters that one page looks at, at most: a filter that matches nothing must not hold a thread for long.
const MAX_LOOKS: usize = 200_000;
const CACHE_BYTES: usize = 16 << 20;

/// What the index says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    journal: [u8; 16],
    /// Of the next record to index: segment, offset.
    next: (u64, u64),
    /// Of the last record that is indexed.
    sequence: u64,
    /// Letters by state: dead, redriving, redriven, parked.
    counts: [u64; 4],
    /// Open letters that the retention removed.
    dropped: u64,
}

#[derive(Debug)]
pub(crate) struct Index {
    database: Database,
    meta: Meta,
    /// True when it had to be made anew although the log holds records.
    pub(crate) rebuilt: bool,
}

fn failed(error: impl std::fmt::Display) -> JournalError {
    JournalError::new(ErrorKind::Io, format!("the index of dead letters: {error}"))
}

fn slot(state: LetterState) -> usize {
    match state {
        LetterState::Dead => 0,
        LetterState::Redriving => 1,
        LetterState::Redriven => 2,
        LetterState::Parked => 3,
    }
}

impl Index {
    /// Opens the index of the log `journal`, which reaches to `sequence`, or makes an empty one. `file` none: in memory.
    pub(crate) fn open(
        file: Option<&Path>,
        journal: [u8; 16],
        sequence: u64,
    ) -> Result<Self, JournalError> {
        if let Some(file) = file
            && let Ok(database) = Database::builder().set_cache_size(CACHE_BYTES).open(file)
            && let Ok(Some(meta)) = read_meta(&database)
            && meta.journal == journal
            && meta.sequence <= sequence
        {
            return Ok(Self {
                database,
                meta,
                rebuilt: false,
            });
        }
        let database = match file {
            None => Database::builder()
                .create_with_backend(InMemoryBackend::new())
                .map_err(failed)?,
            Some(file) => {
                match std::fs::remove_file(file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(JournalError::from_io(&error, "removing a useless index"));
                    }
                    _ => {}
                }
                Database::builder()
                    .set_cache_size(CACHE_BYTES)
                    .create(file)
                    .map_err(failed)?
            }
        };
        let mut index = Self {
            database,
            meta: Meta {
                journal,
                ..Meta::default()
            },
            rebuilt: file.is_some() && sequence > 0,
        };
        index.commit(Durability::Immediate, |_, _| Ok(()))?;
        Ok(index)
    }

    /// Where the next record to index is; `None` for the start of the log.
    pub(crate) fn next(&self) -> Option<Position> {
        (self.meta.sequence > 0).then_some(Position {
            segment: self.meta.next.0,
            offset: self.meta.next.1,
        })
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.meta.sequence
    }

    pub(crate) fn counts(&self) -> [u64; 4] {
        self.meta.counts
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.meta.dropped
    }

    /// Indexes what `scan` has, at most `most` records; true when it came to the end.
    pub(crate) fn follow(&mut self, scan: &mut Scan, most: usize) -> Result<bool, JournalError> {
        let mut left = most;
        loop {
            let mut batch = Vec::new();
            let size = BATCH.min(left);
            while batch.len() < size {
                match scan.next_entry()? {
                    Some(entry) => batch.push(entry),
                    None => break,
                }
            }
            if batch.is_empty() {
                return Ok(left > 0);
            }
            left -= batch.len();
            let ended = batch.len() < size;
            let next = scan.position();
            // Not synced: after a crash the index is a little older and follows again.
            self.commit(Durability::None, |letters, meta| {
                for entry in &batch {
                    let id = entry.header.sequence;
                    if entry.kind() == LETTER {
                        let summary =
                            Summary::of(id, entry.at, &entry.payload, entry.header.time_us);
                        meta.counts[slot(summary.state)] += 1;
                        put(letters, &summary)?;
                    } else if entry.kind() == EVENT
                        && let Ok(event) = serde_json::from_slice::<Event>(&entry.payload)
                    {
                        for id in event.letters() {
                            apply(letters, meta, *id, &event, entry.at)?;
                        }
                    }
                    meta.sequence = id;
                }
                meta.next = (next.segment, next.offset);
                Ok(())
            })?;
            if ended {
                return Ok(true);
            }
        }
    }

    /// Forgets letters whose records the retention removed: all before `first`.
    pub(crate) fn forget_before(&mut self, first: u64) -> Result<(), JournalError> {
        self.commit(Durability::None, |letters, meta| {
            let old: Vec<Summary> = letters
                .range(..first)
                .map_err(failed)?
                .filter_map(|row| row.ok().and_then(|(_, value)| parse(value.value())))
                .collect();
            for summary in old {
                meta.counts[slot(summary.state)] -= 1;
                meta.dropped += u64::from(summary.state != LetterState::Redriven);
                letters.remove(summary.id).map_err(failed)?;
            }
            Ok(())
        })
    }

    pub(crate) fn get(&self, id: u64) -> Result<Option<Summary>, JournalError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(LETTERS).map_err(failed)?;
        let found = table.get(id).map_err(failed)?;
        Ok(found.and_then(|value| parse(value.value())))
    }

    pub(crate) fn list(&self, filter: &Filter) -> Result<Page, JournalError> {
        let read = self.database.begin_read().map_err(failed)?;
        let table = read.open_table(LETTERS).map_err(failed)?;
        let mut letters = Vec::new();
        let rows = table
            .range(filter.from.saturating_add(1)..)
            .map_err(failed)?;
        for (looked, row) in rows.enumerate() {
            let (id, value) = row.map_err(failed)?;
            let Some(summary) = parse(value.value()) else {
                continue;
            };
            if filter.matches(&summary) {
                letters.push(summary);
            }
            if letters.len() == filter.page() || looked == MAX_LOOKS {
                return Ok(Page {
                    letters,
                    next: Some(id.value()),
                });
            }
        }
        Ok(Page {
            letters,
            next: None,
        })
    }

    /// Makes what is indexed outlive the process.
    pub(crate) fn save(&mut self) -> Result<(), JournalError> {
        self.commit(Durability::Immediate, |_, _| Ok(()))
    }

    fn commit(
        &mut self,
        durability: Durability,
        work: impl FnOnce(
            &mut redb::Table<'_, u64, &'static [u8]>,
            &mut Meta,
        ) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut write = self.database.begin_write().map_err(failed)?;
        write.set_durability(durability).map_err(failed)?;
        let mut meta = self.meta.clone();
        {
            let mut letters = write.open_table(LETTERS).map_err(failed)?;
            work(&mut letters, &mut meta)?;
            let mut about = write.open_table(META).map_err(failed)?;
            let bytes = serde_json::to_vec(&meta).map_err(failed)?;
            about.insert(META_KEY, bytes.as_slice()).map_err(failed)?;
        }
        write.commit().map_err(failed)?;
        self.meta = meta;
        Ok(())
    }
}

fn read_meta(database: &Database) -> Result<Option<Meta>, JournalError> {
    let read = database.begin_read().map_err(failed)?;
    // Both tables must be there, or the file is of something else.
    read.open_table(LETTERS).map_err(failed)?;
    let table = read.open_table(META).map_err(failed)?;
    let found = table.get(META_KEY).map_err(failed)?;
    Ok(found.and_then(|value| serde_json::from_slice(value.value()).ok()))
}

fn parse(bytes: &[u8]) -> Option<Summary> {
    serde_json::from_slice(bytes).ok()
}

fn put(
    letters: &mut redb::Table<'_, u64, &'static [u8]>,
    summary: &Summary,
) -> Result<(), JournalError> {
    let bytes = serde_json::to_vec(summary).map_err(failed)?;
    letters
        .insert(summary.id, bytes.as_slice())
        .map_err(failed)?;
    Ok(())
}

fn apply(
    letters: &mut redb::Table<'_, u64, &'static [u8]>,
    meta: &mut Meta,
    id: u64,
    event: &Event,
    at: Position,
) -> Result<(), JournalError> {
    let found = letters
        .get(id)
        .map_err(failed)?
        .and_then(|value| parse(value.value()));
    // An event of a letter that retention or a purge removed.
    let Some(mut summary) = found else {
        return Ok(());
    };
    meta.counts[slot(summary.state)] -= 1;
    if summary.apply(event, at) {
        meta.counts[slot(summary.state)] += 1;
        put(letters, &summary)
    } else {
        letters.remove(id).map_err(failed)?;
        Ok(())
    }
}
