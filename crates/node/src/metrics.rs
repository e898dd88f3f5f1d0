//! Series of the users' own, and the text of all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use linkmesh_metrics::{
    Collect, Collector, Exemplar, Family, Kind, Metric, MetricError, render_csv, render_erlang,
    render_json, render_openmetrics, render_points, render_prometheus,
};
use linkmesh_registry::Status;
use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::engine::Engine;
use crate::state::{Failure, ThreadState};
use crate::tables::invalid;

impl From<MetricError> for Failure {
    fn from(error: MetricError) -> Self {
        let status = if error.limit.is_some() {
            Status::LimitExceeded
        } else {
            Status::InvalidArgument
        };
        let failure = Self::new(status, error.message).field(&error.field);
        match error.limit {
            Some(limit) => failure.limit(f64::from(limit)),
            None => failure,
        }
    }
}

#[napi]
pub fn metric_open(
    env: &Env,
    mesh: u32,
    kind: u32,
    name: String,
    labels: String,
    help: String,
) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let joined = state
            .meshes
            .get_mut(mesh)
            .ok_or_else(|| Failure::stale("mesh"))?;
        let kind = match kind {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Histogram,
            _ => {
                return Err(invalid(
                    "kind",
                    "the kind is 0 (counter), 1 (gauge) or 2 (histogram)",
                ));
            }
        };
        let labels: BTreeMap<String, String> = if labels.is_empty() {
            BTreeMap::new()
        } else {
            serde_json::from_str(&labels)
                .map_err(|_| invalid("labels", "labels are an object of strings"))?
        };
        let metric =
            joined
                .engine
                .metrics
                .open(kind, &name, labels.into_iter().collect(), &help)?;
        joined.metrics.insert(metric).map(f64::from).ok_or_else(|| {
            Failure::new(Status::LimitExceeded, "too many series in this thread").field("series")
        })
    })
}

/// A way to write what was gathered.
type Write = fn(&BTreeMap<String, Family>) -> String;

/// Gathers and writes on a thread of the pool, so that the event loop never waits for a scrape.
pub struct Render {
    engine: Arc<Engine>,
    write: Write,
}

impl Task for Render {
    type Output = String;
    type JsValue = Uint8Array;

    fn compute(&mut self) -> Result<String> {
        let mut collector = Collector::new();
        self.engine
            .router
            .collect_metrics(&mut collector, self.engine.now());
        if let Some(node) = self.engine.node() {
            node.collect_metrics(&mut collector);
        }
        self.engine.metrics.collect(&mut collector);
        Ok((self.write)(&collector.finish()))
    }

    /// The bytes as they are: making a JavaScript string of a megabyte would be done on the event loop.
    fn resolve(&mut self, _env: Env, output: String) -> Result<Uint8Array> {
        Ok(output.into_bytes().into())
    }
}

#[napi(ts_return_type = "Promise<Uint8Array>")]
pub fn metrics_render(env: &Env, mesh: u32, format: String) -> Result<AsyncTask<Render>> {
    let render = ThreadState::of(env).edge(|state| {
        let write: Write = match format.as_str() {
            "prometheus" => render_prometheus,
            "openmetrics" => render_openmetrics,
            "json" => render_json,
            "csv" => render_csv,
            "erlang" => render_erlang,
            "points" => render_points,
            _ => {
                return Err(invalid(
                    "format",
                    "the format is prometheus, openmetrics, json, csv, erlang or points",
                ));
            }
        };
        Ok(Render {
            engine: Arc::clone(&state.mesh(mesh)?.engine),
            write,
        })
    });
    // The one function that answers with a promise: refused input throws, and the shell reads `lastError`.
    render
        .map(AsyncTask::new)
        .map_err(|status| Error::new(napi::Status::InvalidArg, format!("status {status}")))
}

/// The exemplar of a call, checked.
fn exemplar(
    trace_id: &str,
    span_id: &str,
    value: f64,
    at_ms: f64,
) -> std::result::Result<Exemplar, Failure> {
    Exemplar::parse(trace_id, span_id, value, at_ms).ok_or_else(|| {
        invalid(
            "traceId",
            "an exemplar has a trace id of 32 and a span id of 16 lower-case hexadecimal digits, and a value of at least 0",
        )
    })
}

#[napi]
pub fn metric_exemplar(
    env: &Env,
    mesh: u32,
    metric: u32,
    value: f64,
    trace_id: String,
    span_id: String,
    at_ms: f64,
) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let exemplar = exemplar(&trace_id, &span_id, value, at_ms)?;
        let metric = state
            .mesh(mesh)?
            .metrics
            .get(metric)
            .ok_or_else(|| Failure::stale("metric"))?;
        match metric {
            Metric::Histogram(histogram) => histogram.exemplify(exemplar),
            Metric::Counter(_) | Metric::Gauge(_) => {
                return Err(invalid("metric", "only a histogram has exemplars"));
            }
        }
        Ok(0.0)
    })
}

#[napi]
pub fn service_exemplar(
    env: &Env,
    mesh: u32,
    service: u32,
    latency_us: f64,
    trace_id: String,
    span_id: String,
    at_ms: f64,
) -> f64 {
    ThreadState::of(env).edge_number(|state| {
        let exemplar = exemplar(&trace_id, &span_id, latency_us, at_ms)?;
        let guard = state.reader.pin();
        let router = &state.mesh(mesh)?.engine.router;
        if router.exemplify(&guard, service, exemplar) {
            Ok(0.0)
        } else {
            Err(Failure::stale("service"))
        }
    })
}
