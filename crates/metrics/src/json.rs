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
                let labels: BTreeMap<_, _> = sample.labels.iter().map(|(name, value)| (name, value)).collect();
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
        let name = if family.kind == Kind::Counter {
            format!("{name}_total")
        } else {
            name.clone()
        };
        let kind = family.kind.as_str();
        all.insert(
            name,
            json!({ "kind": kind, "help": family.help, "series": series }),
        );
    }
    Value::Object(all).to_string()
}

/// Labels as a JSON object, in their order.
pub(crate) fn labels_json(labels: &[(String, String)]) -> String {
    let labels: BTreeMap<_, _> = labels.iter().map(|(name, value)| (name, value)).collect();
    json!(labels).to_string()
}
