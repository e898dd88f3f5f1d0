//! Connections: who is linked to whom, by which protocol, and how much went through.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::handle::slot_of;
use crate::limits::ADDRESS_BYTES;
use crate::{Fields, Handle, HandleAllocator, Limits, RegistryError, validate};

/// Bytes of a protocol's name.
const PROTOCOL_BYTES: usize = 32;
/// Largest counter a JSON number holds exactly: 2^53 - 1.
const COUNTER: u64 = (1 << 53) - 1;

/// How a connection is announced.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnectionSpec {
    /// `http`, `quic`, `worker`; at most 32 bytes.
    pub protocol: String,
    /// The other end, at most 2,048 bytes.
    pub remote: String,
    /// Name of the service it serves.
    pub service: Option<String>,
    /// At most 32 entries of at most 64 and 1,024 bytes.
    pub metadata: BTreeMap<String, String>,
}

/// A connection's life, which only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words are their own documentation")]
pub enum ConnectionState {
    Connecting,
    Open,
    Closing,
    Closed,
}

impl ConnectionState {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "connecting" => Some(Self::Connecting),
            "open" => Some(Self::Open),
            "closing" => Some(Self::Closing),
            "closed" => Some(Self::Closed),
            _ => None,
        }
    }
}

/// What changes; absent fields stay. Counters are totals, not differences.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConnectionPatch {
    /// New state, not an earlier one.
    pub state: Option<ConnectionState>,
    /// Requests carried so far.
    pub requests: Option<u64>,
    /// Bytes received so far.
    pub bytes_in: Option<u64>,
    /// Bytes sent so far.
    pub bytes_out: Option<u64>,
    /// Replaces all entries.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// A connection as it is. JSON shape of the contract's `ConnectionInfo`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(
    missing_docs,
    reason = "field by field the contract's ConnectionInfo, documented there"
)]
pub struct ConnectionInfo {
    pub handle: Handle,
    pub protocol: String,
    pub remote: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub state: ConnectionState,
    pub opened_ms: f64,
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

impl ConnectionSpec {
    /// From JSON of the contract's `ConnectionSpec`.
    ///
    /// # Errors
    /// `InvalidArgument` or `LimitExceeded` with the path of the field.
    pub fn from_json(json: &str) -> Result<Self, RegistryError> {
        let mut fields = Fields::parse(
            json,
            "spec",
            false,
            &["protocol", "remote", "service", "metadata"],
        )?;
        let required = |field: &str| RegistryError::invalid(field, "is required");
        Ok(Self {
            protocol: fields
                .string("protocol")?
                .ok_or_else(|| required("protocol"))?,
            remote: fields.string("remote")?.ok_or_else(|| required("remote"))?,
            service: fields.string("service")?,
            metadata: fields.string_map("metadata")?.unwrap_or_default(),
        })
    }

    fn validate(&self) -> Result<(), RegistryError> {
        validate::word("protocol", &self.protocol, 1, PROTOCOL_BYTES)?;
        validate::word("remote", &self.remote, 1, ADDRESS_BYTES)?;
        if let Some(service) = &self.service {
            validate::name("service", service)?;
        }
        validate::metadata("metadata", &self.metadata)
    }
}

impl ConnectionPatch {
    /// From JSON: any of `state`, `requests`, `bytesIn`, `bytesOut`, `metadata`.
    ///
    /// # Errors
    /// `InvalidArgument` or `LimitExceeded` with the path of the field.
    pub fn from_json(json: &str) -> Result<Self, RegistryError> {
        let mut fields = Fields::parse(
            json,
            "patch",
            false,
            &["state", "requests", "bytesIn", "bytesOut", "metadata"],
        )?;
        let state = match fields.string("state")? {
            None => None,
            Some(word) => Some(ConnectionState::parse(&word).ok_or_else(|| {
                RegistryError::invalid("state", "must be one of connecting, open, closing, closed")
            })?),
        };
        Ok(Self {
            state,
            requests: fields.integer("requests", 0, COUNTER)?,
            bytes_in: fields.integer("bytesIn", 0, COUNTER)?,
            bytes_out: fields.integer("bytesOut", 0, COUNTER)?,
            metadata: fields.string_map("metadata")?,
        })
    }
}

/// All connections of one mesh. Cold: every call takes one mutex.
#[derive(Debug)]
pub struct ConnectionRegistry {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    handles: HandleAllocator,
    /// By slot.
    connections: BTreeMap<usize, ConnectionInfo>,
}

impl ConnectionRegistry {
    /// An empty registry.
    pub fn new(limits: Limits) -> Self {
        let handles = HandleAllocator::new(limits.connections);
        Self {
            inner: Mutex::new(Inner {
                handles,
                connections: BTreeMap::new(),
            }),
        }
    }

    /// Announces a connection; it is `connecting`.
    ///
    /// # Errors
    /// The wrong field, or `connections` when there are too many.
    pub fn open(&self, spec: ConnectionSpec, now_us: u64) -> Result<Handle, RegistryError> {
        spec.validate()?;
        let mut inner = self.lock();
        let handle = inner.handles.allocate("connections")?;
        let info = ConnectionInfo {
            handle,
            protocol: spec.protocol,
            remote: spec.remote,
            service: spec.service,
            metadata: spec.metadata,
            state: ConnectionState::Connecting,
            opened_ms: now_us as f64 / 1_000.0,
            requests: 0,
            bytes_in: 0,
            bytes_out: 0,
        };
        inner.connections.insert(slot_of(handle), info);
        Ok(handle)
    }

    /// Changes what the patch names.
    ///
    /// # Errors
    /// `connection` when stale; `state` when it would go back; the wrong metadata entry.
    pub fn update(&self, connection: Handle, patch: ConnectionPatch) -> Result<(), RegistryError> {
        if let Some(metadata) = &patch.metadata {
            validate::metadata("metadata", metadata)?;
        }
        let mut inner = self.lock();
        let info = inner.get(connection)?;
        if let Some(state) = patch.state {
            if state < info.state {
                return Err(RegistryError::invalid(
                    "state",
                    "cannot go back to an earlier one",
                ));
            }
            info.state = state;
        }
        info.requests = patch.requests.unwrap_or(info.requests);
        info.bytes_in = patch.bytes_in.unwrap_or(info.bytes_in);
        info.bytes_out = patch.bytes_out.unwrap_or(info.bytes_out);
        if let Some(metadata) = patch.metadata {
            info.metadata = metadata;
        }
        Ok(())
    }

    /// Forgets a connection.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn close(&self, connection: Handle) -> Result<(), RegistryError> {
        let mut inner = self.lock();
        inner.get(connection)?;
        inner.connections.remove(&slot_of(connection));
        inner.handles.free(connection);
        Ok(())
    }

    /// All of them, in slot order.
    pub fn list(&self) -> Vec<ConnectionInfo> {
        self.lock().connections.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn get(&mut self, connection: Handle) -> Result<&mut ConnectionInfo, RegistryError> {
        self.connections
            .get_mut(&slot_of(connection))
            .filter(|info| info.handle == connection)
            .ok_or_else(|| RegistryError::stale("connection"))
    }
}
