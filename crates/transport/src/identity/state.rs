//! What a node has on disk, and how it is read back.
//!
//! ```text
//! identity/node.key           its two secret keys
//! identity/node.chain         its certificates
//! identity/trust.bundle       whom it trusts
//! identity/trust.revocations  whom not; absent while nobody was revoked
//! identity/issuer.address     where its certificate is renewed; absent when the network's keys are here
//! ```

use std::path::Path;

use super::bundle::{MAX_BUNDLE_BYTES, TrustBundle};
use super::chain::{IssuedChain, MAX_CHAIN_BYTES};
use super::error::IdentityError;
use super::folder::Folder;
use super::revocation::{MAX_REVOCATION_LIST_BYTES, RevocationList};
use super::trust::Trust;

pub(super) const KEY: &str = "node.key";
pub(super) const CHAIN: &str = "node.chain";
pub(super) const BUNDLE: &str = "trust.bundle";
pub(super) const REVOCATIONS: &str = "trust.revocations";
pub(super) const ISSUER_ADDRESS: &str = "issuer.address";
/// The folder inside the data folder.
const FOLDER: &str = "identity";

/// The identity folder of a data folder, made when `create` says so.
pub(super) fn folder(data: &Path, create: bool) -> Result<Folder, IdentityError> {
    let path = data.join(FOLDER);
    if create {
        Folder::open_or_create(&path)
    } else {
        Folder::open(&path)
    }
}

/// Reads bundle and list. Both are signed; a list that its bundle does not believe is refused, not ignored.
pub(super) fn load_trust(folder: &Folder) -> Result<Trust, IdentityError> {
    let bundle = TrustBundle::decode(&folder.read(BUNDLE, MAX_BUNDLE_BYTES)?)?;
    let trust = Trust::new(bundle);
    match folder.read(REVOCATIONS, MAX_REVOCATION_LIST_BYTES) {
        Ok(bytes) => trust.with_revocations(RevocationList::decode(&bytes)?),
        Err(IdentityError::NotFound { .. }) => Ok(trust),
        Err(error) => Err(error),
    }
}

pub(super) fn load_chain(folder: &Folder) -> Result<IssuedChain, IdentityError> {
    IssuedChain::decode(&folder.read(CHAIN, MAX_CHAIN_BYTES)?)
}
