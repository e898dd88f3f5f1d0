//! Any text is a global address or refused; what is accepted is written in one way, which reads back to the same.
//!
//! `cargo +nightly fuzz run address` in `crates/transport`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_transport::address::GlobalAddress;

fuzz_target!(|text: &str| {
    if let Ok(address) = text.parse::<GlobalAddress>() {
        let written = address.to_string();
        assert_eq!(written.parse(), Ok(address));
        assert_eq!(
            GlobalAddress::from_bits(address.bits(), address.port()),
            Ok(address)
        );
        assert_eq!(address.prefix() >> 40, 0xfd);
        assert!(written.len() <= 47 && !written.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
});
