//! Whether the blocks of an upload may be freed.

use crate::OwnerId;
use crate::metadata::apply::ApplyError;
use crate::metadata::command::Actor;
use crate::metadata::keys;
use crate::metadata::lease::LeaseId;
use crate::metadata::source::{Source, SourceError};
use crate::metadata::table::{self, session_of};
use crate::metadata::value::{Lease, Totals};

/// What is to be done with the blocks of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// Keep them: versions or pins refer to the upload, or did until a short time ago.
    Referenced,
    /// Keep them: something may come to refer to the upload.
    InProgress,
    /// Free them: nothing refers to the upload, and nothing ever will, on any peer.
    Dead,
}

/// The same, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metadata) enum Known {
    /// It is in the table.
    Referenced,
    /// Its session or its own lease lives.
    Open,
    /// Its session was not opened yet, as far as this state knows: it may be behind.
    NotOpened,
    /// Nothing refers to it, and nothing ever will.
    Dead,
}

/// Returns what is to be done with the blocks of an upload. Cost: at most five reads.
///
/// `Dead` is for ever, in this state and in every later one: to refer to an upload takes that it is in the table, or that
/// its session or own lease lives and it was not purged. A session that is closed is never opened again, as
/// sessions are numbered by the log; a lease of an upload begins in a live session only; a purge ends the lease and, while the
/// session lives, leaves a mark. A state that is behind others knows sessions of higher numbers than it ever opened
/// only as not opened yet, never as closed.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn upload_state(source: &dyn Source, upload: OwnerId) -> Result<UploadState, SourceError> {
    Ok(match state(source, upload)? {
        Known::Referenced => UploadState::Referenced,
        Known::Open | Known::NotOpened => UploadState::InProgress,
        Known::Dead => UploadState::Dead,
    })
}

/// Says whether an upload over several requests goes on, and is this actor's: not that of a user of the same name who was
/// removed. Cost: at most three reads.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn is_upload_of(
    source: &dyn Source,
    upload: OwnerId,
    actor: &Actor,
) -> Result<bool, SourceError> {
    let lease: Option<Lease> = table::get(source, &keys::lease(&LeaseId::Upload(upload)))?;
    let Some(lease) = lease.filter(|lease| lease.user.as_ref() == actor.user()) else {
        return Ok(false);
    };
    Ok(!is_left_behind(source, &lease)?)
}

/// Says whether the user of a lease was removed since its last renewal, whoever has the name now.
///
/// Both are numbers of the log, and nobody renews a lease that was left behind. A user of whom no making is known is older
/// than that was noted, and all leases of such are theirs.
pub(in crate::metadata) fn is_left_behind(
    source: &dyn Source,
    lease: &Lease,
) -> Result<bool, ApplyError> {
    let Some(user) = &lease.user else { return Ok(false) };
    if source.get(&keys::user(user))?.is_none() {
        return Ok(true);
    }
    let made: Option<u64> = table::get(source, &keys::making(user))?;
    Ok(made.is_some_and(|made| made > lease.renewals))
}

pub(in crate::metadata) fn state(
    source: &dyn Source,
    upload: OwnerId,
) -> Result<Known, ApplyError> {
    let has = |key: Vec<u8>| source.get(&key).map(|value| value.is_some());
    let session = session_of(upload);
    if has(keys::upload(upload))? {
        return Ok(Known::Referenced);
    }
    if has(keys::tomb(upload))? {
        return Ok(Known::Dead);
    }
    if has(keys::lease(&LeaseId::Upload(upload)))? || has(keys::session(session))? {
        return Ok(Known::Open);
    }
    let totals: Totals = table::get(source, keys::TOTALS)?.unwrap_or_default();
    // No session has number 0: those are owners that are no uploads (repairs, and blocks of a lost index).
    if session == 0 || session > totals.session_last {
        return Ok(Known::NotOpened);
    }
    Ok(Known::Dead)
}
