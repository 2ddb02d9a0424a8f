//! Answers: what a command did, as it travels back to the peer that asked, and as it is remembered.
//!
//! Small: what more there is to know is in the state. Never: failures; those are in [`super::refusal`].

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::format::{FormatError, decode, encode};
use crate::limits::ANSWER_BYTES_MAX;
use crate::topology::Epoch;
use crate::{Cid, WallTime};

/// A version that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Which: query it for the rest.
    pub version: u64,
    /// Its content.
    pub root: Cid,
    /// Bytes of it.
    pub size: u64,
    /// When it was written.
    pub modified: WallTime,
    /// The version that was current before, if there was an object.
    pub replaced: Option<u64>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is so now, and there is no more to say.
    Done,
    /// A token was made.
    TokenCreated {
        /// By which it is revoked.
        id: u64,
    },
    /// A version was written: by `Put`, `Copy`, `Move`, `Restore` or `SetObject`.
    Written(Written),
    /// An object was deleted, or a version removed.
    Deleted {
        /// The delete marker, or the version that was removed; none: there was nothing to delete.
        version: Option<u64>,
    },
    /// Content without a name was let go of.
    Unpinned {
        /// How many let go of it.
        pins: u64,
        /// Whether there are more: ask again.
        more: bool,
    },
    /// What was due is gone.
    Purged {
        /// Entries that are done with.
        entries: u64,
        /// Versions that were removed.
        versions: u64,
        /// Whether some entries have more to remove: ask again.
        more: bool,
    },
    /// A session was opened.
    SessionOpened {
        /// Its number: the first eight bytes of its uploads, big-endian.
        session: u64,
    },
    /// A lease was renewed, or given.
    Leased {
        /// What an `Expire` must name.
        renewals: u64,
    },
    /// Whether an `Expire` ended its lease.
    Expired {
        /// Not so if it was renewed meanwhile, or had ended.
        ended: bool,
    },
    /// The lock is the asker's.
    Granted {
        /// The fencing token.
        fence: u64,
        /// How long it lasts without a renewal, in milliseconds.
        ttl_ms: u64,
    },
    /// The lock is somebody else's; the asker waits.
    Queued {
        /// How many are before it, and one.
        position: u32,
    },
    /// A ticket was made.
    Invited {
        /// By which it is revoked.
        id: u64,
    },
    /// The peer is a member.
    Joined {
        /// Its id in Raft.
        raft_id: u64,
    },
    /// The topology was replaced.
    TopologySet {
        /// Its epoch.
        epoch: Epoch,
    },
}

/// Returns the bytes of an answer, as it travels between peers.
///
/// # Errors
/// [`FormatError::TooLong`] beyond [`ANSWER_BYTES_MAX`].
pub fn encode_answer(answer: &Result<Outcome, Refusal>) -> Result<Bytes, FormatError> {
    encode("an answer", answer, ANSWER_BYTES_MAX)
}

/// Returns the answer of its bytes.
///
/// # Errors
/// Any [`FormatError`].
pub fn decode_answer(bytes: &[u8]) -> Result<Result<Outcome, Refusal>, FormatError> {
    decode("an answer", bytes, ANSWER_BYTES_MAX)
}

impl Outcome {
    /// Returns the bytes of this outcome.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] beyond [`ANSWER_BYTES_MAX`].
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        encode("an outcome", self, ANSWER_BYTES_MAX)
    }

    /// Returns the outcome of its bytes.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        decode("an outcome", bytes, ANSWER_BYTES_MAX)
    }
}
