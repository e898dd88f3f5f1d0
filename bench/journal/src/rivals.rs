//! Who is measured.

use std::path::Path;
use std::sync::Arc;

use linkmesh_journal::{Disk, Journal, JournalOptions, Kind, Ticket};

use crate::client::Durable;
use crate::stores::{Fjall, Grouped, Redb};

pub struct Contender {
    pub name: &'static str,
    pub open: Box<dyn FnOnce(&Path) -> Box<dyn Durable>>,
}

pub fn contenders() -> Vec<Contender> {
    vec![
        Contender { name: "linkmesh", open: Box::new(|place| Box::new(Own::open(place))) },
        Contender { name: "redb", open: Box::new(|place| Box::new(Grouped::new(Redb::open(place)))) },
        Contender { name: "fjall", open: Box::new(|place| Box::new(Grouped::new(Fjall::open(place)))) },
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
