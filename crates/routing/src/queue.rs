//! Who waits for one service: first come first served within a class, the most urgent class first.

use std::collections::VecDeque;

use crate::qos::Qos;

/// A request that waits for a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) id: u32,
    pub(crate) key_hash: u32,
    pub(crate) thread: u32,
    pub(crate) class: Qos,
    pub(crate) deadline_us: u64,
}

/// The queue of one service.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// By number of the class, the first of which is 1.
    classes: [VecDeque<Waiter>; Qos::ALL.len()],
}

impl Queue {
    fn of(&mut self, class: Qos) -> &mut VecDeque<Waiter> {
        &mut self.classes[class as usize - 1]
    }

    pub(crate) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    pub(crate) fn len_of(&self, class: Qos) -> usize {
        self.classes[class as usize - 1].len()
    }

    pub(crate) fn first_of(&self, class: Qos) -> Option<Waiter> {
        self.classes[class as usize - 1].front().copied()
    }

    pub(crate) fn push(&mut self, waiter: Waiter) {
        self.of(waiter.class).push_back(waiter);
    }

    pub(crate) fn pop_first(&mut self, class: Qos) -> Option<Waiter> {
        self.of(class).pop_front()
    }

    pub(crate) fn pop_newest(&mut self, class: Qos) -> Option<Waiter> {
        self.of(class).pop_back()
    }

    /// The class that is shed first of those that wait.
    pub(crate) fn lowest(&self) -> Option<Qos> {
        Qos::ALL.into_iter().find(|class| self.len_of(*class) > 0)
    }

    /// All that wait, the lowest class first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.classes.iter().flatten()
    }

    /// Takes out all that `leaves`, the lowest class first.
    pub(crate) fn leave(&mut self, leaves: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        let gone = self
            .iter()
            .filter(|waiter| leaves(waiter))
            .copied()
            .collect();
        for class in &mut self.classes {
            class.retain(|waiter| !leaves(waiter));
        }
        gone
    }
}
