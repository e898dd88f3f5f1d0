//! Series by name and labels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::collect::{Labels, Sample, SampleValue};
use crate::names::{self, MAX_TEXT, MetricError};
use crate::{Collect, Collector, Counter, Gauge, Histogram, Kind};

/// One series, shared by everybody who asked for it.
#[derive(Debug, Clone)]
pub enum Metric {
    /// Only grows.
    Counter(Arc<Counter>),
    /// Goes up and down.
    Gauge(Arc<Gauge>),
    /// A distribution.
    Histogram(Arc<Histogram>),
}

impl Metric {
    /// Adds to a counter, sets a gauge, records into a histogram. `false`: the value is refused
    /// (NaN, infinite, or negative where that has no meaning).
    pub fn record(&self, value: f64) -> bool {
        match self {
            Self::Counter(counter) => counter.add(value),
            Self::Gauge(gauge) => gauge.set(value),
            Self::Histogram(histogram) => histogram.record(value),
        }
    }

    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Arc::default()),
            Kind::Gauge => Self::Gauge(Arc::default()),
            Kind::Histogram => Self::Histogram(Arc::default()),
        }
    }
}

#[derive(Debug)]
struct Series {
    kind: Kind,
    help: String,
    by_labels: BTreeMap<Labels, Metric>,
}

/// Every series, and how many there are.
#[derive(Debug, Default)]
struct Families {
    by_name: BTreeMap<String, Series>,
    series: usize,
}

/// Get-or-create of series, within a limit. The lock is taken to open a series and to list them, never to record or
/// while they are read and written: a thread that opens a series waits for no scrape.
#[derive(Debug, Default)]
pub struct MetricRegistry {
    families: Mutex<Families>,
}

impl MetricRegistry {
    /// Series in all families together.
    pub const MAX_SERIES: usize = 10_000;

    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The series of that name and those labels, made when there is none. The order of the labels does not matter.
    ///
    /// # Errors
    /// A name or label that Prometheus would refuse, a name that exists with another kind, or more than
    /// [`MAX_SERIES`](Self::MAX_SERIES) series.
    pub fn open(
        &self,
        kind: Kind,
        name: &str,
        mut labels: Vec<(String, String)>,
        help: &str,
    ) -> Result<Metric, MetricError> {
        names::metric(name)?;
        names::labels(&labels)?;
        if help.len() > MAX_TEXT {
            return Err(MetricError::limit("help", "the help is too long", MAX_TEXT));
        }
        labels.sort_unstable();
        if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(MetricError::invalid("labels", "a label is given twice"));
        }
        let name = if kind == Kind::Counter {
            name.strip_suffix("_total").unwrap_or(name)
        } else {
            name
        };
        let mut families = self.lock();
        if let Some(series) = families.by_name.get(name) {
            if series.kind != kind {
                return Err(MetricError::invalid(
                    "name",
                    format!(
                        "'{name}' is a {} already",
                        format!("{:?}", series.kind).to_lowercase()
                    ),
                ));
            }
            if let Some(metric) = series.by_labels.get(labels.as_slice()) {
                return Ok(metric.clone());
            }
        }
        if families.series >= Self::MAX_SERIES {
            return Err(MetricError::limit(
                "series",
                "too many series: is a label's value unbounded?",
                Self::MAX_SERIES,
            ));
        }
        families.series += 1;
        let series = families
            .by_name
            .entry(name.to_owned())
            .or_insert_with(|| Series {
                kind,
                help: help.to_owned(),
                by_labels: BTreeMap::new(),
            });
        let metric = Metric::new(kind);
        series.by_labels.insert(labels.into(), metric.clone());
        Ok(metric)
    }

    fn lock(&self) -> MutexGuard<'_, Families> {
        // A panic under this lock leaves at most an empty family behind.
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collect for MetricRegistry {
    fn collect(&self, out: &mut Collector) {
        // Under the lock only references are taken: a few hundred microseconds for 10,000 series.
        let listed: Vec<_> = self
            .lock()
            .by_name
            .iter()
            .map(|(name, series)| {
                let all: Vec<(Labels, Metric)> = series
                    .by_labels
                    .iter()
                    .map(|(labels, metric)| (Arc::clone(labels), metric.clone()))
                    .collect();
                (name.clone(), series.kind, series.help.clone(), all)
            })
            .collect();
        for (name, kind, help, all) in listed {
            for (labels, metric) in all {
                let value = match metric {
                    Metric::Counter(counter) => SampleValue::Number(counter.value()),
                    Metric::Gauge(gauge) => SampleValue::Number(gauge.value()),
                    Metric::Histogram(histogram) => SampleValue::Histogram {
                        snapshot: Box::new(histogram.snapshot()),
                        scale: 1.0,
                    },
                };
                out.sample(&name, kind, &help, Sample { labels, value });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn one_name_and_one_set_of_labels_is_one_series() {
        let registry = MetricRegistry::new();
        let open = |pairs| {
            registry
                .open(Kind::Counter, "orders_total", labels(pairs), "")
                .unwrap()
        };
        open(&[("a", "1"), ("b", "2")]).record(2.0);
        open(&[("b", "2"), ("a", "1")]).record(3.0);
        let Metric::Counter(counter) = open(&[("a", "1"), ("b", "2")]) else {
            panic!("a counter")
        };
        assert!((counter.value() - 5.0).abs() < f64::EPSILON);
    }

    #[test]
    fn bad_input_names_the_field() {
        let registry = MetricRegistry::new();
        let field = |kind, name: &str, pairs| {
            registry
                .open(kind, name, labels(pairs), "")
                .unwrap_err()
                .field
        };
        assert_eq!(field(Kind::Gauge, "", &[]), "name");
        assert_eq!(field(Kind::Gauge, "1st", &[]), "name");
        assert_eq!(field(Kind::Gauge, "a\0b", &[]), "name");
        assert_eq!(field(Kind::Gauge, &"x".repeat(257), &[]), "name");
        assert_eq!(
            field(Kind::Gauge, "ok", &[("__proto__", "x")]),
            "labels.__proto__"
        );
        assert_eq!(field(Kind::Gauge, "ok", &[("le", "x")]), "labels.le");
        assert_eq!(
            field(Kind::Gauge, "ok", &[("a", "x"), ("a", "y")]),
            "labels"
        );
        registry.open(Kind::Gauge, "ok", Vec::new(), "").unwrap();
        assert_eq!(field(Kind::Counter, "ok", &[]), "name");
    }

    #[test]
    fn an_unbounded_label_meets_the_limit() {
        let registry = MetricRegistry::new();
        for index in 0..MetricRegistry::MAX_SERIES {
            registry
                .open(
                    Kind::Gauge,
                    "level",
                    labels(&[("id", &index.to_string())]),
                    "",
                )
                .unwrap();
        }
        let refused = registry
            .open(Kind::Gauge, "level", labels(&[("id", "one more")]), "")
            .unwrap_err();
        assert_eq!(
            (refused.field.as_str(), refused.limit),
            ("series", Some(10_000))
        );
        registry
            .open(Kind::Gauge, "level", labels(&[("id", "7")]), "")
            .unwrap();
    }
}
