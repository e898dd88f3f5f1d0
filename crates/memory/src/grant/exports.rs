//! What this node exports, what it revoked, and the grants in use.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Grant, GrantError, GrantId, NodeId, Presented, Signer, Slice, Verified, Verifier};
use crate::{
    compress::Compression,
    region::{Access, RangeRights, Region},
};

/// Regions that one node exports at a time.
pub const MAX_EXPORTS: usize = 65_536;
/// Grants that peers of one node have presented and still hold.
pub const MAX_GRANTS_IN_USE: usize = 262_144;
/// Grants revoked one by one that one export remembers; more than that is a case for exporting anew.
pub const MAX_REVOKED_GRANTS: usize = 65_536;

/// The present, in both of the forms that are needed.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For deadlines of this process.
    pub instant: Instant,
    /// Milliseconds since 1970, for what nodes say to each other.
    pub unix_ms: u64,
}

#[derive(Debug)]
struct Export {
    region: Arc<dyn Region>,
    rights: RangeRights,
    compression: Compression,
    revoked: HashSet<GrantId>,
}

/// A grant that was turned into an access which may still be held.
#[derive(Debug)]
struct InUse {
    /// The export's name and epoch: together they are used once.
    name: Arc<str>,
    epoch: u64,
    links: Box<[GrantId]>,
    holders: Box<[NodeId]>,
    revoked: Arc<AtomicBool>,
}

/// The exporting side: names to regions, and who lost his rights.
#[derive(Debug)]
pub struct Exports {
    node: NodeId,
    by_name: HashMap<Arc<str>, Export>,
    /// Grants issued up to this time whose chain holds this node are dead.
    cutoffs: HashMap<NodeId, u64>,
    in_use: Vec<InUse>,
    /// Length of `in_use` at which those that nobody holds any more are swept out.
    sweep_at: usize,
}

const FIRST_SWEEP: usize = 1_024;

