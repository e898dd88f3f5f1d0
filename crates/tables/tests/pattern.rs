//! What the pattern parser refuses, and that it never does anything else with what it is given.
#![cfg(not(any(loom, shuttle)))]

use linkmesh_tables::{
    CompressedRadixArena, PatternReason as Reason,
    epoch::Domain,
    radix::{Capture, Pattern, Segment},
};
use proptest::prelude::*;

#[test]
fn refusals_name_the_reason_and_the_place() {
    let long = "x".repeat(4_097);
    let segments = "/a".repeat(256);
    let captures = (0..33)
        .map(|number| format!("/:n{number}"))
        .collect::<Vec<_>>()
        .concat();
    let stars = format!("/{{all={}*}}", "*/".repeat(32));
    for (text, position, reason) in [
        ("", 0, Reason::Empty),
        (&long, 4_096, Reason::TooLong { limit: 4_096 }),
        (&segments, 511, Reason::TooManySegments { limit: 256 }),
        (&captures, 152, Reason::TooManyCaptures { limit: 32 }),
        (&stars, 70, Reason::TooManyCaptures { limit: 32 }),
        ("/a\0", 2, Reason::Nul),
        ("/:", 2, Reason::EmptyName),
        ("/:/b", 2, Reason::EmptyName),
        ("/{}", 2, Reason::EmptyName),
        ("/{=*}", 2, Reason::EmptyName),
        ("/{a b}", 3, Reason::BadName),
        ("/{é}", 2, Reason::BadName),
        ("/:a/{a}", 5, Reason::DuplicateName),
        ("/{a", 1, Reason::UnbalancedBrace),
        ("/{a=b", 1, Reason::UnbalancedBrace),
        ("/a}", 2, Reason::UnbalancedBrace),
        ("/{a={b}}", 4, Reason::UnbalancedBrace),
        ("/{a=}", 4, Reason::EmptyTemplateSegment),
        ("/{a=b//c}", 6, Reason::EmptyTemplateSegment),
        ("/{a=b/}", 6, Reason::EmptyTemplateSegment),
        ("/{a}{b}", 4, Reason::TwoCaptures),
        ("/{a}-{b}", 5, Reason::TwoCaptures),
        ("/:a-:b", 4, Reason::TwoCaptures),
        ("/x{a=b/*}", 2, Reason::TextBeforeTemplate),
        ("/x{a=**}", 2, Reason::TextBeforeTemplate),
        ("/a*", 2, Reason::StrayWildcard),
        ("/*a", 2, Reason::StrayWildcard),
        ("/***", 3, Reason::StrayWildcard),
        ("/{a=b*}", 5, Reason::StrayWildcard),
        ("/{a=*b}", 5, Reason::StrayWildcard),
        ("/{a}*", 4, Reason::StrayWildcard),
        ("/**/a", 4, Reason::RestNotLast),
        ("/{a=**/b}", 7, Reason::RestNotLast),
    ] {
        let error = Pattern::parse(text).expect_err(text);
        assert_eq!((error.position, error.reason), (position, reason), "{text}");
    }
}

#[test]
fn accepted_patterns_are_understood() {
    let one = |prefix: &str, suffix: &str| Segment::One {
        prefix: prefix.as_bytes().into(),
        suffix: suffix.as_bytes().into(),
    };
    let literal = |text: &str| Segment::Literal(text.as_bytes().into());
    let pattern = Pattern::parse("/v1/{name=shelves/*}:cancel").unwrap();
    assert_eq!(
        pattern.segments,
        [
            literal(""),
            literal("v1"),
            literal("shelves"),
            one("", ":cancel")
        ]
    );
    assert_eq!(
        pattern.captures,
        [Capture {
            name: "name".into(),
            first: 2,
            last: 3,
            head: 0,
            tail: 7
        }]
    );
    let pattern = Pattern::parse("v{major}.x/:id:verb/projects:search/").unwrap();
    assert_eq!(
        pattern.segments,
        [
            one("v", ".x"),
            one("", ":verb"),
            literal("projects:search"),
            literal("")
        ]
    );
    let pattern = Pattern::parse("/{kind=books}:list").unwrap();
    assert_eq!(pattern.segments, [literal(""), literal("books:list")]);
    assert_eq!(
        pattern.captures,
        [Capture {
            name: "kind".into(),
            first: 1,
            last: 1,
            head: 0,
            tail: 5
        }]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// As the fuzz target, with texts that are nearly patterns.
    #[test]
    fn any_text_is_a_pattern_or_refused(text in "([/:{}=*ab.é\\-_]|\\*\\*|\\{a=|/:b|\\PC){0,24}", path in "[/:ab.é]{0,12}") {
        let table = CompressedRadixArena::new().unwrap();
        match Pattern::parse(&text) {
            Err(error) => {
                prop_assert!(error.position <= text.len());
                prop_assert!(table.insert_pattern(&text, 1).is_err() && table.is_empty());
            }
            Ok(pattern) => {
                prop_assert_eq!(table.insert_pattern(&text, 1), Ok(None));
                prop_assert_eq!(table.insert_pattern(&text, 2), Ok(Some(1)));
                let mut spans = [0; 64];
                let reader = Domain::global().register();
                if let Some(found) = table.match_path(path.as_bytes(), &mut spans, &reader.pin()) {
                    prop_assert_eq!((found.value, found.captures), (2, pattern.captures.len()));
                    for span in spans[..found.captures * 2].chunks(2) {
                        prop_assert!(span[0] <= span[1] && span[1] as usize <= path.len());
                    }
                }
                prop_assert_eq!(table.remove_pattern(&text), Ok(Some(2)));
                prop_assert!(table.is_empty());
            }
        }
    }
}
