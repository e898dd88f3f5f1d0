//! Matching: down along the text, back to the last capture that may still do.

use super::{
    node::{EMPTY_REST, END, ONE, ONES, REST, RESTS, View, WILD},
    pattern::Pattern,
    search::segment_end,
};

/// Where each wildcard of the matched pattern ended.
pub(super) type Ends = [u32; Pattern::MAX_CAPTURES];

/// Choices that a walk keeps before it calls itself for more: far more than real routes nest.
const CHOICES: usize = 12;

/// A node with captures that a walk has passed, and what was not tried there.
#[derive(Clone, Copy, Default)]
struct Choice {
    node: u32,
    position: u32,
    /// Wildcards matched before it.
    wildcards: u32,
    /// Suffixed captures tried; one more: the plain one too.
    tried: u32,
}

/// A walk over one tree and one path.
pub(super) struct Walk<'w> {
    words: &'w [u32],
    path: &'w [u8],
}

impl<'w> Walk<'w> {
    pub(super) fn new(words: &'w [u32], path: &'w [u8]) -> Self {
        Self { words, path }
    }

    /// The record of the pattern that wins. The tree is not empty, the path shorter than 4 GiB.
    #[inline]
    pub(super) fn best(&self, root: u32, ends: &mut Ends) -> Option<u32> {
        self.walk(root, 0, 0, ends)
    }

    /// Goes on from `node`, whose label is still to come, at `position`.
    ///
    /// Every choice that is kept is one of the tree's, each node is entered at most once, and a call of itself takes
    /// `CHOICES` nodes with it: so time is bounded by the tree's size, and the stack by a pattern's 4,096 bytes.
    fn walk(
        &self,
        mut node: u32,
        mut position: usize,
        mut wildcards: usize,
        ends: &mut Ends,
    ) -> Option<u32> {
        let path = self.path;
        let mut choices = [Choice::default(); CHOICES];
        let mut kept = 0;
        loop {
            let view = View::new(self.words, node);
            let label = view.label();
            let next = 'down: {
                let Some(rest) = path[position..].strip_prefix(label) else {
                    break 'down None;
                };
                position += label.len();
                if view.flags() & WILD != 0 {
                    let choice = Choice {
                        node,
                        position: position as u32,
                        wildcards: wildcards as u32,
                        tried: 0,
                    };
                    if kept == CHOICES {
                        // Text first, in a walk of its own; then this node's captures, here.
                        if let Some(record) = self.walk_text(view, position, wildcards, ends) {
                            return Some(record);
                        }
                        match self.walk_choice(choice, ends) {
                            Some(record) => return Some(record),
                            None => break 'down None,
                        }
                    }
                    choices[kept] = choice;
                    kept += 1;
                }
                match rest.first() {
                    None => {
                        if let Some(record) = self.finish(view, wildcards, ends) {
                            return Some(record);
                        }
                        None
                    }
                    Some(byte) => view.child(*byte),
                }
            };
            if let Some(child) = next {
                node = child;
                position += 1;
                continue;
            }
            // Back to the last choice that has something left.
            loop {
                kept = kept.checked_sub(1)?;
                let mut choice = choices[kept];
                match self.turn(&mut choice, ends) {
                    Turn::Nothing => {}
                    Turn::Found(record) => return Some(record),
                    Turn::Enter { child, at, more } => {
                        if more {
                            choices[kept] = choice;
                            kept += 1;
                        }
                        (node, position, wildcards) = (child, at, choice.wildcards as usize + 1);
                        break;
                    }
                }
            }
        }
    }

    /// The path ends at this node.
    #[inline(always)]
    fn finish(&self, view: View<'_>, wildcards: usize, ends: &mut Ends) -> Option<u32> {
        if let Some(record) = view.part(END) {
            return Some(record);
        }
        let record = view.part(EMPTY_REST)?;
        ends[wildcards] = self.path.len() as u32;
        Some(record)
    }

    /// What follows `view` as text.
    #[cold]
    fn walk_text(
        &self,
        view: View<'_>,
        position: usize,
        wildcards: usize,
        ends: &mut Ends,
    ) -> Option<u32> {
        match self.path.get(position) {
            None => self.finish(view, wildcards, ends),
            Some(byte) => self.walk(view.child(*byte)?, position + 1, wildcards, ends),
        }
    }

    /// All that is left of one choice.
    #[cold]
    fn walk_choice(&self, mut choice: Choice, ends: &mut Ends) -> Option<u32> {
        loop {
            match self.turn(&mut choice, ends) {
                Turn::Nothing => return None,
                Turn::Found(record) => return Some(record),
                Turn::Enter { child, at, more } => {
                    let found = self.walk(child, at, choice.wildcards as usize + 1, ends);
                    if found.is_some() || !more {
                        return found;
                    }
                }
            }
        }
    }

    /// Tries the next capture of a choice, in the order of the specification.
    #[inline(always)]
    fn turn(&self, choice: &mut Choice, ends: &mut Ends) -> Turn {
        let view = View::new(self.words, choice.node);
        let (position, wildcard) = (choice.position as usize, choice.wildcards as usize);
        let flags = view.flags();
        if flags & (ONES | ONE) != 0 {
            let end = segment_end(self.path, position);
            let text = &self.path[position..end];
            let mut index = 0;
            for (suffix, child) in view.list(ONES) {
                index += 1;
                if index > choice.tried && text.len() > suffix.len() && text.ends_with(suffix) {
                    choice.tried = index;
                    ends[wildcard] = (end - suffix.len()) as u32;
                    return Turn::Enter {
                        child,
                        at: end,
                        more: true,
                    };
                }
            }
            if choice.tried <= index {
                choice.tried = index + 1;
                if let Some(child) = view.part(ONE)
                    && !text.is_empty()
                {
                    ends[wildcard] = end as u32;
                    return Turn::Enter {
                        child,
                        at: end,
                        more: flags & (RESTS | REST) != 0,
                    };
                }
            }
        }
        let rest = &self.path[position..];
        for (suffix, record) in view.list(RESTS) {
            if rest.len() > suffix.len() && rest.ends_with(suffix) {
                ends[wildcard] = (self.path.len() - suffix.len()) as u32;
                return Turn::Found(record);
            }
        }
        match view.part(REST) {
            Some(record) => {
                ends[wildcard] = self.path.len() as u32;
                Turn::Found(record)
            }
            None => Turn::Nothing,
        }
    }
}

/// What a choice has left.
enum Turn {
    Nothing,
    /// A rest: the match is complete.
    Found(u32),
    /// A capture up to `at`; `more` when the choice may have another.
    Enter {
        child: u32,
        at: usize,
        more: bool,
    },
}

/// The value of the longest prefix of `key` in a tree of prefixes that is not empty.
#[inline]
pub(super) fn longest_prefix(words: &[u32], root: u32, key: &[u8]) -> Option<u32> {
    let mut view = View::new(words, root);
    let mut rest = key;
    let mut best = None;
    loop {
        rest = match rest.strip_prefix(view.label()) {
            Some(rest) => rest,
            None => return best,
        };
        best = view.part(END).or(best);
        let Some((byte, after)) = rest.split_first() else {
            return best;
        };
        let Some(child) = view.child(*byte) else {
            return best;
        };
        view = View::new(words, child);
        rest = after;
    }
}
