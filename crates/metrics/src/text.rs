//! Prometheus text 0.0.4 and `OpenMetrics` 1.0.
//!
//! A histogram becomes one bucket an octave of the recorded unit, 2^0 to 2^26: for microseconds 1 µs to 67 s. Those
//! edges are edges of the exponential buckets, so the counts are exact, and they never change between scrapes. A
//! histogram recorded in its exported unit gets every second octave from 2^-20 to 2^40.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::collect::SampleValue;
use crate::{Family, HistogramSnapshot, Kind};

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Prometheus,
    OpenMetrics,
}

/// Prometheus text format 0.0.4.
pub fn render_prometheus(families: &BTreeMap<String, Family>) -> String {
    render(families, Form::Prometheus)
}

/// `OpenMetrics` 1.0, with its `# EOF`.
pub fn render_openmetrics(families: &BTreeMap<String, Family>) -> String {
    let mut text = render(families, Form::OpenMetrics);
    text.push_str("# EOF\n");
    text
}

fn render(families: &BTreeMap<String, Family>, form: Form) -> String {
    let mut out = String::with_capacity(4_096);
    for (name, family) in families {
        let kind = family.kind.as_str();
        let total = if family.kind == Kind::Counter {
            "_total"
        } else {
            ""
        };
        // Prometheus 0.0.4 names a counter's family with the suffix, OpenMetrics without.
        let shown = if form == Form::Prometheus { total } else { "" };
        let help = escape(&family.help, form == Form::OpenMetrics);
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "# HELP {name}{shown} {help}\n# TYPE {name}{shown} {kind}\n"
        );
        for sample in &family.samples {
            match &sample.value {
                SampleValue::Number(value) => {
                    line(&mut out, name, total, &sample.labels, None, *value);
                    out.push('\n');
                }
                SampleValue::Histogram { snapshot, scale } => {
                    histogram(&mut out, name, &sample.labels, snapshot, *scale, form);
                }
            }
        }
    }
    out
}

fn histogram(
    out: &mut String,
    name: &str,
    labels: &[(String, String)],
    snapshot: &HistogramSnapshot,
    scale: f64,
    form: Form,
) {
    // The recorded unit is the exported one: its magnitude is the user's, so the range is wide.
    let wide = (scale - 1.0).abs() < f64::EPSILON;
    let (first, last, step) = if wide { (-20, 40, 2) } else { (0, 26, 1) };
    let mut bucket = |le: &str, from: i32, to: i32, count: u64| {
        line(out, name, "_bucket", labels, Some(le), count as f64);
        if form == Form::OpenMetrics
            && let Some(exemplar) = snapshot.exemplar_within(from, to)
        {
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {}",
                exemplar.trace_id_hex(),
                exemplar.span_id_hex(),
                number(exemplar.value * scale),
                number(exemplar.at_ms / 1_000.0)
            );
        }
        out.push('\n');
    };
    let mut below = i32::MIN;
    for octave in (first..=last).step_by(step) {
        let edge = number(f64::from(octave).exp2() * scale);
        bucket(&edge, below, octave, snapshot.below_power(octave));
        below = octave;
    }
    bucket("+Inf", below, i32::MAX, snapshot.count);
    line(out, name, "_sum", labels, None, snapshot.sum * scale);
    out.push('\n');
    line(out, name, "_count", labels, None, snapshot.count as f64);
    out.push('\n');
}

/// One line without its end.
fn line(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(String, String)],
    le: Option<&str>,
    value: f64,
) {
    out.push_str(name);
    out.push_str(suffix);
    let pairs = labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(le.map(|edge| ("le", edge)));
    let mut separator = '{';
    for (name, value) in pairs {
        // Writing to a String cannot fail.
        let _ = write!(out, "{separator}{name}=\"{}\"", escape(value, true));
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    let _ = write!(out, " {}", number(value));
}

/// Shortest decimal that reads back as the same `f64`; `OpenMetrics` wants edges with a point.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value:.1}")
    } else {
        format!("{value}")
    }
}

fn escape(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}
