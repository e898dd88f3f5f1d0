//! Any bytes are a locator, signed or not, or refused; what is accepted has one encoding, and is never believed unsigned.
//!
//! `cargo +nightly fuzz run locator` in `crates/transport`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_transport::address::{Locator, LocatorVerifier, MAX_ENDPOINTS, SignedLocator};
use linkmesh_transport::core::NodeId;
use linkmesh_transport::identity::IdentityError;

struct Nobody;

impl LocatorVerifier for Nobody {
    fn verify_locator(
        &self,
        _: &NodeId,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), IdentityError> {
        Err(IdentityError::BadSignature { object: "locator" })
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(locator) = Locator::decode(bytes) {
        assert!((1..=MAX_ENDPOINTS).contains(&locator.endpoints.len()));
        assert_eq!(locator.encode().as_deref(), Ok(bytes));
        assert!(locator.expires(u64::MAX / 2) >= locator.issued);
    }
    if let Ok(signed) = SignedLocator::decode(bytes) {
        assert_eq!(signed.as_bytes(), bytes);
        let locator = signed.locator();
        assert!(
            signed
                .verify(&locator.network, locator.issued, &Nobody)
                .is_err()
        );
    }
});
