//! The segments of a log, oldest first.

use std::sync::{Arc, PoisonError, RwLock};

use crate::error::{ErrorKind, JournalError, Place};
use crate::format::{SEGMENT_HEADER, SegmentHeader, file_name, number_of, other_format};
use crate::storage::{Storage, StorageFile};

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) size: u64,
    pub(crate) file: Arc<dyn StorageFile>,
}

/// A segment that was prepared and not begun: its number and its file.
pub(crate) type Prepared = Option<(u64, Arc<dyn StorageFile>)>;

/// Published list; the writer appends, retention takes from the front.
#[derive(Debug, Default)]
pub(crate) struct Segments(RwLock<Vec<Arc<Segment>>>);

impl Segments {
    pub(crate) fn new(segments: Vec<Arc<Segment>>) -> Self {
        Self(RwLock::new(segments))
    }

    pub(crate) fn push(&self, segment: Arc<Segment>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(segment);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Segment>> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let at = segments
            .binary_search_by_key(&number, |segment| segment.header.number)
            .ok()?;
        Some(Arc::clone(&segments[at]))
    }

    pub(crate) fn remove_before(&self, number: u64) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|segment| segment.header.number >= number);
    }
}

/// A file of the folder before anything is concluded from it.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) number: u64,
    pub(crate) size: u64,
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) header: Option<SegmentHeader>,
    /// The place of the header holds zeros only: prepared, and not used yet.
    pub(crate) blank: bool,
}

/// Opens every file that is named like a segment, by number.
pub(crate) fn candidates(storage: &dyn Storage) -> Result<Vec<Candidate>, JournalError> {
    let failed = |error| JournalError::from_io(&error, "reading the folder of the journal");
    let mut numbers: Vec<u64> = storage
        .list()
        .map_err(failed)?
        .iter()
        .filter_map(|name| number_of(name))
        .collect();
    numbers.sort_unstable();
    let mut found = Vec::with_capacity(numbers.len());
    for number in numbers {
        let name = file_name(number);
        let failed = |error| JournalError::from_io(&error, &format!("reading {name}"));
        let file = match storage.open(&name) {
            // Retention of a running writer took it since the folder was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            file => file.map_err(failed)?,
        };
        let mut bytes = [0; SEGMENT_HEADER];
        let read = file.read_at(0, &mut bytes).map_err(failed)?;
        if let Some(format) = other_format(&bytes[..read]) {
            return Err(JournalError::new(
                ErrorKind::Invalid,
                format!(
                    "{name} is of format {format}, which this version of linkmesh does not read; nothing was changed. \
                     Export it with the version that wrote it, or move the folder away to begin anew"
                ),
            )
            .field("data"));
        }
        found.push(Candidate {
            number,
            size: file.size().map_err(failed)?,
            header: SegmentHeader::decode(&bytes[..read], number),
            blank: bytes.iter().all(|byte| *byte == 0),
            file,
        });
    }
    Ok(found)
}

/// An error that names a place.
pub(crate) fn corrupt(what: &str, place: Place) -> JournalError {
    JournalError::new(
        ErrorKind::Corrupt,
        format!(
            "{what} ({}, offset {}, record {}); `--repair` goes on without what cannot be read, and says what that is",
            file_name(place.segment),
            place.offset,
            place.sequence
        ),
    )
    .at(place)
}
