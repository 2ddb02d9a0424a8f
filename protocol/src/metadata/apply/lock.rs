//! Locks: one holder, and a queue in the order of asking.
//!
//! A grant's fencing token is the log index at which it was applied: a command makes at most one grant, so tokens rise
//! over all locks, and a store that remembers the highest it saw can refuse a holder that lost its lock.

use super::step::{Step, Stop, check_room};
use crate::limits::LOCK_WAITERS_MAX;
use crate::metadata::effect::Effect;
use crate::metadata::keys;
use crate::metadata::lease::LeaseId;
use crate::metadata::name::LockName;
use crate::metadata::outcome::Outcome;
use crate::metadata::refusal::{Bounded, Refusal};
use crate::metadata::source::Source;
use crate::metadata::table::{self, missing};
use crate::metadata::value::{Lease, Lock, LockHolder, LockWaiter};

impl Step<'_> {
    pub(super) fn acquire(
        &mut self,
        name: &LockName,
        owner: &LockName,
        ttl_ms: u64,
    ) -> Result<Outcome, Stop> {
        let Some(mut lock) = self.get::<Lock>(&keys::lock(name))? else {
            let fence = self.index;
            let holder = LeaseId::LockHolder { name: name.clone(), fence };
            self.begin_lease(holder, ttl_ms)?;
            self.grant(name, owner, 0)?;
            return Ok(Outcome::Granted { fence, ttl_ms });
        };
        if lock.holder.owner == *owner {
            let fence = lock.holder.fence;
            let holder = LeaseId::LockHolder { name: name.clone(), fence };
            self.renew_lease(&holder, Some(ttl_ms))?;
            return Ok(Outcome::Granted { fence, ttl_ms });
        }
        if let Some(place) = self.get::<u64>(&keys::waiter_of(name, owner))? {
            let waiter = LeaseId::LockWaiter { name: name.clone(), place };
            self.renew_lease(&waiter, Some(ttl_ms))?;
            return Ok(Outcome::Queued { position: self.position(name, place)? });
        }
        check_room(Bounded::Waiters, lock.waiting.into(), LOCK_WAITERS_MAX.into())?;
        let place = self.index;
        self.begin_lease(LeaseId::LockWaiter { name: name.clone(), place }, ttl_ms)?;
        self.set(keys::waiter(name, place), &LockWaiter { owner: owner.clone(), place })?;
        self.set(keys::waiter_of(name, owner), &place)?;
        lock.waiting += 1;
        self.set(keys::lock(name), &lock)?;
        Ok(Outcome::Queued { position: lock.waiting })
    }

    /// Returns how many have a place up to this one.
    fn position(&self, name: &LockName, place: u64) -> Result<u32, Stop> {
        let from = keys::waiters(name).end();
        let until = keys::next(keys::waiter(name, place));
        let rows = self.draft.scan(&from, Some(&until), LOCK_WAITERS_MAX as usize)?;
        Ok(u32::try_from(rows.len()).unwrap_or(LOCK_WAITERS_MAX))
    }

    /// Gives a lock to an owner, whose lease is there already.
    fn grant(&mut self, name: &LockName, owner: &LockName, waiting: u32) -> Result<(), Stop> {
        let holder = LockHolder { owner: owner.clone(), fence: self.index };
        let lock = Lock { name: name.clone(), holder, waiting };
        self.set(keys::lock(name), &lock)?;
        let (name, owner, fence) = (name.clone(), owner.clone(), self.index);
        self.effect(Effect::LockGranted { name, owner, fence });
        Ok(())
    }

    fn held(&self, name: &LockName, owner: &LockName, fence: u64) -> Result<LeaseId, Stop> {
        let lease = LeaseId::LockHolder { name: name.clone(), fence };
        let lock: Option<Lock> = self.get(&keys::lock(name))?;
        match lock {
            Some(Lock { holder, .. }) if holder.owner == *owner && holder.fence == fence => {
                Ok(lease)
            }
            Some(_) | None => Err(Refusal::LeaseLost { lease }.into()),
        }
    }

    pub(super) fn renew_lock(
        &mut self,
        name: &LockName,
        owner: &LockName,
        fence: u64,
        ttl_ms: u64,
    ) -> Result<Outcome, Stop> {
        let lease = self.held(name, owner, fence)?;
        self.renew_lease(&lease, Some(ttl_ms))?;
        Ok(Outcome::Granted { fence, ttl_ms })
    }

    pub(super) fn release_lock(
        &mut self,
        name: &LockName,
        owner: &LockName,
        fence: u64,
    ) -> Result<Outcome, Stop> {
        self.held(name, owner, fence)?;
        self.pass_on(name)?;
        Ok(Outcome::Done)
    }

    /// Takes a lock from its holder and gives it to the first who waits.
    pub(super) fn pass_on(&mut self, name: &LockName) -> Result<(), Stop> {
        let Some(lock) = self.get::<Lock>(&keys::lock(name))? else { return Ok(()) };
        let fence = lock.holder.fence;
        self.end_lease(&LeaseId::LockHolder { name: name.clone(), fence })?;
        let waiters = keys::waiters(name).end();
        let first: Option<LockWaiter> = table::values(&self.draft, &waiters, None, 1)?.pop();
        let Some(first) = first else {
            self.delete(keys::lock(name));
            return Ok(());
        };
        let waited = LeaseId::LockWaiter { name: name.clone(), place: first.place };
        let lease: Option<Lease> = self.get(&keys::lease(&waited))?;
        let lease = lease.ok_or_else(|| missing(&keys::lease(&waited)))?;
        self.end_lease(&waited)?;
        self.delete(keys::waiter(name, first.place));
        self.delete(keys::waiter_of(name, &first.owner));
        // Whose token asked for the lock then, not who gave it up or found it expired now.
        let id = LeaseId::LockHolder { name: name.clone(), fence: self.index };
        self.begin_lease_of(id, lease.ttl_ms, lease.user)?;
        self.grant(name, &first.owner, lock.waiting.saturating_sub(1))
    }

    pub(super) fn withdraw(&mut self, name: &LockName, owner: &LockName) -> Result<Outcome, Stop> {
        let lock: Option<Lock> = self.get(&keys::lock(name))?;
        // Told that it has no place any more, a holder would keep everybody waiting for as long as its lease lasts.
        if let Some(lock) = lock.filter(|lock| lock.holder.owner == *owner) {
            return Err(Refusal::HoldsLock { name: lock.name, owner: lock.holder.owner }.into());
        }
        if let Some(place) = self.get::<u64>(&keys::waiter_of(name, owner))? {
            self.remove_waiter(name, place)?;
        }
        Ok(Outcome::Done)
    }

    pub(super) fn remove_waiter(&mut self, name: &LockName, place: u64) -> Result<(), Stop> {
        self.end_lease(&LeaseId::LockWaiter { name: name.clone(), place })?;
        let Some(waiter) = self.get::<LockWaiter>(&keys::waiter(name, place))? else {
            return Ok(());
        };
        self.delete(keys::waiter(name, place));
        self.delete(keys::waiter_of(name, &waiter.owner));
        if let Some(mut lock) = self.get::<Lock>(&keys::lock(name))? {
            lock.waiting = lock.waiting.saturating_sub(1);
            self.set(keys::lock(name), &lock)?;
        }
        Ok(())
    }
}
