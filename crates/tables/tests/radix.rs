//! The radix arena against the specification, tried pattern by pattern.
#![cfg(not(any(loom, shuttle)))]

mod common;

use std::collections::HashMap;

use common::{Cap, Naive, Seg, best};
use linkmesh_tables::{CompressedRadixArena, Match, RadixError, epoch::Domain};
use proptest::prelude::*;

/// Value and captured texts.
fn ask<'p>(arena: &CompressedRadixArena, path: &'p str) -> Option<(u32, Vec<&'p str>)> {
    let reader = Domain::global().register();
    let mut spans = [0; 64];
    let found = arena.match_path(path.as_bytes(), &mut spans, &reader.pin())?;
    let texts = spans[..found.captures * 2]
        .chunks(2)
        .map(|span| &path[span[0] as usize..span[1] as usize])
        .collect();
    Some((found.value, texts))
}

fn arena(patterns: &[&str]) -> CompressedRadixArena {
    let arena = CompressedRadixArena::new().unwrap();
    for (value, pattern) in patterns.iter().enumerate() {
        assert_eq!(
            arena.insert_pattern(pattern, value as u32),
            Ok(None),
            "{pattern}"
        );
    }
    arena
}

#[test]
fn the_examples_of_the_specification_hold() {
    let arena = arena(&[
        "/users/:id",                   // 0
        "/users/me",                    // 1
        "/v1/{name=shelves/*/books/*}", // 2
        "/v1/{name=shelves/*}:cancel",  // 3
        "/v1/{name=shelves/*}",         // 4
        "/files/**",                    // 5
        "/files/v{major}/index",        // 6
        "/files/:name.json",            // 7
        "/projects:search",             // 8
        "/*/x",                         // 9
        "/{all=**}:purge",              // 10
        "/a/*/{tail=**}",               // 11
    ]);
    for (path, expected) in [
        ("/users/7", Some((0, vec!["7"]))),
        ("/users/me", Some((1, vec![]))),
        ("/users/m", Some((0, vec!["m"]))),
        ("/users/", None),
        ("/users/7/", None),
        (
            "/v1/shelves/1/books/2",
            Some((2, vec!["shelves/1/books/2"])),
        ),
        ("/v1/shelves/1:cancel", Some((3, vec!["shelves/1"]))),
        ("/v1/shelves/:cancel", Some((4, vec!["shelves/:cancel"]))),
        ("/v1/shelves/1:other", Some((4, vec!["shelves/1:other"]))),
        ("/files", Some((5, vec![""]))),
        ("/files/", Some((5, vec![""]))),
        ("/files/a//b", Some((5, vec!["a//b"]))),
        ("/files/v2/index", Some((6, vec!["2"]))),
        ("/files/v2/other", Some((5, vec!["v2/other"]))),
        ("/files/v.json", Some((7, vec!["v"]))),
        ("/files/.json", Some((5, vec![".json"]))),
        ("/projects:search", Some((8, vec![]))),
        ("/projects/x", Some((9, vec!["projects"]))),
        ("/some/thing:purge", Some((10, vec!["some/thing"]))),
        ("/:purge", None),
        ("/a/b", Some((11, vec!["b", ""]))),
        ("/a/b/", Some((11, vec!["b", ""]))),
        ("/a/x", Some((11, vec!["x", ""]))),
        ("/a/b/c/d", Some((11, vec!["b", "c/d"]))),
        ("", None),
        ("users/7", None),
    ] {
        assert_eq!(ask(&arena, path), expected, "{path}");
    }
}

#[test]
fn an_equal_pattern_takes_over_and_renames() {
    let table = CompressedRadixArena::new().unwrap();
    let reader = Domain::global().register();
    let id = |path: &[u8]| {
        let Match { pattern_id, .. } = table.match_path(path, &mut [], &reader.pin()).unwrap();
        pattern_id
    };
    table.insert_pattern("/a/:x/b/{y}", 1).unwrap();
    let first = id(b"/a/1/b/2");
    assert_eq!(table.names(first).unwrap(), ["x", "y"]);
    assert_eq!(table.insert_pattern("/a/{x}/b/:y", 2), Ok(Some(1)));
    assert_eq!(id(b"/a/1/b/2"), first, "same captures, same names");
    assert_eq!(table.insert_pattern("/{all=a/*/b/*}", 3), Ok(Some(2)));
    assert_eq!(table.names(id(b"/a/1/b/2")).unwrap(), ["all"]);
    assert_eq!(table.names(first), None);
    assert_eq!(ask(&table, "/a/1/b/2"), Some((3, vec!["a/1/b/2"])));
    assert_eq!(table.len(), 1);
    assert_eq!(table.remove_pattern("/a/*/b/*"), Ok(Some(3)));
    assert_eq!(table.remove_pattern("/a/*/b/*"), Ok(None));
    assert!(table.is_empty() && ask(&table, "/a/1/b/2").is_none());
}

