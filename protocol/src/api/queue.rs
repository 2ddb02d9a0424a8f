//! The work that waits at a peer, as `GET queue` shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::work::{self, Job, Subject, Summary, Tally};
use crate::{PeerId, WallTime};

/// The queue of one peer, and what moved between it and others since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// The peer.
    pub peer: String,
    /// Its jobs that wait to be started.
    pub ready: u64,
    /// Its jobs that failed and wait to be tried again.
    pub pausing: u64,
    /// Its jobs that run on it.
    pub running: u64,
    /// Its jobs that others took.
    pub granted: u64,
    /// Its jobs that were given up.
    pub dead: u64,
    /// Jobs of others that it took and has not finished.
    pub taken: u64,
    /// Its jobs that were not given up, by kind: `replicate`, `repair`, …
    pub by_kind: BTreeMap<String, u64>,
    /// Bytes that these move.
    pub bytes: u64,
    /// How long the oldest of these has been there.
    pub oldest_ms: Option<u64>,
    /// Bytes that one job at a time works off in a second; 0 when unknown.
    pub rate_bytes_per_s: u64,
    /// What others took from it.
    pub given: Vec<Moved>,
    /// What it took from others.
    pub got: Vec<Moved>,
    /// The jobs that were given up, at most 1,000, oldest first.
    pub dead_letters: Vec<DeadLetter>,
}

/// Dead letters that are shown.
const LETTERS_MAX: usize = 1_000;

impl Queue {
    /// Returns the queue of `peer` as it stood at `now`.
    #[must_use]
    pub fn of(
        peer: PeerId,
        now: WallTime,
        summary: &Summary,
        letters: &[work::DeadLetter],
    ) -> Self {
        let age = |since: WallTime| now.as_unix_millis().saturating_sub(since.as_unix_millis());
        let by_kind =
            summary.by_kind.iter().map(|(kind, count)| (kind.name().to_owned(), *count as u64));
        Self {
            peer: peer.to_string(),
            ready: summary.ready as u64,
            pausing: summary.pausing as u64,
            running: summary.running as u64,
            granted: summary.granted as u64,
            dead: summary.dead as u64,
            taken: summary.taken as u64,
            by_kind: by_kind.collect(),
            bytes: summary.bytes,
            oldest_ms: summary.oldest.map(age),
            rate_bytes_per_s: summary.bytes_per_s,
            given: moved(&summary.given),
            got: moved(&summary.got),
            dead_letters: letters.iter().take(LETTERS_MAX).map(DeadLetter::of).collect(),
        }
    }
}

fn moved(tallies: &BTreeMap<PeerId, Tally>) -> Vec<Moved> {
    let rows = tallies.iter();
    rows.map(|(peer, Tally { jobs, bytes })| Moved {
        peer: peer.to_string(),
        jobs: *jobs,
        bytes: *bytes,
    })
    .collect()
}

impl DeadLetter {
    fn of(letter: &work::DeadLetter) -> Self {
        let Job { id, spec, attempts, .. } = &letter.job;
        let subject = match spec.subject {
            Subject::Block(cid) => cid.to_string(),
            Subject::Partition(index) => format!("partition {index}"),
            Subject::Everything => "everything".to_owned(),
        };
        Self {
            number: id.number,
            kind: spec.kind.name().to_owned(),
            subject,
            attempts: *attempts,
            reason: letter.reason.clone(),
        }
    }
}

/// Jobs that went from one peer to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Moved {
    /// The other peer.
    pub peer: String,
    /// How many.
    pub jobs: u64,
    /// Bytes that they move.
    pub bytes: u64,
}

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its number in the queue of its peer.
    pub number: u64,
    /// What was to be done: `replicate`, `repair`, …
    pub kind: String,
    /// With what: a CID, `partition N`, or `everything`.
    pub subject: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub reason: String,
}
