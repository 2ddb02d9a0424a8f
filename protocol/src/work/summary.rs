//! What people see of a queue: depth, age, rate, and who took what from whom.
//!
//! Never: part of what is decided.

use std::collections::BTreeMap;

use super::job::{Job, JobId, JobKind};
use super::ledger::State;
use super::message::Lent;
use super::queue::Queue;
use crate::limits::CLUSTER_PEERS_MAX;
use crate::{PeerId, WallTime};

/// Jobs that went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub jobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The job.
    pub job: Job,
    /// Why its last attempt failed.
    pub reason: String,
}

/// A queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Own jobs that wait to be started.
    pub ready: usize,
    /// Own jobs that failed and wait to be tried again.
    pub pausing: usize,
    /// Own jobs that run here.
    pub running: usize,
    /// Own jobs that others have.
    pub granted: usize,
    /// Own jobs that were given up.
    pub dead: usize,
    /// Jobs of others that are here.
    pub taken: usize,
    /// Own jobs that are not dead, by kind.
    pub by_kind: BTreeMap<JobKind, usize>,
    /// Bytes of own jobs that are not dead.
    pub bytes: u64,
    /// When the oldest own job that is not dead came.
    pub oldest: Option<WallTime>,
    /// Bytes worked off a second, one job at a time; 0 when unknown.
    pub bytes_per_s: u64,
    /// What others took from here since the start, whosever it was.
    pub given: BTreeMap<PeerId, Tally>,
    /// What was taken from others since the start.
    pub got: BTreeMap<PeerId, Tally>,
}

/// Who took what from whom.
#[derive(Debug, Default)]
pub(super) struct Moves {
    given: BTreeMap<PeerId, Tally>,
    got: BTreeMap<PeerId, Tally>,
}

impl Moves {
    pub(super) fn gave(&mut self, to: PeerId, jobs: &[Lent]) {
        count(&mut self.given, to, jobs);
    }

    pub(super) fn got(&mut self, from: PeerId, jobs: &[Lent]) {
        count(&mut self.got, from, jobs);
    }
}

fn count(tallies: &mut BTreeMap<PeerId, Tally>, peer: PeerId, jobs: &[Lent]) {
    if jobs.is_empty() {
        return;
    }
    if tallies.len() >= CLUSTER_PEERS_MAX && !tallies.contains_key(&peer) {
        // As many as there can be members: whoever was removed since is the first to go.
        tallies.pop_first();
    }
    let tally = tallies.entry(peer).or_default();
    tally.jobs += jobs.len() as u64;
    let bytes = jobs.iter().map(|lent| lent.job.spec.bytes);
    tally.bytes = bytes.fold(tally.bytes, u64::saturating_add);
}

impl Queue {
    /// Returns how many own jobs there are that are not dead. Cost: none.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.ledger.len() - self.ledger.dead()
    }

    /// Returns what people see of this queue. Cost: O(jobs).
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary {
            taken: self.taken.len(),
            bytes_per_s: self.meter.bytes_per_s(1),
            given: self.moves.given.clone(),
            got: self.moves.got.clone(),
            ..Summary::default()
        };
        for entry in self.ledger.iter() {
            match entry.state {
                State::Ready => summary.ready += 1,
                State::Pausing { .. } => summary.pausing += 1,
                State::Running { .. } => summary.running += 1,
                State::Granted { .. } => summary.granted += 1,
                State::Dead { .. } => {
                    summary.dead += 1;
                    continue;
                }
            }
            *summary.by_kind.entry(entry.job.spec.kind).or_default() += 1;
            summary.bytes = summary.bytes.saturating_add(entry.job.spec.bytes);
            let created = entry.job.created;
            summary.oldest = Some(summary.oldest.map_or(created, |oldest| oldest.min(created)));
        }
        summary
    }

    /// Says whether a job of this peer was given up.
    #[must_use]
    pub fn is_dead_letter(&self, job: JobId) -> bool {
        self.ledger.get(job).is_some_and(|entry| matches!(entry.state, State::Dead { .. }))
    }

    /// Returns the jobs that were given up, in the order of their names. Cost: O(jobs).
    pub fn dead_letters(&self) -> impl Iterator<Item = DeadLetter> + '_ {
        self.ledger.iter().filter_map(|entry| match &entry.state {
            State::Dead { reason } => {
                Some(DeadLetter { job: entry.job.clone(), reason: reason.clone() })
            }
            State::Ready
            | State::Pausing { .. }
            | State::Running { .. }
            | State::Granted { .. } => None,
        })
    }
}
