//! Any text is a pattern or refused with a position inside it; what is accepted can be inserted, matched and removed.
//!
//! `cargo +nightly fuzz run pattern` in `crates/tables`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkmesh_tables::{CompressedRadixArena, epoch::Domain, radix::Pattern};

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    let table = CompressedRadixArena::new().expect("memory");
    match Pattern::parse(text) {
        Err(error) => {
            assert!(error.position <= text.len());
            assert!(table.insert_pattern(text, 1).is_err() && table.is_empty());
        }
        Ok(pattern) => {
            assert!(pattern.segments.len() <= Pattern::MAX_SEGMENTS && pattern.captures.len() <= Pattern::MAX_CAPTURES);
            assert_eq!(table.insert_pattern(text, 1), Ok(None));
            assert_eq!(table.insert_pattern(text, 2), Ok(Some(1)));
            let mut spans = [0; 2 * Pattern::MAX_CAPTURES];
            let reader = Domain::global().register();
            if let Some(found) = table.match_path(path.as_bytes(), &mut spans, &reader.pin()) {
                assert_eq!((found.value, found.captures), (2, pattern.captures.len()));
                for span in spans[..found.captures * 2].chunks(2) {
                    assert!(span[0] <= span[1] && span[1] as usize <= path.len());
                }
            }
            assert_eq!(table.remove_pattern(text), Ok(Some(2)));
            assert!(table.is_empty());
        }
    }
});
