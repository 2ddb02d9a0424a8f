//! A job: one unit of work that can wait, and the form in which a queue stores it.
//!
//! Never: knows how a job is done. What its kind needs beyond the subject is its payload, opaque here.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::FormatError;
use crate::format::{decode, encode};
use crate::limits::{
    JOB_MOVES_BYTES_MAX, JOB_PAYLOAD_BYTES_MAX, JOB_ROW_BYTES_MAX, PARTITIONS,
    WORK_ATTEMPTS_FOUND_MAX, WORK_ATTEMPTS_MAX, WORK_REASON_BYTES_MAX,
};
use crate::placement::Partition;
use crate::{Cid, PeerId, WallTime};

/// What any job costs beside its bytes, as bytes: so that a thousand jobs without bytes are not nothing.
/// Guess: some requests take as long as 16 KiB.
const WEIGHT_OF_ANY: u64 = 16 << 10;

/// A job of some peer's queue. Never given to two jobs: numbers are drawn once, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId {
    /// The peer in whose queue it is.
    pub origin: PeerId,
    /// Its number there.
    pub number: u64,
}

/// What is to be done.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum JobKind {
    /// Bring another copy of a new block to its holder.
    Replicate,
    /// Restore copies that were lost.
    Repair,
    /// Move copies after a change of the topology.
    Rebalance,
    /// Hash what is stored again.
    Scrub,
    /// Free what nothing refers to.
    Collect,
    /// Bring a derived index up to date.
    Index,
    /// Take in an object from elsewhere.
    Import,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Replicate,
        Self::Repair,
        Self::Rebalance,
        Self::Scrub,
        Self::Collect,
        Self::Index,
        Self::Import,
    ];

    /// Returns the name: lower case, one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replicate => "replicate",
            Self::Repair => "repair",
            Self::Rebalance => "rebalance",
            Self::Scrub => "scrub",
            Self::Collect => "collect",
            Self::Index => "index",
            Self::Import => "import",
        }
    }

    /// Says whether nobody waits for such a job: it is done beside those that somebody waits for, in places of its own, so
    /// that neither keeps the other from beginning.
    #[must_use]
    pub const fn is_background(self) -> bool {
        match self {
            Self::Repair | Self::Rebalance | Self::Scrub | Self::Collect | Self::Index => true,
            Self::Replicate | Self::Import => false,
        }
    }

    /// Says whether such work is found again by whoever looks for it, for as long as it is to be done.
    #[must_use]
    pub const fn is_found_again(self) -> bool {
        match self {
            Self::Repair | Self::Rebalance | Self::Scrub | Self::Collect => true,
            Self::Replicate | Self::Index | Self::Import => false,
        }
    }

    /// Returns how often such a job is tried. What is found again fails soon, so that whoever found it looks anew.
    #[must_use]
    pub const fn attempts_max(self) -> u32 {
        if self.is_found_again() { WORK_ATTEMPTS_FOUND_MAX } else { WORK_ATTEMPTS_MAX }
    }

    /// Says whether another peer can do such a job. What is collected and indexed lies on the peer itself, and
    /// an import reads what its peer was given.
    #[must_use]
    pub const fn may_move(self) -> bool {
        match self {
            Self::Replicate | Self::Repair | Self::Rebalance | Self::Scrub => true,
            Self::Collect | Self::Index | Self::Import => false,
        }
    }
}

/// Which jobs come first. In the order of urgency.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Priority {
    /// Data is at risk, or somebody waits.
    Urgent,
    /// Should be done soon.
    Normal,
    /// When there is nothing else.
    Idle,
}

/// What a job is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Subject {
    /// A block.
    Block(Cid),
    /// All blocks of a partition, by its index.
    Partition(u32),
    /// All that the peer has.
    Everything,
}

impl Subject {
    /// Returns the partition that placement goes by, or `None` where there is none.
    #[must_use]
    pub fn partition(&self) -> Option<Partition> {
        match self {
            Self::Block(cid) => Some(Partition::of(cid)),
            Self::Partition(index) => Partition::new(*index),
            Self::Everything => None,
        }
    }
}

/// What whoever wants something done says of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JobSpec {
    /// What is to be done.
    pub kind: JobKind,
    /// How urgently.
    pub priority: Priority,
    /// With what.
    pub subject: Subject,
    /// The peer that has what the job needs. It is for that peer alone, for as long as it is a member that is alive; then
    /// it is for whom it suits.
    pub holder: Option<PeerId>,
    /// Bytes to be moved or read, as far as is known; at most [`JOB_MOVES_BYTES_MAX`].
    pub bytes: u64,
    /// What the kind needs beyond the subject; at most [`JOB_PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What is to be done.
    pub spec: JobSpec,
    /// How often it failed.
    pub attempts: u32,
    /// When it was put into its queue. Among jobs of one priority the oldest come first; clocks that
    /// disagree make that a little unfair, and nothing worse.
    pub created: WallTime,
}

impl Job {
    /// Returns what the job is expected to cost, in bytes.
    #[must_use]
    pub const fn weight(&self) -> u64 {
        self.spec.bytes.saturating_add(WEIGHT_OF_ANY)
    }

    /// Says whether all fields are within their bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.spec.is_valid()
    }
}

impl JobSpec {
    /// Says whether all fields are within their bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let subject = match self.subject {
            Subject::Partition(index) => index < PARTITIONS,
            Subject::Block(_) | Subject::Everything => true,
        };
        subject && self.bytes <= JOB_MOVES_BYTES_MAX && self.payload.len() <= JOB_PAYLOAD_BYTES_MAX
    }
}

/// What is stored of a job's fate. Leases are not: after a crash whatever was under way is to be done again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum RowState {
    /// To be done.
    Waiting,
    /// Given up.
    Dead {
        /// Why its last attempt failed; at most [`WORK_REASON_BYTES_MAX`] bytes.
        reason: String,
    },
}

/// A job as a queue stores it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Row {
    /// The job.
    pub job: Job,
    /// What became of it.
    pub state: RowState,
}

impl Row {
    /// Returns the stored form.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] for a row with a field beyond its bound.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        encode("job", self, JOB_ROW_BYTES_MAX)
    }

    /// Returns the row of its stored form.
    ///
    /// # Errors
    /// Any [`FormatError`]. Nothing is allocated beyond the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let row: Self = decode("job", bytes, JOB_ROW_BYTES_MAX)?;
        let reason_bytes = match &row.state {
            RowState::Waiting => 0,
            RowState::Dead { reason } => reason.len(),
        };
        if row.job.is_valid() && reason_bytes <= WORK_REASON_BYTES_MAX {
            return Ok(row);
        }
        Err(FormatError::Malformed {
            what: "job",
            detail: "a field is beyond its bound".to_owned(),
        })
    }
}

/// Returns as much of a reason as is kept.
pub(super) fn clipped(mut reason: String) -> String {
    let mut end = reason.len().min(WORK_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
