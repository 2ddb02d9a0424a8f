//! One command, carried out.
//!
//! A command works on a draft of its own, which is thrown away when it is refused. What it answered is remembered for
//! [`REQUESTS_REMEMBERED`] log positions, so that a request whose answer was lost can be repeated.
//! Never: looks at anything but the command, its index and the state.

mod access;
mod bucket;
mod cluster;
mod due;
mod leases;
mod lock;
mod member;
mod object;
mod pin;
mod step;
mod ticket;
mod upload;
mod write;

use super::command::{Command, Op, Precondition};
use super::keys;
use super::outcome::{Outcome, decode_answer, encode_answer};
use super::refusal::Refusal;
use super::request::RequestId;
use super::source::{Draft, Source, SourceError};
use super::table::corrupt;
use crate::limits::REQUESTS_REMEMBERED;
use step::{Step, Stop};

pub use access::may_write;
pub use object::check;

/// Why a peer cannot go on: it must stop, and never skip the command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The disk failed.
    #[error("the metadata cannot be read: {0}")]
    Source(#[from] SourceError),
    /// The disk holds what this version did not write.
    #[error("the metadata at {key} is corrupt: {detail}")]
    Corrupt {
        /// Where.
        key: String,
        /// What is wrong.
        detail: String,
    },
}

/// For queries in a reader's hands: it can do no more about a corrupt value than about a failing disk.
impl From<ApplyError> for SourceError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Source(error) => error,
            ApplyError::Corrupt { .. } => Self { detail: error.to_string() },
        }
    }
}

/// Carries out a command, and returns what it did or why it was refused.
///
/// `index`: the position in the Raft log, higher than that of every command before. A request that was carried
/// out within the last [`REQUESTS_REMEMBERED`] positions is not carried out again; its answer is. A refused
/// command changes nothing but this memory. Cost: a bounded number of reads, some tens for most commands.
///
/// # Errors
/// [`ApplyError`] when the state cannot be read: the draft is worth nothing then, and the peer must stop.
pub fn apply<S: Source + ?Sized>(
    draft: &mut Draft<'_, S>,
    index: u64,
    command: &Command,
) -> Result<Result<Outcome, Refusal>, ApplyError> {
    if let Some(answer) = recall(draft, command.request)? {
        return Ok(answer);
    }
    let mut step = Step::new(draft, index, command.at);
    let answer = match step.run(command) {
        Ok(outcome) => {
            let parts = step.draft.into_parts();
            draft.absorb(parts);
            Ok(outcome)
        }
        Err(Stop::Refused(refusal)) => Err(refusal),
        Err(Stop::Failed(error)) => return Err(error),
    };
    remember(draft, index, command.request, &answer)?;
    Ok(answer)
}

/// Returns what was answered to a request within the last [`REQUESTS_REMEMBERED`] positions; `None` for one that is not known.
///
/// # Errors
/// [`ApplyError`] when the state cannot be read.
pub fn recall(
    source: &dyn Source,
    request: RequestId,
) -> Result<Option<Result<Outcome, Refusal>>, ApplyError> {
    let key = keys::request(&request.0);
    let answer = source.get(&key)?;
    answer.map(|bytes| decode_answer(&bytes).map_err(|error| corrupt(&key, &error))).transpose()
}

/// Notes the answer of a request. The slot of a position is used again [`REQUESTS_REMEMBERED`] positions later,
/// and the answer in it forgotten then.
fn remember<S: Source + ?Sized>(
    draft: &mut Draft<'_, S>,
    index: u64,
    request: RequestId,
    answer: &Result<Outcome, Refusal>,
) -> Result<(), ApplyError> {
    let slot = keys::request_slot(index % REQUESTS_REMEMBERED);
    if let Some(old) = draft.get(&slot)?
        && let Ok(old) = <[u8; 16]>::try_from(&old[..])
    {
        draft.delete(keys::request(&old));
    }
    let key = keys::request(&request.0);
    let bytes = encode_answer(answer).map_err(|error| corrupt(&key, &error))?;
    draft.put(key, bytes);
    draft.put(slot, request.0.to_vec());
    Ok(())
}

