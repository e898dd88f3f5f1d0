//! Name → service inside a snapshot: hash buckets shared between snapshots until a name comes or goes.

use std::sync::Arc;

use crate::ServiceRecord;

const BUCKETS: usize = 1_024;

/// Looking up costs a hash and a scan of one bucket; copying before a change costs a pointer per bucket.
#[derive(Debug, Clone)]
pub(crate) struct NameIndex {
    buckets: Arc<Vec<Arc<Vec<Entry>>>>,
}

type Entry = (Arc<str>, crate::Handle);

impl Default for NameIndex {
    fn default() -> Self {
        Self {
            buckets: Arc::new(vec![Arc::default(); BUCKETS]),
        }
    }
}

/// FNV-1a. Names come from the program itself; a crafted set costs a longer scan of one bucket, no wrong answer.
fn bucket_of(name: &str) -> usize {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash ^ hash >> 32) as usize % BUCKETS
}

impl NameIndex {
    pub(crate) fn get(&self, name: &str) -> Option<crate::Handle> {
        self.buckets[bucket_of(name)]
            .iter()
            .find(|(known, _)| **known == *name)
            .map(|(_, handle)| *handle)
    }

    pub(crate) fn insert(&mut self, service: &ServiceRecord) {
        let bucket = &mut Arc::make_mut(&mut self.buckets)[bucket_of(&service.name)];
        Arc::make_mut(bucket).push((Arc::clone(&service.name), service.handle));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let bucket = &mut Arc::make_mut(&mut self.buckets)[bucket_of(name)];
        Arc::make_mut(bucket).retain(|(known, _)| **known != *name);
    }
}
