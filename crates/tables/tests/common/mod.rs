//! Patterns by the letter of the specification: a list, tried one after the other. Knows nothing of the product's
//! parser or tree.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;

/// What one segment must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seg {
    Lit(String),
    One(String, String),
    Rest(String),
}

/// Where a capture begins and ends: segment and bytes cut off, on both sides.
#[derive(Clone, Debug)]
pub(crate) struct Cap {
    pub name: String,
    pub first: (usize, usize),
    pub last: (usize, usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Naive {
    pub text: String,
    pub segs: Vec<Seg>,
    pub caps: Vec<Cap>,
}

/// Larger is more specific, compared from the left.
pub(crate) type Rank = Vec<(u8, usize, usize)>;

impl Naive {
    /// How specifically the pattern matches, and where its captures lie.
    pub(crate) fn matches(&self, path: &str) -> Option<(Rank, Vec<(usize, usize)>)> {
        let mut bounds = Vec::new();
        let mut at = 0;
        for piece in path.split('/') {
            bounds.push((at, at + piece.len()));
            at += piece.len() + 1;
        }
        let (mut rank, mut own) = (Vec::new(), Vec::new());
        for (index, seg) in self.segs.iter().enumerate() {
            match (seg, bounds.get(index)) {
                (Seg::Rest(post), Some((start, _))) => {
                    let rest = &path[*start..];
                    let fits = rest.len() > post.len() && rest.ends_with(post.as_str());
                    if !(post.is_empty() || fits) {
                        return None;
                    }
                    rank.push((1, post.len(), 0));
                    own.push((*start, path.len()));
                    return Some((rank, self.spans(&own)));
                }
                (Seg::Rest(post), None) if post.is_empty() => {
                    rank.push((0, 0, 0));
                    own.push((path.len(), path.len()));
                    return Some((rank, self.spans(&own)));
                }
                (_, None) => return None,
                (Seg::Lit(text), Some((start, end))) => {
                    if path[*start..*end] != **text {
                        return None;
                    }
                    rank.push((4, 0, 0));
                    own.push((*start, *end));
                }
                (Seg::One(pre, post), Some((start, end))) => {
                    let text = &path[*start..*end];
                    if text.len() <= pre.len() + post.len()
                        || !text.starts_with(pre.as_str())
                        || !text.ends_with(post.as_str())
                    {
                        return None;
                    }
                    rank.push(if pre.is_empty() && post.is_empty() {
                        (2, 0, 0)
                    } else {
                        (3, pre.len(), post.len())
                    });
                    own.push((*start, *end));
                }
            }
        }
        rank.push((5, 0, 0));
        (bounds.len() == self.segs.len()).then(|| (rank, self.spans(&own)))
    }

    fn spans(&self, own: &[(usize, usize)]) -> Vec<(usize, usize)> {
        self.caps
            .iter()
            .map(|cap| {
                (
                    own[cap.first.0].0 + cap.first.1,
                    own[cap.last.0].1 - cap.last.1,
                )
            })
            .collect()
    }

    /// Google's and the colon style, read by cutting at slashes outside braces. For well-formed routes only.
    pub(crate) fn read(text: &str) -> Self {
        let (mut segs, mut caps) = (Vec::new(), Vec::new());
        let mut left = text;
        loop {
            let mut depth = 0;
            let cut = left.find(|letter| {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                letter == '/' && depth == 0
            });
            let piece = &left[..cut.unwrap_or(left.len())];
            if let Some((pre, more)) = piece.split_once('{') {
                let (inside, post) = more.split_once('}').unwrap();
                let (name, template) = inside.split_once('=').unwrap_or((inside, "*"));
                let parts: Vec<&str> = template.split('/').collect();
                let first = segs.len();
                for (index, part) in parts.iter().enumerate() {
                    let pre = if index == 0 { pre } else { "" };
                    let post = if index + 1 == parts.len() { post } else { "" };
                    segs.push(match *part {
                        "*" => Seg::One(pre.into(), post.into()),
                        "**" => Seg::Rest(post.into()),
                        literal => Seg::Lit(format!("{pre}{literal}{post}")),
                    });
                }
                caps.push(Cap {
                    name: name.into(),
                    first: (first, pre.len()),
                    last: (segs.len() - 1, post.len()),
                });
            } else if let Some(name) = piece.strip_prefix(':') {
                caps.push(Cap {
                    name: name.into(),
                    first: (segs.len(), 0),
                    last: (segs.len(), 0),
                });
                segs.push(Seg::One(String::new(), String::new()));
            } else {
                segs.push(Seg::Lit(piece.into()));
            }
            match cut {
                Some(cut) => left = &left[cut + 1..],
                None => {
                    return Self {
                        text: text.into(),
                        segs,
                        caps,
                    };
                }
            }
        }
    }

    /// A path that matches, different for each seed.
    pub(crate) fn fill(&self, mut seed: u32) -> String {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("{:x}-{}", seed >> 16, seed % 7)
        };
        let piece = |seg: &Seg| match seg {
            Seg::Lit(text) => text.clone(),
            Seg::One(pre, post) => format!("{pre}{}{post}", next()),
            Seg::Rest(post) => format!("{}/{}{post}", next(), next()),
        };
        self.segs.iter().map(piece).collect::<Vec<_>>().join("/")
    }
}

/// The most specific of all that match, and where its captures lie.
pub(crate) fn best(patterns: &[Naive], path: &str) -> Option<(usize, Vec<(usize, usize)>)> {
    let all = patterns
        .iter()
        .enumerate()
        .filter_map(|(index, pattern)| Some((index, pattern.matches(path)?)));
    all.max_by(|(_, (a, _)), (_, (b, _))| a.cmp(b))
        .map(|(index, (_, spans))| (index, spans))
}

/// A file of real input, or none (and a word why) when the data is not there.
pub(crate) fn data(file: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("LINKMESH_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(file);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!(
            "skipped: no real input at {} (set LINKMESH_DATA)",
            path.display()
        );
        return None;
    };
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Some(bytes);
    }
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain)
        .expect("gzip");
    Some(plain)
}

/// The paths of a file of `METHOD path` or `path` lines, each once, in order.
pub(crate) fn routes(file: &str) -> Option<Vec<String>> {
    let text = String::from_utf8(data(file)?).expect("UTF-8");
    let mut seen = std::collections::HashSet::new();
    let paths = text
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    Some(
        paths
            .filter(|path| seen.insert(*path))
            .map(String::from)
            .collect(),
    )
}
