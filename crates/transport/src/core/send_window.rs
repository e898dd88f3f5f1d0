//! How many bytes a connection may have written and not acknowledged.
//!
//! What is under way beyond what the path holds lies in queues: round trips grow, and where the path is this machine, bytes
//! fall out of its caches before they are sent. With 8 MiB over loopback a transfer of 16 MiB takes a third to a half longer
//! than with 1 MiB. So the window begins small and doubles only where it is what holds the sender back.

use std::time::Duration;

/// What a connection begins with, and more than any path of one machine needs.
const FIRST: u64 = 1 << 20;

/// The window of one connection.
#[derive(Debug)]
pub(super) struct SendWindow {
    now: u64,
    most: u64,
    /// Bytes that were taken since it became what it is.
    taken: u64,
}

impl SendWindow {
    /// At most `most` in the end.
    pub(super) fn new(most: u64) -> Self {
        Self {
            now: first(most),
            most,
            taken: 0,
        }
    }

    /// So many bytes were taken.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes as u64;
    }

    /// It may be what holds the sender back. The new window, when it is worth widening: round trips are near the shortest,
    /// so nothing lies in queues. Two windows' worth of bytes have to go through a window first, or its round trips are not
    /// known yet.
    pub(super) fn widen(&mut self, round_trip: Duration, shortest: Duration) -> Option<u64> {
        if self.now >= self.most || self.taken < 2 * self.now || round_trip > 2 * shortest {
            return None;
        }
        self.now = (2 * self.now).min(self.most);
        self.taken = 0;
        Some(self.now)
    }
}

/// The window that a connection begins with.
pub(super) fn first(most: u64) -> u64 {
    most.min(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u64 = 8 << 20;
    const SHORTEST: Duration = Duration::from_millis(50);

    #[test]
    fn a_long_path_that_it_holds_back_gets_all_of_it() {
        let mut window = SendWindow::new(MOST);
        let mut now = first(MOST);
        for _ in 0..3 {
            window.take(2 * now as usize);
            let wider = window.widen(SHORTEST * 2, SHORTEST);
            assert_eq!(wider, Some(2 * now));
            now *= 2;
        }
        window.take(1 << 30);
        assert_eq!((now, window.widen(SHORTEST, SHORTEST)), (MOST, None));
    }

    #[test]
    fn queues_are_not_fed() {
        let mut window = SendWindow::new(MOST);
        window.take(1 << 30);
        assert_eq!(
            window.widen(SHORTEST * 2 + Duration::from_nanos(1), SHORTEST),
            None
        );
    }

    #[test]
    fn one_round_trip_widens_it_once() {
        let mut window = SendWindow::new(MOST);
        window.take(2 << 20);
        assert_eq!(window.widen(SHORTEST, SHORTEST), Some(2 << 20));
        assert_eq!(window.widen(SHORTEST, SHORTEST), None);
    }

    #[test]
    fn a_small_limit_is_kept() {
        let mut window = SendWindow::new(64 << 10);
        window.take(1 << 30);
        assert_eq!(
            (first(64 << 10), window.widen(SHORTEST, SHORTEST)),
            (64 << 10, None)
        );
    }
}
