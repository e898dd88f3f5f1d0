//! From the text of a pattern to segments and captures. The grammar is in the [module](super)'s specification.

use alloc::{boxed::Box, vec::Vec};

use super::error::{PatternError, PatternReason};

/// A pattern, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What a path's segments must be.
    pub segments: Vec<Segment>,
    /// What is captured, from left to right.
    pub captures: Vec<Capture>,
}

/// What one segment of a path must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes.
    Literal(Box<[u8]>),
    /// `prefix`, one byte or more, `suffix`.
    One {
        /// Bytes before the wildcard.
        prefix: Box<[u8]>,
        /// Bytes after it.
        suffix: Box<[u8]>,
    },
    /// Everything from here on. With a suffix: one byte or more, then `suffix`.
    Rest {
        /// Bytes after the wildcard.
        suffix: Box<[u8]>,
    },
}

/// What one capture spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// As written; `*` and `**` for those without a name.
    pub name: Box<str>,
    /// Segment in which it begins.
    pub first: usize,
    /// Segment in which it ends.
    pub last: usize,
    /// Bytes of the first segment before it.
    pub head: usize,
    /// Bytes of the last segment after it.
    pub tail: usize,
}

impl Pattern {
    /// Most bytes.
    pub const MAX_BYTES: usize = 4_096;
    /// Most segments.
    pub const MAX_SEGMENTS: usize = 256;
    /// Most captures, and most wildcards.
    pub const MAX_CAPTURES: usize = 32;

    /// Understands `text`.
    ///
    /// # Errors
    /// [`PatternError`], with the offset of the first wrong byte.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(error(0, PatternReason::Empty));
        }
        if bytes.len() > Self::MAX_BYTES {
            return Err(error(
                Self::MAX_BYTES,
                PatternReason::TooLong {
                    limit: Self::MAX_BYTES,
                },
            ));
        }
        if let Some(position) = bytes.iter().position(|byte| *byte == 0) {
            return Err(error(position, PatternReason::Nul));
        }
        let mut parser = Parser {
            text,
            at: 0,
            segments: Vec::new(),
            captures: Vec::new(),
            wildcards: 0,
            rest: false,
        };
        loop {
            parser.segment()?;
            if parser.at == bytes.len() {
                return Ok(Self {
                    segments: parser.segments,
                    captures: parser.captures,
                });
            }
            // Only a slash ends a segment before the text does.
            parser.at += 1;
        }
    }
}

fn error(position: usize, reason: PatternReason) -> PatternError {
    PatternError { position, reason }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    segments: Vec<Segment>,
    captures: Vec<Capture>,
    wildcards: usize,
    /// A rest was read: no segment may follow.
    rest: bool,
}

