//! Locks and leases.

use super::page;
use crate::limits::LOCK_WAITERS_MAX;
use crate::metadata::keys;
use crate::metadata::lease::LeaseId;
use crate::metadata::name::LockName;
use crate::metadata::source::{Source, SourceError};
use crate::metadata::table;
use crate::metadata::value::{Lease, Lock, LockWaiter};

/// Returns a lock; none when nobody holds it. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn lock(source: &dyn Source, name: &LockName) -> Result<Option<Lock>, SourceError> {
    Ok(table::get(source, &keys::lock(name))?)
}

/// Returns who waits for a lock, the next one first: at most [`LOCK_WAITERS_MAX`].
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn lock_waiters(source: &dyn Source, name: &LockName) -> Result<Vec<LockWaiter>, SourceError> {
    let limit = LOCK_WAITERS_MAX as usize;
    Ok(table::values(source, &keys::waiters(name).end(), None, limit)?)
}

/// Returns leases in a fixed order, behind `after`: what a new leader begins its countdowns with.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn leases(
    source: &dyn Source,
    after: Option<&LeaseId>,
    limit: usize,
) -> Result<Vec<Lease>, SourceError> {
    let from = after.map(|after| keys::next(keys::lease(after)));
    Ok(table::values(source, &[keys::table::LEASE], from.as_deref(), page(limit))?)
}
