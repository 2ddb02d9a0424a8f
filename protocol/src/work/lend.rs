//! What a peer gives to others: half to whoever asks, shares to those that wait, and what is said of it later.
//!
//! A part of [`Queue`]. Own jobs go under a new lease, those of others under the one they came with, or back to where they
//! belong. Never: gives a job that runs.

use super::interface::{Change, Fit, Output, Suits};
use super::job::{Job, JobId};
use super::ledger::State;
use super::message::{Done, LeaseName, Lent, Message};
use super::queue::Queue;
use super::ready::Part;
use super::steal::Answer;
use super::waiters::Waiter;
use crate::limits::{
    FRAME_BODY_BYTES_MAX, WORK_GRANT_JOBS_MAX, WORK_HOLDER_BYTES, WORK_LEASE, WORK_LENT_BYTES,
    WORK_MESSAGE_SPARE,
};
use crate::{Instant, PeerId};

/// Jobs that a peer which waits is to get on average: a grant and its report are two messages, and who waited
/// has to say so again.
const SHARE_JOBS_MIN: u64 = 8;

/// What is to be shared with those that wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pile {
    /// For how many peers it is, this one included.
    pub reach: u64,
    /// Jobs that may move.
    pub jobs: u64,
    /// Their weight.
    pub bytes: u64,
}

/// Returns what jobs are expected to cost, in bytes.
pub(super) fn weight_of(jobs: &[Lent]) -> u64 {
    jobs.iter().map(|lent| lent.job.weight()).fold(0, u64::saturating_add)
}

impl Queue {
    /// Shares a pile with those that wait and are among the peers it is for, in equal shares for each of these peers: the
    /// farthest gets what is for all from it on. So few that each gets [`SHARE_JOBS_MIN`] on average. What waits here
    /// besides is not part of it: it was shared when it came.
    pub(super) fn serve(&mut self, now: Instant, pile: Pile, fit: Fit<'_>, out: &mut Vec<Output>) {
        if self.ready.movable_jobs() == 0 {
            return;
        }
        let enough_for = pile.jobs / SHARE_JOBS_MIN + 1;
        let mut bytes = pile.bytes;
        let mut reach = pile.reach.min(self.thief.count()).min(enough_for);
        let waiters = self.waiters.take(now).into_iter();
        let mut waiters: Vec<(u64, Waiter)> = waiters
            .filter_map(|waiter| Some((self.thief.distance(waiter.peer)?, waiter)))
            .collect();
        waiters.sort_unstable_by_key(|(distance, _)| core::cmp::Reverse(*distance));
        for (distance, waiter) in waiters {
            if distance >= reach {
                self.waiters.put_back(waiter);
                continue;
            }
            let behind = reach - distance;
            let quota = Part { numerator: behind, denominator: reach }.of(bytes);
            let part = Part { numerator: quota, denominator: self.ready.movable_bytes() };
            let jobs = self.lend(now, waiter.peer, part, fit, out);
            if !jobs.is_empty() {
                bytes = bytes.saturating_sub(weight_of(&jobs));
                let answer = Answer { ask: waiter.ask, number: waiter.answers };
                self.grant(waiter.peer, answer, jobs, behind, out);
                self.waiters.put_back_served(now, waiter);
                reach = distance;
            } else {
                self.waiters.put_back(waiter);
            }
        }
    }

    /// Gives a peer half of what waits, as the answer to its question. Says whether there was anything.
    pub(super) fn give_half(
        &mut self,
        now: Instant,
        to: PeerId,
        ask: u64,
        fit: Fit<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        self.hints.came(to);
        let jobs = self.lend(now, to, Part::HALF, fit, out);
        if jobs.is_empty() {
            return false;
        }
        self.grant(to, Answer { ask, number: 0 }, jobs, 1, out);
        if self.ready.for_alone(to).next().is_some() {
            self.hints.work_for(to);
        }
        true
    }

