//! A region that knows how often each of its bytes was written.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use linkmesh_memory::region::{AccessError, HeapRegion, Region};

use crate::random::Random;

/// A region that counts how often each byte was written.
#[derive(Debug)]
pub(crate) struct Counting {
    pub(crate) memory: HeapRegion,
    pub(crate) writes: Vec<AtomicU32>,
}

impl Counting {
    pub(crate) fn new(length: usize) -> Arc<Self> {
        let writes = (0..length).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Self {
            memory: HeapRegion::new(length, 5),
            writes,
        })
    }

    pub(crate) fn filled(length: usize, random: &mut Random) -> Arc<Self> {
        let region = Self::new(length);
        // Half of it repeats, so that some blocks compress.
        let bytes: Vec<u8> = (0..length)
            .map(|at| {
                if at % 4096 < 2048 {
                    random.next() as u8
                } else {
                    7
                }
            })
            .collect();
        region.memory.write(0, &bytes).unwrap();
        region
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; range.len()];
        self.memory.read(range.start as u64, &mut bytes).unwrap();
        bytes
    }

    /// How many bytes of the range were written, each once at most.
    pub(crate) fn written(&self, range: Range<usize>) -> u64 {
        let counts: Vec<_> = self.writes[range]
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        assert!(
            counts.iter().all(|count| *count <= 1),
            "a byte was placed twice"
        );
        counts.iter().map(|count| u64::from(*count)).sum()
    }
}

impl Region for Counting {
    fn len(&self) -> u64 {
        self.memory.len()
    }
    fn epoch(&self) -> u64 {
        self.memory.epoch()
    }
    fn is_revoked(&self) -> bool {
        self.memory.is_revoked()
    }
    fn revoke(&self) {
        self.memory.revoke();
    }
    fn read(&self, offset: u64, target: &mut [u8]) -> Result<(), AccessError> {
        self.memory.read(offset, target)
    }
    fn write(&self, offset: u64, source: &[u8]) -> Result<(), AccessError> {
        self.memory.write(offset, source)?;
        for count in &self.writes[offset as usize..offset as usize + source.len()] {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
    fn fetch_add(&self, offset: u64, operand: u64) -> Result<u64, AccessError> {
        self.memory.fetch_add(offset, operand)
    }
    fn compare_swap(&self, offset: u64, expected: u64, desired: u64) -> Result<u64, AccessError> {
        self.memory.compare_swap(offset, expected, desired)
    }
    fn load(&self, offset: u64) -> Result<u64, AccessError> {
        self.memory.load(offset)
    }
}
