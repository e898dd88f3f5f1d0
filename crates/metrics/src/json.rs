//! A snapshot for programs: JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::collect::SampleValue;
use crate::{Family, Kind};

/// `{ name: { kind, help, series: [{ labels, value } | { labels, count, sum, max, p50, p90, p95, p99, p999 }] } }`,
/// in exported units.
pub fn render_json(families: &BTreeMap<String, Family>) -> String {
    let mut all = Map::new();
    for (name, family) in families {
        let series: Vec<Value> = family
            .samples
            .iter()
            .map(|sample| {
                let labels: BTreeMap<_, _> = sample.labels.iter().cloned().collect();
                match &sample.value {
                    SampleValue::Number(value) => json!({ "labels": labels, "value": value }),
                    SampleValue::Histogram { snapshot, scale } => {
                        let at = |q| snapshot.quantile(q) * scale;
                        json!({
                            "labels": labels, "count": snapshot.count, "sum": snapshot.sum * scale,
                            "max": snapshot.max * scale, "p50": at(0.5), "p90": at(0.9), "p95": at(0.95),
                            "p99": at(0.99), "p999": at(0.999),
                        })
                    }
                }
            })
            .collect();
        let (name, kind) = match family.kind {
            Kind::Counter => (format!("{name}_total"), "counter"),
            Kind::Gauge => (name.clone(), "gauge"),
            Kind::Histogram => (name.clone(), "histogram"),
        };
        all.insert(
            name,
            json!({ "kind": kind, "help": family.help, "series": series }),
        );
    }
    Value::Object(all).to_string()
}
