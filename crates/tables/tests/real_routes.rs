//! Route sets that are in use: every route matches itself, and answers are the specification's.
#![cfg(not(any(loom, shuttle)))]

mod common;

use std::collections::HashMap;

use common::{Naive, best, data, routes};
use linkmesh_tables::{
    CompressedRadixArena, PatternError, PatternReason, RadixError, epoch::Domain,
};

/// Inserts all; returns what was accepted, and how often each reason was given.
fn load(
    texts: &[String],
) -> (
    CompressedRadixArena,
    Vec<Naive>,
    HashMap<PatternReason, usize>,
) {
    let table = CompressedRadixArena::new().unwrap();
    let (mut naive, mut refused): (Vec<Naive>, _) = (Vec::new(), HashMap::new());
    for text in texts {
        match table.insert_pattern(text, naive.len() as u32) {
            Ok(None) => naive.push(Naive::read(text)),
            // Equal to an earlier one with other names: give the earlier one its place back.
            Ok(Some(before)) => {
                let earlier = &naive[before as usize];
                assert_eq!(earlier.segs, Naive::read(text).segs, "{text}");
                table.insert_pattern(&earlier.text, before).unwrap();
            }
            Err(RadixError::Pattern(PatternError { reason, .. })) => {
                *refused.entry(reason).or_default() += 1;
            }
            Err(other) => panic!("{text}: {other}"),
        }
    }
    assert_eq!(table.len(), naive.len());
    (table, naive, refused)
}

fn check(table: &CompressedRadixArena, naive: &[Naive]) {
    let reader = Domain::global().register();
    let mut spans = [0; 64];
    let mut ask = |path: &str| {
        let found = table.match_path(path.as_bytes(), &mut spans, &reader.pin())?;
        let spans = spans[..found.captures * 2]
            .chunks(2)
            .map(|span| (span[0] as usize, span[1] as usize))
            .collect();
        Some((found.value as usize, spans))
    };
    for (index, pattern) in naive.iter().enumerate() {
        let path = pattern.fill(index as u32);
        let (rank, _) = pattern.matches(&path).expect("filled from itself");
        let (winner, spans): (_, Vec<_>) =
            ask(&path).unwrap_or_else(|| panic!("{path} of {}", pattern.text));
        let (winner_rank, expected) = naive[winner].matches(&path).expect("the winner matches");
        assert!(
            winner_rank >= rank,
            "{path}: {} won over {}",
            naive[winner].text,
            pattern.text
        );
        assert!(winner == index || winner_rank != rank);
        assert_eq!(spans, expected);
    }
    // The whole list is slow: some paths, and some that are slightly wrong.
    for (index, pattern) in naive.iter().enumerate().step_by(naive.len() / 60 + 1) {
        let path = pattern.fill(!index as u32);
        for path in [
            path.clone(),
            format!("{path}/"),
            format!("{path}/more"),
            format!("{path}:verb"),
            path[..path.len() - 3].into(),
        ] {
            assert_eq!(ask(&path), best(naive, &path), "{path}");
        }
    }
}

#[test]
fn github() {
    let Some(texts) = routes("routes/github.txt") else {
        return;
    };
    let (table, naive, refused) = load(&texts);
    assert!(refused.is_empty() && naive.len() > 100);
    check(&table, &naive);
}

#[test]
fn gitlab() {
    let Some(texts) = routes("routes/gitlab.txt") else {
        return;
    };
    let texts: Vec<String> = texts
        .iter()
        .map(|text| {
            text.split('/')
                .map(|piece| {
                    let whole = piece
                        .strip_prefix("<*")
                        .and_then(|name| name.strip_suffix('>'));
                    match whole.filter(|name| !name.contains('<')) {
                        Some(name) => format!("{{{name}=**}}"),
                        None => piece.replace("<*", "{").replace('<', "{").replace('>', "}"),
                    }
                })
                .collect::<Vec<_>>()
                .join("/")
        })
        .collect();
    let (table, naive, refused) = load(&texts);
    // Wildcards in the middle, and two captures in a segment (`<id>.<format>`), are refused by name.
    let known = |reason: &PatternReason| {
        matches!(
            reason,
            PatternReason::RestNotLast | PatternReason::TwoCaptures
        )
    };
    assert!(refused.keys().all(known), "{refused:?}");
    assert!(naive.len() > 500, "{} accepted, {refused:?}", naive.len());
    check(&table, &naive);
}

#[test]
fn googleapis() {
    let Some(texts) = routes("routes/googleapis-http.txt.gz") else {
        return;
    };
    let (table, naive, refused) = load(&texts);
    assert!(
        refused
            .keys()
            .all(|reason| *reason == PatternReason::RestNotLast),
        "{refused:?}"
    );
    assert!(
        naive.len() > 9_000 && refused.values().sum::<usize>() < 50,
        "{} accepted, {refused:?}",
        naive.len()
    );
    check(&table, &naive);
    let before = table.memory_bytes();
    table.compact().unwrap();
    assert!(table.memory_bytes() < before);
    check(&table, &naive);
}

/// A prefix's bits, one byte each.
fn bits(address: u32, length: usize) -> Vec<u8> {
    (0..length)
        .map(|bit| b'0' + (address >> (31 - bit) & 1) as u8)
        .collect()
}

#[test]
fn bgp() {
    let Some(text) = data("bgp/prefixes.txt.gz") else {
        return;
    };
    let text = String::from_utf8(text).unwrap();
    let mut map = HashMap::new();
    let table = CompressedRadixArena::new().unwrap();
    let mut addresses = Vec::new();
    for line in text.lines().filter(|line| line.contains('.')).step_by(15) {
        let (address, length) = line.trim().split_once('/').expect("address/length");
        let address = u32::from(address.parse::<std::net::Ipv4Addr>().unwrap());
        let prefix = bits(address, length.parse().unwrap());
        if !prefix.is_empty() {
            let value = addresses.len() as u32;
            assert_eq!(
                table.insert_prefix(&prefix, value),
                Ok(map.insert(prefix, value))
            );
            addresses.push(address);
        }
    }
    assert!(addresses.len() > 50_000);
    let reader = Domain::global().register();
    let mut found = 0;
    for (index, address) in addresses.iter().enumerate() {
        let key = bits(
            address ^ (index as u32).wrapping_mul(2_654_435_761) >> (index % 32),
            32,
        );
        let expected = (1..=32)
            .rev()
            .find_map(|length| map.get(&key[..length]))
            .copied();
        assert_eq!(table.longest_prefix(&key, &reader.pin()), expected);
        found += usize::from(expected.is_some());
    }
    assert!(found > 10_000 && found < addresses.len(), "{found}");
}
