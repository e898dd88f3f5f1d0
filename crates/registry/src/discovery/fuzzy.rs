//! Typo-tolerant matching of names.
//!
//! Three sieves: a 64-bit mask of the letters that occur (one AND a name), frizbee's SIMD filter (decides which names
//! match; the set is exactly the one in the module docs of discovery, which a property test checks), and an integer
//! alignment that says how well.

use frizbee::{CaseMatching, Config, Matcher, SortStrategy, UnicodeMatching};

/// Letters of the query that may be left out: 0 below 4 bytes, 1 below 8, else 2.
pub const fn allowed_typos(query_bytes: usize) -> u32 {
    match query_bytes {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

/// One bit per letter (case ignored), digit and common separator that occurs; one for all others.
pub fn letter_mask(text: &[u8]) -> u64 {
    text.iter().fold(0, |mask, byte| {
        mask | 1
            << match byte.to_ascii_lowercase() {
                letter @ b'a'..=b'z' => letter - b'a',
                digit @ b'0'..=b'9' => 26 + (digit - b'0'),
                b'.' => 36,
                b'-' => 37,
                b'_' => 38,
                b'/' => 39,
                b':' => 40,
                _ => 41,
            }
    })
}

/// One fuzzy query, compiled.
#[derive(Debug)]
pub struct FuzzyMatcher {
    query: Vec<u8>,
    letters: u64,
    typos: u32,
    frizbee: Matcher,
    alignment: Alignment,
}

impl FuzzyMatcher {
    /// For a query of 1 to 256 bytes of ASCII.
    pub fn new(query: &str) -> Self {
        let typos = allowed_typos(query.len());
        let config = Config::default()
            .max_typos(Some(typos as u16))
            .casing(CaseMatching::Ignore)
            .unicode(UnicodeMatching::Ignore)
            .sort(SortStrategy::IndexAsc);
        Self {
            query: query
                .bytes()
                .map(|byte| byte.to_ascii_lowercase())
                .collect(),
            letters: letter_mask(query.as_bytes()),
            typos,
            frizbee: Matcher::new(query, &config),
            alignment: Alignment::default(),
        }
    }

    /// Whether a name with these letters can match: each letter it lacks costs at least one typo.
    #[inline]
    pub fn may_match(&self, letters: u64) -> bool {
        (self.letters & !letters).count_ones() <= self.typos
    }

    /// Indices of the names that match, ascending.
    pub fn matches(&mut self, names: &[&str]) -> Vec<u32> {
        self.frizbee
            .match_list(names)
            .iter()
            .map(|found| found.index)
            .collect()
    }

    /// See [`similarity`].
    pub fn similarity(&mut self, name: &str) -> f64 {
        self.alignment.similarity(&self.query, name.as_bytes())
    }
}

/// How well `query` fits `name`, 0..=1: 1 when they are equal but for case, else
/// `0.80·max(0, alignment)/(24·query) + 0.15·query/max(query, name)`, lengths in bytes.
///
/// The alignment is the best total of these, the query consumed whole, the name's ends for nothing:
/// a letter that matches 16, +8 after one that matched just before, else +6 at the start of a word (after a separator,
/// or a capital after a small letter); two swapped letters together 28; a gap in the name -5 and -1 for each further
/// byte; a letter of the query left out or replaced -8.
pub fn similarity(query: &str, name: &str) -> f64 {
    Alignment::default().similarity(query.to_ascii_lowercase().as_bytes(), name.as_bytes())
}

const MATCH: i32 = 16;
const NEXT_TO: i32 = 8;
const WORD_START: i32 = 6;
const SWAP: i32 = 28;
const GAP_OPEN: i32 = 5;
const GAP_EXTEND: i32 = 1;
const LEFT_OUT: i32 = 8;
/// Low enough never to be chosen, high enough never to overflow.
const NEVER: i32 = -1_000_000;

/// Rows of the dynamic program, kept for the next name.
#[derive(Debug, Default)]
struct Alignment {
    name: Vec<u8>,
    starts_word: Vec<bool>,
    /// Best of row i-2, i-1: (ends in a match, ends otherwise).
    before: Vec<(i32, i32)>,
    above: Vec<(i32, i32)>,
    row: Vec<(i32, i32)>,
}

impl Alignment {
    fn similarity(&mut self, query: &[u8], name: &[u8]) -> f64 {
        if query.eq_ignore_ascii_case(name) {
            return 1.0;
        }
        let quality = f64::from(self.best(query, name).max(0)) / (24.0 * query.len() as f64);
        0.80 * quality + 0.15 * (query.len() as f64 / query.len().max(name.len()) as f64)
    }

    /// `query` is in small letters.
    fn best(&mut self, query: &[u8], name: &[u8]) -> i32 {
        self.name.clear();
        self.name.extend(name.iter().map(u8::to_ascii_lowercase));
        self.starts_word.clear();
        self.starts_word
            .extend((0..name.len()).map(|at| starts_word(name, at)));
        let width = name.len() + 1;
        self.before.clear();
        self.before.resize(width, (NEVER, NEVER));
        self.above.clear();
        self.above.resize(width, (NEVER, 0));
        self.row.clear();
        self.row.resize(width, (NEVER, NEVER));
        for (i, &letter) in query.iter().enumerate() {
            self.row[0] = (NEVER, -(LEFT_OUT * (i as i32 + 1)));
            for j in 1..width {
                let here = self.name[j - 1];
                let diagonal = self.above[j - 1];
                let mut matched = NEVER;
                if letter == here {
                    let fresh = if self.starts_word[j - 1] {
                        WORD_START
                    } else {
                        0
                    };
                    matched = MATCH + (diagonal.0 + NEXT_TO).max(diagonal.1 + fresh);
                }
                if i > 0 && j > 1 && letter == self.name[j - 2] && query[i - 1] == here {
                    let corner = self.before[j - 2];
                    matched = matched.max(corner.0.max(corner.1) + SWAP);
                }
                let left = self.row[j - 1];
                let over = self.above[j];
                let gap = (left.0 - GAP_OPEN).max(left.1 - GAP_EXTEND);
                let skipped = over.0.max(over.1).max(diagonal.0).max(diagonal.1) - LEFT_OUT;
                self.row[j] = (matched, gap.max(skipped));
            }
            std::mem::swap(&mut self.before, &mut self.above);
            std::mem::swap(&mut self.above, &mut self.row);
        }
        self.above
            .iter()
            .map(|&(matched, other)| matched.max(other))
            .max()
            .unwrap_or(NEVER)
    }
}

fn starts_word(name: &[u8], at: usize) -> bool {
    if at == 0 {
        return true;
    }
    let (before, here) = (name[at - 1], name[at]);
    here.is_ascii_alphanumeric()
        && (!before.is_ascii_alphanumeric()
            || (before.is_ascii_lowercase() && here.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Longest common subsequence, case ignored, the textbook way.
    fn common(query: &str, name: &str) -> usize {
        let (query, name) = (query.to_ascii_lowercase(), name.to_ascii_lowercase());
        let mut table = vec![vec![0; name.len() + 1]; query.len() + 1];
        for (i, a) in query.bytes().enumerate() {
            for (j, b) in name.bytes().enumerate() {
                table[i + 1][j + 1] = if a == b {
                    table[i][j] + 1
                } else {
                    table[i][j + 1].max(table[i + 1][j])
                };
            }
        }
        table[query.len()][name.len()]
    }

    fn matches_by_definition(query: &str, name: &str) -> bool {
        common(query, name) + allowed_typos(query.len()) as usize >= query.len()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_set_is_the_one_that_is_documented(
            query in "[a-dA-D@\\[{.]{1,12}",
            names in prop::collection::vec("[a-dA-D@\\[{.]{1,80}", 1..20),
        ) {
            let mut matcher = FuzzyMatcher::new(&query);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let found = matcher.matches(&names);
            for (index, name) in names.iter().enumerate() {
                let expected = matches_by_definition(&query, name);
                prop_assert_eq!(found.contains(&(index as u32)), expected, "{} in {}", query, name);
                prop_assert!(!expected || matcher.may_match(letter_mask(name.as_bytes())));
            }
        }

        #[test]
        fn similarity_is_a_share_and_equality_is_best(query in "[ -~]{1,256}", name in "[ -~]{1,256}") {
            let share = similarity(&query, &name);
            prop_assert!((0.0..=1.0).contains(&share));
            prop_assert!(similarity(&query, &query.to_ascii_uppercase()) >= 1.0);
            prop_assert!(share < 1.0 || query.eq_ignore_ascii_case(&name));
        }
    }

    #[test]
    fn better_matches_score_higher() {
        let best_first = [
            (
                "orders",
                [
                    "orders",
                    "my.orders",
                    "orders.create",
                    "mordersx.create",
                    "o.r.d.e.r.s",
                ]
                .as_slice(),
            ),
            ("oredrs", &["orders.create", "old.red.drums"]),
            ("paymnts", &["payments", "play.amount.nets"]),
        ];
        for (query, names) in best_first {
            let scores: Vec<f64> = names.iter().map(|name| similarity(query, name)).collect();
            assert!(
                scores.is_sorted_by(|a, b| a > b),
                "{query}: {names:?} {scores:?}"
            );
        }
    }
}
