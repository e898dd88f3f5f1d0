//! A bounded ring of byte records.

use super::{
    gate::Gate,
    record::{MAX_BYTES, MIN_BYTES, RecordRing, RingError, round_capacity},
    storage::Storage,
};
use crate::sync::{AtomicU32, CachePadded, Ordering};

/// Bounded first-in-first-out queue of byte records, copied in and out.
///
/// One core for both kinds: a single-producer single-consumer ring whose two sides share only two indexes, and a gate
/// on each side. [`mpmc`](Self::mpmc) lets the second thread of a side wait for the length of one copy;
/// [`spsc`](Self::spsc) refuses it with [`RingError::Busy`], so a mistake is told, never undefined.
#[derive(Debug)]
pub struct ByteRing {
    storage: Storage,
    producer: CachePadded<Side>,
    consumer: CachePadded<Side>,
    /// Producers pass the first, consumers the second.
    gates: [CachePadded<Gate>; 2],
}

/// What one side writes and the other reads.
#[derive(Debug)]
struct Side {
    /// Free-running byte position; the ring is a power of two that divides 2^32.
    position: AtomicU32,
    /// The other side's position as last seen. Only this side uses it, inside its gate.
    other: AtomicU32,
    /// Free-running count of records.
    records: AtomicU32,
}

impl Side {
    fn new() -> Self {
        Self {
            position: AtomicU32::new(0),
            other: AtomicU32::new(0),
            records: AtomicU32::new(0),
        }
    }
}

impl ByteRing {
    /// Bytes that each record takes besides its own: its length.
    pub const HEADER_BYTES: usize = 4;

    /// One producer, one consumer. `capacity` bytes, rounded up to a power of two, 64..=2^28.
    ///
    /// # Errors
    /// [`RingError::Capacity`], [`RingError::OutOfMemory`].
    pub fn spsc(capacity: usize) -> Result<Self, RingError> {
        Self::new(capacity, false)
    }

    /// Many producers and consumers. `capacity` bytes, rounded up to a power of two, 64..=2^28.
    ///
    /// # Errors
    /// [`RingError::Capacity`], [`RingError::OutOfMemory`].
    pub fn mpmc(capacity: usize) -> Result<Self, RingError> {
        Self::new(capacity, true)
    }

    /// Whether a ring of `capacity` bytes may be made; allocates nothing.
    ///
    /// # Errors
    /// [`RingError::Capacity`].
    pub fn check_capacity(capacity: usize) -> Result<(), RingError> {
        Self::rounded(capacity).map(drop)
    }

    fn rounded(capacity: usize) -> Result<usize, RingError> {
        // The models use rings of a few bytes to reach wrap-around.
        let min = if cfg!(loom) { 8 } else { MIN_BYTES };
        round_capacity(capacity, min, MAX_BYTES)
    }

    fn new(capacity: usize, shared: bool) -> Result<Self, RingError> {
        let capacity = Self::rounded(capacity)?;
        Ok(Self {
            storage: Storage::new(capacity)?,
            producer: CachePadded(Side::new()),
            consumer: CachePadded(Side::new()),
            gates: [
                CachePadded(Gate::new(shared)),
                CachePadded(Gate::new(shared)),
            ],
        })
    }
}

impl RecordRing for ByteRing {
    #[inline]
    fn push(&self, record: &[u8]) -> Result<(), RingError> {
        let capacity = self.storage.capacity();
        let limit = capacity - Self::HEADER_BYTES;
        if record.len() > limit {
            return Err(RingError::RecordTooLong {
                length: record.len(),
                limit,
            });
        }
        let needed = record.len() + Self::HEADER_BYTES;
        let _pass = self.gates[0].enter()?;
        // Relaxed: `producer` is written only inside this gate.
        let tail = self.producer.position.load(Ordering::Relaxed);
        let mut head = self.producer.other.load(Ordering::Relaxed);
        if tail.wrapping_sub(head) as usize + needed > capacity {
            // Acquire pairs with the Release in `pop`: the consumer's reads of what we are about to overwrite are over.
            head = self.consumer.position.load(Ordering::Acquire);
            self.producer.other.store(head, Ordering::Relaxed);
            if tail.wrapping_sub(head) as usize + needed > capacity {
                return Err(RingError::Full);
            }
        }
        // SAFETY: [tail, tail + needed) is free: the consumer has released it (checked above, acquired) and will not
        // read it before the Release below; the gate keeps other producers out. needed ≤ capacity.
        unsafe {
            self.storage
                .write(tail as usize, &(record.len() as u32).to_le_bytes());
            self.storage
                .write(tail as usize + Self::HEADER_BYTES, record);
        }
        self.producer.records.store(
            self.producer
                .records
                .load(Ordering::Relaxed)
                .wrapping_add(1),
            Ordering::Relaxed,
        );
        // Release: the record is whole before the consumer can see it.
        self.producer
            .position
            .store(tail.wrapping_add(needed as u32), Ordering::Release);
        Ok(())
    }

