//! What exists in a mesh: services, their instances, connections, and how to find them.
//!
//! Enters here: names, places, weights, health, leases, change events, discovery.
//! Deliberately absent: anything that happens to a message. In-flight counts, latency estimates and breakers belong
//! to the routing crate; discovery sees them through [`LoadSource`]. No clock either: every call that needs the
//! time takes `now_us`, microseconds on the mesh's monotonic clock.
//!
//! Readers pin an epoch and read an immutable [`RegistrySnapshot`]; they never wait. Writers take one mutex, change
//! a working copy that shares its chunks with the published one, and publish with one store.
//!
//! Every refusal is a [`RegistryError`]: status, path of the field, the limit that was crossed, words. All checks
//! come before the first change, so a refused call changes nothing.
#![forbid(unsafe_code)]

mod chunked;
mod connection;
pub mod discovery;
mod error;
mod event;
pub mod exchange;
mod fields;
mod handle;
mod health;
mod instance;
pub mod limits;
mod load;
mod name_index;
mod service_registry;
mod snapshot;
pub mod status;
pub mod validate;
mod writer;

pub use connection::{
    ConnectionInfo, ConnectionPatch, ConnectionRegistry, ConnectionSpec, ConnectionState,
};
pub use error::RegistryError;
pub use event::{EventBatch, EventKind, EventLog, MeshEvent, Watermark};
pub use fields::Fields;
pub use handle::{Handle, HandleAllocator, SLOT_BITS, SLOT_MASK, slot_of};
pub use health::{Breaker, Health};
pub use instance::{InstanceInfo, InstancePatch, InstanceRecord, InstanceSpec};
pub use limits::Limits;
pub use load::{InstanceLoad, LoadSource, NoLoad};
pub use service_registry::ServiceRegistry;
pub use snapshot::{RegistrySnapshot, ServiceRecord};
pub use status::Status;