#[test]
fn short_arrays_get_whole_pairs_and_the_count_is_true() {
    let table = arena(&["/:a/:b/:c"]);
    let reader = Domain::global().register();
    let mut spans = [99; 5];
    let found = table
        .match_path(b"/1/22/333", &mut spans, &reader.pin())
        .unwrap();
    assert_eq!((found.captures, spans), (3, [1, 2, 3, 5, 99]));
}

#[test]
fn limits_are_told() {
    let table = CompressedRadixArena::new().unwrap();
    assert_eq!(
        table.insert_pattern("/", u32::MAX),
        Err(RadixError::ValueReserved)
    );
    assert_eq!(table.insert_prefix(b"", 1), Err(RadixError::PrefixEmpty));
    assert_eq!(
        table.insert_prefix(&[b'x'; 4_097], 1),
        Err(RadixError::PrefixTooLong {
            length: 4_097,
            limit: 4_096
        })
    );
    assert!(matches!(
        table.insert_pattern("/{", 1),
        Err(RadixError::Pattern(_))
    ));
    assert!(table.is_empty());
}

/// Every byte of a segment may begin a capture: more choices than a walk keeps at once.
#[test]
fn many_nested_choices_are_all_tried() {
    let table = CompressedRadixArena::new().unwrap();
    let mut naive = Vec::new();
    for count in 0..200 {
        let text = format!("/{}{{x}}/y{}", "a".repeat(count), count % 50);
        assert_eq!(table.insert_pattern(&text, count as u32), Ok(None));
        naive.push(Naive::read(&text));
    }
    for (count, last) in (0..220)
        .flat_map(|count| (0..52).map(move |last| (count, last)))
        .step_by(7)
    {
        let path = format!("/{}/y{last}", "a".repeat(count));
        assert_eq!(
            ask(&table, &path).map(|(value, _)| value as usize),
            best(&naive, &path).map(|(value, _)| value),
            "{path}"
        );
    }
}

