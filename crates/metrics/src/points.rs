//! Data points for another exporter: nothing rounded to quantiles or to a text format's buckets.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::collect::SampleValue;
use crate::histogram::SCALE;
use crate::json::labels_json;
use crate::{Family, HistogramSnapshot};

/// JSON lines, so that a reader can stop between any two. A line with `family` begins a family
/// (`{family, kind, help}`); those after it are its series: `{labels, value}` or `{labels, histogram: {unit, count,
/// sum, max, zero, scale, offset, counts, exemplars}}`, in the recorded unit (`us` or empty) with the exponential buckets
/// of OpenTelemetry's data model, except that an edge belongs to the bucket above it.
pub fn render_points(families: &BTreeMap<String, Family>) -> String {
    let mut out = String::with_capacity(4_096);
    for (name, family) in families {
        let head = json!({ "family": name, "kind": family.kind.as_str(), "help": family.help });
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{head}");
        for sample in &family.samples {
            let labels = labels_json(&sample.labels);
            let _ = match &sample.value {
                SampleValue::Number(value) => {
                    writeln!(out, "{{\"labels\":{labels},\"value\":{}}}", json!(value))
                }
                SampleValue::Histogram { snapshot, scale } => writeln!(
                    out,
                    "{{\"labels\":{labels},\"histogram\":{}}}",
                    histogram(snapshot, *scale)
                ),
            };
        }
    }
    out
}

fn histogram(snapshot: &HistogramSnapshot, scale: f64) -> Value {
    let (offset, counts) = snapshot.dense().unwrap_or_default();
    let exemplars: Vec<Value> = snapshot
        .exemplars()
        .map(|exemplar| {
            json!({
                "traceId": exemplar.trace_id_hex(), "spanId": exemplar.span_id_hex(),
                "value": exemplar.value, "atMs": exemplar.at_ms,
            })
        })
        .collect();
    // The router records microseconds and exports seconds; everything else is in the unit it is exported in.
    let unit = if (scale - 1e-6).abs() < f64::EPSILON {
        "us"
    } else {
        ""
    };
    json!({
        "unit": unit, "count": snapshot.count, "sum": snapshot.sum, "max": snapshot.max, "zero": snapshot.zero,
        "scale": SCALE, "offset": offset, "counts": counts, "exemplars": exemplars,
    })
}
