//! Leases: rights that end when they are not renewed, without a clock in the state.
//!
//! The state knows a lease's length and its last renewal (by log index); it never knows the time. The leader watches:
//! when its monotonic clock has seen a lease go without a renewal for its length, it proposes [`super::Op::Expire`]
//! with the renewal it saw. If another was committed meanwhile, the two differ and nothing happens. A new leader starts
//! all countdowns anew: a lease may last longer than it says, never shorter than its holder was promised by a leader.
//! Never: reads a clock; says how much of a lease is left.

use serde::{Deserialize, Serialize};

use super::name::LockName;
use crate::OwnerId;

/// Which right it is. Ids are never used twice: each has a number of the log in it, or an upload's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LeaseId {
    /// A peer's right to have uploads in progress.
    Session(u64),
    /// An upload over several requests.
    Upload(OwnerId),
    /// A lock.
    LockHolder {
        /// Its name.
        name: LockName,
        /// The fencing token of the grant.
        fence: u64,
    },
    /// A place in the queue of a lock.
    LockWaiter {
        /// Its name.
        name: LockName,
        /// The place.
        place: u64,
    },
}

impl core::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Session(session) => write!(f, "session {session}"),
            Self::Upload(upload) => write!(f, "upload {upload}"),
            Self::LockHolder { name, fence } => write!(f, "lock {name} with fence {fence}"),
            Self::LockWaiter { name, place } => write!(f, "place {place} of lock {name}"),
        }
    }
}
