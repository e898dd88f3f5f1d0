//! The rules for everything that comes from outside. Each names the field and the limit it crossed.

use std::collections::BTreeMap;

use crate::RegistryError;
use crate::limits::{
    METADATA, METADATA_KEY_BYTES, METADATA_VALUE_BYTES, NAME_BYTES, TAG_BYTES, TAGS, VERSION_BYTES,
};

/// `min..=max` bytes of printable ASCII without spaces (0x21 to 0x7E).
///
/// # Errors
/// `LimitExceeded` when too long, else `InvalidArgument`.
pub fn word(field: &str, text: &str, min: usize, max: usize) -> Result<(), RegistryError> {
    if text.len() < min {
        return Err(RegistryError {
            limit: Some(min as f64),
            ..RegistryError::invalid(field, "must not be empty")
        });
    }
    if text.len() > max {
        return Err(RegistryError::limit(field, max, "bytes"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(RegistryError::invalid(
            field,
            "must be printable ASCII without spaces",
        ));
    }
    Ok(())
}

/// A name: a [`word`] of at most 256 bytes that does not begin with `__`. Those are kept for the mesh itself, and
/// `__proto__` must never become the key of a JavaScript object.
///
/// # Errors
/// See [`word`].
pub fn name(field: &str, text: &str) -> Result<(), RegistryError> {
    word(field, text, 1, NAME_BYTES)?;
    reserved(field, text)
}

/// A name that comes as bytes.
///
/// # Errors
/// `InvalidArgument` when it is not UTF-8, else see [`name`].
pub fn name_bytes<'a>(field: &str, bytes: &'a [u8]) -> Result<&'a str, RegistryError> {
    if bytes.len() > NAME_BYTES {
        return Err(RegistryError::limit(field, NAME_BYTES, "bytes"));
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| RegistryError::invalid(field, "must be UTF-8"))?;
    name(field, text)?;
    Ok(text)
}

fn reserved(field: &str, text: &str) -> Result<(), RegistryError> {
    if text.starts_with("__") {
        return Err(RegistryError::invalid(
            field,
            "must not begin with __, which is reserved",
        ));
    }
    Ok(())
}

/// At most 32 tags, each a [`word`] of at most 64 bytes.
///
/// # Errors
/// See [`word`]; the field is `tags[3]`.
pub fn tags(field: &str, tags: &[String]) -> Result<(), RegistryError> {
    if tags.len() > TAGS {
        return Err(RegistryError::limit(field, TAGS, "tags"));
    }
    for (index, tag) in tags.iter().enumerate() {
        word(&format!("{field}[{index}]"), tag, 1, TAG_BYTES)?;
    }
    Ok(())
}

/// A semantic version of at most 64 bytes.
///
/// # Errors
/// `InvalidArgument` when it is none.
pub fn version(field: &str, text: &str) -> Result<(), RegistryError> {
    if text.len() > VERSION_BYTES {
        return Err(RegistryError::limit(field, VERSION_BYTES, "bytes"));
    }
    match semver::Version::parse(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(RegistryError::invalid(
            field,
            "must be a semantic version such as 1.4.0",
        )),
    }
}

/// At most 32 entries; keys are [`word`]s of at most 64 bytes that do not begin with `__`, values hold at most
/// 1,024 bytes and no NUL. Checked in the order of the keys.
///
/// # Errors
/// The field is `metadata.key`, or `metadata` when the key itself is wrong.
pub fn metadata(field: &str, entries: &BTreeMap<String, String>) -> Result<(), RegistryError> {
    if entries.len() > METADATA {
        return Err(RegistryError::limit(field, METADATA, "entries"));
    }
    for (key, value) in entries {
        word(field, key, 1, METADATA_KEY_BYTES)?;
        reserved(field, key)?;
        let path = format!("{field}.{key}");
        if value.len() > METADATA_VALUE_BYTES {
            return Err(RegistryError::limit(&path, METADATA_VALUE_BYTES, "bytes"));
        }
        if value.contains('\0') {
            return Err(RegistryError::invalid(&path, "must not contain NUL"));
        }
    }
    Ok(())
}

/// A whole number between `min` and `max`.
///
/// # Errors
/// `InvalidArgument` with the bound it crossed.
pub fn range(field: &str, value: u32, min: u32, max: u32) -> Result<(), RegistryError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(RegistryError::out_of_range(
        field,
        f64::from(min),
        f64::from(max),
        f64::from(value),
    ))
}
