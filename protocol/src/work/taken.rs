//! The jobs that this peer took from others: what it still has of them, and what is to be reported.
//!
//! Owned by [`super::Queue`]. Nothing of it is stored: a crash leaves the leases to end, and the queues where the
//! jobs belong have them still. Never: drops a job without a word to its queue.

use core::time::Duration;
use std::collections::BTreeMap;

use super::job::{JobId, Priority};
use super::message::{Done, LeaseName, Lent, Message, Outcome};
use crate::limits::{WORK_LEASE, WORK_REPORT_JOBS_MAX, WORK_TAKEN_MAX};
use crate::{Instant, PeerId};

/// How long what is done may wait for more to be reported with it. Until then a crash has it done again.
const REPORT_DELAY: Duration = Duration::from_secs(2);
/// The same for a job that somebody waits for, and for the last one of a queue: as long as others that end together may take
/// to be noted.
const URGENT_REPORT_DELAY: Duration = Duration::from_millis(2);
/// How often a lease is renewed: three reports may be lost.
const RENEW_EVERY: Duration = Duration::from_secs(WORK_LEASE.as_secs() / 4);

/// A job of somebody else.
#[derive(Debug)]
pub(super) struct Loan {
    pub lent: Lent,
    pub is_running: bool,
    until: Instant,
}

/// What is to be told to one queue, and when.
#[derive(Debug, Default)]
struct Account {
    done: Vec<Done>,
    held: usize,
    report_at: Option<Instant>,
}

/// The jobs that were taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    loans: BTreeMap<JobId, Loan>,
    accounts: BTreeMap<PeerId, Account>,
}

impl Taken {
    /// Takes a job over. Returns false if it goes back: there is no room, or it is here already under another
    /// token.
    pub(super) fn accept(&mut self, now: Instant, lent: Lent) -> bool {
        let id = lent.job.id;
        let lease = LeaseName { job: id, token: lent.token };
        if self.loans.len() >= WORK_TAKEN_MAX || self.loans.contains_key(&id) {
            self.end(now, lease, Outcome::Returned);
            return false;
        }
        let until = now.after(Duration::from_millis(lent.lease_ms.into()).min(WORK_LEASE));
        let account = self.accounts.entry(id.origin).or_default();
        account.held += 1;
        // In the middle of what is left, and no later than any other renewal.
        let renew_at = now.after(until.since(now) / 2).min(now.after(RENEW_EVERY));
        account.report_at = Some(account.report_at.map_or(renew_at, |at| at.min(renew_at)));
        self.loans.insert(id, Loan { lent, is_running: false, until });
        true
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Loan> {
        self.loans.get(&id)
    }

    pub(super) fn start(&mut self, id: JobId) {
        if let Some(loan) = self.loans.get_mut(&id) {
            loan.is_running = true;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.loans.len()
    }

    /// Takes a job out without a word: it was passed on, or its lease is over.
    pub(super) fn remove(&mut self, id: JobId) -> Option<Loan> {
        let loan = self.loans.remove(&id)?;
        if let Some(account) = self.accounts.get_mut(&id.origin) {
            account.held -= 1;
        }
        Some(loan)
    }

    /// Takes a job out that is passed on, with what is left of its lease; `None` if that is too little.
    pub(super) fn pass_on(&mut self, now: Instant, id: JobId) -> Option<Lent> {
        let left = self.loans.get(&id)?.until.since(now);
        if left < RENEW_EVERY {
            return None;
        }
        let loan = self.remove(id)?;
        Some(Lent { lease_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX), ..loan.lent })
    }

    /// Takes a job out that goes back to its queue, which is told at once.
    pub(super) fn give_back(&mut self, now: Instant, id: JobId) -> Option<Lent> {
        let lent = self.loans.get(&id)?.lent.clone();
        self.end(now, LeaseName { job: id, token: lent.token }, Outcome::Returned);
        if let Some(account) = self.accounts.get_mut(&id.origin) {
            account.report_at = Some(now);
        }
        Some(lent)
    }

    /// Notes what is to be reported of a job, and takes it out.
    pub(super) fn end(&mut self, now: Instant, lease: LeaseName, outcome: Outcome) {
        let id = lease.job;
        let mut delay = REPORT_DELAY;
        if let Some(loan) = self.loans.get(&id).filter(|loan| loan.lent.token == lease.token) {
            if loan.lent.job.spec.priority == Priority::Urgent {
                delay = URGENT_REPORT_DELAY;
            }
            self.remove(id);
        }
        let account = self.accounts.entry(id.origin).or_default();
        account.done.push(Done { lease, outcome });
        if account.held == 0 {
            // Nothing else is to be reported with it, and its queue may wait for it to begin more.
            delay = URGENT_REPORT_DELAY;
        }
        let report_at =
            if account.done.len() >= WORK_REPORT_JOBS_MAX / 2 { now } else { now.after(delay) };
        account.report_at = Some(account.report_at.map_or(report_at, |at| at.min(report_at)));
    }

    /// Returns the reports that are due, with whom they go to, and renews what they hold.
    pub(super) fn reports(&mut self, now: Instant) -> Vec<(PeerId, Message)> {
        let is_due = |account: &Account| account.report_at.is_some_and(|at| at <= now);
        let due = self.accounts.iter().filter(|(_, account)| is_due(account));
        let due: Vec<PeerId> = due.map(|(origin, _)| *origin).collect();
        let mut reports = Vec::new();
        for origin in due {
            self.report(now, origin, &mut reports);
        }
        reports
    }

    fn report(&mut self, now: Instant, origin: PeerId, reports: &mut Vec<(PeerId, Message)>) {
        let Some(account) = self.accounts.get_mut(&origin) else { return };
        let mut done = core::mem::take(&mut account.done);
        account.report_at = (account.held > 0).then(|| now.after(RENEW_EVERY));
        if account.held == 0 {
            self.accounts.remove(&origin);
        }
        let of_origin = JobId { origin, number: 0 }..=JobId { origin, number: u64::MAX };
        let mut held = Vec::new();
        for (id, loan) in self.loans.range_mut(of_origin) {
            loan.until = now.after(WORK_LEASE);
            held.push(LeaseName { job: *id, token: loan.lent.token });
        }
        while !done.is_empty() || !held.is_empty() {
            let rest = done.split_off(done.len().min(WORK_REPORT_JOBS_MAX));
            let done = core::mem::replace(&mut done, rest);
            let room = WORK_REPORT_JOBS_MAX - done.len();
            let rest = held.split_off(held.len().min(room));
            let held = core::mem::replace(&mut held, rest);
            reports.push((origin, Message::Report { done, held }));
        }
    }

    /// Returns when a report is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.accounts.values().filter_map(|account| account.report_at).min()
    }
}
