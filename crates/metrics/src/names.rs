//! What a metric and a label may be called.

use std::fmt;

/// A refused metric: which field, why, and the bound it crossed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricError {
    /// `name`, `labels`, `labels.<name>`, `help`, `series`.
    pub field: String,
    /// What was wrong and what is expected.
    pub message: String,
    /// The bound, when one was crossed.
    pub limit: Option<u32>,
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for MetricError {}

impl MetricError {
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            limit: None,
        }
    }

    pub(crate) fn limit(
        field: impl Into<String>,
        message: impl Into<String>,
        limit: usize,
    ) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            limit: Some(limit as u32),
        }
    }
}

/// Longest name, bytes.
pub(crate) const MAX_NAME: usize = 256;
/// Longest label value or help, bytes.
pub(crate) const MAX_TEXT: usize = 1_024;
/// Labels of one series.
pub(crate) const MAX_LABELS: usize = 16;

/// Prometheus data model: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub(crate) fn metric(name: &str) -> Result<(), MetricError> {
    word("name", name, b"_:")
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, `__` is reserved; `le` and `quantile` belong to the format.
pub(crate) fn labels(labels: &[(String, String)]) -> Result<(), MetricError> {
    if labels.len() > MAX_LABELS {
        return Err(MetricError::limit("labels", "too many labels", MAX_LABELS));
    }
    for (name, value) in labels {
        let field = format!("labels.{name}");
        word(&field, name, b"_")?;
        if name.starts_with("__") || name == "le" || name == "quantile" {
            return Err(MetricError::invalid(field, "this label name is reserved"));
        }
        if value.len() > MAX_TEXT {
            return Err(MetricError::limit(field, "the value is too long", MAX_TEXT));
        }
    }
    Ok(())
}

fn word(field: &str, name: &str, extra: &[u8]) -> Result<(), MetricError> {
    if name.len() > MAX_NAME {
        return Err(MetricError::limit(field, "the name is too long", MAX_NAME));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || extra.contains(&byte);
    if !name.bytes().all(fits)
        || name
            .bytes()
            .next()
            .is_none_or(|first| first.is_ascii_digit())
    {
        return Err(MetricError::invalid(
            field,
            "a name is letters, digits and underscores and does not start with a digit",
        ));
    }
    Ok(())
}
