//! What two peers say to each other about work.
//!
//! Plain values with one versioned, bounded form of bytes. None of them needs to arrive: what is lost ends with a lease or a
//! pause. All of them may arrive twice or late: an ask is answered once, a token counts once.

use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::job::{Job, JobId};
use super::load::Load;
use crate::PeerId;
use crate::format::FormatError;
use crate::format::{decode, encode};
use crate::limits::{
    FRAME_BODY_BYTES_MAX, WORK_ANSWERS_MAX, WORK_GRANT_JOBS_MAX, WORK_LEASE, WORK_REASON_BYTES_MAX,
    WORK_REPORT_JOBS_MAX, WORK_SEEK_PEERS_MAX,
};

/// The right to do a job, by its name: the job, and the fencing token under which it was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseName {
    /// The job.
    pub job: JobId,
    /// Its token.
    pub token: u64,
}

/// A job that is lent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lent {
    /// The job.
    pub job: Job,
    /// Higher than that of every lease of this job before.
    pub token: u64,
    /// How long the lease is valid, in milliseconds, unless it is renewed; at most [`WORK_LEASE`].
    pub lease_ms: u32,
}

/// What became of a job that was lent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Its effect is there.
    Done,
    /// An attempt failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// Nobody tried.
    Returned,
}

/// A job that came to an end at a thief.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Which, under which token.
    pub lease: LeaseName,
    /// How.
    pub outcome: Outcome,
}

/// A message between two peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A peer tells another one how much work waits here: one that waits for it, or is told unasked.
    Load {
        /// The question that is answered, 0 where there was none.
        ask: u64,
        /// What waits here.
        load: Load,
    },
    /// An idle peer asks for half of what waits.
    Steal {
        /// Names the question. Never used twice by one peer.
        ask: u64,
    },
    /// A peer that has been idle for a while asks for a share of what comes. Answered by a [`Message::Grant`] when there is
    /// something, within [`WORK_WAIT`](crate::limits::WORK_WAIT), or not at all.
    Wait {
        /// Names the question.
        ask: u64,
    },
    /// Jobs for a peer that asked, none if there are none.
    Grant {
        /// Which question is answered.
        ask: u64,
        /// Counts the grants that answer this question, from 0; below [`WORK_ANSWERS_MAX`].
        number: u32,
        /// The jobs, at most [`WORK_GRANT_JOBS_MAX`].
        jobs: Vec<Lent>,
        /// For how many peers they are meant, counted from the receiver on in the order of ids: it shares them with those that
        /// wait at it and are among these.
        reach: u32,
    },
    /// A thief tells the queue that a job belongs to what became of it, and which others it still has. That
    /// renews the leases of the latter.
    Report {
        /// What came to an end. With `held` at most [`WORK_REPORT_JOBS_MAX`].
        done: Vec<Done>,
        /// What is still held.
        held: Vec<LeaseName>,
    },
    /// These leases are not valid any more, whatever a report said.
    Lost {
        /// Which.
        leases: Vec<LeaseName>,
    },
    /// An idle peer asks for half of what waits, wherever that is. Answered by a [`Message::Grant`] to the thief from
    /// whoever has something; who has nothing passes the question on, and the last one drops it.
    Seek {
        /// Names the question.
        ask: u64,
        /// Who is idle.
        thief: PeerId,
        /// How many more may be asked; below [`WORK_SEEK_PEERS_MAX`].
        more: u8,
    },
}

impl Message {
    /// Returns the bytes of this message.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] for one with more than the bounds allow.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        encode("message about work", self, FRAME_BODY_BYTES_MAX as usize)
    }

    /// Returns the message of bytes.
    ///
    /// # Errors
    /// Any [`FormatError`]. Memory is in proportion to the length of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let what = "message about work";
        let message: Self = decode(what, bytes, FRAME_BODY_BYTES_MAX as usize)?;
        if message.is_valid() {
            return Ok(message);
        }
        Err(FormatError::Malformed { what, detail: "a field is beyond its bound".to_owned() })
    }

    /// Says whether all fields are within their bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let lease_max = Duration::from_millis;
        match self {
            Self::Load { .. } | Self::Steal { .. } | Self::Wait { .. } => true,
            Self::Grant { jobs, number, .. } => {
                let is_valid = |lent: &Lent| {
                    lent.job.is_valid() && lease_max(lent.lease_ms.into()) <= WORK_LEASE
                };
                *number < WORK_ANSWERS_MAX
                    && jobs.len() <= WORK_GRANT_JOBS_MAX
                    && jobs.iter().all(is_valid)
            }
            Self::Report { done, held } => {
                let is_valid = |done: &Done| match &done.outcome {
                    Outcome::Failed { reason } => reason.len() <= WORK_REASON_BYTES_MAX,
                    Outcome::Done | Outcome::Returned => true,
                };
                done.len() + held.len() <= WORK_REPORT_JOBS_MAX && done.iter().all(is_valid)
            }
            Self::Lost { leases } => leases.len() <= WORK_REPORT_JOBS_MAX,
            Self::Seek { more, .. } => *more < WORK_SEEK_PEERS_MAX,
        }
    }
}
