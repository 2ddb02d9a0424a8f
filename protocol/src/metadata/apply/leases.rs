//! The one mechanism behind sessions, uploads, locks and places in their queues.

use super::step::{Step, Stop, check_room, invalid};
use crate::limits::{LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN, LEASES_MAX};
use crate::metadata::effect::Effect;
use crate::metadata::keys;
use crate::metadata::lease::LeaseId;
use crate::metadata::name::UserName;
use crate::metadata::outcome::Outcome;
use crate::metadata::refusal::{Bounded, Refusal};
use crate::metadata::source::Source;
use crate::metadata::value::Lease;

impl Step<'_> {
    pub(super) fn draft_has(&self, key: &[u8]) -> Result<bool, Stop> {
        Ok(self.draft.get(key)?.is_some())
    }

    /// Gives a lease that did not exist.
    pub(super) fn begin_lease(&mut self, id: LeaseId, ttl_ms: u64) -> Result<(), Stop> {
        check_ttl(ttl_ms)?;
        let user = self.user().cloned();
        self.begin_lease_of(id, ttl_ms, user)
    }

    /// Gives a lease to a user; to a peer when there is none.
    pub(super) fn begin_lease_of(
        &mut self,
        id: LeaseId,
        ttl_ms: u64,
        user: Option<UserName>,
    ) -> Result<(), Stop> {
        let mut totals = self.totals()?;
        check_room(Bounded::Leases, totals.leases, LEASES_MAX)?;
        totals.leases += 1;
        self.set_totals(&totals)?;
        let renewals = self.index;
        self.set(keys::lease(&id), &Lease { id: id.clone(), ttl_ms, renewals, user })?;
        self.effect(Effect::LeaseChanged { id, ttl_ms, renewals });
        Ok(())
    }

    /// Renews a lease, with another length when one is given.
    pub(super) fn renew_lease(
        &mut self,
        id: &LeaseId,
        ttl_ms: Option<u64>,
    ) -> Result<Outcome, Stop> {
        let lease: Option<Lease> = self.get(&keys::lease(id))?;
        let mut lease = lease.ok_or_else(|| Refusal::LeaseLost { lease: id.clone() })?;
        if let Some(ttl_ms) = ttl_ms {
            check_ttl(ttl_ms)?;
            lease.ttl_ms = ttl_ms;
        }
        lease.renewals = self.index;
        self.set(keys::lease(id), &lease)?;
        let Lease { ttl_ms, renewals, .. } = lease;
        self.effect(Effect::LeaseChanged { id: id.clone(), ttl_ms, renewals });
        Ok(Outcome::Leased { renewals })
    }

    /// Ends a lease. Says whether there was one.
    pub(super) fn end_lease(&mut self, id: &LeaseId) -> Result<bool, Stop> {
        if !self.draft_has(&keys::lease(id))? {
            return Ok(false);
        }
        self.delete(keys::lease(id));
        let mut totals = self.totals()?;
        totals.leases = totals.leases.saturating_sub(1);
        self.set_totals(&totals)?;
        self.effect(Effect::LeaseEnded { id: id.clone() });
        Ok(true)
    }

    /// Ends a lease and what hangs on it, unless it was renewed since the leader looked.
    pub(super) fn expire(&mut self, id: &LeaseId, renewals: u64) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let lease: Option<Lease> = self.get(&keys::lease(id))?;
        if lease.is_none_or(|lease| lease.renewals != renewals) {
            return Ok(Outcome::Expired { ended: false });
        }
        match id {
            LeaseId::Session(session) => self.close_session(*session)?,
            LeaseId::Upload(upload) => self.end_upload(*upload)?,
            LeaseId::LockHolder { name, .. } => self.pass_on(name)?,
            LeaseId::LockWaiter { name, place } => self.remove_waiter(name, *place)?,
        }
        Ok(Outcome::Expired { ended: true })
    }
}

pub(super) fn check_ttl(ttl_ms: u64) -> Result<(), Stop> {
    if (LEASE_TTL_MS_MIN..=LEASE_TTL_MS_MAX).contains(&ttl_ms) {
        return Ok(());
    }
    let detail = format!("ttl_ms is {ttl_ms}, must be {LEASE_TTL_MS_MIN}..={LEASE_TTL_MS_MAX}");
    Err(invalid(detail))
}
