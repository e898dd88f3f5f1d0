//! What a scrape gathers before it is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Histogram, HistogramSnapshot};

/// Type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows. The family's name goes without `_total`; the writers add it.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

impl Kind {
    /// As every format calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// (name, value) of each label, shared between a series and its samples.
pub type Labels = Arc<[(String, String)]>;

/// One series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// (name, value), as given.
    pub labels: Labels,
    /// What was read.
    pub value: SampleValue,
}

/// Value of a [`Sample`].
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// Of a counter or gauge.
    Number(f64),
    /// Of a histogram; `scale` turns the recorded unit into the exported one (1e-6: microseconds to seconds).
    Histogram {
        /// In the recorded unit.
        snapshot: Box<HistogramSnapshot>,
        /// Exported units in one recorded unit.
        scale: f64,
    },
}

/// Every series of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Type of all its series.
    pub kind: Kind,
    /// For people.
    pub help: String,
    /// In the order of their labels.
    pub samples: Vec<Sample>,
}

/// Gathers series by family.
#[derive(Debug, Default)]
pub struct Collector {
    families: BTreeMap<String, Family>,
}

/// Something with metrics of its own: asked at each scrape, so that nothing is counted twice.
pub trait Collect {
    /// Adds the series to `out`.
    fn collect(&self, out: &mut Collector);
}

impl Collector {
    /// An empty collector.
    pub fn new() -> Self {
        Self::default()
    }

    /// A counter's series. `name` with or without `_total`.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(
            name.strip_suffix("_total").unwrap_or(name),
            Kind::Counter,
            help,
            labels,
            SampleValue::Number(value),
        );
    }

    /// A gauge's series.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, Kind::Gauge, help, labels, SampleValue::Number(value));
    }

    /// A histogram's series; `scale` as in [`SampleValue::Histogram`].
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        histogram: &Histogram,
        scale: f64,
    ) {
        self.snapshot(name, help, labels, histogram.snapshot(), scale);
    }

    /// As [`histogram`](Self::histogram), of one that was read already.
    pub fn snapshot(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        snapshot: HistogramSnapshot,
        scale: f64,
    ) {
        let value = SampleValue::Histogram {
            snapshot: Box::new(snapshot),
            scale,
        };
        self.add(name, Kind::Histogram, help, labels, value);
    }

    fn add(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        labels: &[(&str, &str)],
        value: SampleValue,
    ) {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.sample(name, kind, help, Sample { labels, value });
    }

    pub(crate) fn sample(&mut self, name: &str, kind: Kind, help: &str, sample: Sample) {
        if let Some(family) = self.families.get_mut(name) {
            // A name has one type; whoever came first decides, so that the text stays valid.
            if family.kind == kind {
                family.samples.push(sample);
            }
            return;
        }
        let family = Family {
            kind,
            help: help.to_owned(),
            samples: vec![sample],
        };
        self.families.insert(name.to_owned(), family);
    }

    /// The families by name.
    pub fn finish(self) -> BTreeMap<String, Family> {
        self.families
    }
}
