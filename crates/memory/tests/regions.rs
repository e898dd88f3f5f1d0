//! Each kind of region against the one in safe Rust, under growth, revocation and concurrent writers.

use std::{
    fmt::Debug,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use linkmesh_memory::region::{
    AccessError, Borrowed, HeapRegion, PageKind, Pages, PagesOptions, Region, RegionError,
    SharedRegion,
};
use proptest::prelude::*;

const BYTES: u64 = 203;

fn pages(length: u64, capacity: u64) -> SharedRegion<Pages> {
    let options = PagesOptions {
        length,
        capacity,
        huge: false,
    };
    SharedRegion::new(Pages::new(options).unwrap(), 1)
}

/// Borrowed from a vector of words, which is its keeper too.
fn borrowed(length: u64) -> SharedRegion<Borrowed> {
    let words: Arc<[AtomicU64]> = (0..length.div_ceil(8)).map(|_| AtomicU64::new(0)).collect();
    let base = words.as_ptr().cast_mut().cast();
    // SAFETY: `words` keeps the bytes and is only reached through this region.
    let memory = unsafe { Borrowed::new(base, length as usize, Box::new(words)) };
    SharedRegion::new(memory.unwrap(), 1)
}

#[derive(Clone, Debug)]
enum Operation {
    Read(u64, usize),
    Write(u64, Vec<u8>),
    Add(u64, u64),
    Swap(u64, u64, u64),
    Load(u64),
}

fn operation() -> impl Strategy<Value = Operation> {
    // A little beyond the end, and once in a while far beyond.
    let offset = || prop_oneof![20 => 0..BYTES + 10, 1 => Just(u64::MAX - 3)];
    let cell = || prop_oneof![10 => (0..BYTES / 8 + 2).prop_map(|index| index * 8), 1 => offset()];
    prop_oneof![
        (offset(), 0..90usize).prop_map(|(at, length)| Operation::Read(at, length)),
        (offset(), prop::collection::vec(any::<u8>(), 0..90))
            .prop_map(|(at, bytes)| Operation::Write(at, bytes)),
        (cell(), any::<u64>()).prop_map(|(at, operand)| Operation::Add(at, operand)),
        (cell(), 0..3u64, 0..3u64)
            .prop_map(|(at, expected, desired)| Operation::Swap(at, expected, desired)),
        cell().prop_map(Operation::Load),
    ]
}

/// What an operation gives, in a form that compares.
fn apply(region: &dyn Region, operation: &Operation) -> Result<(Vec<u8>, u64), AccessError> {
    match operation {
        Operation::Read(at, length) => {
            let mut bytes = vec![0xaa; *length];
            region.read(*at, &mut bytes).map(|()| (bytes, 0))
        }
        Operation::Write(at, bytes) => region.write(*at, bytes).map(|()| (Vec::new(), 0)),
        Operation::Add(at, operand) => region.fetch_add(*at, *operand).map(|old| (Vec::new(), old)),
        Operation::Swap(at, expected, desired) => region
            .compare_swap(*at, *expected, *desired)
            .map(|old| (Vec::new(), old)),
        Operation::Load(at) => region.load(*at).map(|word| (Vec::new(), word)),
    }
}

proptest! {
    #[test]
    fn every_kind_answers_like_plain_words(operations in prop::collection::vec(operation(), 1..60)) {
        let oracle = HeapRegion::new(BYTES as usize, 1);
        let folder = tempfile::tempdir().unwrap();
        let mut kinds: Vec<Box<dyn Region>> = vec![Box::new(pages(BYTES, 1 << 20)), Box::new(borrowed(BYTES))];
        #[cfg(unix)]
        kinds.push(Box::new(mapped(&folder.path().join("region"), BYTES, 1 << 20)));
        for operation in &operations {
            let expected = apply(&oracle, operation);
            for kind in &kinds {
                prop_assert_eq!(apply(&**kind, operation), expected.clone(), "{:?}", kind);
            }
        }
        let mut wanted = vec![0; BYTES as usize];
        oracle.read(0, &mut wanted).unwrap();
        for kind in &kinds {
            let mut found = vec![0; BYTES as usize];
            kind.read(0, &mut found).unwrap();
            prop_assert_eq!(&found, &wanted, "{:?}", kind);
        }
        drop(folder);
    }
}

#[test]
fn grown_memory_is_zero_stays_where_it_is_and_never_shrinks() {
    let region = Arc::new(pages(100, 64 << 20));
    region.write(92, b"boundary").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let started = Arc::new(Barrier::new(2));
    let reader = {
        let (region, stop, started) =
            (Arc::clone(&region), Arc::clone(&stop), Arc::clone(&started));
        thread::spawn(move || {
            started.wait();
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                let length = region.len();
                assert!(length >= last, "the length never shrinks");
                last = length;
                // The last byte of whatever length was seen can be read.
                region.read(length - 1, &mut [0]).unwrap();
            }
        })
    };
    started.wait();
    for length in (1..=64).map(|mib| mib << 20) {
        region.backing().grow(length).unwrap();
        let mut bytes = [1; 8];
        region.read(length - 8, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 8]);
    }
    stop.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    let mut bytes = [0; 8];
    region.read(92, &mut bytes).unwrap();
    assert_eq!(&bytes, b"boundary");
    assert!(matches!(
        region.backing().grow(5),
        Err(RegionError::Shrinks { asked: 5, .. })
    ));
    assert!(matches!(
        region.backing().grow(1 << 30),
        Err(RegionError::TooLong {
            field: "length",
            ..
        })
    ));
    assert_eq!(region.len(), 64 << 20);
}

