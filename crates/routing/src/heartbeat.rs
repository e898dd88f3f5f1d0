//! Which event loops are blocked and how late they are, told from outside them.
//!
//! A loop is asked by a word and answers in its next turn, at no cost to it but a look at that word. A loop that
//! sleeps is woken for it: at once when it is seen to be at work on something else, rarely when it is not. One that was
//! woken, or is at work, and does not answer for [`BLOCKED_AFTER_US`] is blocked. So a blocked loop cannot hide, and an
//! idle one is never taken for blocked. How long answers take is the loop's lag: what a request would wait
//! before it is even seen. Nothing here sleeps or has a thread; see `crates/node` for both.

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// A loop that was asked and did not answer for this long is blocked, microseconds.
pub const BLOCKED_AFTER_US: u64 = 50_000;
/// Loops are looked at this often while there is traffic, microseconds.
pub const LOOK_US: u64 = 10_000;
/// The same without traffic: the watching thread turns ten times a second, and no idle loop does.
const CALM_LOOK_US: u64 = 100_000;
/// Loops that sleep are woken for an answer this often while there is traffic, microseconds.
const PING_US: u64 = 200_000;
/// The same without traffic.
const CALM_PING_US: u64 = 1_000_000;
/// How long traffic is taken to go on after it was last seen, microseconds.
const TRAFFIC_US: u64 = 1_000_000;
/// An answer that takes longer found the loop at work, microseconds. Waking a sleeping thread takes less.
const AT_WORK_US: u64 = 500;
/// Lag below this is none: it is what waking takes.
const LEAST_LAG_US: u32 = 1_000;

/// What one event loop is asked and what it answered. The loop's own thread answers, any thread asks.
#[derive(Debug, Default)]
pub struct Pulse {
    /// When it was asked, microseconds, plus one; 0 = it was not, or has answered.
    asked: AtomicU64,
    lag_us: AtomicU32,
    /// Share of looks that found it at work, thousandths.
    utilisation: AtomicU32,
    blocked: AtomicBool,
    /// What the router was last told of `blocked`. Under its administration lock.
    pub(crate) told: AtomicBool,
    /// Step of the lag that the instances show; see [`lag_step`]. The watching thread's.
    shown_step: AtomicU32,
}

/// What can be seen of a loop from outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is awake for the mesh, or was woken: it looks for questions.
    Awake,
    /// The mesh sleeps there, and the loop is at work on something else.
    Elsewhere,
    /// The mesh sleeps there, and the loop has done a little since the last look: perhaps it has just begun with more.
    Stirring,
    /// The mesh sleeps there, and so the loop seems to.
    Asleep,
}

/// What a look at a loop calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing.
    Fine,
    /// Wake it: it sleeps and is asked.
    Wake,
    /// It is blocked since just now: tell the router.
    Blocked,
}

impl Pulse {
    /// Asks now, unless it is asked already.
    pub fn ask(&self, now_us: u64) {
        let _ = self
            .asked
            .compare_exchange(0, now_us + 1, Ordering::SeqCst, Ordering::Relaxed);
    }

    /// Whether an answer is due. The loop looks at each of its turns.
    #[inline(always)]
    pub fn is_asked(&self) -> bool {
        // Relaxed: an answer one turn late is early enough.
        self.asked.load(Ordering::Relaxed) != 0
    }

    /// The loop answers. True when it was taken for blocked: tell the router.
    #[cold]
    pub fn answer(&self, now_us: u64) -> bool {
        let asked = self.asked.swap(0, Ordering::SeqCst);
        if asked == 0 {
            return false;
        }
        let waited_us = now_us.saturating_sub(asked - 1);
        // SeqCst with `look`: either this sees that it was taken for blocked, or that look sees the answer.
        let recovered = self.blocked.swap(false, Ordering::SeqCst);
        self.note(waited_us, recovered);
        recovered
    }

    /// An answer after `waited_us` goes into lag and utilisation.
    fn note(&self, waited_us: u64, recovered: bool) {
        let shown = self.lag_us.load(Ordering::Relaxed);
        let waited = u32::try_from(waited_us).unwrap_or(u32::MAX);
        // Up at once, down by halves: a loop that was late a moment ago is likely to be late again. One that has been
        // blocked has paid for it, and begins anew.
        let lag = if recovered {
            0
        } else if waited >= shown {
            waited
        } else {
            shown - (shown - waited).div_ceil(2)
        };
        self.lag_us.store(lag, Ordering::Relaxed);
        let busy = if waited_us > AT_WORK_US { 1_000 } else { 0 };
        let share = self.utilisation.load(Ordering::Relaxed);
        let share = (share * 15 + busy + 8) / 16;
        self.utilisation.store(share, Ordering::Relaxed);
    }

