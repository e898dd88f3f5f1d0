//! Sessions, links and grants brought together: what the layer with the QUIC connections calls.

use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, atomic::Ordering},
    time::Instant,
};

use super::{
    channel::Channel,
    handover::Secret,
    link::{Link, OfferError, OfferTerms, OfferedGrant},
    process::Process,
    region::MappedRegion,
    service::{Host, HostError, HostEvents, HostOptions, Refusal, Session},
};
use crate::region::Access;

/// Grants and imports that one session can have; over QUIC there may be more.
const MAX_PER_SESSION: usize = 1024;

/// The id of a grant.
type GrantId = [u8; 16];

/// Memory of the processes of this host, by QUIC session and grant.
///
/// Nothing here has to be waited for and nothing fails a caller: what does not go by descriptor goes over QUIC. Grants may be
/// made before the link stands; they follow as soon as it does.
pub struct SameHost {
    host: Host,
    table: Arc<Table>,
}

/// A granted region of a peer, as far as it is mapped.
#[derive(Debug, Default)]
pub struct Import {
    region: OnceLock<MappedRegion>,
}

impl Import {
    /// The region, once the peer has handed it over; until then, or for ever, QUIC. One atomic load.
    ///
    /// When an access answers [`MappedError::PeerGone`](super::MappedError::PeerGone) the link is over: QUIC knows
    /// whether the peer is.
    #[inline]
    pub fn region(&self) -> Option<&MappedRegion> {
        self.region.get()
    }
}

/// How often what has happened since the start; for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SameHostCounts {
    /// Links that stood.
    pub links: u64,
    /// Sessions that got no link.
    pub refused: u64,
    /// Grants handed over by descriptor.
    pub offered: u64,
    /// Grants that stayed on QUIC: a part of an object, rights that no seal enforces, too many, or the kernel refused.
    pub kept: u64,
    /// Regions of peers that were mapped.
    pub mapped: u64,
}

type Hook = Box<dyn Fn(Session) + Send + Sync>;

#[derive(Default)]
struct Table {
    sessions: Mutex<HashMap<Session, Entry>>,
    counts: Mutex<SameHostCounts>,
    /// Called when a link stands, and when a receiver that slept is rung.
    wake: OnceLock<Hook>,
}

#[derive(Default)]
struct Entry {
    link: Option<Arc<Link>>,
    /// Until somebody takes it.
    channel: Option<Channel>,
    /// The process at the other end, also after the link.
    process: Option<Process>,
    /// There will be no link: the peer is on another host, or did not get through.
    quic_only: bool,
    granted: Vec<Granted>,
    imports: HashMap<GrantId, Weak<Import>>,
}

struct Granted {
    grant: GrantId,
    access: Access,
    /// Once it was handed over.
    offered: Option<OfferedGrant>,
}

impl SameHost {
    /// Makes the socket and its thread.
    ///
    /// # Errors
    /// [`HostError`]; QUIC is all there is then.
    pub fn open(options: HostOptions) -> Result<Self, HostError> {
        let options = HostOptions {
            answer_bells: true,
            ..options
        };
        let table = Arc::new(Table::default());
        let events: Arc<dyn HostEvents> = Arc::<Table>::clone(&table);
        let host = Host::open(options, events)?;
        Ok(Self { host, table })
    }

    /// Called on the host's thread when a link stands and when the bell of a receiver that slept is rung; should return
    /// soon. Once; a second hook is not kept.
    pub fn on_wake(&self, hook: impl Fn(Session) + Send + Sync + 'static) {
        let _ = self.table.wake.set(Box::new(hook));
    }

    /// A session stands in which this side invites: the answer goes to its peer, over QUIC. See [`Host::invite`].
    ///
    /// # Errors
    /// As [`Host::invite`].
    pub fn invite(&self, session: Session, secret: Secret) -> Result<Vec<u8>, HostError> {
        let invitation = self.host.invite(session, secret)?;
        self.table.sessions().entry(session).or_default();
        Ok(invitation)
    }

    /// A session stands whose peer has invited. See [`Host::join`].
    ///
    /// # Errors
    /// As [`Host::join`]; [`HostError::OtherHost`] is what most peers of a network give.
    pub fn join(
        &self,
        session: Session,
        invitation: &[u8],
        secret: Secret,
    ) -> Result<(), HostError> {
        // Before the link can stand.
        self.table.sessions().entry(session).or_default();
        let joined = self.host.join(session, invitation, secret);
        if joined.is_err() {
            self.table.no_link(session);
        }
        joined
    }

    /// A session is over, or its peer's certificate was revoked: so are its link, its grants and its imports. Each session
    /// that was named here once has to be ended once.
    pub fn end(&self, session: Session) {
        // Dropped outside of the lock: grants are revoked by it.
        let ended = self.table.sessions().remove(&session);
        drop(ended);
        self.host.unlink(session);
    }

    /// True while a link stands.
    pub fn is_linked(&self, session: Session) -> bool {
        let sessions = self.table.sessions();
        sessions
            .get(&session)
            .is_some_and(|entry| entry.link.is_some())
    }

    /// True once the process that a session was linked with has ended, as the kernel says. A link may end before, or without it.
    pub fn has_peer_ended(&self, session: Session) -> bool {
        let sessions = self.table.sessions();
        let process = sessions
            .get(&session)
            .and_then(|entry| entry.process.as_ref());
        process.is_some_and(Process::has_ended)
    }

    /// The channel of a link, once.
    pub fn channel(&self, session: Session) -> Option<Channel> {
        self.table.sessions().get_mut(&session)?.channel.take()
    }