    #[inline]
    fn pop(&self, out: &mut [u8]) -> Result<Option<usize>, RingError> {
        let _pass = self.gates[1].enter()?;
        // Relaxed: `consumer` is written only inside this gate.
        let head = self.consumer.position.load(Ordering::Relaxed);
        if self.consumer.other.load(Ordering::Relaxed) == head {
            // Acquire pairs with the Release in `push`: the records before this position are whole.
            let tail = self.producer.position.load(Ordering::Acquire);
            self.consumer.other.store(tail, Ordering::Relaxed);
            if tail == head {
                return Ok(None);
            }
        }
        let mut header = [0; Self::HEADER_BYTES];
        // SAFETY: at least one whole record lies at `head` (acquired), and the producer does not write there before
        // the Release below; the gate keeps other consumers out.
        unsafe { self.storage.read(head as usize, &mut header) };
        let length = u32::from_le_bytes(header) as usize;
        let Some(out) = out.get_mut(..length) else {
            return Err(RingError::BufferTooSmall { needed: length });
        };
        // SAFETY: as above; the record has `length` bytes.
        unsafe { self.storage.read(head as usize + Self::HEADER_BYTES, out) };
        self.consumer.records.store(
            self.consumer
                .records
                .load(Ordering::Relaxed)
                .wrapping_add(1),
            Ordering::Relaxed,
        );
        // Release: our reads are over before the producer may overwrite.
        self.consumer.position.store(
            head.wrapping_add((length + Self::HEADER_BYTES) as u32),
            Ordering::Release,
        );
        Ok(Some(length))
    }

    fn used_bytes(&self) -> usize {
        difference(&self.producer.position, &self.consumer.position).min(self.storage.capacity())
    }

    fn capacity_bytes(&self) -> usize {
        self.storage.capacity()
    }

    fn len(&self) -> usize {
        difference(&self.producer.records, &self.consumer.records)
    }
}

/// `ahead - behind`; the second is read first, so that a push in between cannot make it negative.
fn difference(ahead: &AtomicU32, behind: &AtomicU32) -> usize {
    let behind = behind.load(Ordering::Acquire);
    let length = ahead.load(Ordering::Acquire).wrapping_sub(behind);
    if (length as i32) < 0 {
        0
    } else {
        length as usize
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    #[test]
    fn refuses_what_cannot_fit_and_keeps_what_the_buffer_cannot_take() {
        assert!(matches!(
            ByteRing::spsc(63),
            Err(RingError::Capacity { .. })
        ));
        assert!(matches!(
            ByteRing::mpmc(MAX_BYTES + 1),
            Err(RingError::Capacity { .. })
        ));
        let ring = ByteRing::spsc(64).unwrap();
        assert_eq!(
            ring.push(&[0; 61]),
            Err(RingError::RecordTooLong {
                length: 61,
                limit: 60
            })
        );
        ring.push(&[7; 60]).unwrap();
        assert_eq!(ring.push(&[]), Err(RingError::Full));
        assert_eq!(
            ring.pop(&mut [0; 59]),
            Err(RingError::BufferTooSmall { needed: 60 })
        );
        assert_eq!(ring.len(), 1);
        let mut out = [0; 64];
        assert_eq!(ring.pop(&mut out), Ok(Some(60)));
        assert_eq!(out[..60], [7; 60]);
        assert_eq!(ring.pop(&mut out), Ok(None));
        ring.push(&[]).unwrap();
        assert_eq!(ring.pop(&mut []), Ok(Some(0)));
    }

    #[test]
    fn a_second_producer_of_an_spsc_ring_is_refused() {
        let ring = ByteRing::spsc(64).unwrap();
        let pass = ring.gates[0].enter().unwrap();
        assert_eq!(ring.push(b"x"), Err(RingError::Busy));
        drop(pass);
        assert_eq!(ring.push(b"x"), Ok(()));
    }

    #[test]
    fn records_of_four_threads_arrive_whole_and_once() {
        const EACH: u32 = 5_000;
        let ring = ByteRing::mpmc(1024).unwrap();
        let mut seen: Vec<u32> = std::thread::scope(|scope| {
            for producer in 0..2 {
                let ring = &ring;
                scope.spawn(move || {
                    for i in 0..EACH {
                        let id = producer * EACH + i;
                        let record = vec![id as u8; 4 + (id % 90) as usize];
                        let record = [&id.to_le_bytes(), &record[..]].concat();
                        while ring.push(&record) == Err(RingError::Full) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let consumers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut seen, mut out) = (Vec::new(), [0; 256]);
                        while seen.len() < EACH as usize {
                            let Some(length) = ring.pop(&mut out).unwrap() else {
                                std::thread::yield_now();
                                continue;
                            };
                            let id = u32::from_le_bytes(out[..4].try_into().unwrap());
                            assert_eq!(length, 8 + (id % 90) as usize);
                            assert!(out[4..length].iter().all(|byte| *byte == id as u8));
                            seen.push(id);
                        }
                        seen
                    })
                })
                .collect();
            consumers
                .into_iter()
                .flat_map(|consumer| consumer.join().unwrap())
                .collect()
        });
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..2 * EACH));
    }
}
