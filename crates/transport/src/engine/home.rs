//! Where a driver's core and application are: its own, or shared with the drivers of the other engine threads.
//!
//! With one thread nothing here locks. With several the application is behind a lock that each driver takes when it has
//! something to tell; see `core::Group` for the order of locks.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::core::{Core, Group, patiently};

/// The core and the application of one driver.
#[allow(
    clippy::large_enum_variant,
    reason = "one per engine thread, and one thread alone is to find it without a detour"
)]
pub(super) enum Home<A> {
    Own {
        core: Core,
        application: A,
    },
    Shared {
        shard: u8,
        group: Arc<Group>,
        application: Arc<Mutex<A>>,
    },
}

/// Something that is held for the length of a phase.
pub enum Held<'a, T> {
    /// It is nobody else's.
    Own(&'a mut T),
    /// It is shared, and this is its lock.
    Locked(MutexGuard<'a, T>),
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Own(own) => own,
            Self::Locked(guard) => guard,
        }
    }
}

impl<T> DerefMut for Held<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Self::Own(own) => own,
            Self::Locked(guard) => guard,
        }
    }
}

impl<T> std::fmt::Debug for Held<'_, T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Held").finish_non_exhaustive()
    }
}

impl<A> Home<A> {
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared { .. })
    }

    /// The core, for packets.
    #[inline]
    pub(super) fn core(&mut self) -> Held<'_, Core> {
        match self {
            Self::Own { core, .. } => Held::Own(core),
            Self::Shared { shard, group, .. } => Held::Locked(group.core(*shard)),
        }
    }

    /// The application alone: to look at it, without a way to peers.
    #[inline]
    pub(super) fn application(&mut self) -> Held<'_, A> {
        match self {
            Self::Own { application, .. } => Held::Own(application),
            Self::Shared { application, .. } => Held::Locked(patiently(application)),
        }
    }

    /// Both, for the application to be told.
    #[inline]
    pub(super) fn both(&mut self) -> (Held<'_, Core>, Held<'_, A>) {
        match self {
            Self::Own { core, application } => (Held::Own(core), Held::Own(application)),
            Self::Shared {
                shard,
                group,
                application,
            } => {
                let application = patiently(application);
                (Held::Locked(group.core(*shard)), Held::Locked(application))
            }
        }
    }

    /// As [`both`](Self::both), unless another thread has the application: that one looks at what there is to look at.
    #[inline]
    pub(super) fn try_both(&mut self) -> Option<(Held<'_, Core>, Held<'_, A>)> {
        match self {
            Self::Own { core, application } => Some((Held::Own(core), Held::Own(application))),
            Self::Shared {
                shard,
                group,
                application,
            } => {
                let application = application.try_lock().ok()?;
                Some((Held::Locked(group.core(*shard)), Held::Locked(application)))
            }
        }
    }
}
