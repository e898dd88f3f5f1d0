//! Changing a tree by copying: from the root to the change, everything else shared.

use alloc::{boxed::Box, vec::Vec};

use super::{
    arena::{Append, Space},
    node::{EMPTY_REST, END, List, Node, ONE, ONES, RECORD_WORDS, REST, RESTS, View},
    route::{Edge, Route, Target},
};

/// The arena has no room for the change: compact and try again.
#[derive(Debug)]
pub(super) struct NoRoom;

/// A changed tree, not yet published.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    append: Append<'a>,
    dead: usize,
    buffer: Vec<u32>,
}

/// How a node hangs on its parent.
#[derive(Debug)]
enum Slot<'r> {
    Child(u8),
    One(&'r [u8]),
}

impl<'a> Draft<'a> {
    pub(super) fn new(append: Append<'a>) -> Self {
        Self {
            append,
            dead: 0,
            buffer: Vec::new(),
        }
    }

    /// Writes what a pattern's end names.
    pub(super) fn record(&mut self, value: u32, id: u32, places: &[u32]) -> Result<u32, NoRoom> {
        let record = self.append.end() as u32;
        let header: [u32; RECORD_WORDS] = [value, id, (places.len() / 2) as u32];
        if self.append.push(&header) && self.append.push(places) {
            Ok(record)
        } else {
            Err(NoRoom)
        }
    }

    /// Counts a record of so many place words that will no longer be named.
    pub(super) fn drop_places(&mut self, places: usize) {
        self.dead += RECORD_WORDS + places;
    }

    pub(super) fn publish(self, space: Space, root: u32) {
        self.append.publish(&[(space, root)], self.dead);
    }

