//! What is asked.

use crate::limits::{NAME_BYTES, TAGS, ZONE_BYTES};
use crate::{Fields, RegistryError, validate};

/// Results when the query does not say how many.
const DEFAULT_LIMIT: u32 = 20;
/// Most results of one query.
const MAX_LIMIT: u32 = 1_000;
/// Longest deadline, milliseconds.
const DEADLINE_MS: f64 = 60_000.0;

/// Tags an instance must have. Empty lists ask nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TagQuery {
    /// Every one of these.
    pub all: Vec<String>,
    /// At least one of these.
    pub any: Vec<String>,
    /// None of these.
    pub none: Vec<String>,
}

impl TagQuery {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty() && self.none.is_empty()
    }

    /// Whether an instance with `tags` fits.
    pub fn accepts(&self, tags: &[String]) -> bool {
        self.all.iter().all(|tag| tags.contains(tag))
            && (self.any.is_empty() || self.any.iter().any(|tag| tags.contains(tag)))
            && !self.none.iter().any(|tag| tags.contains(tag))
    }

    /// Share of `any` among `tags`; 1 when none is asked.
    pub fn share(&self, tags: &[String]) -> f64 {
        if self.any.is_empty() {
            return 1.0;
        }
        self.any.iter().filter(|tag| tags.contains(tag)).count() as f64 / self.any.len() as f64
    }
}

/// A checked query.
#[derive(Debug, Clone, PartialEq)]
pub struct DiscoveryQuery {
    /// What decides the answer, and so the key of the result cache.
    pub(crate) key: QueryKey,
    /// Time allowed, microseconds.
    pub(crate) deadline_us: Option<u64>,
}

/// Everything of a query but its deadline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct QueryKey {
    pub(crate) name: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) fuzzy: Option<String>,
    pub(crate) tags: TagQuery,
    pub(crate) limit: u32,
    pub(crate) zone: String,
}

impl DiscoveryQuery {
    /// From JSON of the contract's `DiscoveryQuery`; `zone` is the mesh's, for a query that names none.
    ///
    /// # Errors
    /// `InvalidArgument` or `LimitExceeded` with the path of the field.
    pub fn from_json(json: &str, zone: &str) -> Result<Self, RegistryError> {
        let known = [
            "name",
            "prefix",
            "fuzzy",
            "tags",
            "limit",
            "deadlineMs",
            "zone",
        ];
        let mut fields = Fields::parse(json, "query", false, &known)?;
        let name = fields.string("name")?;
        let prefix = fields.string("prefix")?;
        let fuzzy = fields.string("fuzzy")?;
        let tags = match fields.object("tags", &["all", "any", "none"])? {
            None => TagQuery::default(),
            Some(mut tags) => TagQuery {
                all: tags.strings("all")?.unwrap_or_default(),
                any: tags.strings("any")?.unwrap_or_default(),
                none: tags.strings("none")?.unwrap_or_default(),
            },
        };
        let limit = fields
            .integer32("limit", 1, MAX_LIMIT)?
            .unwrap_or(DEFAULT_LIMIT);
        let deadline_us = fields
            .number("deadlineMs", 0.0, DEADLINE_MS)?
            .map(|ms| (ms * 1_000.0) as u64);
        let zone = fields.string("zone")?.unwrap_or_else(|| zone.to_owned());

        for (field, text) in [("name", &name), ("prefix", &prefix), ("fuzzy", &fuzzy)] {
            if let Some(text) = text {
                validate::word(field, text, 1, NAME_BYTES)?;
            }
        }
        validate::tags("tags.all", &tags.all)?;
        validate::tags("tags.any", &tags.any)?;
        validate::tags("tags.none", &tags.none)?;
        if tags.all.len() + tags.any.len() + tags.none.len() > TAGS {
            return Err(RegistryError::limit("tags", TAGS, "tags"));
        }
        validate::word("zone", &zone, 0, ZONE_BYTES)?;
        Ok(Self {
            key: QueryKey {
                name,
                prefix,
                fuzzy,
                tags,
                limit,
                zone,
            },
            deadline_us,
        })
    }
}

impl QueryKey {
    /// Whether a change of `service` can change the answer.
    pub(crate) fn is_touched_by(&self, service: &str) -> bool {
        match (&self.name, &self.prefix) {
            (Some(name), _) => name == service,
            (None, Some(prefix)) => service.starts_with(prefix.as_str()),
            (None, None) => true,
        }
    }
}
