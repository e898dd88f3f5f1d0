//! Dead letters from their death to their end: states, history, parking, crashes in the middle, a lost index.

mod fault;

use std::sync::Arc;

use fault::FaultDisk;
use linkmesh_journal::{
    Attempt, AuditLog, AuditOptions, AuditQuery, Body, DeadLetter, DeadLetterOptions,
    DeadLetterQueue, DeliveryOutcome, Encoding, ErrorKind, Filter, JournalOptions, LetterState,
    MIN_SEGMENT_BYTES, RedriveResult, Retention,
};
use serde_json::json;

fn letter(service: &str, at_ms: f64) -> DeadLetter {
    DeadLetter {
        service: service.to_owned(),
        key: Some("customer-7".to_owned()),
        qos: "critical".to_owned(),
        outcome: DeliveryOutcome::NotDelivered,
        reason: "LM_NO_INSTANCE".to_owned(),
        message: "no instance is alive".to_owned(),
        body: Body {
            encoding: Encoding::Json,
            data: "{\"order\":7}".to_owned(),
        },
        headers: [("traceparent".to_owned(), "00-abc".to_owned())].into(),
        attempts: vec![Attempt {
            instance: "orders#1".to_owned(),
            at_ms,
            code: "LM_THREAD_ENDED".to_owned(),
            message: "the thread has ended".to_owned(),
            latency_us: 12.0,
        }],
        first_death_ms: at_ms,
        last_death_ms: at_ms,
        idempotent: false,
        breaks_order: true,
    }
}

fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes: MIN_SEGMENT_BYTES,
        max_record_bytes: 16 << 10,
        ..JournalOptions::default()
    }
}

fn open(disk: &FaultDisk) -> DeadLetterQueue {
    DeadLetterQueue::open_on(Arc::new(disk.clone()), None, options(), 2)
        .expect("opens")
        .0
}

fn add(queue: &DeadLetterQueue, letter: &DeadLetter) -> u64 {
    let ticket = queue.append(letter).expect("append");
    queue.journal().wait(ticket).expect("durable")
}

fn failed(outcome: DeliveryOutcome) -> RedriveResult {
    RedriveResult::Failed {
        outcome,
        reason: "LM_DEADLINE_EXCEEDED".to_owned(),
        attempts: letter("x", 9.0).attempts,
    }
}

#[test]
fn a_letter_comes_back_whole() {
    let disk = FaultDisk::default();
    let queue = open(&disk);
    let id = add(&queue, &letter("orders", 5.0));
    let whole = queue.get(id).expect("there");
    assert_eq!(
        whole["letter"],
        serde_json::to_value(letter("orders", 5.0)).expect("json")
    );
    assert_eq!(
        (&whole["state"], &whole["attempts"]),
        (&json!("dead"), &json!(1))
    );
    assert_eq!(
        queue.get(99).expect_err("not there").kind,
        ErrorKind::NotFound
    );
    let bad = DeadLetter {
        service: String::new(),
        ..letter("x", 0.0)
    };
    assert_eq!(
        queue.append(&bad).expect_err("no service").field,
        Some("service")
    );
}

