//! Who is measured, and the floor under them all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use linkmesh_journal::{Disk, Journal, JournalOptions, Kind, Ticket};

use crate::client::{Durable, Measured, measure};
use crate::floor;
use crate::stores::{Fjall, Grouped, Redb};

pub struct Contender {
    pub name: &'static str,
    pub measure: Box<dyn FnOnce(&Path, usize, Duration) -> Measured>,
}

impl Contender {
    fn store<D: Durable + 'static>(name: &'static str, open: fn(&Path) -> D) -> Self {
        let measure = move |place: &Path, in_flight, time| measure(Box::new(open(place)), in_flight, time);
        Self { name, measure: Box::new(measure) }
    }
}

pub fn contenders() -> Vec<Contender> {
    vec![
        Contender::store("linkmesh", Own::open),
        Contender::store("redb", |place| Grouped::new(Redb::open(place))),
        Contender::store("fjall", |place| Grouped::new(Fjall::open(place))),
        Contender { name: "floor", measure: Box::new(floor::measure) },
    ]
}

struct Own {
    journal: Journal,
    place: std::path::PathBuf,
}

impl Own {
    fn open(place: &Path) -> Self {
        let disk = Disk::open(place).expect("the folder");
        let (journal, _) = Journal::open(Arc::new(disk), JournalOptions::default()).expect("opens");
        Self { journal, place: place.to_owned() }
    }
}

impl Durable for Own {
    fn append(&mut self, record: &[u8]) {
        self.journal.append(Kind(1), record).expect("append");
    }

    fn wait(&mut self, known: u64) -> u64 {
        let mut durable = self.journal.wait(Ticket(known + 1)).expect("durable");
        self.journal.acknowledged(Ticket(known + 1), |run| {
            durable = run.outcome.expect("durable") + run.count - 1;
        });
        durable
    }

    fn count(self: Box<Self>) -> u64 {
        self.journal.close().expect("close");
        let Self { journal, place } = *self;
        drop(journal);
        let found = linkmesh_journal::verify(&Disk::open_read_only(&place).expect("the folder")).expect("verify");
        assert!(found.valid(), "{:?}", found.problems);
        found.records
    }
}