    /// Looks at a loop, of which `seen` is seen.
    pub fn look(&self, now_us: u64, seen: Seen, round: Round) -> Look {
        let asked = self.asked.load(Ordering::SeqCst);
        if asked == 0 {
            let wake = match seen {
                Seen::Awake => false,
                Seen::Elsewhere => true,
                Seen::Stirring | Seen::Asleep if round.ping => true,
                Seen::Stirring | Seen::Asleep => return Look::Fine,
            };
            self.ask(now_us);
            return if wake { Look::Wake } else { Look::Fine };
        }
        let asleep = seen != Seen::Awake;
        if asleep || round.late {
            // It went to sleep before it could see the question, or nobody could see the answer: asked anew.
            let _ =
                self.asked
                    .compare_exchange(asked, now_us + 1, Ordering::SeqCst, Ordering::Relaxed);
            return if asleep { Look::Wake } else { Look::Fine };
        }
        let waited_us = now_us.saturating_sub(asked - 1);
        self.lag_us.fetch_max(
            u32::try_from(waited_us).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
        if waited_us < BLOCKED_AFTER_US || self.blocked.swap(true, Ordering::SeqCst) {
            return Look::Fine;
        }
        if self.asked.load(Ordering::SeqCst) != asked {
            // It has just answered, and may have looked before it was taken for blocked.
            self.blocked.store(false, Ordering::SeqCst);
            return Look::Fine;
        }
        Look::Blocked
    }

    /// Whether it is blocked.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }

    /// How late it is, microseconds: the longest answer of late, fading.
    pub fn lag_us(&self) -> u32 {
        self.lag_us.load(Ordering::Relaxed)
    }

    /// Share of recent time in which it was at work for more than half a millisecond on end, 0 to 1.
    pub fn utilisation(&self) -> f64 {
        f64::from(self.utilisation.load(Ordering::Relaxed)) / 1_000.0
    }

    /// The lag that its instances are to show, when that has changed by more than a step since the last call.
    pub fn lag_to_show(&self) -> Option<u32> {
        let lag_us = self.lag_us();
        let step = lag_step(lag_us);
        (self.shown_step.swap(step, Ordering::Relaxed) != step).then_some(if step == 0 {
            0
        } else {
            lag_us
        })
    }
}

/// Steps of a factor of two from a millisecond on; 0 below.
fn lag_step(lag_us: u32) -> u32 {
    if lag_us < LEAST_LAG_US {
        0
    } else {
        u32::BITS - lag_us.leading_zeros()
    }
}

/// When loops are looked at: often while there is traffic, seldom else.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_field_names,
    reason = "the unit stands last in every name"
)]
pub struct Watch {
    due_us: u64,
    ping_us: u64,
    traffic_until_us: u64,
}

/// One look at all loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Loops that sleep are to be woken for an answer.
    pub ping: bool,
    /// The watcher itself was kept from looking, so nothing can be said of how long an answer took.
    pub late: bool,
}

impl Watch {
    /// A look now, if one is due. `stirred`: a sleeping loop was woken for work since the last call; the first sign of
    /// traffic makes a look due.
    pub fn begin(&mut self, now_us: u64, stirred: bool) -> Option<Round> {
        // The process stood still, or had no processor.
        let late = now_us.saturating_sub(self.due_us) > BLOCKED_AFTER_US;
        if stirred {
            if self.is_calm(now_us) {
                // What was due later is due now.
                self.due_us = self.due_us.min(now_us);
                self.ping_us = self.ping_us.min(now_us);
            }
            self.traffic_until_us = now_us + TRAFFIC_US;
        }
        if now_us < self.due_us {
            return None;
        }
        let calm = self.is_calm(now_us);
        self.due_us = now_us + if calm { CALM_LOOK_US } else { LOOK_US };
        let ping = now_us >= self.ping_us;
        if ping {
            self.ping_us = now_us + if calm { CALM_PING_US } else { PING_US };
        }
        Some(Round { ping, late })
    }

