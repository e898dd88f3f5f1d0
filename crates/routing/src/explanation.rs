//! Why an instance was picked, for whoever asks: what the pick recorded, and with a key whom it did not come to.
//!
//! A pick with a key stops at the first home that is eligible, so what it recorded says why it went there, and not who
//! else there is. Recording them all would cost each pick what only few are asked about; so those that it did not come to
//! are looked at when somebody asks, and told apart by [`ExplainedCandidate::asked`].

use std::sync::Weak;

use linkmesh_registry::{Breaker, Health};
use linkmesh_tables::epoch::Guard;
use serde::Serialize;

use crate::candidate::{Candidate, Filter};
use crate::explain::{Aside, Trace};
use crate::policy::Balancer;
use crate::qos::Qos;
use crate::router::{Router, to_json};
use crate::select::Selection;

/// Candidates of an explanation, those of a pick with a key that were not asked included.
pub const EXPLAINED_CANDIDATES: usize = 64;

/// JSON shape of the contract's `Explanation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The ticket that was asked about.
    pub ticket: u64,
    /// Empty when the service was removed since.
    pub service: String,
    /// Time of the pick, microseconds.
    pub at_us: u64,
    /// Balancer of the service; a key overrules it.
    pub balancer: Balancer,
    /// Class of the request.
    pub qos: Qos,
    /// The request was with another instance already and was sent to this one, too.
    pub hedge: bool,
    /// 0 = no affinity.
    pub key_hash: u32,
    /// Handle of the picked instance.
    pub chosen: u32,
    /// Those that were looked at, in that order, 16 at most. With a key then the others, [`EXPLAINED_CANDIDATES`] in all.
    pub candidates: Vec<ExplainedCandidate>,
    /// Members of the service that are not among `candidates`: beyond those bounds, or, without a key, not looked at (two
    /// random choices look at two).
    pub rest: u32,
    /// Retry tokens at the pick.
    pub retry_budget: f64,
    #[serde(skip)]
    pub(crate) service_handle: u32,
}

/// One candidate of an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedCandidate {
    /// Its handle.
    pub instance: u32,
    /// 1 for the first that was looked at, and so on: as it was at the pick. `None`: the pick did not come to it, and it is
    /// as it is now.
    pub asked: Option<u32>,
    /// Why it could not be chosen.
    pub filter: Option<Filter>,
    /// Lower is better; `None` when the balancer does not score, -1 for a probe that is due.
    pub score: Option<f64>,
    /// Before this request.
    pub in_flight: u32,
    /// Latency estimate, microseconds. An f32, written exactly.
    pub latency_us: f64,
    /// Breaker before this request.
    pub breaker: Breaker,
    /// Health.
    pub health: Health,
}

impl ExplainedCandidate {
    pub(crate) fn of(candidate: &Candidate, asked: Option<u32>) -> Self {
        Self {
            instance: candidate.handle,
            asked,
            filter: candidate.filter,
            score: candidate.score.is_finite().then_some(candidate.score),
            in_flight: candidate.in_flight,
            latency_us: f64::from(f32::from_bits(candidate.latency_bits)),
            breaker: match candidate.state >> 4 & 15 {
                0 => Breaker::Closed,
                1 => Breaker::Open,
                _ => Breaker::HalfOpen,
            },
            health: match candidate.state & 15 {
                0 => Health::Healthy,
                1 => Health::Degraded,
                2 => Health::Draining,
                _ => Health::Dead,
            },
        }
    }
}

impl Router {
    /// Why a ticket's instance was picked; `None` when the pick is not among the last 1,024 of its thread. Cold: looks at
    /// each of them.
    pub fn explain(&self, ticket: u64, now_us: u64) -> Option<Explanation> {
        let rings: Vec<_> = self.rings().iter().filter_map(Weak::upgrade).collect();
        let mut explanation = rings.iter().find_map(|ring| ring.find(ticket))?;
        self.with_registry(|registry, guard| {
            if let Some(service) = registry.service(explanation.service_handle) {
                explanation.service = service.name.to_string();
                self.add_others(&mut explanation, guard, now_us);
            }
        });
        Some(explanation)
    }

    /// JSON of the contract's `Explanation`.
    pub fn explain_json(&self, ticket: u64, now_us: u64) -> Option<String> {
        self.explain(ticket, now_us)
            .map(|explanation| to_json(&explanation))
    }

    /// The members that a pick with a key did not come to.
    fn add_others(&self, explanation: &mut Explanation, guard: &Guard<'_>, now_us: u64) {
        let (service, key_hash) = (explanation.service_handle, explanation.key_hash);
        let Some(membership) = self.membership(guard, service).filter(|_| key_hash != 0) else {
            return;
        };
        let aside = Aside::default();
        let (class, trace) = (explanation.qos, Trace::aside(&aside));
        let selection = Selection::new(&self.cells, membership, class, key_hash, now_us, trace);
        let candidates = &mut explanation.candidates;
        let recorded = candidates.len();
        explanation.rest = 0;
        for (index, member) in membership.members.iter().enumerate() {
            if candidates[..recorded]
                .iter()
                .any(|one| one.instance == member.handle)
            {
                continue;
            }
            if candidates.len() < EXPLAINED_CANDIDATES {
                candidates.push(ExplainedCandidate::of(&selection.look(index), None));
            } else {
                explanation.rest += 1;
            }
        }
    }
}
