//! Embedded stores behind the same group commit: a queue, and a thread that commits all that waits at once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use redb::{Database, Durability, ReadableDatabase, ReadableTableMetadata, TableDefinition};

use crate::client::{Durable, RECORD};

/// One durable transaction at a time.
pub trait Store: Send + 'static {
    /// Returns when all records are on the disk. Keys count up from `first`.
    fn commit(&mut self, first: u64, records: &[u8], size: usize);
    fn reopened_count(self) -> u64;
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    durable: u64,
    closed: bool,
}

pub struct Grouped<S> {
    shared: Arc<(Mutex<State>, Condvar, Condvar)>,
    writer: Option<JoinHandle<S>>,
}

impl<S: Store> Grouped<S> {
    pub fn new(mut store: S) -> Self {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new(), Condvar::new()));
        let own = Arc::clone(&shared);
        let writer = std::thread::spawn(move || {
            let (state, work, settled) = &*own;
            let (mut batch, mut first) = (Vec::new(), 1u64);
            loop {
                let mut guard = state.lock().unwrap();
                while guard.waiting.is_empty() {
                    if guard.closed {
                        return store;
                    }
                    guard = work.wait(guard).unwrap();
                }
                batch.clear();
                std::mem::swap(&mut batch, &mut guard.waiting);
                drop(guard);
                store.commit(first, &batch, RECORD);
                first += (batch.len() / RECORD) as u64;
                state.lock().unwrap().durable = first - 1;
                settled.notify_all();
            }
        });
        Self { shared, writer: Some(writer) }
    }
}

impl<S: Store> Durable for Grouped<S> {
    fn append(&mut self, record: &[u8]) {
        let (state, work, _) = &*self.shared;
        let mut state = state.lock().unwrap();
        let idle = state.waiting.is_empty();
        state.waiting.extend_from_slice(record);
        drop(state);
        if idle {
            work.notify_one();
        }
    }

    fn wait(&mut self, known: u64) -> u64 {
        let (state, _, settled) = &*self.shared;
        let mut state = state.lock().unwrap();
        while state.durable <= known {
            state = settled.wait(state).unwrap();
        }
        state.durable
    }

    fn count(mut self: Box<Self>) -> u64 {
        self.shared.0.lock().unwrap().closed = true;
        self.shared.1.notify_one();
        let store = self.writer.take().expect("one writer").join().expect("the writer");
        store.reopened_count()
    }
}

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

pub struct Redb {
    database: Database,
    file: PathBuf,
}

impl Redb {
    pub fn open(place: &Path) -> Self {
        let file = place.join("records.redb");
        Self { database: Database::create(&file).expect("redb"), file }
    }
}

impl Store for Redb {
    fn commit(&mut self, first: u64, records: &[u8], size: usize) {
        let mut write = self.database.begin_write().expect("a transaction");
        write.set_durability(Durability::Immediate).expect("durability");
        {
            let mut table = write.open_table(TABLE).expect("the table");
            for (index, record) in records.chunks_exact(size).enumerate() {
                table.insert(first + index as u64, record).expect("insert");
            }
        }
        write.commit().expect("commit");
    }

    fn reopened_count(self) -> u64 {
        drop(self.database);
        let database = Database::open(&self.file).expect("redb");
        let read = database.begin_read().expect("a transaction");
        read.open_table(TABLE).expect("the table").len().expect("a count")
    }
}

pub struct Fjall {
    database: fjall::Database,
    records: fjall::Keyspace,
    place: PathBuf,
}

impl Fjall {
    pub fn open(place: &Path) -> Self {
        let database = fjall::Database::builder(place).open().expect("fjall");
        let records = database.keyspace("records", fjall::KeyspaceCreateOptions::default).expect("a keyspace");
        Self { database, records, place: place.to_owned() }
    }
}

impl Store for Fjall {
    fn commit(&mut self, first: u64, records: &[u8], size: usize) {
        let mut batch = self.database.batch();
        for (index, record) in records.chunks_exact(size).enumerate() {
            batch.insert(&self.records, (first + index as u64).to_be_bytes(), record);
        }
        batch.commit().expect("commit");
        self.database.persist(fjall::PersistMode::SyncData).expect("persist");
    }

    fn reopened_count(self) -> u64 {
        let Self { database, records, place } = self;
        drop(records);
        drop(database);
        Self::open(&place).records.len().expect("a count") as u64
    }
}
