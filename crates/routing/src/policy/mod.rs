//! What a service wants of its router. Enters here: values, their defaults, their bounds, their JSON. Deliberately
//! absent: what is done with them.

mod balancing;
mod breaker;
mod delivery;
mod of_service;
mod protection;
mod qos;
mod retry;

pub use balancing::{Balancer, BalancingPolicy, SubsetFallback};
pub use breaker::BreakerPolicy;
pub(crate) use breaker::PROBE_PLACES;
pub use delivery::{IdempotencyPolicy, OrderingPolicy};
pub use of_service::Policy;
pub use protection::{AdaptiveConcurrencyPolicy, Backpressure, OutlierPolicy, RateLimitPolicy};
pub(crate) use qos::WHOLE;
pub use qos::{HedgePolicy, QosPolicy, QosShares, WatermarkPolicy};
pub use retry::RetryPolicy;
