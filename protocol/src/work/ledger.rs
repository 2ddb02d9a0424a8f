//! The jobs of one peer's own queue: what each is doing, and until when.
//!
//! Owned by [`super::Queue`], which decides; keeps the deadlines in step with the states. Never: emits outputs.

use std::collections::{BTreeMap, BTreeSet};

use super::job::{Job, JobId, JobKind, JobSpec, Row, RowState, Subject};
use crate::{Instant, PeerId};

/// What a job is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waiting to be started or granted.
    Ready,
    /// Failed, and left alone for a while.
    Pausing { until: Instant },
    /// Running on this peer. Ends with the word of whoever runs it, or with the process.
    Running { token: u64 },
    /// Lent to another peer.
    Granted { token: u64, to: PeerId, until: Instant },
    /// Given up.
    Dead { reason: String },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub job: Job,
    pub state: State,
}

impl Entry {
    pub(super) fn row(&self) -> Row {
        let state = match &self.state {
            State::Dead { reason } => RowState::Dead { reason: reason.clone() },
            State::Ready
            | State::Pausing { .. }
            | State::Running { .. }
            | State::Granted { .. } => RowState::Waiting,
        };
        Row { job: self.job.clone(), state }
    }
}

/// The jobs of a queue.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<JobId, Entry>,
    /// When pauses and leases end.
    deadlines: BTreeSet<(Instant, JobId)>,
    /// What each job is about.
    subjects: BTreeSet<(JobKind, Subject, JobId)>,
    dead: usize,
}

impl Ledger {
    pub(super) fn insert(&mut self, job: Job, state: State) {
        self.note(job.id, &state);
        self.subjects.insert((job.spec.kind, job.spec.subject, job.id));
        let before = self.entries.insert(job.id, Entry { job, state });
        assert!(before.is_none(), "a number is drawn once");
    }

    /// Gives a job another state. Ignored for one that is not here.
    pub(super) fn set(&mut self, id: JobId, state: State) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let before = core::mem::replace(&mut entry.state, state.clone());
        self.unnote(id, &before);
        self.note(id, &state);
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.unnote(id, &entry.state);
        self.subjects.remove(&(entry.job.spec.kind, entry.job.spec.subject, id));
        Some(entry)
    }

    /// Returns the jobs of one kind that are about the same. Cost: O(log jobs), and O(1) for each.
    pub(super) fn about(
        &self,
        kind: JobKind,
        subject: Subject,
    ) -> impl Iterator<Item = &Entry> + use<'_> {
        let id = |byte, number| JobId { origin: PeerId::from_public_key([byte; 32]), number };
        let first = (kind, subject, id(0, 0));
        let last = (kind, subject, id(u8::MAX, u64::MAX));
        let ids = self.subjects.range(first..=last);
        ids.filter_map(|(_, _, id)| self.entries.get(id))
    }

    /// Returns the job that does just this, if there is one: a dead letter only of what is found again.
    pub(super) fn same(&self, spec: &JobSpec) -> Option<&Entry> {
        let may_be_dead = spec.kind.is_found_again();
        let counts = |entry: &&Entry| may_be_dead || !matches!(entry.state, State::Dead { .. });
        let mut about = self.about(spec.kind, spec.subject).filter(counts);
        about.find(|entry| entry.job.spec.payload == spec.payload)
    }

    /// Returns the dead letters among the jobs of one kind that are about the same.
    pub(super) fn letters(&self, kind: JobKind, subject: Subject) -> Vec<JobId> {
        let dead = self.about(kind, subject);
        let dead = dead.filter(|entry| matches!(entry.state, State::Dead { .. }));
        dead.map(|entry| entry.job.id).collect()
    }

    fn note(&mut self, id: JobId, state: &State) {
        match state {
            State::Pausing { until } | State::Granted { until, .. } => {
                self.deadlines.insert((*until, id));
            }
            State::Dead { .. } => self.dead += 1,
            State::Ready | State::Running { .. } => {}
        }
    }

    fn unnote(&mut self, id: JobId, state: &State) {
        match state {
            State::Pausing { until } | State::Granted { until, .. } => {
                self.deadlines.remove(&(*until, id));
            }
            State::Dead { .. } => self.dead -= 1,
            State::Ready | State::Running { .. } => {}
        }
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn get_mut_job(&mut self, id: JobId) -> Option<&mut Job> {
        self.entries.get_mut(&id).map(|entry| &mut entry.job)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn dead(&self) -> usize {
        self.dead
    }

    /// Returns the jobs whose pause or lease has ended.
    pub(super) fn due(&self, now: Instant) -> Vec<JobId> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, id)| *id).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Returns the jobs that are lent to a peer. Cost: O(jobs).
    pub(super) fn lent_to(&self, peer: PeerId) -> Vec<JobId> {
        let is_lent =
            |entry: &&Entry| matches!(&entry.state, State::Granted { to, .. } if *to == peer);
        self.iter().filter(is_lent).map(|entry| entry.job.id).collect()
    }
}
