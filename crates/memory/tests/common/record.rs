//! What callers asked and heard, and whether that can be explained.

use super::history::{Action, End, Event, is_linearizable};

/// What a caller asked for, on the cells it touches.
pub struct Asked {
    /// Whose order it belongs to: a client, or [`ALONE`].
    pub client: usize,
    /// Of the client.
    pub lane: usize,
    /// It waits for the client's earlier ones on every lane.
    pub fence: bool,
    /// Time, in any unit.
    pub invoked: u64,
    /// Cells and what happens to each.
    pub actions: Vec<(usize, Action)>,
}

/// Asks in no order to anything else.
pub const ALONE: usize = usize::MAX;

/// How it ended.
pub enum Ended {
    /// With a value for each cell, where one was returned.
    Answered { at: u64, values: Vec<Option<u64>> },
    /// It happened once or not at all.
    Unknown,
    /// It did not happen.
    Never,
}

/// A history in the making. Cell 0 only counts: by ones, and reads.
#[derive(Default)]
pub struct Record {
    asked: Vec<(Asked, Option<Ended>)>,
    pub answered: usize,
    pub unknown: usize,
}

impl Record {
    /// How many were asked: the token of the next.
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    pub fn ask(&mut self, asked: Asked) {
        self.asked.push((asked, None));
    }

    pub fn end(&mut self, token: usize, ended: Ended) {
        match ended {
            Ended::Answered { .. } => self.answered += 1,
            Ended::Unknown => self.unknown += 1,
            Ended::Never => {}
        }
        let before = self.asked[token].1.replace(ended);
        assert!(before.is_none(), "an operation ended twice");
    }

    /// What a success returned for each cell of the operation: nothing where it wrote.
    pub fn values(&self, token: usize, words: &[u64]) -> Vec<Option<u64>> {
        let actions = self.asked[token].0.actions.iter().enumerate();
        let value = |(at, (_, action)): (usize, &(usize, Action))| match action {
            Action::Write(_) => None,
            _ => Some(words[at]),
        };
        actions.map(value).collect()
    }

    /// Asserts that the history can be explained, if the cells hold `cells` in the end.
    pub fn check(&self, cells: &[u64]) {
        for (cell, value) in cells.iter().enumerate() {
            let events = self.events(cell, *value);
            let lines = || -> Vec<_> {
                let numbered = events.iter().enumerate();
                numbered
                    .map(|(at, event)| format!("{at}: {event:?}"))
                    .collect()
            };
            assert!(
                is_linearizable(0, &events),
                "cell {cell} is not linearizable:\n{}",
                lines().join("\n")
            );
        }
        let adds = |which: fn(&Ended) -> bool| {
            let of_cell = |(asked, end): &&(Asked, Option<Ended>)| {
                asked.actions == [(0, Action::Add(1))] && end.as_ref().is_some_and(which)
            };
            self.asked.iter().filter(of_cell).count() as u64
        };
        let acknowledged = adds(|end| matches!(end, Ended::Answered { .. }));
        let unknown = adds(|end| matches!(end, Ended::Unknown));
        let sum = cells[0];
        assert!(
            (acknowledged..=acknowledged + unknown).contains(&sum),
            "{acknowledged} adds were acknowledged, {unknown} are unknown, the sum is {sum}"
        );
    }

    fn events(&self, cell: usize, last: u64) -> Vec<Event> {
        let lanes = self.asked.iter().map(|(asked, _)| asked.lane + 1).max();
        let mut events: Vec<Event> = Vec::new();
        let mut sources: Vec<&Asked> = Vec::new();
        let mut latest = 0;
        for (asked, end) in &self.asked {
            latest = latest.max(asked.invoked);
            let Some(place) = asked.actions.iter().position(|(at, _)| *at == cell) else {
                continue;
            };
            let end = match end.as_ref().expect("an operation was forgotten") {
                Ended::Never => continue,
                Ended::Unknown => End::Unknown,
                Ended::Answered { at, values } => {
                    latest = latest.max(*at);
                    End::Answered {
                        at: *at,
                        value: values[place],
                    }
                }
            };
            // The mutations of each lane back to the last that surely happened: that one follows the others before it. A read
            // that had to be repeated may come late, so nothing follows reads.
            let mut after = Vec::new();
            for lane in (0..lanes.unwrap_or(0)).filter(|lane| *lane == asked.lane || asked.fence) {
                let before = |at: &usize| {
                    let other: &Asked = sources[*at];
                    let same =
                        other.client == asked.client && other.lane == lane && asked.client != ALONE;
                    same && events[*at].action != Action::Read
                };
                for at in (0..events.len()).rev().filter(before) {
                    after.push(at);
                    if events[at].end != End::Unknown {
                        break;
                    }
                }
            }
            events.push(Event {
                invoked: asked.invoked,
                action: asked.actions[place].1,
                end,
                after,
            });
            sources.push(asked);
        }
        // How it ended up.
        let end = End::Answered {
            at: latest + 2,
            value: Some(last),
        };
        events.push(Event {
            invoked: latest + 1,
            action: Action::Read,
            end,
            after: Vec::new(),
        });
        events
    }
}
