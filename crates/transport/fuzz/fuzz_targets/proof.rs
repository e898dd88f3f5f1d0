//! No bytes but the proof itself prove a node, and no changed request gets a certificate.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_transport::core::Authenticator;
use samples::{samples, tried};

fuzz_target!(|input: &[u8]| {
    let samples = samples();
    let bytes = tried(input, &samples.proof);
    let verified = Authenticator::verify(&*samples.issuer, &samples.channel, &bytes);
    assert_eq!(verified.is_ok(), bytes == samples.proof);
    // The token of the sample is spent: not even the request itself is answered again.
    let bytes = tried(input, &samples.request);
    assert!(samples.issuer.answer(&samples.joining, &bytes).is_err());
});