impl Exports {
    /// Of the node `node`; nothing yet.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            by_name: HashMap::new(),
            cutoffs: HashMap::new(),
            in_use: Vec::new(),
            sweep_at: FIRST_SWEEP,
        }
    }

    /// Exports `region` as `name`; its grants hold at most `rights`.
    ///
    /// # Errors
    /// [`GrantError::NameTaken`], [`GrantError::Full`].
    pub fn export(
        &mut self,
        name: &str,
        region: Arc<dyn Region>,
        rights: RangeRights,
    ) -> Result<(), GrantError> {
        if self.by_name.contains_key(name) {
            return Err(GrantError::NameTaken);
        }
        if self.by_name.len() == MAX_EXPORTS {
            return Err(GrantError::Full {
                table: "exports",
                limit: MAX_EXPORTS,
            });
        }
        let export = Export {
            region,
            rights,
            compression: Compression::None,
            revoked: HashSet::new(),
        };
        self.by_name.insert(name.into(), export);
        Ok(())
    }

    /// What bulk transfers of the region `name` may do, for grants that are presented from now on; nothing at first.
    ///
    /// # Errors
    /// [`GrantError::UnknownRegion`].
    pub fn set_compression(
        &mut self,
        name: &str,
        compression: Compression,
    ) -> Result<(), GrantError> {
        let export = self
            .by_name
            .get_mut(name)
            .ok_or(GrantError::UnknownRegion)?;
        export.compression = compression;
        Ok(())
    }

    /// The region of this name.
    pub fn region(&self, name: &str) -> Option<&Arc<dyn Region>> {
        self.by_name.get(name).map(|export| &export.region)
    }

    /// Names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }

    /// A signed grant for a slice of the region `name`. Costs a signature (about 1 ms with FALCON-1024).
    ///
    /// # Errors
    /// [`GrantError::UnknownRegion`], [`GrantError::OutOfRange`] (of the length now), [`GrantError::Rights`],
    /// [`GrantError::Expired`] if it would be dead at once; as [`Grant::issue`].
    pub fn issue(
        &self,
        signer: &dyn Signer,
        name: &str,
        slice: Slice,
        nonce: [u8; 16],
        now: Moment,
    ) -> Result<Grant, GrantError> {
        let export = self.by_name.get(name).ok_or(GrantError::UnknownRegion)?;
        check_slice(export, &slice)?;
        if slice.expires_unix_ms <= now.unix_ms {
            return Err(GrantError::Expired);
        }
        // A grant that is made in the millisecond of a revocation is a new one.
        let after_cutoff = self
            .cutoffs
            .get(&slice.holder)
            .map_or(0, |cutoff| cutoff.saturating_add(1));
        let issued = now.unix_ms.max(after_cutoff);
        Grant::issue(signer, name, export.region.epoch(), issued, slice, nonce)
    }

    /// Turns a verified grant into the access that operations check: revocation, region, epoch, range, rights.
    ///
    /// # Errors
    /// [`GrantError::Revoked`], [`GrantError::UnknownRegion`], [`GrantError::StaleEpoch`], [`GrantError::OutOfRange`],
    /// [`GrantError::Rights`], [`GrantError::Expired`], [`GrantError::Full`].
    pub fn admit(&mut self, verified: &Verified, now: Moment) -> Result<Access, GrantError> {
        let grant = verified.grant();
        let slice = grant.slice();
        let (name, export) = self
            .by_name
            .get_key_value(grant.name())
            .ok_or(GrantError::UnknownRegion)?;
        if export.region.epoch() != grant.epoch() {
            return Err(GrantError::StaleEpoch);
        }
        let links = grant.links();
        let cut_off = |holder| {
            self.cutoffs
                .get(holder)
                .is_some_and(|cutoff| grant.issued_unix_ms() <= *cutoff)
        };
        if export.region.is_revoked()
            || links
                .iter()
                .any(|link| export.revoked.contains(&link.id) || cut_off(&link.slice.holder))
        {
            return Err(GrantError::Revoked);
        }
        check_slice(export, slice)?;
        // Again: verification took its time.
        let left = slice
            .expires_unix_ms
            .checked_sub(now.unix_ms)
            .filter(|left| *left > 0);
        let left = Duration::from_millis(left.ok_or(GrantError::Expired)?);
        let revoked = Arc::new(AtomicBool::new(false));
        let access = Access {
            region: Arc::clone(&export.region),
            epoch: grant.epoch(),
            base: slice.offset,
            length: slice.length,
            rights: slice.rights,
            // Beyond what the clock can say is forever.
            expires: now.instant.checked_add(left),
            revoked: Arc::clone(&revoked),
            compression: export.compression,
        };
        let name = Arc::clone(name);
        self.remember(InUse {
            name,
            epoch: grant.epoch(),
            links: links.iter().map(|link| link.id).collect(),
            holders: links.iter().map(|link| link.slice.holder).collect(),
            revoked,
        })?;
        Ok(access)
    }

    /// [`Presented::check`], [`Presented::verify`] and [`admit`](Self::admit) in one, where a signature's 50 µs do not
    /// hurt.
    ///
    /// # Errors
    /// Of all three.
    pub fn present(
        &mut self,
        bytes: &[u8],
        peer: &NodeId,
        verifier: &dyn Verifier,
        now: Moment,
    ) -> Result<Access, GrantError> {
        let verified = Presented::check(bytes, &self.node, peer, now.unix_ms)?.verify(verifier)?;
        self.admit(&verified, now)
    }

    /// Revokes one grant of the region `name`, whoever signed it, with all that was delegated from it. The next operation of a
    /// holder fails. Returns the accesses that ended.
    ///
    /// # Errors
    /// [`GrantError::UnknownRegion`], [`GrantError::Full`].
    pub fn revoke_grant(&mut self, name: &str, id: GrantId) -> Result<usize, GrantError> {
        let export = self
            .by_name
            .get_mut(name)
            .ok_or(GrantError::UnknownRegion)?;
        if export.revoked.len() == MAX_REVOKED_GRANTS && !export.revoked.contains(&id) {
            return Err(GrantError::Full {
                table: "revoked grants",
                limit: MAX_REVOKED_GRANTS,
            });
        }
        export.revoked.insert(id);
        let epoch = export.region.epoch();
        Ok(self.end(|used| &*used.name == name && used.epoch == epoch && used.links.contains(&id)))
    }

    /// Revokes every grant issued until now that `node` holds or delegated on. Returns the accesses that ended.
    pub fn revoke_node(&mut self, node: &NodeId, now: Moment) -> usize {
        let cutoff = self.cutoffs.entry(*node).or_default();
        *cutoff = now.unix_ms.max(*cutoff);
        self.end(|used| used.holders.contains(node))
    }

    /// The nodes that hold or delegated a grant that is in use, each once.
    pub fn holders(&self) -> HashSet<NodeId> {
        let holders = self.in_use.iter().flat_map(|used| used.holders.iter());
        holders.copied().collect()
    }

    /// Ends the export `name`: no access is running any more when it returns, and the name is free. Returns the accesses that
    /// ended.
    ///
    /// # Errors
    /// [`GrantError::UnknownRegion`].
    pub fn revoke_region(&mut self, name: &str) -> Result<usize, GrantError> {
        let export = self.by_name.remove(name).ok_or(GrantError::UnknownRegion)?;
        let ended = self.end(|used| &*used.name == name && used.epoch == export.region.epoch());
        export.region.revoke();
        Ok(ended)
    }

    fn end(&mut self, which: impl Fn(&InUse) -> bool) -> usize {
        let before = self.in_use.len();
        self.in_use.retain(|used| {
            let ends = which(used);
            if ends {
                // Relaxed, as where it is read: the flag carries no other data.
                used.revoked.store(true, Ordering::Relaxed);
            }
            !ends
        });
        before - self.in_use.len()
    }

    fn remember(&mut self, used: InUse) -> Result<(), GrantError> {
        if self.in_use.len() >= self.sweep_at {
            // Ours is the last owner of a flag whose access nobody holds.
            self.in_use
                .retain(|used| Arc::strong_count(&used.revoked) > 1);
            // Twice what is left: each sweep is paid by as many admissions.
            self.sweep_at = (self.in_use.len() * 2).clamp(FIRST_SWEEP, MAX_GRANTS_IN_USE);
            if self.in_use.len() >= MAX_GRANTS_IN_USE {
                return Err(GrantError::Full {
                    table: "grants in use",
                    limit: MAX_GRANTS_IN_USE,
                });
            }
        }
        self.in_use.push(used);
        Ok(())
    }
}

fn check_slice(export: &Export, slice: &Slice) -> Result<(), GrantError> {
    let end = slice.end().ok_or(GrantError::Wider { field: "slice" })?;
    let available = export.region.len();
    if end > available {
        return Err(GrantError::OutOfRange { end, available });
    }
    let allowed = export.rights.common(slice.offset..end);
    if !allowed.contains(slice.rights) {
        return Err(GrantError::Rights { allowed });
    }
    Ok(())
}
