use linkmesh_registry::Breaker;

use crate::breaker::*;
use crate::policy::BreakerPolicy;

fn fail_until_open(breaker: &CircuitBreaker, policy: &BreakerPolicy, now_us: u64) {
    for _ in 0..policy.consecutive_failures {
        breaker.record(policy, false, Probe::NONE, now_us);
    }
    assert_eq!(breaker.state(), Breaker::Open);
}

fn probe(breaker: &CircuitBreaker, policy: &BreakerPolicy, now_us: u64) -> Probe {
    assert_eq!(breaker.verdict(policy, now_us), Verdict::Probe);
    breaker.lease_probe(policy, now_us).unwrap().0
}

#[test]
fn the_word_holds_its_parts() {
    let word = Word {
        state: Breaker::HalfOpen,
        opens: 31,
        count: COUNT_MAX,
        until_ms: UNTIL_MASK,
    };
    assert_eq!(Word::unpack(word.pack()), word);
}

#[test]
fn opens_after_a_run_and_closes_after_good_probes() {
    let (breaker, policy) = (CircuitBreaker::default(), BreakerPolicy::default());
    for _ in 0..4 {
        assert_eq!(breaker.record(&policy, false, Probe::NONE, 0), None);
    }
    breaker.record(&policy, true, Probe::NONE, 0);
    fail_until_open(&breaker, &policy, 0);
    assert_eq!(breaker.verdict(&policy, 999_999), Verdict::Open(1_000_000));
    for n in 0..3 {
        let place = probe(&breaker, &policy, 1_000_000);
        let closed = breaker.record(&policy, true, place, 1_000_000);
        assert_eq!(closed.is_some(), n == 2);
    }
    assert_eq!(breaker.state(), Breaker::Closed);
}

#[test]
fn half_open_lets_one_probe_through_and_no_stampede() {
    let (breaker, policy) = (CircuitBreaker::default(), BreakerPolicy::default());
    fail_until_open(&breaker, &policy, 0);
    probe(&breaker, &policy, 1_000_000);
    for _ in 0..1_000 {
        assert_eq!(
            breaker.verdict(&policy, 1_000_000),
            Verdict::ProbeTaken(11_000_000)
        );
        assert!(breaker.lease_probe(&policy, 1_000_000).is_none());
    }
}

#[test]
fn a_probe_that_nobody_reports_frees_its_place() {
    let (breaker, policy) = (CircuitBreaker::default(), BreakerPolicy::default());
    fail_until_open(&breaker, &policy, 0);
    let wedged = probe(&breaker, &policy, 1_000_000);
    let next = probe(&breaker, &policy, 11_000_000);
    assert_eq!(
        breaker.record(&policy, false, wedged, 11_000_000),
        None,
        "the late report counts nothing"
    );
    assert_eq!(breaker.state(), Breaker::HalfOpen);
    assert!(
        breaker.release_probe(next),
        "nor did it free the other's place"
    );
}

#[test]
fn each_failed_probe_doubles_the_open_time_to_the_maximum() {
    let (breaker, policy) = (CircuitBreaker::default(), BreakerPolicy::default());
    fail_until_open(&breaker, &policy, 0);
    let mut now = 1_000_000;
    for seconds in [2u64, 4, 8, 16, 30, 30, 30] {
        let place = probe(&breaker, &policy, now);
        let reopened = breaker.record(&policy, false, place, now);
        assert_eq!(
            reopened,
            Some(Transition {
                from: Breaker::HalfOpen,
                to: Breaker::Open
            })
        );
        now += seconds * 1_000_000;
        assert_eq!(breaker.verdict(&policy, now - 1), Verdict::Open(now));
    }
}

#[test]
fn a_burst_opens_it_however_good_the_hour_before() {
    let (breaker, policy) = (CircuitBreaker::default(), BreakerPolicy::default());
    for second in 0..3_600u64 {
        for _ in 0..100 {
            breaker.record(&policy, true, Probe::NONE, second * 1_000_000);
        }
    }
    fail_until_open(&breaker, &policy, 3_600_000_000);
}

#[test]
fn an_error_rate_opens_it_without_a_run() {
    let (breaker, policy) = (CircuitBreaker::default(), BreakerPolicy::default());
    let mut opened_at = None;
    for n in 0..100u32 {
        if breaker
            .record(&policy, n % 2 == 0, Probe::NONE, u64::from(n) * 10_000)
            .is_some()
        {
            opened_at = Some(n + 1);
            break;
        }
    }
    assert_eq!(opened_at, Some(20), "at minRequests, half of them failed");
}

#[test]
fn old_failures_leave_the_window() {
    let (breaker, policy) = (CircuitBreaker::default(), BreakerPolicy::default());
    for _ in 0..2 {
        for n in 0..18 {
            breaker.record(&policy, n % 2 == 0, Probe::NONE, 0);
        }
    }
    let (breaker, later) = (CircuitBreaker::default(), 20_000_000);
    for n in 0..18 {
        breaker.record(&policy, n % 2 == 0, Probe::NONE, 0);
    }
    breaker.record(&policy, true, Probe::NONE, later);
    breaker.record(&policy, false, Probe::NONE, later);
    assert_eq!(
        breaker.state(),
        Breaker::Closed,
        "only two requests in the window"
    );
}

#[test]
fn a_clock_that_steps_back_cannot_keep_it_open() {
    let (breaker, policy) = (CircuitBreaker::default(), BreakerPolicy::default());
    fail_until_open(&breaker, &policy, 1_000_000_000_000);
    assert_eq!(breaker.verdict(&policy, 0), Verdict::Probe);
    let place = probe(&breaker, &policy, 1_000_000_000_000 + 1_000_000);
    assert_eq!(
        breaker.verdict(&policy, 5),
        Verdict::Probe,
        "nor a lease keep the place"
    );
    assert!(breaker.release_probe(place));
}

#[test]
fn disabled_means_never() {
    let breaker = CircuitBreaker::default();
    let policy = BreakerPolicy {
        enabled: false,
        ..BreakerPolicy::default()
    };
    for _ in 0..100 {
        assert_eq!(breaker.record(&policy, false, Probe::NONE, 0), None);
    }
    assert_eq!(breaker.verdict(&policy, 0), Verdict::Admit);
}
