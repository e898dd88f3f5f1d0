//! Erlang terms, as `file:consult/1` reads them.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::collect::SampleValue;
use crate::{Family, Kind};

/// One map a family, each ended by a full stop, in exported units:
/// `#{name => <<"…">>, kind => counter, help => <<"…">>, series => [#{labels => #{<<"…">> => <<"…">>}, value => 1.0}]}.`
/// A histogram's series has `count, sum, max, p50, p90, p95, p99, p999` in place of `value`. Numbers are floats but
/// `count`; texts are UTF-8 binaries written in ASCII, so that no encoding has to be declared.
pub fn render_erlang(families: &BTreeMap<String, Family>) -> String {
    let mut out = String::with_capacity(4_096);
    for (name, family) in families {
        let total = if family.kind == Kind::Counter {
            "_total"
        } else {
            ""
        };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "#{{name => {}, kind => {}, help => {}, series => [",
            binary(&format!("{name}{total}")),
            family.kind.as_str(),
            binary(&family.help)
        );
        let mut separator = "";
        for sample in &family.samples {
            let labels: Vec<String> = sample
                .labels
                .iter()
                .map(|(name, value)| format!("{} => {}", binary(name), binary(value)))
                .collect();
            let _ = write!(
                out,
                "{separator}\n #{{labels => #{{{}}}, ",
                labels.join(", ")
            );
            separator = ",";
            match &sample.value {
                SampleValue::Number(value) => {
                    let _ = write!(out, "value => {}", float(*value));
                }
                SampleValue::Histogram { snapshot, scale } => {
                    let _ = write!(
                        out,
                        "count => {}, sum => {}, max => {}",
                        snapshot.count,
                        float(snapshot.sum * scale),
                        float(snapshot.max * scale)
                    );
                    for (field, q) in [
                        ("p50", 0.5),
                        ("p90", 0.9),
                        ("p95", 0.95),
                        ("p99", 0.99),
                        ("p999", 0.999),
                    ] {
                        let _ = write!(out, ", {field} => {}", float(snapshot.quantile(q) * scale));
                    }
                }
            }
            out.push('}');
        }
        out.push_str("]}.\n");
    }
    out
}

/// An Erlang float has digits on both sides of the point, also before an exponent.
fn float(value: f64) -> String {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    if exponent == "0" {
        format!("{mantissa}{point}")
    } else {
        format!("{mantissa}{point}e{exponent}")
    }
}

fn binary(text: &str) -> String {
    let mut out = String::from("<<\"");
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            ' '..='~' => out.push(character),
            // Writing to a String cannot fail.
            other => drop(write!(out, "\\x{{{:x}}}", u32::from(other))),
        }
    }
    out.push_str("\"/utf8>>");
    out
}