/// The kind of the segment being read, before its suffix is known.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Literal,
    One,
    Rest,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fail<T>(&self, reason: PatternReason) -> Result<T, PatternError> {
        Err(error(self.at, reason))
    }

    /// Reads up to the next slash outside braces, or the end.
    fn segment(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        let (mut kind, mut prefix, mut suffix) = (Kind::Literal, Vec::new(), Vec::new());
        // The capture that this segment ends, if there is one: its suffix is yet to come.
        let mut capture = None;
        let mut colon = false;
        while let Some(byte) = self.peek().filter(|byte| *byte != b'/') {
            match byte {
                b'{' => {
                    if capture.is_some() {
                        return self.fail(PatternReason::TwoCaptures);
                    }
                    capture = Some(self.captures.len());
                    kind = self.braces(&mut prefix)?;
                }
                b'}' => return self.fail(PatternReason::UnbalancedBrace),
                b'*' => {
                    if self.at != start {
                        return self.fail(PatternReason::StrayWildcard);
                    }
                    let name = if self.text[self.at..].starts_with("**") {
                        "**"
                    } else {
                        "*"
                    };
                    kind = self.wildcard(name)?;
                    capture = Some(self.captures.len());
                    self.capture(name, self.at, 0)?;
                    if self
                        .peek()
                        .is_some_and(|next| next == b'*' || is_name(next))
                    {
                        return self.fail(PatternReason::StrayWildcard);
                    }
                }
                b':' if self.at == start => {
                    self.at += 1;
                    let name = self.name(is_name);
                    if name.is_empty() {
                        return self.fail(PatternReason::EmptyName);
                    }
                    let position = self.at - name.len();
                    kind = self.count_wildcard(position, Kind::One)?;
                    capture = Some(self.captures.len());
                    self.capture(name, position, 0)?;
                    colon = true;
                }
                b':' if colon && !suffix.is_empty() => {
                    return self.fail(PatternReason::TwoCaptures);
                }
                _ => {
                    self.at += 1;
                    if capture.is_some() {
                        suffix.push(byte);
                    } else {
                        prefix.push(byte);
                    }
                }
            }
        }
        if let Some(capture) = capture {
            let last = self.segments.len();
            let capture = &mut self.captures[capture];
            (capture.last, capture.tail) = (last, suffix.len());
        }
        self.push(kind, prefix, suffix, start)
    }

    /// Reads `{name}` or `{name=template}`. Segments that end inside are pushed; the last one stays open: its kind is
    /// returned, its text is in `prefix`.
    fn braces(&mut self, prefix: &mut Vec<u8>) -> Result<Kind, PatternError> {
        let open = self.at;
        let unbalanced = || error(open, PatternReason::UnbalancedBrace);
        self.at += 1;
        let name = self.name(|byte| is_name(byte) || byte == b'.' || byte == b'-');
        let position = self.at - name.len();
        match self.peek().ok_or_else(unbalanced)? {
            b'}' | b'=' if name.is_empty() => return self.fail(PatternReason::EmptyName),
            b'}' | b'=' => {}
            _ => return self.fail(PatternReason::BadName),
        }
        self.capture(name, position, prefix.len())?;
        if self.peek() == Some(b'}') {
            let kind = self.count_wildcard(open, Kind::One)?;
            self.at += 1;
            return Ok(kind);
        }
        self.at += 1;
        if !prefix.is_empty() && !self.text[self.at..].starts_with("*}") {
            return Err(error(open, PatternReason::TextBeforeTemplate));
        }
        loop {
            if self.rest {
                return self.fail(PatternReason::RestNotLast);
            }
            let start = self.at;
            let mut kind = Kind::Literal;
            let mut end = None;
            while end.is_none() {
                match self.peek().ok_or_else(unbalanced)? {
                    b'/' | b'}' if self.at == start => {
                        return self.fail(PatternReason::EmptyTemplateSegment);
                    }
                    byte @ (b'/' | b'}') => end = Some(byte),
                    b'{' => return self.fail(PatternReason::UnbalancedBrace),
                    b'*' if self.at == start => {
                        let name = if self.text[self.at..].starts_with("**") {
                            "**"
                        } else {
                            "*"
                        };
                        kind = self.wildcard(name)?;
                        if !matches!(self.peek().ok_or_else(unbalanced)?, b'/' | b'}') {
                            return self.fail(PatternReason::StrayWildcard);
                        }
                    }
                    b'*' => return self.fail(PatternReason::StrayWildcard),
                    byte => {
                        prefix.push(byte);
                        self.at += 1;
                    }
                }
            }
            self.at += 1;
            if end == Some(b'}') {
                return Ok(kind);
            }
            self.push(kind, core::mem::take(prefix), Vec::new(), start)?;
        }
    }

    /// Reads a `*` or `**`.
    fn wildcard(&mut self, name: &str) -> Result<Kind, PatternError> {
        let kind =
            self.count_wildcard(self.at, if name == "**" { Kind::Rest } else { Kind::One })?;
        self.at += name.len();
        Ok(kind)
    }

    fn count_wildcard(&mut self, position: usize, kind: Kind) -> Result<Kind, PatternError> {
        self.wildcards += 1;
        if self.wildcards > Pattern::MAX_CAPTURES {
            return Err(error(
                position,
                PatternReason::TooManyCaptures {
                    limit: Pattern::MAX_CAPTURES,
                },
            ));
        }
        Ok(kind)
    }

    /// Reads the longest run of allowed bytes, which are ASCII.
    fn name(&mut self, allowed: impl Fn(u8) -> bool) -> &'t str {
        let rest = &self.text[self.at..];
        let name = &rest[..rest
            .bytes()
            .position(|byte| !allowed(byte))
            .unwrap_or(rest.len())];
        self.at += name.len();
        name
    }

    /// Notes a capture that begins in the segment being read.
    fn capture(&mut self, name: &str, position: usize, head: usize) -> Result<(), PatternError> {
        if self.captures.len() == Pattern::MAX_CAPTURES {
            return Err(error(
                position,
                PatternReason::TooManyCaptures {
                    limit: Pattern::MAX_CAPTURES,
                },
            ));
        }
        if !name.starts_with('*') && self.captures.iter().any(|other| *other.name == *name) {
            return Err(error(position, PatternReason::DuplicateName));
        }
        let first = self.segments.len();
        self.captures.push(Capture {
            name: name.into(),
            first,
            last: first,
            head,
            tail: 0,
        });
        Ok(())
    }

    fn push(
        &mut self,
        kind: Kind,
        prefix: Vec<u8>,
        suffix: Vec<u8>,
        start: usize,
    ) -> Result<(), PatternError> {
        if self.rest {
            return Err(error(start, PatternReason::RestNotLast));
        }
        if self.segments.len() == Pattern::MAX_SEGMENTS {
            return Err(error(
                start,
                PatternReason::TooManySegments {
                    limit: Pattern::MAX_SEGMENTS,
                },
            ));
        }
        self.rest = kind == Kind::Rest;
        self.segments.push(match kind {
            // Text after braces that end with text belongs to the same literal.
            Kind::Literal => Segment::Literal([prefix, suffix].concat().into()),
            Kind::One => Segment::One {
                prefix: prefix.into(),
                suffix: suffix.into(),
            },
            Kind::Rest => Segment::Rest {
                suffix: suffix.into(),
            },
        });
        Ok(())
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
