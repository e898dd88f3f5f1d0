//! Is a recorded history of one 8-byte cell linearizable? Wing and Gong's search (1993) with Lowe's memory of states seen, and two
//! things about values that keep it from trying every subset of what overlaps: a cell does not leave a value that somebody still
//! has to see, unless something can bring it back; and what may never have happened is tried last.

use std::collections::{HashMap, HashSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Write(u64),
    Add(u64),
    Swap { expected: u64, desired: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Answered at this time; the value that a read or an atomic returned.
    Answered { at: u64, value: Option<u64> },
    /// May have happened once at any time since it was invoked, or not at all.
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub invoked: u64,
    pub action: Action,
    pub end: End,
    /// Events (by index) that happened before this one or not at all: the mutations before it on its lane, or, behind a fence, on
    /// all lanes of its client.
    pub after: Vec<usize>,
}

impl Action {
    /// The cell after this action, if it may return `value` there.
    fn apply(self, cell: u64, value: Option<u64>) -> Option<u64> {
        if value.is_some_and(|value| value != cell) {
            return None;
        }
        Some(match self {
            Action::Read => cell,
            Action::Write(value) => value,
            Action::Add(operand) => cell.wrapping_add(operand),
            Action::Swap { expected, desired } => {
                if cell == expected {
                    desired
                } else {
                    cell
                }
            }
        })
    }
}

/// The events that happened, as bits, and the cell's value.
type State = (Vec<u64>, u64);

fn has(bits: &[u64], at: usize) -> bool {
    bits[at / 64] >> (at % 64) & 1 == 1
}

fn set(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

/// Which values the events have to see, and where those may come from.
struct Values<'a> {
    events: &'a [Event],
    /// Events that were answered with a value, by it.
    seen_by: HashMap<u64, Vec<usize>>,
    /// The most that adds can raise a value by.
    added: u64,
}

impl<'a> Values<'a> {
    fn new(events: &'a [Event]) -> Self {
        let mut seen_by: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut added = 0_u64;
        for (at, event) in events.iter().enumerate() {
            if let End::Answered {
                value: Some(value), ..
            } = event.end
            {
                seen_by.entry(value).or_default().push(at);
            }
            if let Action::Add(operand) = event.action {
                added = added.saturating_add(operand);
            }
        }
        Self {
            events,
            seen_by,
            added,
        }
    }

    /// Whether the cell may not leave this value by the event `at` yet: another event has to see it, and nothing brings it back.
    fn must_stay(&self, bits: &[u64], cell: u64, at: usize) -> bool {
        let waits = |other: &usize| *other != at && !has(bits, *other);
        let brings_back = |(other, event): (usize, &Event)| match event.action {
            Action::Write(value) | Action::Swap { desired: value, .. } => {
                !has(bits, other) && cell.wrapping_sub(value) <= self.added
            }
            Action::Read | Action::Add(_) => false,
        };
        self.seen_by
            .get(&cell)
            .is_some_and(|all| all.iter().any(waits))
            && !self.events.iter().enumerate().any(brings_back)
    }
}

/// True if some order of the events explains every answer: each between its invocation and its answer, and after those it must
/// follow. The events stand in order of invocation.
pub fn is_linearizable(initial: u64, events: &[Event]) -> bool {
    assert!(events.is_sorted_by_key(|event| event.invoked));
    let values = Values::new(events);
    let mut seen: HashSet<State> = HashSet::new();
    let mut stack: Vec<State> = vec![(vec![0; events.len().div_ceil(64)], initial)];
    while let Some(state) = stack.pop() {
        if !seen.insert(state.clone()) {
            continue;
        }
        let (bits, cell) = state;
        // The first answer among what has not happened yet: what was invoked later cannot come now.
        let mut first = None;
        let mut open = Vec::new();
        for (at, event) in events.iter().enumerate().filter(|(at, _)| !has(&bits, *at)) {
            if first.is_some_and(|first| event.invoked > first) {
                break;
            }
            open.push(at);
            if let End::Answered { at, .. } = event.end {
                first = Some(first.map_or(at, |first: u64| first.min(at)));
            }
        }
        let Some(first) = first else { return true };
        let is_free = |before: &usize| has(&bits, *before);
        let mut next = Vec::new();
        for at in open {
            let Event {
                invoked,
                action,
                end,
                after,
            } = &events[at];
            let must_wait =
                |before: &usize| !is_free(before) && events[*before].end != End::Unknown;
            if *invoked > first || after.iter().any(must_wait) {
                continue;
            }
            let value = match end {
                End::Answered { value, .. } => *value,
                End::Unknown => None,
            };
            let Some(after_cell) = action.apply(cell, value) else {
                continue;
            };
            if after_cell != cell && values.must_stay(&bits, cell, at) {
                continue;
            }
            let mut bits = bits.clone();
            set(&mut bits, at);
            // What should have come before and did not, never will.
            for before in after {
                set(&mut bits, *before);
            }
            // A read that bars nobody can as well happen now: it changes nothing for the others.
            if *action == Action::Read && after.iter().all(is_free) {
                next = vec![(0, (bits, after_cell))];
                break;
            }
            let answer = match end {
                End::Answered { at, .. } => *at,
                End::Unknown => u64::MAX,
            };
            next.push((answer, (bits, after_cell)));
        }
        // What was answered first is tried first, and what may never have happened only where nothing else explains what comes next.
        next.sort_by_key(|(answer, _)| std::cmp::Reverse(*answer));
        stack.extend(next.into_iter().map(|(_, state)| state));
    }
    false
}
