//! CSV (RFC 4180) with a header: one row a series, for a spreadsheet.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::collect::SampleValue;
use crate::json::labels_json;
use crate::{Family, Kind};

/// `name,kind,labels,value,count,sum,max,p50,p90,p95,p99,p999`, lines ending in CR LF, in exported units. Labels are a JSON
/// object in one field: so a field never begins with a character that a spreadsheet takes for a formula, whatever a
/// label holds. What a kind does not have is empty.
pub fn render_csv(families: &BTreeMap<String, Family>) -> String {
    let mut out = String::from("name,kind,labels,value,count,sum,max,p50,p90,p95,p99,p999\r\n");
    for (name, family) in families {
        let total = if family.kind == Kind::Counter {
            "_total"
        } else {
            ""
        };
        for sample in &family.samples {
            let labels = labels_json(&sample.labels).replace('"', "\"\"");
            // Writing to a String cannot fail.
            let _ = write!(out, "{name}{total},{},\"{labels}\",", family.kind.as_str());
            let _ = match &sample.value {
                SampleValue::Number(value) => write!(out, "{value},,,,,,,,"),
                SampleValue::Histogram { snapshot, scale } => {
                    let at = |q| snapshot.quantile(q) * scale;
                    write!(
                        out,
                        ",{},{},{},{},{},{},{},{}",
                        snapshot.count,
                        snapshot.sum * scale,
                        snapshot.max * scale,
                        at(0.5),
                        at(0.9),
                        at(0.95),
                        at(0.99),
                        at(0.999)
                    )
                }
            };
            out.push_str("\r\n");
        }
    }
    out
}
