//! The text forms, read back by somebody else's parser.
#![allow(missing_docs, reason = "a test")]

use linkmesh_metrics::{
    Collect, Collector, Histogram, Kind, MetricRegistry, render_json, render_openmetrics,
    render_prometheus,
};
use prometheus_parse::{Scrape, Value};

fn sample() -> Collector {
    let registry = MetricRegistry::new();
    let awkward = vec![("path".to_owned(), "a\\b\"c\nd".to_owned())];
    registry
        .open(Kind::Counter, "orders_total", awkward, "Orders\nseen")
        .unwrap()
        .record(3.0);
    registry
        .open(Kind::Gauge, "depth", Vec::new(), "Depth")
        .unwrap()
        .record(-1.5);
    let mut out = Collector::new();
    registry.collect(&mut out);
    let latency = Histogram::new();
    (1..=1_000).for_each(|us| assert!(latency.record(f64::from(us))));
    out.histogram(
        "linkmesh_request_duration_seconds",
        "Time",
        &[("service", "a")],
        &latency,
        1e-6,
    );
    out
}

#[test]
fn prometheus_text_reads_back() {
    let text = render_prometheus(&sample().finish());
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).expect("valid text");
    let find = |name: &str| {
        scrape
            .samples
            .iter()
            .find(|sample| sample.metric == name)
            .expect(name)
    };
    assert_eq!(find("orders_total").value, Value::Counter(3.0));
    assert_eq!(find("depth").value, Value::Gauge(-1.5));
    let Value::Histogram(buckets) = &find("linkmesh_request_duration_seconds").value else {
        panic!("a histogram")
    };
    for bucket in buckets {
        let exact = if bucket.less_than.is_finite() {
            (bucket.less_than * 1e6 - 1.0).round().clamp(0.0, 1_000.0)
        } else {
            1_000.0
        };
        assert!((bucket.count - exact).abs() < 0.5, "{bucket:?}");
    }
    assert!(
        text.contains("linkmesh_request_duration_seconds_sum{service=\"a\"} 0.5005"),
        "{text}"
    );
}

#[test]
fn openmetrics_names_counters_without_the_suffix_and_ends() {
    let text = render_openmetrics(&sample().finish());
    assert!(text.contains("# TYPE orders counter\n"));
    assert!(
        text.contains("orders_total{path=\"a\\\\b\\\"c\\nd\"} 3.0\n"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn json_carries_quantiles_in_exported_units() {
    let json: serde_json::Value = serde_json::from_str(&render_json(&sample().finish())).unwrap();
    let series = &json["linkmesh_request_duration_seconds"]["series"][0];
    assert_eq!(series["count"], 1_000);
    let p99 = series["p99"].as_f64().unwrap();
    assert!((p99 - 990e-6).abs() <= 990e-6 * 0.011, "{p99}");
    assert_eq!(json["orders_total"]["series"][0]["value"], 3.0);
}