    /// Lets the peer of a session use a region in place, if that can be: `access` is what its grant was verified to give. It
    /// goes over now, or when the link stands. False when it stays on QUIC for certain.
    pub fn grant(&self, session: Session, grant: GrantId, access: &Access, now: Instant) -> bool {
        if access.region.shared_object().is_none() {
            return false;
        }
        let mut sessions = self.table.sessions();
        let entry = sessions.entry(session).or_default();
        if entry.quic_only {
            return false;
        }
        entry.granted.retain(|granted| granted.holds(Some(now)));
        if entry.granted.len() >= MAX_PER_SESSION {
            return false;
        }
        let mut granted = Granted {
            grant,
            access: access.clone(),
            offered: None,
        };
        if !granted.holds(Some(now)) {
            return false;
        }
        if let Some(link) = &entry.link {
            let offered = granted.offer(link, now);
            if !self.table.count_offer(&offered) {
                return false;
            }
        }
        entry.granted.push(granted);
        true
    }

    /// Ends what went by descriptor under grants or regions that were revoked since: to be called after each revocation.
    pub fn end_revoked(&self) {
        for entry in self.table.sessions().values_mut() {
            entry.granted.retain(|granted| granted.holds(None));
        }
    }

    /// Expects a region of the peer of a session; to be called before the grant is presented over QUIC, because only regions
    /// that somebody expects are kept. Forgotten when the answer is dropped.
    pub fn import(&self, session: Session, grant: GrantId) -> Arc<Import> {
        let mut sessions = self.table.sessions();
        let entry = sessions.entry(session).or_default();
        // Whoever imports a grant twice shares the mapping.
        if let Some(import) = entry.imports.get(&grant).and_then(Weak::upgrade) {
            return import;
        }
        let import = Arc::<Import>::default();
        entry.imports.retain(|_, import| import.strong_count() > 0);
        if entry.imports.len() < MAX_PER_SESSION {
            entry.imports.insert(grant, Arc::downgrade(&import));
        }
        import
    }

    /// What has happened so far.
    pub fn counts(&self) -> SameHostCounts {
        *self.table.counts()
    }
}

impl Granted {
    /// Neither revoked nor, at `now`, expired.
    fn holds(&self, now: Option<Instant>) -> bool {
        let Access {
            region,
            revoked,
            expires,
            ..
        } = &self.access;
        let expired = now.is_some_and(|now| expires.is_some_and(|at| at <= now));
        // Relaxed: whoever revokes calls `end_revoked` after it.
        !expired && !revoked.load(Ordering::Relaxed) && !region.is_revoked()
    }

    fn offer(&mut self, link: &Arc<Link>, now: Instant) -> Result<(), OfferError> {
        let access = &self.access;
        let object = access
            .region
            .shared_object()
            .ok_or(OfferError::Window { len: 0 })?;
        let terms = OfferTerms {
            grant: self.grant,
            rights: access.rights,
            offset: access.base,
            length: access.length,
            lifetime: access.expires.map(|at| at.saturating_duration_since(now)),
        };
        self.offered = Some(link.offer(object, &terms)?);
        Ok(())
    }
}

impl Table {
    fn sessions(&self) -> MutexGuard<'_, HashMap<Session, Entry>> {
        // What is behind these locks is whole after each statement.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, SameHostCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_offer(&self, offered: &Result<(), OfferError>) -> bool {
        let mut counts = self.counts();
        match offered {
            Ok(()) => counts.offered += 1,
            Err(_) => counts.kept += 1,
        }
        offered.is_ok()
    }

    fn no_link(&self, session: Session) {
        if let Some(entry) = self.sessions().get_mut(&session) {
            entry.quic_only = true;
            entry.granted.clear();
        }
    }

    fn wake(&self, session: Session) {
        if let Some(hook) = self.wake.get() {
            hook(session);
        }
    }
}

impl HostEvents for Table {
    fn linked(&self, link: &Arc<Link>, channel: Channel) {
        self.counts().links += 1;
        {
            let mut sessions = self.sessions();
            // Else the session has ended meanwhile, and the unlinking is on its way.
            let Some(entry) = sessions.get_mut(&link.session()) else {
                return;
            };
            let now = Instant::now();
            entry.granted.retain_mut(|granted| {
                granted.holds(Some(now)) && self.count_offer(&granted.offer(link, now))
            });
            entry.process = Process::open(link.peer_process());
            entry.link = Some(Arc::clone(link));
            entry.channel = Some(channel);
        }
        self.wake(link.session());
    }

    fn offered(&self, link: &Arc<Link>, region: MappedRegion) {
        let mut sessions = self.sessions();
        let import = sessions
            .get_mut(&link.session())
            .and_then(|entry| entry.imports.get(region.grant()))
            .and_then(Weak::upgrade);
        drop(sessions);
        // A region that nobody expects is unmapped here.
        if let Some(import) = import
            && import.region.set(region).is_ok()
        {
            self.counts().mapped += 1;
        }
    }

    fn unmappable(&self, _: &Arc<Link>, _: GrantId, _: io::Error) {
        // The import stays as it is: on QUIC.
    }

    fn woken(&self, link: &Arc<Link>) {
        self.wake(link.session());
    }

    fn gone(&self, link: &Arc<Link>) {
        let mut sessions = self.sessions();
        if let Some(entry) = sessions.get_mut(&link.session()) {
            entry.link = None;
            entry.channel = None;
            entry.granted.clear();
        }
        drop(sessions);
        // Whoever has the channel finds its end.
        self.wake(link.session());
    }

    fn refused(&self, session: Session, _: Refusal) {
        self.counts().refused += 1;
        self.no_link(session);
    }
}

impl fmt::Debug for SameHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SameHost")
            .field("path", &self.host.path())
            .field("sessions", &self.table.sessions().len())
            .field("counts", &self.counts())
            .finish()
    }
}
