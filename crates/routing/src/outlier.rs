//! Outlier detection: an instance that differs from its peers is kept out for a while, each time longer.
//!
//! Three comparisons once an interval, by what the counters of the views gained since the last: success rate below the
//! mean by some standard deviations, share of failures, latency estimate above the median. One at once: failures in a
//! row. At most a share of the service is out at a time, one instance at least, whatever the figures say; an interval
//! without an ejection forgives one [Envoy docs, "Outlier detection"; gRPC A50].
//!
//! Comparing costs the message nothing: only failures in a row are counted on its way, two words.

use linkmesh_tables::epoch::Guard;

use crate::cells::{InstanceState, View, instance_word as word};
use crate::ejection::LONGEST_EJECTION_US;
use crate::estimate::to_ms;
use crate::membership::Membership;
use crate::policy::OutlierPolicy;
use crate::router::Router;
use crate::sync::Ordering;

/// One instance over one interval.
#[derive(Debug, Clone, Copy)]
struct Sample {
    handle: u32,
    requests: u32,
    failed: u32,
    latency_us: f64,
}

impl Sample {
    fn success(&self) -> f64 {
        1.0 - f64::from(self.failed) / f64::from(self.requests.max(1))
    }
}

impl Router {
    /// Compares the instances of each service whose interval is over.
    pub(crate) fn detect_outliers(&self, guard: &Guard<'_>, now_us: u64) {
        if now_us < self.next_comparison_us.load(Ordering::Relaxed) {
            return;
        }
        let services: Vec<u32> = self.with_registry(|registry, _| {
            registry
                .services_by_name()
                .into_iter()
                .map(|record| record.handle)
                .collect()
        });
        let mut next_us = u64::MAX;
        for service in services {
            let Some(membership) = self.membership(guard, service) else {
                continue;
            };
            let policy = &membership.policy.outlier;
            if policy.enabled {
                self.compare(membership, policy, now_us);
                next_us = next_us.min(now_us + u64::from(policy.interval_ms) * 1_000);
            }
        }
        self.next_comparison_us.store(next_us, Ordering::Relaxed);
    }

    fn compare(&self, membership: &Membership, policy: &OutlierPolicy, now_us: u64) {
        let samples: Vec<Sample> = membership
            .members
            .iter()
            .filter_map(|member| {
                let state = self.cells.state(member.handle)?;
                let view = self.view(member.handle);
                let gained = |index, seen: &crate::sync::AtomicU32| {
                    let now = view.get(index);
                    now.wrapping_sub(seen.swap(now, Ordering::Relaxed))
                };
                let succeeded = gained(word::SUCCEEDED, &state.ejection.seen_succeeded);
                let failed = gained(word::FAILED, &state.ejection.seen_failed);
                if state.ejection.is_out(now_us) {
                    return None;
                }
                Some(Sample {
                    handle: member.handle,
                    requests: succeeded.saturating_add(failed),
                    failed,
                    latency_us: state.latency.faded(to_ms(now_us)),
                })
            })
            .collect();
        let outliers = outliers(policy, &samples);
        for sample in &samples {
            let Some(state) = self.cells.state(sample.handle) else {
                continue;
            };
            if outliers.contains(&sample.handle) {
                self.eject(membership, self.view(sample.handle), state, now_us);
            } else {
                let _ = state.ejection.times.fetch_update(
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                    |times| times.checked_sub(1),
                );
            }
        }
    }

    /// A request to an instance ended. Ejects it after too many failures in a row.
    #[inline]
    pub(crate) fn count_failures(
        &self,
        membership: &Membership,
        view: View<'_>,
        state: &InstanceState,
        ok: bool,
        now_us: u64,
    ) {
        let failures = &state.ejection.failures;
        if ok {
            // The common case writes nothing.
            if failures.load(Ordering::Relaxed) != 0 {
                failures.store(0, Ordering::Relaxed);
            }
            return;
        }
        let most = membership.policy.outlier.consecutive_failures;
        if failures.fetch_add(1, Ordering::Relaxed) + 1 >= most && most != 0 {
            failures.store(0, Ordering::Relaxed);
            if !state.ejection.is_out(now_us) {
                self.eject(membership, view, state, now_us);
            }
        }
    }

    /// Keeps an instance out, unless enough are out already. Callers take turns, so that the share is never exceeded;
    /// who finds another at it leaves it to the next failure.
    #[cold]
    fn eject(&self, membership: &Membership, view: View<'_>, state: &InstanceState, now_us: u64) {
        let turn = &membership.service.ejecting;
        // Acquire and Release: what the one before ejected is counted.
        if turn
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            return;
        }
        let policy = &membership.policy.outlier;
        let out = membership
            .members
            .iter()
            .filter_map(|member| self.cells.state(member.handle))
            .filter(|state| state.ejection.is_out(now_us))
            .count();
        let most = (policy.max_ejected * membership.members.len() as f64) as usize;
        if out < most.max(1) && membership.members.len() > 1 {
            let times = state.ejection.times.fetch_add(1, Ordering::Relaxed) + 1;
            let out_ms = u64::from(policy.ejection_ms)
                .saturating_mul(u64::from(times))
                .min(u64::from(policy.max_ejection_ms));
            let until_us = now_us + (out_ms * 1_000).min(LONGEST_EJECTION_US);
            state.ejection.until_us.store(until_us, Ordering::Relaxed);
            state.warming_since_us.store(until_us, Ordering::Relaxed);
            view.watch();
        }
        turn.store(0, Ordering::Release);
    }
}

/// Handles of the samples that are to be kept out.
fn outliers(policy: &OutlierPolicy, samples: &[Sample]) -> Vec<u32> {
    let compared: Vec<&Sample> = samples
        .iter()
        .filter(|sample| sample.requests >= policy.min_requests)
        .collect();
    let mut found = Vec::new();
    if compared.len() >= policy.min_instances as usize {
        let n = compared.len() as f64;
        let mean = compared.iter().map(|sample| sample.success()).sum::<f64>() / n;
        let variance = compared
            .iter()
            .map(|sample| (sample.success() - mean) * (sample.success() - mean))
            .sum::<f64>()
            / n;
        let floor = mean - policy.success_rate_deviations * variance.sqrt();
        for sample in &compared {
            let deviates = policy.success_rate_deviations > 0.0 && sample.success() < floor;
            let fails = policy.failure_rate > 0.0
                && f64::from(sample.failed) >= policy.failure_rate * f64::from(sample.requests);
            if deviates || fails {
                found.push(sample.handle);
            }
        }
    }
    let mut latencies: Vec<f64> = samples
        .iter()
        .filter(|sample| sample.requests > 0 && sample.latency_us > 0.0)
        .map(|sample| sample.latency_us)
        .collect();
    if policy.latency_factor > 0.0 && latencies.len() >= policy.min_instances as usize {
        latencies.sort_by(f64::total_cmp);
        let median = latencies[latencies.len() / 2];
        let slow = samples.iter().filter(|sample| {
            sample.requests > 0 && sample.latency_us > policy.latency_factor * median
        });
        found.extend(slow.map(|sample| sample.handle));
    }
    found
}