#[test]
fn bad_sizes_and_addresses_are_refused_by_name() {
    let make = |length, capacity| {
        Pages::new(PagesOptions {
            length,
            capacity,
            huge: false,
        })
    };
    assert!(matches!(make(0, 10), Err(RegionError::Empty)));
    assert!(matches!(
        make(11, 10),
        Err(RegionError::TooLong {
            field: "length",
            asked: 11,
            limit: 10
        })
    ));
    assert!(matches!(
        make(1, u64::MAX),
        Err(RegionError::TooLong {
            field: "capacity",
            ..
        })
    ));
    let mut word = 0u64;
    let base = (&raw mut word).cast::<u8>();
    // SAFETY: refused before any access.
    let odd = unsafe { Borrowed::new(base.wrapping_add(1), 4, Box::new(())) };
    assert!(matches!(odd, Err(RegionError::Misaligned)));
    // SAFETY: as above.
    let empty = unsafe { Borrowed::new(base, 0, Box::new(())) };
    assert!(matches!(empty, Err(RegionError::Empty)));
}

#[test]
fn huge_pages_are_used_or_honestly_not() {
    let options = PagesOptions {
        length: 4 << 20,
        capacity: 4 << 20,
        huge: true,
    };
    let memory = Pages::new(options).unwrap();
    let kind = memory.page_kind();
    let region = SharedRegion::new(memory, 1);
    region.write((4 << 20) - 3, b"end").unwrap();
    let mut bytes = [0; 3];
    region.read((4 << 20) - 3, &mut bytes).unwrap();
    assert_eq!(&bytes, b"end");
    if cfg!(target_os = "linux") {
        let pool = std::fs::read_to_string("/proc/sys/vm/nr_hugepages").unwrap_or_default();
        if pool.trim() == "0" {
            assert_ne!(kind, PageKind::Huge, "there is no pool");
        }
    } else {
        assert_eq!(kind, PageKind::Small);
    }
}

#[test]
fn a_region_shows_nothing_of_its_content() {
    let region = pages(64, 64);
    region.write(0, b"secret secret").unwrap();
    let text = format!("{region:?}");
    assert!(text.contains("pages") && text.contains("64"), "{text}");
    assert!(
        !text.contains("secret") && !text.contains("115, 101"),
        "{text}"
    );
}

/// The keeper marks the moment at which the borrowed memory is gone.
struct Keeper {
    memory: Arc<[AtomicU64]>,
    gone: Arc<AtomicBool>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        assert!(Arc::strong_count(&self.memory) >= 1);
    }
}

#[test]
fn after_revoke_returned_nothing_touches_the_memory() {
    let words: Arc<[AtomicU64]> = (0..8192).map(|_| AtomicU64::new(0)).collect();
    let gone = Arc::new(AtomicBool::new(false));
    let keeper = Keeper {
        memory: Arc::clone(&words),
        gone: Arc::clone(&gone),
    };
    // SAFETY: `words` outlives the region and is reached through atomics only.
    let memory = unsafe {
        Borrowed::new(
            words.as_ptr().cast_mut().cast(),
            words.len() * 8,
            Box::new(keeper),
        )
    };
    let region = Arc::new(SharedRegion::new(memory.unwrap(), 1));
    let started = Arc::new(Barrier::new(4));
    let writers: Vec<_> = (1..=3u8)
        .map(|byte| {
            let (region, started) = (Arc::clone(&region), Arc::clone(&started));
            thread::spawn(move || {
                let block = vec![byte; words_bytes()];
                region.write(0, &block).unwrap();
                started.wait();
                let mut done = 0u64;
                loop {
                    match region.write(0, &block) {
                        Ok(()) => done += 1,
                        Err(error) => break (done, error),
                    }
                }
            })
        })
        .collect();
    started.wait();
    region.revoke();
    let snapshot: Vec<u64> = words
        .iter()
        .map(|word| word.load(Ordering::Relaxed))
        .collect();
    for writer in writers {
        assert_eq!(writer.join().unwrap().1, AccessError::Revoked);
    }
    let after: Vec<u64> = words
        .iter()
        .map(|word| word.load(Ordering::Relaxed))
        .collect();
    assert!(snapshot == after, "a write landed after the revocation");
    assert!(region.is_revoked());
    assert_eq!(region.load(0), Err(AccessError::Revoked));
    assert_eq!(region.read(0, &mut [0]), Err(AccessError::Revoked));
    assert!(
        !gone.load(Ordering::SeqCst),
        "the region still holds its keeper"
    );
    drop(region);
    assert!(
        gone.load(Ordering::SeqCst),
        "the last owner let the keeper go"
    );
}

