//! Files in memory: for journals without a folder. Nothing outlives the process, and [`Storage::durable`] says so.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{Storage, StorageFile};

/// Files that end with their owner. Memory is taken as it is written, not when a file is created.
#[derive(Debug, Default)]
pub struct Memory {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
}

impl Memory {
    fn insert(&self, name: &str, file: MemoryFile) -> Arc<MemoryFile> {
        let file = Arc::new(file);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(name.to_owned(), Arc::clone(&file));
        file
    }
}

impl Storage for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::clone(file) as Arc<dyn StorageFile>)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.insert(
            name,
            MemoryFile {
                size: bytes,
                written: RwLock::default(),
            },
        ))
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.insert(
            name,
            MemoryFile {
                size: content.len() as u64,
                written: RwLock::new(content.to_vec()),
            },
        );
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.remove(name);
        Ok(())
    }

    fn block(&self) -> u32 {
        8
    }

    fn durable(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct MemoryFile {
    size: u64,
    /// What follows, up to `size`, is zeros.
    written: RwLock<Vec<u8>>,
}

impl StorageFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner);
        let count = (self.size.saturating_sub(offset)).min(into.len() as u64) as usize;
        let there = written
            .get(offset.min(written.len() as u64) as usize..)
            .unwrap_or(&[]);
        let copied = there.len().min(count);
        into[..copied].copy_from_slice(&there[..copied]);
        into[copied..count].fill(0);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if end > self.size {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut written = self.written.write().unwrap_or_else(PoisonError::into_inner);
        if written.len() < end as usize {
            written.resize(end as usize, 0);
        }
        written[offset as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
