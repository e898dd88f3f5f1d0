//! Series of the users' own, and the text of all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use linkmesh_metrics::{
    Collect, Collector, Kind, MetricError, render_json, render_openmetrics, render_prometheus,
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

/// Format of a rendering.
#[derive(Clone, Copy)]
enum Format {
    Prometheus,
    OpenMetrics,
    Json,
}

/// Gathers and writes on a thread of the pool, so that the event loop never waits for a scrape.
pub struct Render {
    engine: Arc<Engine>,
    format: Format,
}

impl Task for Render {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        let mut collector = Collector::new();
        self.engine
            .router
            .collect_metrics(&mut collector, self.engine.now());
        self.engine.metrics.collect(&mut collector);
        let families = collector.finish();
        Ok(match self.format {
            Format::Prometheus => render_prometheus(&families),
            Format::OpenMetrics => render_openmetrics(&families),
            Format::Json => render_json(&families),
        })
    }

    fn resolve(&mut self, _env: Env, output: String) -> Result<String> {
        Ok(output)
    }
}

#[napi(ts_return_type = "Promise<string>")]
pub fn metrics_render(env: &Env, mesh: u32, format: String) -> Result<AsyncTask<Render>> {
    let render = ThreadState::of(env).edge(|state| {
        let format = match format.as_str() {
            "prometheus" => Format::Prometheus,
            "openmetrics" => Format::OpenMetrics,
            "json" => Format::Json,
            _ => {
                return Err(invalid(
                    "format",
                    "the format is prometheus, openmetrics or json",
                ));
            }
        };
        Ok(Render {
            engine: Arc::clone(&state.mesh(mesh)?.engine),
            format,
        })
    });
    // The one function that answers with a promise: refused input throws, and the shell reads `lastError`.
    render
        .map(AsyncTask::new)
        .map_err(|status| Error::new(napi::Status::InvalidArg, format!("status {status}")))
}