    /// What was seen of a loop, before it is asked anew. One that is awake and owes no answer (`asked`) has traffic: it
    /// is not awake because this very watch woke it.
    pub fn saw(&mut self, now_us: u64, seen: Seen, asked: bool) {
        if seen == Seen::Awake && !asked {
            self.traffic_until_us = now_us + TRAFFIC_US;
            self.due_us = self.due_us.min(now_us + LOOK_US);
        }
        if seen == Seen::Stirring {
            // Whether it has begun with something is soon known. Without this one that begins shortly before a look
            // would be found at the next but one.
            self.due_us = self.due_us.min(now_us + LOOK_US);
        }
    }

    /// A loop owes an answer: the next look is when it would be blocked, at the latest.
    pub fn asked(&mut self, now_us: u64) {
        self.due_us = self.due_us.min(now_us + BLOCKED_AFTER_US);
    }

    /// When the next look is due, microseconds.
    pub fn due_us(&self) -> u64 {
        self.due_us
    }

    /// Whether it looks seldom, so that the first sign of traffic should wake the watcher.
    pub fn is_calm(&self, now_us: u64) -> bool {
        now_us >= self.traffic_until_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Round = Round {
        ping: false,
        late: false,
    };
    const PING: Round = Round {
        ping: true,
        ..QUIET
    };
    const LATE: Round = Round {
        late: true,
        ..QUIET
    };

    #[test]
    fn a_loop_that_does_not_answer_is_blocked_and_recovers_with_its_first_answer() {
        let pulse = Pulse::default();
        assert_eq!(pulse.look(0, Seen::Awake, QUIET), Look::Fine);
        assert!(pulse.is_asked());
        assert_eq!(pulse.look(40_000, Seen::Awake, QUIET), Look::Fine);
        assert!(!pulse.is_blocked());
        assert_eq!(pulse.look(50_000, Seen::Awake, QUIET), Look::Blocked);
        // Told once, however often it is looked at.
        assert_eq!(pulse.look(60_000, Seen::Awake, PING), Look::Fine);
        assert!(pulse.is_blocked() && pulse.lag_us() >= 60_000);
        assert!(pulse.answer(70_000));
        assert!(!pulse.is_blocked());
        assert!(!pulse.answer(70_001), "an answer without a question");
        assert_eq!(pulse.lag_us(), 0, "what it was blocked for is over");
    }

    #[test]
    fn an_idle_loop_is_never_blocked_however_long_it_sleeps() {
        let pulse = Pulse::default();
        for second in 0..100 {
            let now_us = second * 1_000_000;
            assert_eq!(pulse.look(now_us, Seen::Asleep, QUIET), Look::Fine);
            assert!(!pulse.is_asked(), "not even asked");
        }
        // Asked while it was at work, it went to sleep without a look: woken, and its time begins anew.
        pulse.ask(0);
        assert_eq!(pulse.look(200_000_000, Seen::Asleep, QUIET), Look::Wake);
        assert_eq!(pulse.look(200_049_000, Seen::Awake, QUIET), Look::Fine);
        assert!(!pulse.answer(200_049_500));
        assert!(!pulse.is_blocked() && pulse.lag_us() < 50_000);
    }

    #[test]
    fn a_sleeping_loop_that_does_not_answer_its_wake_is_blocked() {
        let pulse = Pulse::default();
        assert_eq!(pulse.look(0, Seen::Asleep, PING), Look::Wake);
        // The wake was given, so it does not count as asleep any more.
        assert_eq!(pulse.look(50_000, Seen::Awake, QUIET), Look::Blocked);
    }

    #[test]
    fn a_loop_that_is_at_work_on_something_else_is_asked_at_once() {
        let pulse = Pulse::default();
        assert_eq!(pulse.look(0, Seen::Elsewhere, QUIET), Look::Wake);
        // Given the same time as any.
        assert_eq!(pulse.look(49_999, Seen::Awake, QUIET), Look::Fine);
        assert_eq!(pulse.look(50_000, Seen::Awake, QUIET), Look::Blocked);
        assert!(pulse.answer(60_000));
        assert!(!pulse.is_asked() && !pulse.is_blocked());
    }

    #[test]
    fn a_watcher_that_was_kept_from_looking_accuses_nobody() {
        let pulse = Pulse::default();
        pulse.ask(0);
        assert_eq!(pulse.look(3_000_000, Seen::Awake, LATE), Look::Fine);
        assert!(!pulse.is_blocked());
        assert_eq!(pulse.look(3_050_000, Seen::Awake, QUIET), Look::Blocked);
    }

    #[test]
    fn lag_rises_at_once_and_fades_and_is_shown_by_steps() {
        let pulse = Pulse::default();
        let mut now_us = 0;
        let mut turn = |waited_us: u64| {
            pulse.ask(now_us);
            pulse.answer(now_us + waited_us);
            now_us += 10_000;
        };
        turn(20_000);
        assert_eq!(pulse.lag_to_show(), Some(20_000));
        turn(19_000);
        assert_eq!(pulse.lag_to_show(), None, "the same step");
        for _ in 0..100 {
            turn(100);
        }
        assert_eq!(pulse.lag_to_show(), Some(0));
        assert!(pulse.lag_us() < 200 && pulse.utilisation() < 0.01);
        for _ in 0..100 {
            turn(2_000);
        }
        assert!(pulse.utilisation() > 0.95);
    }

    /// Looks and pings from one time to another, with a loop found awake at each look or none.
    fn looks(watch: &mut Watch, from_us: u64, to_us: u64, awake: bool) -> (u32, u32) {
        let (mut looks, mut pings, mut now_us) = (0, 0, from_us);
        while now_us < to_us {
            if let Some(round) = watch.begin(now_us, false) {
                looks += 1;
                pings += u32::from(round.ping);
                assert!(!round.late);
                let seen = if awake { Seen::Awake } else { Seen::Asleep };
                watch.saw(now_us, seen, false);
            }
            now_us = watch.due_us().max(now_us + 1);
        }
        (looks, pings)
    }

    #[test]
    fn looks_are_frequent_with_traffic_and_rare_without() {
        let mut watch = Watch::default();
        assert_eq!(looks(&mut watch, 0, 10_000_000, false), (100, 10));
        // The first sign of traffic makes a look due at once, and that is not the watcher's being late.
        assert_eq!(watch.begin(9_950_000, false), None);
        let round = watch.begin(9_950_000, true).expect("due at once");
        assert_eq!((round.ping, round.late), (true, false));
        let (busy, pings) = looks(&mut watch, 9_960_000, 12_960_000, true);
        assert!((280..=301).contains(&busy), "{busy} looks");
        assert!((14..=16).contains(&pings), "{pings} pings");
        // Calm again a second after the last of it.
        let (calm, _) = looks(&mut watch, 12_960_000, 22_960_000, false);
        assert!(calm < 200 && watch.is_calm(22_960_000), "{calm} looks");
    }

    #[test]
    fn an_idle_watch_looks_again_when_a_loop_owes_an_answer() {
        let mut watch = Watch::default();
        watch.begin(0, false).expect("the first");
        // One that was woken by the watch and has not answered is no traffic.
        watch.saw(0, Seen::Awake, true);
        watch.asked(0);
        assert!(watch.is_calm(0));
        assert_eq!(watch.due_us(), BLOCKED_AFTER_US);
        watch.begin(BLOCKED_AFTER_US, false).expect("in time");
        assert_eq!(watch.due_us(), BLOCKED_AFTER_US + CALM_LOOK_US);
    }

    #[test]
    fn an_idle_watch_looks_again_at_a_loop_that_may_have_just_begun() {
        let mut watch = Watch::default();
        watch.begin(0, false).expect("the first");
        let pulse = Pulse::default();
        assert_eq!(pulse.look(0, Seen::Stirring, QUIET), Look::Fine);
        assert!(!pulse.is_asked());
        watch.saw(0, Seen::Stirring, false);
        assert!(watch.is_calm(0), "that is no traffic");
        assert_eq!(watch.due_us(), LOOK_US);
        // It had not.
        watch.begin(LOOK_US, false).expect("in time");
        watch.saw(LOOK_US, Seen::Asleep, false);
        assert_eq!(watch.due_us(), LOOK_US + CALM_LOOK_US);
    }

    #[test]
    fn a_watcher_that_is_overdue_says_so_once() {
        let mut watch = Watch::default();
        watch.begin(0, true);
        let due_us = watch.due_us();
        let round = watch.begin(due_us + 5_000_000, false).expect("overdue");
        assert!(round.late);
        let due_us = watch.due_us();
        assert!(!watch.begin(due_us, false).expect("in time").late);
    }
}
