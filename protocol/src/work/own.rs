//! The jobs of a peer's own queue: how they come, fail, end, and are tried again.
//!
//! A part of [`Queue`]. Every change of a job goes out as a change of its row. Never: takes the word of whoever lost the lease.

use core::time::Duration;

use super::interface::{Change, Output};
use super::job::{Job, JobId, JobSpec, Priority, Row, RowState, clipped};
use super::ledger::{Entry, State};
use super::message::{Done, LeaseName, Outcome};
use super::queue::Queue;
use crate::limits::{
    WORK_BUSY_PAUSE, WORK_DEAD_MAX, WORK_JOBS_MAX, WORK_RETRY_PAUSE, WORK_RETRY_PAUSE_MAX,
};
use crate::{Fault, Instant, Kind, PeerId, WallTime};

impl Queue {
    pub(super) fn enqueue(
        &mut self,
        tag: u64,
        spec: JobSpec,
        created: WallTime,
        out: &mut Vec<Output>,
    ) {
        if let Some(job) = self.ledger.same(&spec).map(|entry| entry.job.id) {
            self.revive(job, out);
            self.hasten(job, spec.priority, out);
            out.push(Output::Accepted { tag, job });
            return;
        }
        if let Some(fault) = self.refusal(&spec) {
            out.push(Output::Refused { tag, fault });
            return;
        }
        let id = JobId { origin: self.own, number: self.draw(out) };
        let job = Job { id, spec, attempts: 0, created };
        out.push(Output::Store(Change::Add(Row { job: job.clone(), state: RowState::Waiting })));
        out.push(Output::Accepted { tag, job: id });
        self.wait(&job);
        self.ledger.insert(job, State::Ready);
    }

    /// Puts an own job among those that may be started: here, or by the peer that it is for.
    pub(super) fn wait(&mut self, job: &Job) {
        match job.spec.holder.filter(|holder| self.is_elsewhere(*holder)) {
            Some(holder) => {
                self.ready.insert_for(holder, job);
                self.hints.work_for(holder);
            }
            None => {
                self.ready.insert(job);
                self.has_news = true;
            }
        }
    }

    /// Says whether a peer is another one than this, and there.
    pub(super) fn is_elsewhere(&self, peer: PeerId) -> bool {
        peer != self.own && self.thief.knows(peer)
    }

    pub(super) fn refusal(&self, spec: &JobSpec) -> Option<Fault> {
        if !spec.is_valid() {
            return Some(Fault::new(Kind::Invalid, "a field of the job is beyond its bound"));
        }
        let detail = || format!("the queue is full: {WORK_JOBS_MAX} jobs");
        (self.ledger.len() >= WORK_JOBS_MAX).then(|| Fault {
            kind: Kind::Busy,
            detail: detail(),
            retry_after: Some(WORK_BUSY_PAUSE),
        })
    }

    /// Takes the word of whoever has a job. Says whether its lease was valid.
    pub(super) fn conclude(&mut self, now: Instant, done: Done, out: &mut Vec<Output>) -> bool {
        let id = done.lease.job;
        if !self.is_live(done.lease) {
            return false;
        }
        match done.outcome {
            Outcome::Done => {
                if let Some(entry) = self.ledger.remove(id) {
                    self.ready.remove(&entry.job);
                    out.push(Output::Store(Change::Remove(id)));
                    out.push(Output::Done { job: id });
                    self.forget_letters(&entry.job.spec, out);
                }
            }
            Outcome::Returned => self.make_ready(id),
            Outcome::Failed { reason } => self.fail(now, id, clipped(reason), out),
        }
        true
    }

    pub(super) fn is_live(&self, lease: LeaseName) -> bool {
        let Some(entry) = self.ledger.get(lease.job) else { return false };
        match entry.state {
            State::Running { token } | State::Granted { token, .. } => {
                token == lease.token || self.planted.lease_not_checked
            }
            State::Ready | State::Pausing { .. } | State::Dead { .. } => {
                self.planted.lease_not_checked
            }
        }
    }

