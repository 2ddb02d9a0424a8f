//! What a peer takes from others, and gives up again.
//!
//! A part of [`Queue`]. Never: takes what answers no open question.

use super::interface::Output;
use super::message::{LeaseName, Lent, Outcome};
use super::queue::Queue;
use super::steal::Answer;
use crate::{Instant, PeerId};

impl Queue {
    pub(super) fn receive(
        &mut self,
        now: Instant,
        from: PeerId,
        answer: Answer,
        jobs: Vec<Lent>,
    ) -> bool {
        let is_answer = self.thief.granted(now, from, answer, jobs.is_empty());
        if !is_answer && !self.planted.ask_not_checked {
            return false;
        }
        self.moves.got(from, &jobs);
        for lent in jobs {
            // What is still running under a lease that was lost cannot begin again yet.
            let id = lent.job.id;
            if id.origin == self.own {
                continue;
            }
            if self.running.contains_key(&id) {
                let lease = LeaseName { job: id, token: lent.token };
                self.taken.end(now, lease, Outcome::Returned);
                continue;
            }
            let job = lent.job.clone();
            if self.taken.accept(now, lent) {
                self.ready.insert(&job);
            }
        }
        true
    }

    /// Gives up a job whose lease is over, by the word of the peer in whose queue it is.
    pub(super) fn lose(&mut self, from: PeerId, lease: LeaseName, out: &mut Vec<Output>) {
        let id = lease.job;
        let is_held = self.taken.get(id).is_some_and(|loan| loan.lent.token == lease.token);
        if id.origin != from || !is_held {
            return;
        }
        if let Some(loan) = self.taken.remove(id) {
            self.ready.remove(&loan.lent.job);
            if loan.is_running {
                out.push(Output::Abandon { lease });
            }
        }
    }
}
