//! How others choose, from what they say of themselves or from their papers. None has breakers, limits or budgets: they
//! are the balancers alone, as their users have them by default.

mod count_ewma;
mod in_turn;
mod least_request;
mod moleculer;
mod naive_retry;
mod tower;

use linkmesh_routing::Rng;

use crate::chooser::Chooser;
use count_ewma::CountEwma;
use in_turn::{InTurn, Random};
use least_request::LeastRequest;
use moleculer::Latency;
use tower::PeakEwma;

/// Names in the report.
pub(crate) const NAMES: [&str; 6] = [
    "rival:round-robin",
    "rival:random",
    "rival:least-request",
    "rival:count-ewma",
    "rival:tower-p2c-peak-ewma",
    "rival:moleculer-latency",
];

/// Generators of rivals draw other numbers than the model.
const STREAM: u32 = 0x7269_7661;

pub(crate) fn make(name: &str, seed: u32) -> Option<Box<dyn Chooser>> {
    let rng = Rng::new(seed, STREAM);
    Some(match name {
        "rival:round-robin" => Box::new(InTurn::default()),
        "rival:random" => Box::new(Random::new(rng)),
        "rival:least-request" => Box::new(LeastRequest::new(rng)),
        "rival:count-ewma" => Box::new(CountEwma::new(rng)),
        "rival:tower-p2c-peak-ewma" => Box::new(PeakEwma::new(rng)),
        "rival:moleculer-latency" => Box::new(Latency::new(rng)),
        _ => return None,
    })
}

/// Two different ones of `count`, at random; the same twice when there is one.
fn two(rng: &mut Rng, count: usize) -> (usize, usize) {
    let first = rng.below(count as u32) as usize;
    if count == 1 {
        return (first, first);
    }
    let second = rng.below(count as u32 - 1) as usize;
    (first, if second >= first { second + 1 } else { second })
}
