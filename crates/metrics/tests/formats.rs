//! The text forms, read back by somebody else's parser.
#![allow(missing_docs, reason = "a test")]

use linkmesh_metrics::{
    Collect, Collector, Exemplar, Histogram, Kind, MetricRegistry, render_csv, render_erlang,
    render_json, render_openmetrics, render_points, render_prometheus,
};
use prometheus_parse::{Scrape, Value};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

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
    for (trace, value) in [(TRACE, 700.0), ("0af7651916cd43dd8448eb211c803190", 0.1)] {
        latency.exemplify(Exemplar::parse(trace, SPAN, value, 1_760_000_000_250.0).unwrap());
    }
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

#[test]
fn an_exemplar_stands_at_the_bucket_that_its_value_is_in() {
    let text = render_openmetrics(&sample().finish());
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" # {")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    // Below 1 µs is the first bucket's; 700 µs lies between 512 and 1,024.
    assert!(lines[0].contains("le=\"0.000001\""), "{}", lines[0]);
    assert_eq!(
        lines[1],
        format!(
            "linkmesh_request_duration_seconds_bucket{{service=\"a\",le=\"0.001024\"}} 1000.0 \
             # {{trace_id=\"{TRACE}\",span_id=\"{SPAN}\"}} 0.0007 1760000000.25"
        )
    );
    assert!(
        !render_prometheus(&sample().finish()).contains(" # {"),
        "the older format has none"
    );
}

#[test]
fn csv_has_a_row_a_series_and_quotes_what_must_be_quoted() {
    let text = render_csv(&sample().finish());
    let rows: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(
        rows[0],
        "name,kind,labels,value,count,sum,max,p50,p90,p95,p99,p999"
    );
    assert_eq!(rows[1], "depth,gauge,\"{}\",-1.5,,,,,,,,");
    assert!(
        rows[2].starts_with(
            "linkmesh_request_duration_seconds,histogram,\"{\"\"service\"\":\"\"a\"\"}\",,1000,0.5005,0.001,"
        ),
        "{}",
        rows[2]
    );
    assert_eq!(
        rows[3],
        r#"orders_total,counter,"{""path"":""a\\b\""c\nd""}",3,,,,,,,,"#
    );
    assert_eq!(rows[4], "");
}

#[test]
fn erlang_terms_write_numbers_and_texts_as_erlang_does() {
    let registry = MetricRegistry::new();
    let open = |kind, name: &str, label: &str| {
        registry
            .open(kind, name, vec![("l".to_owned(), label.to_owned())], "")
            .unwrap()
    };
    for (label, value) in [
        ("tiny", 1e-7),
        ("huge", 1e21),
        ("whole", -3.0),
        ("\u{e9}\u{1f980}\"\n", 0.25),
    ] {
        open(Kind::Gauge, "depth", label).record(value);
    }
    let mut out = Collector::new();
    registry.collect(&mut out);
    let text = render_erlang(&out.finish());
    for wanted in [
        "#{name => <<\"depth\"/utf8>>, kind => gauge, help => <<\"\"/utf8>>, series => [",
        "<<\"tiny\"/utf8>>}, value => 1.0e-7}",
        "<<\"huge\"/utf8>>}, value => 1.0e21}",
        "<<\"whole\"/utf8>>}, value => -3.0}",
        "<<\"\\x{e9}\\x{1f980}\\\"\\n\"/utf8>>}, value => 2.5e-1}",
    ] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    assert!(text.ends_with("]}.\n"));
}

#[test]
fn points_keep_every_bucket() {
    let text = render_points(&sample().finish());
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let at = lines
        .iter()
        .position(|line| line["family"] == "linkmesh_request_duration_seconds")
        .unwrap();
    let histogram = &lines[at + 1]["histogram"];
    assert_eq!(histogram["unit"], "us");
    assert_eq!(histogram["scale"], 5);
    // 1 µs is the lower edge of bucket 0.
    assert_eq!(histogram["offset"], 0);
    let counts: Vec<u64> = histogram["counts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count.as_u64().unwrap())
        .collect();
    assert_eq!(counts.iter().sum::<u64>(), 1_000);
    // 512 to 1,000 µs are octave 9: buckets 288 and on.
    assert_eq!(counts[288..].iter().sum::<u64>(), 489);
    assert_eq!(histogram["exemplars"][1]["traceId"], TRACE);
}
