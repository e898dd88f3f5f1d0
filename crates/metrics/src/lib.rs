//! Counters, gauges and histograms that every thread records into without a lock, and their text forms.
//!
//! What may enter: numbers and how they are written. What is deliberately absent: clocks (a duration comes in as a
//! number), I/O (a rendering is a `String`), and what the numbers mean (the router says that through [`Collect`]).
//!
//! | type | what it is | cost of a record |
//! |---|---|---|
//! | [`Counter`], [`Gauge`] | one `f64` | one compare-and-swap |
//! | [`Histogram`] | base-2 exponential buckets, relative error ≤ 1.1 % | two atomic additions, no logarithm |
//! | [`MetricRegistry`] | series by name and labels | handed out once, then as above |
#![forbid(unsafe_code)]

mod collect;
mod csv;
mod erlang;
mod exemplar;
mod histogram;
mod json;
mod names;
mod number;
mod points;
mod registry;
mod text;

pub use collect::{Collect, Collector, Family, Kind, Labels, Sample, SampleValue};
pub use csv::render_csv;
pub use erlang::render_erlang;
pub use exemplar::Exemplar;
pub use histogram::{Histogram, HistogramSnapshot, SCALE};
pub use json::render_json;
pub use names::MetricError;
pub use number::{Counter, Gauge};
pub use points::render_points;
pub use registry::{Metric, MetricRegistry};
pub use text::{render_openmetrics, render_prometheus};