fn words_bytes() -> usize {
    8192 * 8
}

/// One writer changes 1 KiB under a version word as a seqlock does; readers never take a torn copy for a whole one.
#[test]
fn versioned_reads_detect_tearing() {
    const VERSION: u64 = 0;
    const DATA: u64 = 8;
    let region = Arc::new(pages(2048, 2048));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (region, stop) = (Arc::clone(&region), Arc::clone(&stop));
        thread::spawn(move || {
            for round in 1..=200_000u64 {
                region.fetch_add(VERSION, 1).unwrap();
                region.write(DATA, &[round as u8; 1024]).unwrap();
                region.fetch_add(VERSION, 1).unwrap();
            }
            stop.store(true, Ordering::Release);
        })
    };
    let (mut whole, mut torn_and_noticed) = (0u32, 0u32);
    let mut bytes = [0; 1024];
    while !stop.load(Ordering::Acquire) || whole == 0 {
        let (before, after) = region.read_versioned(DATA, &mut bytes, VERSION).unwrap();
        if before == after && before % 2 == 0 {
            assert!(
                bytes.iter().all(|byte| *byte == (before / 2) as u8),
                "version {before} was torn"
            );
            whole += 1;
        } else {
            torn_and_noticed += 1;
        }
    }
    writer.join().unwrap();
    assert!(whole > 0, "no whole copy in {torn_and_noticed} torn ones");
}

#[test]
fn adds_of_many_threads_are_all_there() {
    let region = Arc::new(pages(64, 64));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let region = Arc::clone(&region);
            thread::spawn(move || {
                (0..20_000)
                    .map(|_| region.fetch_add(8, 1).unwrap())
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut olds: Vec<u64> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    olds.sort_unstable();
    assert!(
        olds.iter().copied().eq(0..80_000),
        "each old value was seen exactly once"
    );
    assert_eq!(region.load(8), Ok(80_000));
}

#[cfg(unix)]
fn mapped(
    path: &std::path::Path,
    length: u64,
    capacity: u64,
) -> SharedRegion<linkmesh_memory::region::MappedFile> {
    let file = linkmesh_memory::region::MappedFile::open(path, length, capacity).unwrap();
    SharedRegion::new(file, 1)
}

#[cfg(unix)]
mod files {
    use std::os::unix::fs::MetadataExt;

    use linkmesh_memory::region::MappedFile;

    use super::*;

    #[test]
    fn a_file_keeps_what_was_written_and_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores");
        {
            let region = mapped(&path, 10, 1 << 20);
            region.write(5, b"early").unwrap();
            region.backing().grow(9000).unwrap();
            region.write(8995, b"late!").unwrap();
            region.backing().flush(0..9000).unwrap();
            assert!(matches!(
                region.backing().flush(0..9001),
                Err(RegionError::TooLong { field: "range", .. })
            ));
            let seen = std::fs::read(&path).unwrap();
            assert_eq!(
                (&seen[5..10], &seen[8995..]),
                (&b"early"[..], &b"late!"[..])
            );
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!(metadata.mode() & 0o777, 0o600);
            assert!(metadata.blocks() * 512 >= 9000, "its blocks are allocated");
        }
        let again = mapped(&path, 10, 1 << 20);
        assert_eq!(again.len(), 9000);
        let mut bytes = [0; 5];
        again.read(8995, &mut bytes).unwrap();
        assert_eq!(&bytes, b"late!");
    }

    #[test]
    fn a_file_is_a_region_of_one_owner_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores");
        let first = MappedFile::open(&path, 10, 100).unwrap();
        assert!(matches!(
            MappedFile::open(&path, 10, 100),
            Err(RegionError::Busy)
        ));
        drop(first);
        assert!(matches!(
            MappedFile::open(&path, 1, 5),
            Err(RegionError::TooLong {
                field: "file",
                asked: 10,
                limit: 5
            })
        ));
        assert!(MappedFile::open(&path, 1, 100).is_ok());
        assert!(matches!(
            MappedFile::open(folder.path(), 1, 100),
            Err(RegionError::System { call: "open", .. })
        ));
    }

    #[test]
    fn a_sparse_file_gets_its_blocks_before_it_is_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
        let region = mapped(&path, 1, 1 << 20);
        assert_eq!(region.len(), 1 << 20);
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20);
    }
}
