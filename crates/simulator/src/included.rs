//! The scenarios that come along.

use crate::scenario::Scenario;

/// Their names, in the order they are run in.
pub const INCLUDED: [&str; 11] = [
    "slow-replica",
    "sinkhole",
    "rejections",
    "cold-start",
    "half-down",
    "ramp",
    "hot-key",
    "flapping",
    "clock-back",
    "rolling-restart",
    "retry-storm",
];

/// One by its name.
///
/// # Panics
/// Never: a test reads each of them.
pub fn included(name: &str) -> Option<Scenario> {
    let json = match name {
        "slow-replica" => include_str!("../scenarios/slow-replica.json"),
        "sinkhole" => include_str!("../scenarios/sinkhole.json"),
        "rejections" => include_str!("../scenarios/rejections.json"),
        "cold-start" => include_str!("../scenarios/cold-start.json"),
        "half-down" => include_str!("../scenarios/half-down.json"),
        "ramp" => include_str!("../scenarios/ramp.json"),
        "hot-key" => include_str!("../scenarios/hot-key.json"),
        "flapping" => include_str!("../scenarios/flapping.json"),
        "clock-back" => include_str!("../scenarios/clock-back.json"),
        "rolling-restart" => include_str!("../scenarios/rolling-restart.json"),
        "retry-storm" => include_str!("../scenarios/retry-storm.json"),
        _ => return None,
    };
    Some(serde_json::from_str(json).expect("the included scenarios are read by a test"))
}
