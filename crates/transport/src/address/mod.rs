//! Where nodes are: global addresses, the signed records that resolve them, and how they are asked for.
//!
//! An address names, a record locates, a certificate proves. A [`GlobalAddress`] is derived from a node's id and stays when
//! the node moves; a [`SignedLocator`] says where it is at the moment, signed by the node itself; and whoever answers
//! there still has to prove the full id before a connection stands. So a wrong record costs a failed attempt, never trust.
//!
//! What may enter: the address, the record and its checks, the cache, the resolver over the existing connections, the
//! translation from address to connection. What is deliberately absent: dialling (the core does it), the certificates
//! (`identity`, behind [`LocatorSigner`] and [`LocatorVerifier`]), relays (`relay`), and what an asset is.
#![forbid(unsafe_code)]

mod cache;
mod frame;
mod global_address;
mod locator;
mod locators;
mod query;
mod signed_locator;
mod translation;

pub use cache::{CacheLimits, CacheRefused, CacheStats, LocatorCache, Lookup};
pub use frame::MAX_FRAME_BYTES;
pub use global_address::{AddressError, GlobalAddress, NodeField};
pub use locator::{
    Endpoint, Locator, LocatorError, MAX_ENDPOINTS, MAX_LOCATOR_BYTES, MAX_TTL_SECONDS,
};
pub use locators::{KIND, LocatorLimits, LocatorOptions, Locators, ResolveError};
pub use query::{Reply, Source};
pub use signed_locator::{
    LOCATOR_KIND, LocatorRefused, LocatorSigner, LocatorVerifier, MAX_SIGNED_LOCATOR_BYTES,
    SignedLocator,
};
pub use translation::{Route, Translation, TranslationLimits, TranslationStats};
