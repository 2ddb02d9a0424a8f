//! The cluster: settings, members, tickets, topologies, and what is due.

use super::page;
use crate::limits::TOPOLOGIES_KEPT;
use crate::metadata::keys;
use crate::metadata::source::{Source, SourceError};
use crate::metadata::table;
use crate::metadata::value::{Catalog, DueEntry, Member, Settings, Ticket, Totals};
use crate::topology::{Epoch, Topology};
use crate::{PeerId, WallTime};

/// Returns the settings of the cluster; none before it was founded. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn settings(source: &dyn Source) -> Result<Option<Settings>, SourceError> {
    Ok(table::get(source, keys::SETTINGS)?)
}

/// Returns the secret that the cluster signs its catalog with; none in a cluster that was founded without one. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn catalog_key(source: &dyn Source) -> Result<Option<[u8; 32]>, SourceError> {
    Ok(table::get(source, keys::CATALOG_KEY)?)
}

/// Returns how the catalog stands. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn catalog(source: &dyn Source) -> Result<Catalog, SourceError> {
    Ok(table::get(source, keys::CATALOG)?.unwrap_or_default())
}

/// Returns how many there are of what is bounded. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn totals(source: &dyn Source) -> Result<Totals, SourceError> {
    Ok(table::get(source, keys::TOTALS)?.unwrap_or_default())
}

/// Returns a member by its id in Raft. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn member(source: &dyn Source, raft_id: u64) -> Result<Option<Member>, SourceError> {
    Ok(table::get(source, &keys::member(raft_id))?)
}

/// Says whether a member was removed, by its id in Raft: it can never come back. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn is_removed(source: &dyn Source, raft_id: u64) -> Result<bool, SourceError> {
    Ok(source.get(&keys::removed(raft_id))?.is_some())
}

/// Returns the member that a peer is. Cost: two reads.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn member_of(source: &dyn Source, peer: PeerId) -> Result<Option<Member>, SourceError> {
    let raft_id: Option<u64> = table::get(source, &keys::member_peer(peer))?;
    raft_id.map_or(Ok(None), |raft_id| member(source, raft_id))
}

/// Returns members in order of their ids in Raft, behind `after`.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn members(
    source: &dyn Source,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Member>, SourceError> {
    let from = after.map(|after| keys::next(keys::member(after)));
    Ok(table::values(source, &[keys::table::MEMBER], from.as_deref(), page(limit))?)
}

/// Returns a ticket by the SHA-256 of its secret. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn ticket(source: &dyn Source, hash: &[u8; 32]) -> Result<Option<Ticket>, SourceError> {
    Ok(table::get(source, &keys::ticket(hash))?)
}

/// Returns tickets in the order in which they were made, behind `after`; used and expired ones for a day too.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn tickets(
    source: &dyn Source,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Ticket>, SourceError> {
    let from = after.map(|after| keys::next(keys::ticket_id(after)));
    let rows = table::rows(source, &[keys::table::TICKET_ID], from.as_deref(), page(limit))?;
    let mut tickets = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let at = keys::ticket(&table::value(&key, &value)?);
        tickets.push(table::get(source, &at)?.ok_or_else(|| table::missing(&at))?);
    }
    Ok(tickets)
}

/// Returns the current topology; none before the cluster was founded. Cost: two reads.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn topology(source: &dyn Source) -> Result<Option<Topology>, SourceError> {
    let epoch: Option<Epoch> = table::get(source, keys::EPOCH)?;
    let Some(epoch) = epoch else { return Ok(None) };
    Ok(table::get(source, &keys::topology(epoch))?)
}

/// Returns the current topology and the earlier ones that are kept, newest first.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn topologies(source: &dyn Source) -> Result<Vec<Topology>, SourceError> {
    let limit = TOPOLOGIES_KEPT + 1;
    let mut kept: Vec<Topology> = table::values(source, &[keys::table::TOPOLOGY], None, limit)?;
    kept.reverse();
    Ok(kept)
}

/// Returns what is due by `now`, the earliest first.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn due(source: &dyn Source, now: WallTime, limit: usize) -> Result<Vec<DueEntry>, SourceError> {
    let until = keys::due_until(now);
    let rows = source.scan(&[keys::table::DUE], Some(&until), page(limit))?;
    rows.iter().map(|(key, value)| Ok(table::value(key, value)?)).collect()
}
