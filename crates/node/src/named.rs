//! Tables by name: one per process, shared by every thread that opens the name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use linkmesh_tables::{ByteRing, CompressedRadixArena, FingerprintedIdTable};

/// What a table handle of a thread names.
#[derive(Debug)]
pub(crate) enum Table {
    Id(Arc<FingerprintedIdTable>),
    Radix(Arc<CompressedRadixArena>),
    Ring(Arc<NamedRing>),
}

/// A ring and the kind it was made as: a second opener must mean the same.
#[derive(Debug)]
pub(crate) struct NamedRing {
    pub(crate) many: bool,
    pub(crate) ring: ByteRing,
}

/// The named tables of one kind. Holds them weakly: the memory goes when the last thread has closed it.
#[derive(Debug)]
pub(crate) struct Named<T>(Mutex<Option<HashMap<String, Weak<T>>>>);

pub(crate) static ID_TABLES: Named<FingerprintedIdTable> = Named::new();
pub(crate) static RADIX_ARENAS: Named<CompressedRadixArena> = Named::new();
pub(crate) static RINGS: Named<NamedRing> = Named::new();

impl<T> Named<T> {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The table of that name, made by `make` when there is none. Without a name: a new one of its own.
    pub(crate) fn open<E>(
        &self,
        name: Option<String>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let Some(name) = name else {
            return make().map(Arc::new);
        };
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = guard.get_or_insert_default();
        if let Some(table) = tables.get(&name).and_then(Weak::upgrade) {
            return Ok(table);
        }
        let table = Arc::new(make()?);
        tables.retain(|_, table| table.strong_count() > 0);
        tables.insert(name, Arc::downgrade(&table));
        Ok(table)
    }
}
