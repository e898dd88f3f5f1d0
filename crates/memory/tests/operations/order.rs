//! What happens at the same time: fences, atomics of several, torn reads, slow readers.

use std::{sync::Arc, thread, time::Instant};

use linkmesh_memory::{
    frame::{MAX_INLINE, Operation},
    region::{Region, Rights},
};

use crate::common::pair::{BASE, Heard, Pair};

#[test]
fn a_fence_holds_a_lane_until_the_others_are_done() {
    let mut pair = Pair::new(128, Rights::ALL);
    let now = Instant::now();
    let other = pair.client.import(b"second lane", 0).unwrap();
    pair.exchange(now);
    pair.ended.is_kept = true;
    pair.submit(
        Operation::Write {
            offset: 0,
            data: &[1; 8],
        },
        now,
    )
    .unwrap();
    pair.handle = other;
    pair.submit_fenced(
        Operation::Read {
            offset: 0,
            length: 8,
        },
        true,
        now,
    )
    .unwrap();
    pair.client.flush();
    // The fenced read overtakes the write and has to wait for it.
    let lane = usize::from(other) % 2;
    let output = pair.client.output(lane);
    pair.connection
        .receive(&mut pair.sessions, lane, output.as_slice(), now)
        .unwrap();
    output.consume(output.len());
    assert!(pair.connection.is_stopped(lane) && pair.connection.output(lane).is_empty());
    pair.exchange(now);
    assert!(!pair.connection.is_stopped(lane));
    assert_eq!(
        pair.ended.heard.last(),
        Some(&(2, Ok(Heard::Bytes(vec![1; 8]))))
    );
}

#[test]
fn atomics_of_peers_and_of_other_threads_lose_nothing() {
    const EACH: u64 = 20_000;
    let mut pair = Pair::new(128, Rights::ALL);
    let region: Arc<dyn Region> = pair.region.clone();
    // As JavaScript's `Atomics.add` on the same memory.
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let region = region.clone();
            thread::spawn(move || {
                for _ in 0..EACH {
                    region.fetch_add(BASE, 1).unwrap();
                }
            })
        })
        .collect();
    let now = Instant::now();
    for _ in 0..EACH / 100 {
        for _ in 0..100 {
            pair.submit(
                Operation::FetchAdd {
                    offset: 0,
                    operand: 1,
                },
                now,
            )
            .unwrap();
        }
        pair.exchange(now);
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(pair.word(0), 3 * EACH);
}

#[test]
fn a_versioned_read_shows_when_it_was_torn() {
    const WRITES: u64 = 20_000;
    let mut pair = Pair::new(128, Rights::ALL);
    let region: Arc<dyn Region> = pair.region.clone();
    let writer = thread::spawn(move || {
        for turn in 1..=WRITES {
            region.fetch_add(BASE, 1).unwrap();
            region.write(BASE + 8, &[turn as u8; 64]).unwrap();
            region.fetch_add(BASE, 1).unwrap();
        }
    });
    let now = Instant::now();
    let mut whole = 0;
    loop {
        let over = writer.is_finished();
        let read = pair.ask(
            Operation::ReadVersioned {
                offset: 8,
                length: 64,
                version: 0,
            },
            now,
        );
        let Ok(Heard::Versioned(before, after, bytes)) = read else {
            panic!("{read:?}")
        };
        if before == after && before % 2 == 0 {
            whole += 1;
            assert_eq!(bytes, [(before / 2) as u8; 64], "version {before}");
        }
        if over {
            break;
        }
    }
    writer.join().unwrap();
    assert!(whole > 0);
    assert_eq!(pair.word(0), 2 * WRITES);
}

#[test]
fn a_slow_reader_stops_its_lane_and_nothing_is_lost() {
    let mut pair = Pair::new(u64::from(MAX_INLINE), Rights::ALL);
    let now = Instant::now();
    for _ in 0..100 {
        pair.submit(
            Operation::Read {
                offset: 0,
                length: MAX_INLINE,
            },
            now,
        )
        .unwrap();
    }
    let mut most = 0;
    while pair.client.pending() > 0 {
        pair.client.flush();
        let output = pair.client.output(0);
        pair.connection
            .receive(&mut pair.sessions, 0, output.as_slice(), now)
            .unwrap();
        output.consume(output.len());
        let output = pair.connection.output(0);
        most = most.max(output.len());
        // One packet at a time.
        let count = output.len().min(1200);
        pair.client
            .receive(0, &output.as_slice()[..count], &mut pair.ended)
            .unwrap();
        output.consume(count);
        pair.connection.resume(&mut pair.sessions, now).unwrap();
    }
    assert_eq!(pair.ended.count, 100);
    assert!(most < 512 * 1024, "{most} bytes of replies waited");
}
