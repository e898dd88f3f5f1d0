//! [`CompressedRadixArena`]: path patterns and literal prefixes, most specific first, read without waiting.
//!
//! # Patterns: the specification
//!
//! A pattern and a path are cut into *segments* at each `/`. `/a/b` has three: the empty one, `a` and `b`; `/a/` has
//! the empty one, `a` and again an empty one. There is no percent-decoding and no folding of trailing or double
//! slashes: bytes are compared as they are.
//!
//! A segment of a pattern is one of
//!
//! | written | matches | captures |
//! |---|---|---|
//! | `text` | exactly these bytes (possibly none) | – |
//! | `:name` or `{name}` | one segment of one byte or more | the segment |
//! | `*` | the same | the segment, under the name `*` |
//! | `pre{name}post`, `:name.post`, `*:post` | one segment that begins with `pre`, ends with `post` and has one byte or more between | what is between |
//! | `**` | the rest of the path, zero or more segments; last segment only | the rest, under the name `**` |
//! | `{name=**}` | the same | the rest, under its name |
//! | `**:post`, `{name=**}:post` | a rest that ends with `post` and has one byte or more before it | what is before |
//! | `{name=a/*/b/**}` | the segments inside, as if written without the braces | from the first byte inside to the last |
//!
//! - A name after `:` is the longest run of `A-Z a-z 0-9 _`; inside braces `.` and `-` are allowed too. Names of a
//!   pattern differ; `*` and `**` are not names and may repeat.
//! - `:` begins a name only as the first byte of a segment. Elsewhere it is text: `/projects:search` is literal,
//!   `{name=a/*}:cancel` has the custom verb `:cancel`, and `v{major}` is how to write a capture after text. In a segment
//!   that began with `:name`, a second `:` may only follow the name at once (`:name:verb`); otherwise it is refused,
//!   because elsewhere `:from-:to` means two captures.
//! - `{name}` is short for `{name=*}`. Inside braces a segment is text without `*`, or `*`, or `**`. Text before the
//!   brace in the same segment is allowed for `{name}` and `{name=*}` only.
//! - `*` must begin its segment, and no letter, digit or `_` may follow it.
//! - One capture to a segment. A rest of zero segments needs no slash before it: `/a/**` matches `/a`, `/a/` and
//!   `/a/b`; in `/a` the capture is empty, at the end.
//!
//! ## Which pattern wins
//!
//! Of all patterns that match, the winner is decided segment by segment from the left. In the first segment where two
//! differ in kind, this order holds:
//!
//! 1. text;
//! 2. text with a capture: longer `pre` first, then longer `post`;
//! 3. a whole-segment capture;
//! 4. a rest: longer `post` first;
//!
//! and a pattern that ends with the path goes before one that adds a rest of zero segments. Two patterns that never
//! differ are equal, whatever their captures are called and span: the later takes the earlier's place, with its own
//! value, names and, if these differ, a new pattern id.
//!
//! ## Corners
//!
//! - Neither pattern nor path need begin with a slash: `a/b` has two segments, and never matches `/a/b`. The empty
//!   pattern is refused. The empty path has one segment, the empty one: `**` and `/**` match it (the latter by a rest of
//!   zero segments), no other pattern does.
//! - A rest is taken as it stands: it may hold empty segments (`/a/**` matches `/a//b`, captures `/b`) and is the only
//!   thing captured that may be empty. In `/a/` the rest of `/a/**` is empty too, at the end.
//! - When a choice leads nowhere further right, the next one is tried (backtracking), the rightmost choice first; that
//!   gives exactly the order above.
//! - Pattern ids count from 1 in the order of insertion and are not used again. A pattern that takes an equal one's place
//!   keeps its id when names and spans of all captures are the same, and otherwise takes the next id.
//! - `len()` counts patterns and prefixes.
//!
//! ## Limits
//!
//! 1..=4,096 bytes without NUL, 256 segments, 32 captures and 32 wildcards (`*`, `**`, `:name`, `{name}`), and what
//! [`PatternReason`] lists. Everything else is refused with the position of the first wrong byte.
//!
//! # Literal prefixes
//!
//! A namespace of its own in the same arena: [`CompressedRadixArena::longest_prefix`] finds the longest inserted key
//! (1..=4,096 bytes) that the given bytes begin with.
//!
//! # How it works
//!
//! Both namespaces are path-compressed radix trees over bytes, with `u32` offsets into one append-only array of words.
//! A write copies the nodes from the root to the change and publishes the new root with one store, so that a reader
//! sees the tree before or after it, never between. When the array is full, what is reachable moves to a fresh one,
//! published through [`Snapshot`](crate::Snapshot). A match descends along the literal bytes and remembers, at each
//! node with a capture, to come back; it visits each node at most once, so its time is bounded by the size of the
//! tree, and in practice by the length of the path.
//!
//! # What is deliberately absent
//!
//! Regular expressions, optional segments, a rest in the middle, decoding.

mod arena;
mod draft;
mod error;
mod node;
mod pattern;
mod route;
mod search;
mod table;
mod walk;

pub use error::{PatternError, PatternReason, RadixError};
pub use pattern::{Capture, Pattern, Segment};
pub use table::{CompressedRadixArena, Match};