/// A pattern as its parts, and its text.
fn pattern() -> impl Strategy<Value = Naive> {
    let text = || prop::sample::select(vec!["", "a", "b", "ab", "aab", "a:v", "ba", "é"]);
    let some = || prop::sample::select(vec!["a", "b", "ab", "aa"]);
    let post = || prop::sample::select(vec!["", "", ":v", "b", ".j"]);
    // Kind, texts, and whether braces begin here.
    let part = (0..6_u8, text(), some(), post());
    (
        prop::collection::vec(part, 1..5),
        0..4_u8,
        post(),
        any::<bool>(),
    )
        .prop_map(|(parts, end, last_post, rooted)| {
            let (mut segs, mut caps, mut texts): (Vec<Seg>, Vec<Cap>, Vec<String>) =
                (vec![], vec![], vec![]);
            if rooted {
                segs.push(Seg::Lit(String::new()));
                texts.push(String::new());
            }
            for (kind, text, some, post) in parts {
                let (at, name) = (segs.len(), format!("n{}", caps.len()));
                let mut cap = |first, last, name: &str| {
                    caps.push(Cap {
                        name: name.into(),
                        first,
                        last,
                    });
                };
                match kind {
                    0 | 1 => {
                        segs.push(Seg::Lit(text.into()));
                        texts.push(text.into());
                    }
                    2 => {
                        // `:n0b` would be a longer name.
                        let post = if post == "b" { "" } else { post };
                        segs.push(Seg::One(String::new(), post.into()));
                        texts.push(format!(":{name}{post}"));
                        cap((at, 0), (at, post.len()), &name);
                    }
                    3 => {
                        segs.push(Seg::One(some.into(), post.into()));
                        texts.push(format!("{some}{{{name}=*}}{post}"));
                        cap((at, some.len()), (at, post.len()), &name);
                    }
                    4 => {
                        segs.push(Seg::One(String::new(), String::new()));
                        texts.push("*".into());
                        cap((at, 0), (at, 0), "*");
                    }
                    _ => {
                        segs.extend([Seg::Lit(some.into()), Seg::One(String::new(), post.into())]);
                        texts.push(format!("{{{name}={some}/*}}{post}"));
                        cap((at, 0), (at + 1, post.len()), &name);
                    }
                }
            }
            if end < 2 {
                let (at, name) = (segs.len(), format!("n{}", caps.len()));
                let post = if end == 0 && last_post == "b" {
                    ""
                } else {
                    last_post
                };
                segs.push(Seg::Rest(post.into()));
                let (name, text) = if end == 0 {
                    ("**".into(), format!("**{post}"))
                } else {
                    (name.clone(), format!("{{{name}=**}}{post}"))
                };
                texts.push(text);
                caps.push(Cap {
                    name,
                    first: (at, 0),
                    last: (at, post.len()),
                });
            }
            let text = texts.join("/");
            Naive {
                text: if text.is_empty() { "/".into() } else { text },
                segs,
                caps,
            }
        })
        .prop_map(|mut naive| {
            // The one pattern that would be empty is the root instead.
            if naive.text == "/" {
                naive.segs = vec![Seg::Lit(String::new()), Seg::Lit(String::new())];
            }
            naive
        })
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec![
        "", "a", "b", "ab", "aab", "a:v", "ba", "é", "aa:v", "b.j", "aab.j", ":v", "x",
    ]);
    (prop::collection::vec(segment, 0..6), any::<bool>()).prop_map(|(segments, rooted)| {
        format!("{}{}", if rooted { "/" } else { "" }, segments.join("/"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn matches_what_the_specification_says(
        steps in prop::collection::vec((pattern(), 0..5_u8), 1..24),
        paths in prop::collection::vec(path(), 24),
        compact: bool,
    ) {
        let table = CompressedRadixArena::new().unwrap();
        let mut naive: Vec<Naive> = Vec::new();
        let mut values: Vec<u32> = Vec::new();
        for (step, (pattern, kind)) in steps.iter().enumerate() {
            let equal = naive.iter().position(|other| other.segs == pattern.segs);
            let before = equal.map(|at| values[at]);
            if let Some(at) = equal {
                naive.remove(at);
                values.remove(at);
            }
            if *kind == 0 {
                prop_assert_eq!(table.remove_pattern(&pattern.text), Ok(before), "{}", pattern.text);
            } else {
                prop_assert_eq!(table.insert_pattern(&pattern.text, step as u32), Ok(before), "{}", pattern.text);
                naive.push(pattern.clone());
                values.push(step as u32);
            }
            prop_assert_eq!(table.len(), naive.len());
        }
        if compact {
            table.compact().unwrap();
        }
        let reader = Domain::global().register();
        let guard = reader.pin();
        let own = naive.iter().enumerate().map(|(seed, pattern)| pattern.fill(seed as u32)).collect::<Vec<_>>();
        for path in paths.iter().chain(&own) {
            let mut spans = [0; 64];
            let found = table.match_path(path.as_bytes(), &mut spans, &guard);
            let expected = best(&naive, path);
            prop_assert_eq!(found.map(|found| found.value), expected.as_ref().map(|(at, _)| values[*at]), "{}", path);
            if let (Some(found), Some((at, expected))) = (found, expected) {
                let spans: Vec<_> = spans[..found.captures * 2].chunks(2).map(|span| (span[0] as usize, span[1] as usize)).collect();
                prop_assert_eq!(spans, expected, "{} in {}", path, naive[at].text);
                let names: Vec<_> = naive[at].caps.iter().map(|cap| cap.name.clone()).collect();
                prop_assert_eq!(table.names(found.pattern_id).unwrap(), names);
            }
        }
    }

    #[test]
    fn the_longest_prefix_is_found(
        steps in prop::collection::vec((prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 1..12), 0..4_u8), 1..80),
        keys in prop::collection::vec(prop::collection::vec(0..3_u8, 0..14), 20),
    ) {
        let table = CompressedRadixArena::new().unwrap();
        let mut map = HashMap::new();
        for (step, (prefix, kind)) in steps.iter().enumerate() {
            if *kind == 0 {
                prop_assert_eq!(table.remove_prefix(prefix), Ok(map.remove(prefix)));
            } else {
                prop_assert_eq!(table.insert_prefix(prefix, step as u32), Ok(map.insert(prefix.clone(), step as u32)));
            }
            prop_assert_eq!(table.len(), map.len());
        }
        let reader = Domain::global().register();
        for key in keys.iter().chain(steps.iter().map(|(prefix, _)| prefix)) {
            let expected = (0..=key.len()).rev().find_map(|length| map.get(&key[..length])).copied();
            prop_assert_eq!(table.longest_prefix(key, &reader.pin()), expected);
        }
    }
}

/// Two routes are swapped for each other all the time; a reader always finds one of them.
#[test]
fn a_reader_sees_the_table_before_or_after_a_change_never_between() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let table = arena(&["/a/:x/c"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let reader = Domain::global().register();
            let (mut spans, mut seen) = ([0; 4], [0_u32; 2]);
            while !done.load(Ordering::Acquire) {
                let found = table
                    .match_path(b"/a/b/c", &mut spans, &reader.pin())
                    .expect("one of the two");
                seen[found.value as usize] += 1;
                assert_eq!(spans[..2], if found.value == 0 { [3, 4] } else { [1, 6] });
            }
            assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
        });
        for turn in 0..10_000 {
            // Replaced in place: the first takes over from the second, with other captures.
            table.insert_pattern("/{all=a/*/c}", 1).unwrap();
            table.insert_pattern(&format!("/z{turn}/:x"), 9).unwrap();
            table.insert_pattern("/a/:x/c", 0).unwrap();
            table.remove_pattern(&format!("/z{turn}/:x")).unwrap();
        }
        done.store(true, Ordering::Release);
    });
    assert!(table.memory_bytes() < 100_000, "{}", table.memory_bytes());
}