    pub(super) fn job(&self, id: JobId) -> Option<&Job> {
        let of_others = || self.taken.get(id).map(|loan| &loan.lent.job);
        if id.origin == self.own {
            self.ledger.get(id).map(|entry| &entry.job)
        } else {
            of_others()
        }
    }

    /// Takes out what a peer gets that is to have `part` of what waits.
    pub(super) fn lend(
        &mut self,
        now: Instant,
        to: PeerId,
        part: Part,
        fit: Fit<'_>,
        out: &mut Vec<Output>,
    ) -> Vec<Lent> {
        let suits = |id: JobId| match self.job(id) {
            // What is for this peer alone is not for others.
            Some(job) if job.spec.holder == Some(self.own) => Suits::Not,
            Some(job) => fit(to, &job.spec),
            None => Suits::Not,
        };
        let mut chosen: Vec<JobId> = self.ready.for_alone(to).map(|(id, _)| id).collect();
        chosen.truncate(WORK_GRANT_JOBS_MAX);
        if chosen.is_empty() {
            chosen = self.ready.choose(self.policy.share, part, suits);
        }
        let mut token = None;
        let mut lent = Vec::new();
        let mut room = FRAME_BODY_BYTES_MAX as usize - WORK_MESSAGE_SPARE;
        for id in chosen {
            let Some(spec) = self.job(id).map(|job| &job.spec) else { continue };
            let holder_bytes = if spec.holder.is_some() { WORK_HOLDER_BYTES } else { 0 };
            let bytes = WORK_LENT_BYTES + holder_bytes + spec.payload.len();
            let Some(rest) = room.checked_sub(bytes) else { break };
            room = rest;
            if id.origin == self.own {
                let token = *token.get_or_insert_with(|| self.draw(out));
                let Some(entry) = self.ledger.get(id) else { continue };
                let job = entry.job.clone();
                self.ready.remove(&job);
                let lease_ms = u32::try_from(WORK_LEASE.as_millis()).unwrap_or(u32::MAX);
                if self.planted.job_dropped_on_steal {
                    self.ledger.remove(id);
                    out.push(Output::Store(Change::Remove(id)));
                } else {
                    self.ledger.set(id, State::Granted { token, to, until: now.after(WORK_LEASE) });
                }
                lent.push(Lent { job, token, lease_ms });
            } else if id.origin == to {
                // Whoever is idle again does its own jobs rather than wait for one that is slow.
                if let Some(loan) = self.taken.give_back(now, id) {
                    self.ready.remove(&loan.job);
                }
            } else if let Some(loan) = self.taken.pass_on(now, id) {
                self.ready.remove(&loan.job);
                lent.push(loan);
            }
        }
        lent
    }

    pub(super) fn grant(
        &mut self,
        to: PeerId,
        answer: Answer,
        jobs: Vec<Lent>,
        reach: u64,
        out: &mut Vec<Output>,
    ) {
        let reach = u32::try_from(reach).unwrap_or(u32::MAX);
        self.moves.gave(to, &jobs);
        let Answer { ask, number } = answer;
        out.push(Output::Send { to, message: Message::Grant { ask, number, jobs, reach } });
    }

    pub(super) fn reported(
        &mut self,
        now: Instant,
        from: PeerId,
        done: Vec<Done>,
        held: Vec<LeaseName>,
        out: &mut Vec<Output>,
    ) {
        let mut lost = Vec::new();
        for done in done {
            // Running here, it is somebody else's no more, whatever the token.
            if done.lease.job.origin == self.own {
                self.conclude(now, done, out);
            }
        }
        for lease in held {
            let until = now.after(WORK_LEASE);
            let is_lent = |state: &State| matches!(state, State::Granted { token, .. } if *token == lease.token);
            if self.ledger.get(lease.job).is_some_and(|entry| is_lent(&entry.state)) {
                self.ledger.set(lease.job, State::Granted { token: lease.token, to: from, until });
            } else {
                lost.push(lease);
            }
        }
        if !lost.is_empty() {
            out.push(Output::Send { to: from, message: Message::Lost { leases: lost } });
        }
    }
}