    pub(super) fn fail(&mut self, now: Instant, id: JobId, reason: String, out: &mut Vec<Output>) {
        let Some(job) = self.ledger.get_mut_job(id) else { return };
        job.attempts = job.attempts.saturating_add(1);
        let attempts = job.attempts;
        let job = job.clone();
        self.ready.remove(&job);
        let is_last = attempts >= job.spec.kind.attempts_max();
        if is_last {
            // Of what was found again the latest says enough.
            self.forget_letters(&job.spec, out);
        }
        let has_room = self.ledger.dead() < WORK_DEAD_MAX;
        if is_last && has_room {
            self.ledger.set(id, State::Dead { reason: reason.clone() });
            out.push(Output::Died { job: id, reason });
        } else if is_last && job.spec.kind.is_found_again() {
            self.ledger.remove(id);
            out.push(Output::Store(Change::Remove(id)));
            out.push(Output::Died { job: id, reason });
        } else {
            let doublings = attempts.saturating_sub(1).min(16);
            let pause = (WORK_RETRY_PAUSE * 2u32.pow(doublings)).min(WORK_RETRY_PAUSE_MAX);
            let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            // Up to a half more: what failed together does not come back together.
            let jitter = Duration::from_millis(self.prng.below(millis / 2 + 1));
            self.ledger.set(id, State::Pausing { until: now.after(pause + jitter) });
        }
        if let Some(entry) = self.ledger.get(id) {
            out.push(Output::Store(Change::Update(entry.row())));
        }
    }

    /// Makes a job that waits as urgent as it has become.
    fn hasten(&mut self, id: JobId, priority: Priority, out: &mut Vec<Output>) {
        let is_later =
            |entry: &&Entry| entry.state == State::Ready && priority < entry.job.spec.priority;
        let Some(before) = self.ledger.get(id).filter(is_later).map(|entry| entry.job.clone())
        else {
            return;
        };
        self.ready.remove(&before);
        if let Some(job) = self.ledger.get_mut_job(id) {
            job.spec.priority = priority;
        }
        if let Some(entry) = self.ledger.get(id) {
            let (job, row) = (entry.job.clone(), entry.row());
            self.wait(&job);
            out.push(Output::Store(Change::Update(row)));
        }
    }

    /// Forgets the dead letters that say what a later job of what is found again said anew, or made up for.
    fn forget_letters(&mut self, spec: &JobSpec, out: &mut Vec<Output>) {
        if !spec.kind.is_found_again() {
            return;
        }
        for id in self.ledger.letters(spec.kind, spec.subject) {
            self.ledger.remove(id);
            out.push(Output::Store(Change::Remove(id)));
        }
    }

    /// Ends a pause or a lease.
    pub(super) fn make_ready(&mut self, id: JobId) {
        let Some(entry) = self.ledger.get(id) else { return };
        match entry.state {
            State::Pausing { .. } | State::Running { .. } | State::Granted { .. } => {
                let job = entry.job.clone();
                self.wait(&job);
                self.ledger.set(id, State::Ready);
            }
            State::Ready | State::Dead { .. } => {}
        }
    }

    pub(super) fn cancel(&mut self, id: JobId, out: &mut Vec<Output>) {
        if let Some(entry) = self.ledger.remove(id) {
            self.ready.remove(&entry.job);
            out.push(Output::Store(Change::Remove(id)));
            if let State::Running { token } = entry.state {
                out.push(Output::Abandon { lease: LeaseName { job: id, token } });
            }
        }
    }

    pub(super) fn revive(&mut self, id: JobId, out: &mut Vec<Output>) {
        let is_dead = |state: &State| matches!(state, State::Dead { .. });
        if !self.ledger.get(id).is_some_and(|entry| is_dead(&entry.state)) {
            return;
        }
        if let Some(job) = self.ledger.get_mut_job(id) {
            job.attempts = 0;
        }
        self.ledger.set(id, State::Ready);
        if let Some(entry) = self.ledger.get(id) {
            let (job, row) = (entry.job.clone(), entry.row());
            self.wait(&job);
            out.push(Output::Store(Change::Update(row)));
        }
    }
}
