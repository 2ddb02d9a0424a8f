//! What a command changed that others than its asker wait for.
//!
//! Effects are hints: whoever follows them can always read the state instead, and must after a start, when all
//! that came before is history. Never: stored, sent between peers.

use super::command::ObjectName;
use super::lease::LeaseId;
use super::name::LockName;
use crate::OwnerId;

/// Something that a command changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A lease is new or was renewed: the leader starts its countdown anew.
    LeaseChanged {
        /// Which.
        id: LeaseId,
        /// How long it lasts without a renewal, in milliseconds.
        ttl_ms: u64,
        /// What an `Expire` must name.
        renewals: u64,
    },
    /// A lease is over.
    LeaseEnded {
        /// Which.
        id: LeaseId,
    },
    /// Somebody joined, left, or is another than before: zone, capacity, addresses, draining.
    MembersChanged,
    /// There is another topology, or an earlier one is gone.
    TopologyChanged,
    /// A token was made or revoked, or a user was removed.
    TokensChanged,
    /// Nothing refers to an upload any more, and nothing ever will: its blocks can be freed.
    UploadDead {
        /// Which.
        upload: OwnerId,
    },
    /// A session is over: those of its uploads that nothing refers to are dead.
    SessionClosed {
        /// Which.
        session: u64,
    },
    /// A lock has another holder.
    LockGranted {
        /// The lock.
        name: LockName,
        /// Its holder.
        owner: LockName,
        /// The holder's fencing token.
        fence: u64,
    },
    /// An object is another than before, new, or gone.
    ObjectChanged {
        /// Which.
        name: ObjectName,
    },
    /// A setting of the cluster is another than before.
    SettingsChanged,
    /// Something was put on the due list, or taken off.
    DueChanged,
}