#[test]
fn a_redriven_letter_that_fails_again_keeps_its_history_and_is_parked_in_the_end() {
    let disk = FaultDisk::default();
    let queue = open(&disk);
    let id = add(&queue, &letter("orders", 5.0));
    queue.start_redrive(id, "ada", false).expect("starts");
    assert_eq!(
        queue
            .start_redrive(id, "ada", true)
            .expect_err("twice")
            .kind,
        ErrorKind::Conflict
    );
    let state = queue
        .finish_redrive(id, failed(DeliveryOutcome::NotDelivered))
        .expect("ends");
    assert_eq!(state, LetterState::Dead);
    queue.start_redrive(id, "ada", false).expect("starts");
    let state = queue
        .finish_redrive(id, failed(DeliveryOutcome::NotDelivered))
        .expect("ends");
    assert_eq!(state, LetterState::Parked, "after two redrives");
    assert_eq!(
        queue
            .start_redrive(id, "ada", false)
            .expect_err("parked")
            .kind,
        ErrorKind::Conflict
    );

    let whole = queue.get(id).expect("there");
    let events: Vec<_> = whole["history"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| event["event"].clone())
        .collect();
    assert_eq!(
        events,
        [
            "redrive-started",
            "redrive-failed",
            "redrive-started",
            "redrive-failed"
        ]
    );
    assert_eq!(whole["attempts"], json!(3));
    assert_eq!(whole["firstDeathMs"], json!(5.0), "its first death stays");
    assert_eq!(
        whole["history"][1]["attempts"][0]["instance"],
        json!("orders#1")
    );

    queue.start_redrive(id, "ada", true).expect("by hand");
    assert_eq!(
        queue
            .finish_redrive(id, RedriveResult::Delivered)
            .expect("ends"),
        LetterState::Redriven
    );
    let stats = queue.stats().expect("stats");
    assert_eq!(
        (
            stats.counts.dead,
            stats.counts.redriven,
            stats.counts.parked
        ),
        (0, 1, 0)
    );
    assert!(
        queue
            .list(&Filter::default())
            .expect("list")
            .letters
            .is_empty(),
        "nothing is open"
    );
}

#[test]
fn a_redrive_whose_end_nobody_knows_is_parked_unless_it_does_no_harm() {
    let disk = FaultDisk::default();
    let queue = open(&disk);
    let once = add(&queue, &letter("orders", 1.0));
    let again = add(
        &queue,
        &DeadLetter {
            idempotent: true,
            ..letter("orders", 1.0)
        },
    );
    for (id, wanted) in [(once, LetterState::Parked), (again, LetterState::Dead)] {
        queue.start_redrive(id, "ada", false).expect("starts");
        assert_eq!(
            queue
                .finish_redrive(id, failed(DeliveryOutcome::Unknown))
                .expect("ends"),
            wanted
        );
    }
}

#[test]
fn a_process_that_ends_in_the_middle_of_a_redrive_parks_it() {
    let disk = FaultDisk::default();
    let queue = open(&disk);
    let id = add(&queue, &letter("orders", 1.0));
    queue.start_redrive(id, "ada", false).expect("starts");
    drop(queue);
    let queue = open(&disk);
    let letters = queue.list(&Filter::default()).expect("list").letters;
    assert_eq!(letters[0].state, LetterState::Parked);
    assert!(
        letters[0]
            .parked
            .as_deref()
            .expect("why")
            .contains("not known")
    );
    assert_eq!(letters[0].redrives, 1);
}

#[test]
fn filters_pages_and_purges() {
    let disk = FaultDisk::default();
    let queue = open(&disk);
    for number in 0..250u32 {
        let service = if number % 2 == 0 {
            "orders"
        } else {
            "payments"
        };
        add(&queue, &letter(service, f64::from(number)));
    }
    let mut filter = Filter {
        service: Some("orders".to_owned()),
        limit: Some(50),
        ..Filter::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = queue.list(&filter).expect("list");
        seen.extend(page.letters.iter().map(|letter| letter.last_death_ms));
        match page.next {
            Some(next) => filter.from = next,
            None => break,
        }
    }
    assert_eq!(
        seen,
        (0..125).map(|half| f64::from(half * 2)).collect::<Vec<_>>()
    );
    let old = Filter {
        before_ms: Some(100.0),
        ..Filter::default()
    };
    assert_eq!(queue.purge(&old, "ada", true), Ok(100));
    assert_eq!(
        queue.stats().expect("stats").counts.dead,
        250,
        "a dry run changes nothing"
    );
    assert_eq!(queue.purge(&old, "ada", false), Ok(100));
    assert_eq!(queue.stats().expect("stats").counts.dead, 150);
    assert_eq!(queue.get(1).expect_err("purged").kind, ErrorKind::NotFound);
    let error = queue
        .list(&Filter {
            limit: Some(1_001),
            ..Filter::default()
        })
        .expect_err("too many");
    assert_eq!(error.field, Some("limit"));
    // All of it is in the log: a reader that begins anew comes to the same.
    queue.close().expect("close");
    let again = open(&disk);
    assert_eq!(again.stats().expect("stats").counts.dead, 150);
}