    /// Hangs `word` at the end of `route`, or takes away what hangs there. Returns the new root.
    pub(super) fn set(
        &mut self,
        root: u32,
        route: &Route,
        word: Option<u32>,
    ) -> Result<u32, NoRoom> {
        let mut node = if root == 0 {
            Node::default()
        } else {
            self.read(root)
        };
        let mut path: Vec<(Node, Slot<'_>)> = Vec::new();
        let mut edges = route.edges.iter().peekable();
        let mut bytes: &[u8] = &[];
        loop {
            let (child, slot, after) = if let Some((key, after)) = bytes.split_first() {
                let child = node
                    .children
                    .iter()
                    .find(|(other, _)| other == key)
                    .map(|(_, child)| *child);
                (child, Slot::Child(*key), after)
            } else {
                match edges.next() {
                    None => break,
                    Some(Edge::Bytes(all)) => {
                        bytes = all;
                        continue;
                    }
                    Some(Edge::One(suffix)) => {
                        let child = if suffix.is_empty() {
                            node.one
                        } else {
                            in_list(&node.ones, suffix)
                        };
                        // The child's label may hold the text that follows.
                        let after: &[u8] =
                            match edges.next_if(|edge| matches!(edge, Edge::Bytes(_))) {
                                Some(Edge::Bytes(all)) => all,
                                _ => &[],
                            };
                        (child, Slot::One(suffix), after)
                    }
                }
            };
            let (next, taken) = self.enter(child, after)?;
            path.push((core::mem::replace(&mut node, next), slot));
            bytes = &after[taken..];
        }
        match &route.target {
            Target::End => node.end = word,
            Target::EmptyRest => node.empty_rest = word,
            Target::Rest(suffix) if suffix.is_empty() => node.rest = word,
            Target::Rest(suffix) => hang_in_list(&mut node.rests, suffix, word),
        }
        while let Some((mut parent, slot)) = path.pop() {
            self.merge(&mut node);
            let child = if node.is_empty() {
                None
            } else {
                Some(self.write(&node)?)
            };
            match slot {
                Slot::Child(key) => {
                    let at = parent.children.iter().position(|(other, _)| *other == key);
                    match (at, child) {
                        (Some(at), Some(child)) => parent.children[at].1 = child,
                        (Some(at), None) => drop(parent.children.remove(at)),
                        (None, Some(child)) => parent.children.push((key, child)),
                        (None, None) => {}
                    }
                }
                Slot::One([]) => parent.one = child,
                Slot::One(suffix) => hang_in_list(&mut parent.ones, suffix, child),
            }
            node = parent;
        }
        if node.is_empty() {
            Ok(0)
        } else {
            self.write(&node)
        }
    }

    /// The node that `child` becomes when `text` goes into it, and how much of `text` its label takes: a new node, the
    /// child, or a node that splits its label.
    fn enter(&mut self, child: Option<u32>, text: &[u8]) -> Result<(Node, usize), NoRoom> {
        let Some(child) = child else {
            return Ok((
                Node {
                    label: text.to_vec(),
                    ..Node::default()
                },
                text.len(),
            ));
        };
        let mut node = self.read(child);
        let common = node
            .label
            .iter()
            .zip(text)
            .take_while(|(a, b)| a == b)
            .count();
        if common == node.label.len() {
            return Ok((node, common));
        }
        let key = node.label[common];
        let upper = node.label[..common].to_vec();
        node.label.drain(..=common);
        let lower = self.write(&node)?;
        Ok((
            Node {
                label: upper,
                children: Vec::from([(key, lower)]),
                ..Node::default()
            },
            common,
        ))
    }

    /// A node with nothing but one child becomes one with it.
    fn merge(&mut self, node: &mut Node) {
        if let [(key, child)] = node.children[..]
            && node.is_bare()
            && u16::try_from(
                node.label.len() + 1 + View::new(self.append.words(), child).label().len(),
            )
            .is_ok()
        {
            let mut lower = self.read(child);
            let mut label = core::mem::take(&mut node.label);
            label.push(key);
            label.append(&mut lower.label);
            *node = Node { label, ..lower };
        }
    }

    /// Takes a node out of the tree to change it: its words are dead.
    fn read(&mut self, node: u32) -> Node {
        let words = self.append.words();
        let view = View::new(words, node);
        self.dead += view.size();
        for flag in [ONES, RESTS] {
            if let Some(list) = view.part(flag) {
                let mut entries = List::new(words, list);
                entries.by_ref().for_each(drop);
                self.dead += entries.at() - list as usize;
            }
        }
        Node::read(words, node)
    }

    fn write(&mut self, node: &Node) -> Result<u32, NoRoom> {
        self.buffer.clear();
        let offset = node.write(self.append.end(), &mut self.buffer);
        if self.append.push(&self.buffer) {
            Ok(offset)
        } else {
            Err(NoRoom)
        }
    }
}

/// What hangs at the end of `route`.
pub(super) fn find(words: &[u32], root: u32, route: &Route) -> Option<u32> {
    if root == 0 {
        return None;
    }
    // The root has no label.
    let mut view = View::new(words, root);
    let mut edges = route.edges.iter();
    let mut bytes: &[u8] = &[];
    loop {
        // Text may go on in the label of the node after a capture, so it is taken before the label is compared.
        if bytes.is_empty()
            && let [Edge::Bytes(all), ..] = edges.as_slice()
        {
            edges.next();
            bytes = all;
        }
        bytes = bytes.strip_prefix(view.label())?;
        let child = if let Some((key, after)) = bytes.split_first() {
            bytes = after;
            view.child(*key)
        } else {
            match edges.next() {
                None => break,
                Some(Edge::One(suffix)) if suffix.is_empty() => view.part(ONE),
                Some(Edge::One(suffix)) => in_list_view(view, ONES, suffix),
                // Text never follows text.
                Some(Edge::Bytes(_)) => None,
            }
        };
        view = View::new(words, child?);
    }
    match &route.target {
        Target::End => view.part(END),
        Target::EmptyRest => view.part(EMPTY_REST),
        Target::Rest(suffix) if suffix.is_empty() => view.part(REST),
        Target::Rest(suffix) => in_list_view(view, RESTS, suffix),
    }
}

fn in_list_view(view: View<'_>, flag: u32, suffix: &[u8]) -> Option<u32> {
    view.list(flag)
        .find(|(other, _)| *other == suffix)
        .map(|(_, target)| target)
}

fn in_list(list: &[(Box<[u8]>, u32)], suffix: &[u8]) -> Option<u32> {
    list.iter()
        .find(|(other, _)| **other == *suffix)
        .map(|(_, target)| *target)
}

/// Sets or removes an entry; the longest suffix stays first.
fn hang_in_list(list: &mut Vec<(Box<[u8]>, u32)>, suffix: &[u8], target: Option<u32>) {
    list.retain(|(other, _)| **other != *suffix);
    if let Some(target) = target {
        let at = list.partition_point(|(other, _)| other.len() >= suffix.len());
        list.insert(at, (suffix.into(), target));
    }
}
