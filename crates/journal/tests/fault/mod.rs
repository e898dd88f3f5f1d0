//! A storage that keeps what was synced and, when it crashes, does with the rest what a disk may do: loses it, keeps
//! parts of it in any order, and garbles some of it.
#![allow(
    dead_code,
    reason = "shared by several test files, none of which needs all of it"
)]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkmesh_journal::{Storage, StorageFile};

/// What a disk writes at once.
const SECTOR: usize = 512;

/// xorshift64*: seeded, so that a failing point can be run again.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Debug, Default)]
struct Contents {
    /// As it is on the platter.
    synced: Vec<u8>,
    /// As programs see it.
    seen: Vec<u8>,
    /// Written since the last sync, in sectors: (sector, bytes).
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Contents>,
    /// Operations that still succeed; then the machine is dead.
    left: Option<u64>,
    /// An operation was refused since the last restart.
    crashed: bool,
    /// New files are refused for want of room.
    full: bool,
    /// Every n-th write is, too: a file system that cannot reserve.
    full_every: Option<u64>,
    writes: u64,
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => {
                self.crashed = true;
                Err(io::Error::other("the machine has crashed"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// The disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultDisk(Arc<Mutex<State>>);

impl FaultDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Crashes after this many operations that change something.
    pub(crate) fn crash_after(&self, operations: u64) {
        self.state().left = Some(operations);
    }

    /// Whether an operation was refused since the last time this was asked.
    pub(crate) fn crashed(&self) -> bool {
        std::mem::take(&mut self.state().crashed)
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Every `n`-th write from now on finds no room and writes nothing.
    pub(crate) fn set_full_every(&self, n: Option<u64>) {
        self.state().full_every = n;
    }

    /// The power comes back. Of each file the synced bytes are there; of the other sectors some, in any order, and some
    /// of those with flipped bits or cut in half.
    pub(crate) fn restart(&self, random: &mut Random) {
        let mut state = self.state();
        state.left = None;
        for contents in state.files.values_mut() {
            let mut pending = std::mem::take(&mut contents.pending);
            for index in (1..pending.len()).rev() {
                pending.swap(index, random.below(index as u64 + 1) as usize);
            }
            let keep = random.below(4);
            for (sector, mut bytes) in pending {
                let kept = match keep {
                    0 => false,
                    1 => true,
                    _ => random.below(2) == 0,
                };
                if !kept {
                    continue;
                }
                match random.below(16) {
                    0 => {
                        let bit = random.below(bytes.len() as u64 * 8) as usize;
                        bytes[bit / 8] ^= 1 << (bit % 8);
                    }
                    1 => bytes.truncate(random.below(bytes.len() as u64) as usize),
                    _ => {}
                }
                let at = sector * SECTOR;
                contents.synced[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            contents.seen.clone_from(&contents.synced);
        }
    }

    /// Only the process died: what it wrote is still in the cache, and still not on the disk.
    pub(crate) fn restart_process(&self) {
        self.state().left = None;
    }

    /// Changes synced bytes, as failing hardware or a hand would.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let contents = state.files.get_mut(name).expect("no such file");
        change(&mut contents.seen);
        contents.synced.clone_from(&contents.seen);
        contents.pending.clear();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state().files.keys().cloned().collect()
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        self.state().files[name].seen.clone()
    }
}

impl Storage for FaultDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        if !self.state().files.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(FaultFile {
            disk: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>> {
        let mut state = self.state();
        state.step()?;
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let zeros = vec![0; bytes as usize];
        state.files.insert(
            name.to_owned(),
            Contents {
                synced: zeros.clone(),
                seen: zeros,
                pending: Vec::new(),
            },
        );
        drop(state);
        self.open(name)
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.files.insert(
            name.to_owned(),
            Contents {
                synced: content.to_vec(),
                seen: content.to_vec(),
                pending: Vec::new(),
            },
        );
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.files.remove(name);
        Ok(())
    }

    fn block(&self) -> u32 {
        SECTOR as u32
    }

    fn durable(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    name: String,
}

impl FaultFile {
    fn with<T>(&self, work: impl FnOnce(&mut Contents) -> T) -> io::Result<T> {
        let mut state = self.disk.state();
        let contents = state
            .files
            .get_mut(&self.name)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(work(contents))
    }
}

impl StorageFile for FaultFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|contents| contents.seen.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|contents| {
            let rest = contents.seen.get(offset as usize..).unwrap_or(&[]);
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let alive = {
            let mut state = self.disk.state();
            state.writes += 1;
            let writes = state.writes;
            if state.full_every.is_some_and(|n| writes.is_multiple_of(n)) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.step()
        };
        self.with(|contents| {
            let (from, to) = (offset as usize, offset as usize + bytes.len());
            contents.seen[from..to].copy_from_slice(bytes);
            // A write that the crash interrupts may have reached the disk in part.
            for sector in from / SECTOR..to.div_ceil(SECTOR) {
                let end = ((sector + 1) * SECTOR).min(contents.seen.len());
                contents
                    .pending
                    .push((sector, contents.seen[sector * SECTOR..end].to_vec()));
            }
        })?;
        alive
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state().step()?;
        self.with(|contents| {
            contents.pending.clear();
            contents.synced.clone_from(&contents.seen);
        })
    }
}
