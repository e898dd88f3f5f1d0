//! The grants that a client presented, under the numbers it gave them.

use std::fmt;

use crate::{
    frame::{ImportRefusal, Imported},
    server::MAX_HANDLES,
};

/// Why a grant could not be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// The server refused it.
    Refused(ImportRefusal),
    /// It is longer than any grant.
    TooLong {
        /// Bytes given.
        length: usize,
        /// Most allowed.
        limit: usize,
    },
    /// This client holds as many as it may.
    Full {
        /// Grants that may be held.
        limit: usize,
    },
    /// The client was closed.
    Closed,
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::TooLong { length, limit } => {
                write!(f, "the grant has {length} bytes, the limit is {limit}")
            }
            Self::Full { limit } => write!(
                f,
                "{limit} grants of this node are imported, which is the limit"
            ),
            Self::Closed => f.write_str("the connection to the region's node is closed for good"),
        }
    }
}

impl std::error::Error for ImportError {}

/// Where a presented grant stands with the server that is attached now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The server has not answered.
    Waiting,
    /// The server has it.
    Held(Imported),
    /// The server refused it.
    Refused(ImportRefusal),
}

#[derive(Debug)]
pub(super) struct Import {
    pub(super) grant: Box<[u8]>,
    pub(super) token: u64,
    pub(super) standing: Standing,
    /// What it allows, from the first answer on; kept while it is presented again.
    pub(super) allows: Option<Imported>,
    /// Let go of before the server answered: the number is free when it did.
    pub(super) released: bool,
}

/// By handle. A free handle is used again, lowest first.
#[derive(Debug, Default)]
pub(super) struct Imports {
    entries: Vec<Option<Import>>,
    /// Presented and not answered.
    pub(super) waiting: usize,
}

impl Imports {
    pub(super) fn get(&self, handle: u16) -> Option<&Import> {
        self.entries.get(usize::from(handle))?.as_ref()
    }

    /// Keeps a grant under a number for which `is_in_use` is false: nothing that still waits may meet another grant.
    pub(super) fn insert(
        &mut self,
        grant: &[u8],
        token: u64,
        is_in_use: impl Fn(u16) -> bool,
    ) -> Result<u16, ImportError> {
        let is_free = |handle: &usize| {
            self.entries.get(*handle).is_none_or(Option::is_none) && !is_in_use(*handle as u16)
        };
        let free = (0..usize::from(MAX_HANDLES))
            .find(is_free)
            .unwrap_or(usize::from(MAX_HANDLES));
        if free >= usize::from(MAX_HANDLES) {
            return Err(ImportError::Full {
                limit: usize::from(MAX_HANDLES),
            });
        }
        let import = Import {
            grant: grant.into(),
            token,
            standing: Standing::Waiting,
            allows: None,
            released: false,
        };
        if self.entries.len() <= free {
            self.entries.resize_with(free + 1, || None);
        }
        self.entries[free] = Some(import);
        self.waiting += 1;
        Ok(free as u16)
    }

    pub(super) fn remove(&mut self, handle: u16) -> Option<Import> {
        let import = self.entries.get_mut(usize::from(handle))?.take()?;
        self.waiting -= usize::from(import.standing == Standing::Waiting);
        Some(import)
    }

    /// The server's answer. `None` if it answers what does not wait.
    pub(super) fn answer(
        &mut self,
        handle: u16,
        result: Result<Imported, ImportRefusal>,
    ) -> Option<&mut Import> {
        let import = self.entries.get_mut(usize::from(handle))?.as_mut()?;
        if import.standing != Standing::Waiting {
            return None;
        }
        import.standing = match result {
            Ok(imported) => Standing::Held(imported),
            Err(refusal) => Standing::Refused(refusal),
        };
        self.waiting -= 1;
        Some(import)
    }

    /// Lets a grant go. True if the server holds it and has to be told now.
    pub(super) fn release(&mut self, handle: u16, is_attached: bool) -> bool {
        let Some(import) = self
            .entries
            .get_mut(usize::from(handle))
            .and_then(Option::as_mut)
        else {
            return false;
        };
        if is_attached && import.standing == Standing::Waiting {
            import.released = true;
        } else {
            self.remove(handle);
        }
        is_attached
    }

    /// Nothing comes any more from the server that was attached: what was let go is gone.
    pub(super) fn detach(&mut self) {
        for entry in &mut self.entries {
            if entry.as_ref().is_some_and(|import| import.released) {
                *entry = None;
                self.waiting -= 1;
            }
        }
    }

    /// The server knows none of them: all wait to be presented again.
    pub(super) fn forget(&mut self) {
        for import in self.entries.iter_mut().flatten() {
            if matches!(import.standing, Standing::Held(_)) {
                import.standing = Standing::Waiting;
                self.waiting += 1;
            }
        }
    }

    /// Those that the server has not answered.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u16, &Import)> {
        self.entries.iter().zip(0..).filter_map(|(entry, handle)| {
            let import = entry.as_ref()?;
            (import.standing == Standing::Waiting).then_some((handle, import))
        })
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u16, Import)> {
        self.waiting = 0;
        std::mem::take(&mut self.entries)
            .into_iter()
            .zip(0..)
            .filter_map(|(entry, handle)| Some((handle, entry?)))
    }
}
