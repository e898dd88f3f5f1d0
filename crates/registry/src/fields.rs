//! Reads one JSON object strictly: every field typed, unknown ones refused, each error with its path.
//!
//! `serde` alone would take `null` (what JavaScript makes of `NaN`) for "not given" and cannot say which bound of
//! which field was crossed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::RegistryError;
use crate::limits::{JSON_BYTES, METADATA_KEY_BYTES};

/// The fields of one object, taken one by one.
#[derive(Debug)]
pub struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// Parses `json`, at most 256 KiB, as an object that has no other fields than `allowed`. `root` names it in
    /// errors (`spec`). With `qualified`, the paths of its fields begin with it: `policy.timeoutMs`.
    ///
    /// # Errors
    /// `LimitExceeded` or `InvalidArgument`.
    pub fn parse(
        json: &str,
        root: &str,
        qualified: bool,
        allowed: &[&str],
    ) -> Result<Self, RegistryError> {
        if json.len() > JSON_BYTES {
            return Err(RegistryError::limit(root, JSON_BYTES, "bytes of JSON"));
        }
        let value =
            serde_json::from_str(json).map_err(|_| RegistryError::invalid(root, "must be JSON"))?;
        Self::new(value, root, if qualified { root } else { "" }, allowed)
    }

    fn new(value: Value, root: &str, path: &str, allowed: &[&str]) -> Result<Self, RegistryError> {
        let Value::Object(map) = value else {
            return Err(RegistryError::invalid(root, "must be an object"));
        };
        let fields = Self {
            path: path.to_owned(),
            map,
        };
        if let Some(key) = fields
            .map
            .keys()
            .filter(|key| !allowed.contains(&key.as_str()))
            .min()
        {
            let known = allowed.join(", ");
            if key.len() > METADATA_KEY_BYTES || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(RegistryError::invalid(
                    root,
                    &format!("has an unknown field; known are {known}"),
                ));
            }
            return Err(RegistryError::invalid(
                &fields.at(key),
                &format!("is not a field; known are {known}"),
            ));
        }
        Ok(fields)
    }

    /// Path of a field of this object.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// A string.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else.
    pub fn string(&mut self, key: &str) -> Result<Option<String>, RegistryError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(RegistryError::invalid(&self.at(key), "must be a string")),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else.
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>, RegistryError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(RegistryError::invalid(
                &self.at(key),
                "must be true or false",
            )),
        }
    }

    /// A number between `min` and `max`.
    ///
    /// # Errors
    /// `InvalidArgument`, with the bound when it is outside.
    pub fn number(&mut self, key: &str, min: f64, max: f64) -> Result<Option<f64>, RegistryError> {
        let Some(value) = self.map.remove(key) else {
            return Ok(None);
        };
        let Some(number) = value.as_f64() else {
            return Err(RegistryError::invalid(&self.at(key), "must be a number"));
        };
        if (min..=max).contains(&number) {
            return Ok(Some(number));
        }
        Err(RegistryError::out_of_range(&self.at(key), min, max, number))
    }

    /// A whole number between `min` and `max`, both below 2^53.
    ///
    /// # Errors
    /// `InvalidArgument`, with the bound when it is outside.
    pub fn integer(&mut self, key: &str, min: u64, max: u64) -> Result<Option<u64>, RegistryError> {
        let Some(number) = self.number(key, min as f64, max as f64)? else {
            return Ok(None);
        };
        if number.fract() != 0.0 {
            return Err(RegistryError::invalid(
                &self.at(key),
                "must be a whole number",
            ));
        }
        Ok(Some(number as u64))
    }

    /// A whole number that fits 32 bits.
    ///
    /// # Errors
    /// See [`Fields::integer`].
    pub fn integer32(
        &mut self,
        key: &str,
        min: u32,
        max: u32,
    ) -> Result<Option<u32>, RegistryError> {
        Ok(self
            .integer(key, u64::from(min), u64::from(max))?
            .map(|number| number as u32))
    }

    /// An array of strings.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else.
    pub fn strings(&mut self, key: &str) -> Result<Option<Vec<String>>, RegistryError> {
        let Some(value) = self.map.remove(key) else {
            return Ok(None);
        };
        let Value::Array(values) = value else {
            return Err(RegistryError::invalid(
                &self.at(key),
                "must be an array of strings",
            ));
        };
        let mut strings = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let Value::String(text) = value else {
                return Err(RegistryError::invalid(
                    &format!("{}[{index}]", self.at(key)),
                    "must be a string",
                ));
            };
            strings.push(text);
        }
        Ok(Some(strings))
    }

    /// An object whose values are strings.
    ///
    /// # Errors
    /// `InvalidArgument` when it is something else.
    pub fn string_map(
        &mut self,
        key: &str,
    ) -> Result<Option<BTreeMap<String, String>>, RegistryError> {
        let Some(value) = self.map.remove(key) else {
            return Ok(None);
        };
        let Value::Object(map) = value else {
            return Err(RegistryError::invalid(
                &self.at(key),
                "must be an object of strings",
            ));
        };
        let mut entries = BTreeMap::new();
        for (name, value) in map {
            let Value::String(text) = value else {
                return Err(RegistryError::invalid(
                    &self.at(key),
                    "must be an object of strings",
                ));
            };
            entries.insert(name, text);
        }
        Ok(Some(entries))
    }

    /// An object inside this one.
    ///
    /// # Errors
    /// See [`Fields::parse`].
    pub fn object(&mut self, key: &str, allowed: &[&str]) -> Result<Option<Self>, RegistryError> {
        let Some(value) = self.map.remove(key) else {
            return Ok(None);
        };
        let path = self.at(key);
        Self::new(value, &path, &path, allowed).map(Some)
    }
}
