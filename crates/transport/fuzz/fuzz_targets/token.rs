//! Any text is refused, or is a token that is written the same way again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_transport::identity::JoinToken;
use samples::{samples, tried};

fuzz_target!(|input: &[u8]| {
    let bytes = tried(input, &samples().token);
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return;
    };
    if let Ok(token) = text.parse::<JoinToken>() {
        let written = token.to_text();
        let again = written.as_str().parse::<JoinToken>().unwrap();
        assert_eq!(again.to_text().as_str(), written.as_str());
        assert_eq!(again.fingerprint(), token.fingerprint());
    }
});
