//! Any bytes are refused, or are a certificate that is those bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_transport::identity::{Certificate, MAX_CERTIFICATE_BYTES};
use samples::{samples, tried};

fuzz_target!(|input: &[u8]| {
    let bytes = tried(input, &samples().certificate);
    if let Ok(certificate) = Certificate::decode(&bytes) {
        assert!(bytes.len() <= MAX_CERTIFICATE_BYTES);
        assert_eq!(certificate.as_bytes(), bytes);
        let again = Certificate::decode(certificate.as_bytes()).unwrap();
        assert_eq!(again.node_id(), certificate.node_id());
    }
});
