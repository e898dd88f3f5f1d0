//! This process as a node: `ts/binding/contract-node.ts`.
//!
//! What may enter: options and results of the engine in `linkmesh-transport`, its application, its lifetime. What is
//! deliberately absent: the protocol, and what memory and requests do over it.

mod address;
mod address_metrics;
mod app;
mod functions;
mod locate;
mod metrics;
mod near;
mod node;
mod publisher;
mod reach;
mod refusal;
mod ways;

pub(crate) use app::NodeApp;
pub(crate) use functions::{Later, parse};
pub(crate) use node::Node;
pub(crate) use refusal::{Refusal, rejection};
