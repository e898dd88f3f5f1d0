//! Root bundles and revocation lists: what is decoded is those bytes, and no changed one comes into force.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_transport::identity::{RevocationList, TrustBundle};
use samples::{samples, tried};

fuzz_target!(|input: &[u8]| {
    let samples = samples();
    let bytes = tried(input, &samples.bundle);
    if let Ok(bundle) = TrustBundle::decode(&bytes) {
        assert_eq!(bundle.as_bytes(), bytes);
    }
    if bytes != samples.bundle {
        assert!(!matches!(samples.issuer.install_bundle(&bytes), Ok(true)));
    }
    let bytes = tried(input, &samples.revocations);
    if let Ok(list) = RevocationList::decode(&bytes) {
        assert_eq!(list.as_bytes(), bytes);
    }
    if bytes != samples.revocations {
        assert!(!matches!(
            samples.issuer.install_revocations(&bytes),
            Ok(true)
        ));
    }
});
