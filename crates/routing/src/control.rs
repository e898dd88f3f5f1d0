//! What an operator does to one instance by hand.

use linkmesh_registry::{Breaker, RegistryError, Status};

use crate::cells::instance_word as word;
use crate::ejection::LONGEST_EJECTION_US;
use crate::router::Router;
use crate::sync::Ordering;

/// An order about one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Kept out for so long, microseconds; at most an hour. 0 ends an ejection.
    Eject(u64),
    /// Its breaker opens and stays open until [`CloseBreaker`](Self::CloseBreaker) or [`Reset`](Self::Reset).
    OpenBreaker,
    /// Its breaker closes, with nothing remembered.
    CloseBreaker,
    /// Everything that was learned of it is forgotten, as if it had just been added: breaker, ejection, latency, share of
    /// failures. Counters stay.
    Reset,
}

impl Router {
    /// Carries out an order. Requests under way on the instance go on.
    ///
    /// # Errors
    /// `StaleHandle`; `InvalidArgument` for an ejection that is too long; `Conflict` when the breaker is to be opened and
    /// the service's policy has none.
    pub fn control(
        &self,
        instance: u32,
        control: Control,
        now_us: u64,
    ) -> Result<(), RegistryError> {
        let order = self.administer();
        self.log_changes();
        let service = self.with_registry(|registry, guard| {
            let record = registry
                .instance(instance)
                .ok_or_else(|| RegistryError::stale("instance"))?;
            let enabled = self
                .membership(guard, record.service)
                .is_some_and(|membership| membership.policy.breaker.enabled);
            if control == Control::OpenBreaker && !enabled {
                return Err(RegistryError::new(
                    Status::Conflict,
                    "the policy of the service says policy.breaker.enabled: false",
                ));
            }
            Ok(record.service)
        })?;
        let state = self
            .cells
            .state(instance)
            .ok_or_else(|| RegistryError::stale("instance"))?;
        let mut breaker = None;
        match control {
            Control::Eject(for_us) if for_us > LONGEST_EJECTION_US => {
                let longest_ms = (LONGEST_EJECTION_US / 1_000) as f64;
                let asked_ms = (for_us / 1_000) as f64;
                return Err(RegistryError::out_of_range(
                    "forMs", 0.0, longest_ms, asked_ms,
                ));
            }
            Control::Eject(for_us) => {
                let until_us = if for_us == 0 { 0 } else { now_us + for_us };
                state.ejection.until_us.store(until_us, Ordering::Relaxed);
                state
                    .warming_since_us
                    .store(now_us + for_us, Ordering::Relaxed);
                self.view(instance).watch();
            }
            Control::OpenBreaker => breaker = state.breaker.force(Breaker::Open),
            Control::CloseBreaker => breaker = state.breaker.force(Breaker::Closed),
            Control::Reset => {
                breaker = state.breaker.force(Breaker::Closed);
                // Not what outlier detection compares the next interval with.
                state.ejection.times.store(0, Ordering::Relaxed);
                state.ejection.failures.store(0, Ordering::Relaxed);
                state.ejection.until_us.store(0, Ordering::Relaxed);
                state.rejected_until_us.store(0, Ordering::Relaxed);
                state.latency.reset();
                self.view(instance).set(word::LATENCY_US, 0);
                state.failing.reset();
                self.view(instance).recent().store(0, Ordering::Relaxed);
                state.warming_since_us.store(now_us, Ordering::Relaxed);
            }
        }
        if let Some(transition) = breaker {
            self.breaker_changed(service, instance, transition, now_us);
            self.log_changes();
        }
        drop(order);
        self.grant_changed(now_us);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::router::RouterOptions;
    use linkmesh_tables::epoch::Domain;

    fn two_instances(policy: &str) -> (Router, u32, [u32; 2]) {
        let router = Router::new(RouterOptions::default()).unwrap();
        let service = router.define_service("orders", policy, 0).unwrap();
        let instances = ["a", "b"].map(|name| {
            let spec = format!("{{\"address\":\"http://{name}\"}}");
            router.add_instance(service, &spec, 1, 0).unwrap()
        });
        (router, service, instances)
    }

    /// Who is picked in ten tries.
    fn picked(router: &Router, service: u32, now_us: u64) -> Vec<u32> {
        let reader = Domain::global().register();
        let guard = reader.pin();
        let mut caller = router.caller(1).unwrap();
        let mut seen: Vec<u32> = (0..10)
            .filter_map(|_| {
                let mut picked = crate::Picked::default();
                let ticket = router
                    .pick(&guard, &mut caller, service, 0, now_us, &mut picked)
                    .ok()?;
                router
                    .complete(&guard, ticket, Outcome::Ok as u8, 10, now_us)
                    .unwrap();
                Some(picked.instance)
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    #[test]
    fn a_breaker_opened_by_hand_stays_open_until_it_is_closed_by_hand() {
        let (router, service, [a, b]) = two_instances("");
        router.control(a, Control::OpenBreaker, 1_000).unwrap();
        // Far beyond the longest open time of the policy.
        for now_us in [1_000, 60_000_000, 3_600_000_000] {
            assert_eq!(picked(&router, service, now_us), [b], "{now_us}");
        }
        router
            .control(a, Control::CloseBreaker, 3_600_000_000)
            .unwrap();
        assert_eq!(picked(&router, service, 3_600_000_000), [a, b]);
        let events = router.events_json(0);
        assert!(
            events.contains("\"from\":\"closed\",\"to\":\"open\""),
            "{events}"
        );
        assert!(
            events.contains("\"from\":\"open\",\"to\":\"closed\""),
            "{events}"
        );
    }

    #[test]
    fn an_ejection_ends_by_itself_or_by_hand() {
        let (router, service, [a, b]) = two_instances("");
        router.control(b, Control::Eject(5_000_000), 0).unwrap();
        assert_eq!(picked(&router, service, 4_999_999), [a]);
        assert_eq!(picked(&router, service, 5_000_001), [a, b]);
        router
            .control(b, Control::Eject(5_000_000), 6_000_000)
            .unwrap();
        router.control(b, Control::Eject(0), 6_000_001).unwrap();
        assert_eq!(picked(&router, service, 6_000_002), [a, b]);
    }

    #[test]
    fn reset_forgets_what_was_learned() {
        let (router, service, [a, b]) = two_instances("");
        router.control(a, Control::OpenBreaker, 0).unwrap();
        router.control(a, Control::Eject(5_000_000), 0).unwrap();
        router.control(a, Control::Reset, 1).unwrap();
        assert_eq!(picked(&router, service, 2), [a, b]);
    }

    #[test]
    fn orders_that_cannot_be_carried_out_say_why() {
        let (router, _, [a, _]) = two_instances("{\"breaker\":{\"enabled\":false}}");
        let status = |instance, control| router.control(instance, control, 0).unwrap_err().status;
        assert_eq!(status(a, Control::OpenBreaker), Status::Conflict);
        assert_eq!(status(a, Control::Eject(u64::MAX)), Status::InvalidArgument);
        assert_eq!(status(a + (1 << 17), Control::Reset), Status::StaleHandle);
    }
}