impl Step<'_> {
    fn run(&mut self, command: &Command) -> Result<Outcome, Stop> {
        if matches!(command.op, Op::Found { .. }) {
            return self.found(&command.op);
        }
        self.enter(&command.actor)?;
        match &command.op {
            Op::Found { .. } | Op::SetCluster { .. } => self.set_cluster(&command.op),
            Op::CreateUser { name, role } => self.create_user(name, *role),
            Op::RemoveUser { name } => self.remove_user(name),
            Op::CreateToken { user, hash, label } => self.create_token(user, hash, label),
            Op::RevokeToken { id } => self.revoke_token(*id),
            Op::CreateBucket { name } => self.create_bucket(name),
            Op::RemoveBucket { name } => self.remove_bucket(name),
            Op::SetBucket { .. } => self.set_bucket(&command.op),
            Op::Put { .. } => self.put_object(&command.op),
            Op::Delete { bucket, key, precondition } => {
                self.delete_object(bucket, key, precondition)
            }
            Op::DeleteVersion { bucket, key, version } => {
                self.delete_version(bucket, key, *version, &Precondition::default())
            }
            Op::DeleteVersionIf { bucket, key, version, precondition } => {
                self.delete_version(bucket, key, *version, precondition)
            }
            Op::Copy { .. } => self.copy_object(&command.op),
            Op::Move { from, to, from_precondition, to_precondition } => {
                self.move_object(from, to, from_precondition, to_precondition)
            }
            Op::Restore { bucket, key, version, precondition } => {
                self.restore_object(bucket, key, *version, precondition)
            }
            Op::SetObject { .. } => self.set_object(&command.op),
            Op::Pin { root, size, upload } => self.pin(root, *size, *upload),
            Op::Unpin { root } => self.unpin(root),
            Op::Purge { entries } => self.purge(entries),
            Op::OpenSession { raft_id, ttl_ms } => self.open_session(*raft_id, *ttl_ms),
            Op::RenewSession { session } => self.renew_session(*session),
            Op::CloseSession { session } => self.close_session_asked(*session),
            Op::BeginUpload { upload, ttl_ms } => self.begin_upload(*upload, *ttl_ms),
            Op::RenewUpload { upload } => self.renew_upload(*upload),
            Op::EndUpload { upload } => self.end_upload_asked(*upload),
            Op::Expire { lease, renewals } => self.expire(lease, *renewals),
            Op::LockAcquire { name, owner, ttl_ms } => self.acquire(name, owner, *ttl_ms),
            Op::LockRenew { name, owner, fence, ttl_ms } => {
                self.renew_lock(name, owner, *fence, *ttl_ms)
            }
            Op::LockRelease { name, owner, fence } => self.release_lock(name, owner, *fence),
            Op::LockWithdraw { name, owner } => self.withdraw(name, owner),
            Op::Invite { secret_hash, expires, label } => self.invite(secret_hash, *expires, label),
            Op::RevokeTicket { id } => self.revoke_ticket(*id),
            Op::Join { secret_hash, member } => self.join(secret_hash, member),
            Op::SetMember { .. } => self.set_member(&command.op),
            Op::SetAddresses { raft_id, addresses } => self.set_addresses(*raft_id, addresses),
            Op::Drain { raft_id } => self.drain(*raft_id),
            Op::Undrain { raft_id } => self.undrain(*raft_id),
            Op::Drained { raft_id } => self.drained(*raft_id),
            Op::RemoveMember { raft_id } => self.remove_member(*raft_id),
            Op::SetTopology { base, topology } => self.set_topology(*base, topology),
            Op::RetireTopologies { before } => self.retire_topologies(*before),
            Op::SetCatalogKey { seed } => self.set_catalog_key(seed),
        }
    }
}
