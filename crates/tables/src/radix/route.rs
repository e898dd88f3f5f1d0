//! A pattern or prefix as a way through the tree, and how captures are found again after a match.

use alloc::{boxed::Box, vec, vec::Vec};

use super::pattern::{Pattern, Segment};

/// One step down the tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// These bytes, never none.
    Bytes(Box<[u8]>),
    /// One byte or more up to the next slash or the end, the last ones being this suffix.
    One(Box<[u8]>),
}

/// What hangs at the end of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The path ends here.
    End,
    /// The path ends here, where a rest of zero segments would begin.
    EmptyRest,
    /// Everything that is left, the last bytes being this suffix.
    Rest(Box<[u8]>),
}

/// A way and its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) edges: Vec<Edge>,
    pub(super) target: Target,
}

impl Route {
    pub(super) fn of_prefix(prefix: &[u8]) -> Self {
        Self {
            edges: vec![Edge::Bytes(prefix.into())],
            target: Target::End,
        }
    }

    /// The way of a pattern, and a second one when its rest may be left out with its slash.
    pub(super) fn of_pattern(pattern: &Pattern) -> (Self, Option<Self>) {
        let (mut edges, mut bytes) = (Vec::new(), Vec::new());
        let mut without_rest = None;
        let mut target = Target::End;
        for (index, segment) in pattern.segments.iter().enumerate() {
            if let Segment::Rest { suffix } = segment
                && suffix.is_empty()
                && index > 0
            {
                without_rest = Some((edges.len(), bytes.clone()));
            }
            if index > 0 {
                bytes.push(b'/');
            }
            match segment {
                Segment::Literal(text) => bytes.extend_from_slice(text),
                Segment::One { prefix, suffix } => {
                    bytes.extend_from_slice(prefix);
                    push_bytes(&mut edges, &mut bytes);
                    edges.push(Edge::One(suffix.clone()));
                }
                Segment::Rest { suffix } => target = Target::Rest(suffix.clone()),
            }
        }
        push_bytes(&mut edges, &mut bytes);
        let second = without_rest.map(|(count, mut bytes)| {
            let mut shorter: Vec<Edge> = edges[..count].iter().map(Edge::copied).collect();
            push_bytes(&mut shorter, &mut bytes);
            Self {
                edges: shorter,
                target: Target::EmptyRest,
            }
        });
        (Self { edges, target }, second)
    }
}

impl Edge {
    fn copied(&self) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::One(suffix) => Self::One(suffix.clone()),
        }
    }
}

fn push_bytes(edges: &mut Vec<Edge>, bytes: &mut Vec<u8>) {
    if !bytes.is_empty() {
        edges.push(Edge::Bytes(core::mem::take(bytes).into()));
    }
}

/// A place in a matched path: so many bytes after the end of a wildcard, or after the beginning of the path.
///
/// Text between wildcards has a fixed length, so every end of every capture is such a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which wildcard, counted from 1; 0: the beginning of the path.
    after: usize,
    bytes: usize,
}

impl Place {
    /// Fits a word: 32 wildcards, 4,096 bytes.
    fn encode(self) -> u32 {
        (self.after << 24 | self.bytes) as u32
    }

    /// The offset in a path of `length` bytes whose wildcards ended at `ends`.
    #[inline(always)]
    pub(super) fn locate(word: u32, ends: &[u32], length: u32) -> u32 {
        let base = match (word >> 24).checked_sub(1) {
            None => 0,
            Some(wildcard) => ends[wildcard as usize],
        };
        // A rest of zero segments begins behind the slash that is not there.
        (base + (word & 0x00FF_FFFF)).min(length)
    }
}

/// Both ends of every capture, as encoded [`Place`]s.
pub(super) fn capture_places(pattern: &Pattern) -> Vec<u32> {
    let mut place = Place { after: 0, bytes: 0 };
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for (index, segment) in pattern.segments.iter().enumerate() {
        place.bytes += usize::from(index > 0);
        starts.push(place);
        match segment {
            Segment::Literal(text) => place.bytes += text.len(),
            Segment::One { suffix, .. } | Segment::Rest { suffix } => {
                place = Place {
                    after: place.after + 1,
                    bytes: suffix.len(),
                };
            }
        }
        ends.push(place);
    }
    let mut words = Vec::with_capacity(pattern.captures.len() * 2);
    for capture in &pattern.captures {
        let (start, end) = (starts[capture.first], ends[capture.last]);
        words.push(
            Place {
                bytes: start.bytes + capture.head,
                ..start
            }
            .encode(),
        );
        words.push(
            Place {
                bytes: end.bytes - capture.tail,
                ..end
            }
            .encode(),
        );
    }
    words
}