#[test]
fn the_index_is_used_again_rebuilt_when_it_is_gone_and_never_believed_over_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || {
        let options = DeadLetterOptions {
            folder: Some(folder.path().to_owned()),
            ..DeadLetterOptions::default()
        };
        DeadLetterQueue::open(options).expect("opens").0
    };
    let queue = open();
    for number in 0..20 {
        add(&queue, &letter("orders", f64::from(number)));
    }
    queue.start_redrive(3, "ada", false).expect("starts");
    queue
        .finish_redrive(3, RedriveResult::Delivered)
        .expect("ends");
    let wanted = queue.stats().expect("stats");
    let reader = DeadLetterQueue::open_read_only(folder.path())
        .expect("looks")
        .0;
    assert_eq!(
        reader.stats().expect("stats").counts,
        wanted.counts,
        "while another has it open"
    );
    assert_eq!(
        reader
            .purge(&Filter::default(), "eve", false)
            .expect_err("only looks")
            .kind,
        ErrorKind::ReadOnly
    );
    drop(queue);

    let queue = open();
    assert!(!queue.stats().expect("stats").index_rebuilt);
    assert_eq!(queue.stats().expect("stats").counts, wanted.counts);
    drop(queue);
    for content in [None, Some("this is no database".repeat(1_000))] {
        let file = folder.path().join("index.redb");
        match content {
            None => std::fs::remove_file(&file).expect("removed"),
            Some(text) => std::fs::write(&file, text).expect("written"),
        }
        let stats = open().stats().expect("stats");
        assert!(stats.index_rebuilt);
        assert_eq!(stats.counts, wanted.counts);
    }
}

#[test]
fn what_the_retention_removes_of_open_letters_is_counted() {
    let disk = FaultDisk::default();
    let options = JournalOptions {
        retention: Retention {
            records: Some(100),
            ..Retention::default()
        },
        ..options()
    };
    let queue = DeadLetterQueue::open_on(Arc::new(disk), None, options, 3)
        .expect("opens")
        .0;
    for number in 0..1_000 {
        add(&queue, &letter("orders", f64::from(number)));
    }
    queue.journal().retain().expect("retain");
    add(&queue, &letter("orders", 1_000.0));
    let stats = queue.stats().expect("stats");
    assert!(stats.dropped > 500, "{stats:?}");
    assert_eq!(stats.counts.dead + stats.dropped, 1_001);
}

#[test]
fn an_audit_trail_is_read_by_pages_and_from_its_end() {
    let (log, _) = AuditLog::open(AuditOptions::default()).expect("opens");
    for number in 0..2_500 {
        let ticket = log
            .append(&json!({ "action": "drain", "number": number }))
            .expect("append");
        log.journal().wait(ticket).expect("durable");
    }
    let tail = log
        .read(&AuditQuery {
            tail: Some(3),
            ..AuditQuery::default()
        })
        .expect("tail");
    assert_eq!(
        tail.entries
            .iter()
            .map(|entry| entry.sequence)
            .collect::<Vec<_>>(),
        [2_498, 2_499, 2_500]
    );
    let mut query = AuditQuery::default();
    let mut count = 0;
    loop {
        let page = log.read(&query).expect("page");
        count += page.entries.len();
        match page.next {
            Some(next) => query.from = Some(next),
            None => break,
        }
    }
    assert_eq!(count, 2_500);
    assert!(log.verify().expect("verify").valid());
}
