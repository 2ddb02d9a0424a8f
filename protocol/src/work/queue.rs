//! The machine: one peer's queue, what it lends, what it borrows.
//!
//! Owns the jobs of this peer ([`Ledger`]), those of others ([`Taken`]), the order of both ([`Ready`]) and the search for
//! more ([`Thief`]). A lease begins with a token that was never drawn before, and ends by the word of whoever has
//! it, by time, or with this process. Never: stores anything itself; believes a word without its token.

use core::time::Duration;
use std::collections::BTreeMap;

use super::hints::Hints;
use super::interface::{Change, Fit, Input, Output, Planted, Policy};
use super::job::{JobId, Row, RowState, clipped};
use super::ledger::{Ledger, State};
use super::lend::{Pile, weight_of};
use super::load::{Load, Meter};
use super::message::{Done, LeaseName, Message, Outcome};
use super::ready::Ready;
use super::steal::{Answer, Hunger, Thief};
use super::summary::Moves;
use super::taken::Taken;
use super::waiters::Waiters;
use crate::limits::{WORK_NUMBERS_RESERVED, WORK_SLOTS_MAX};
use crate::{Instant, PeerId, Prng};

/// How long jobs gather before those that wait for work get their shares: a burst divided as a whole ends in larger
/// parts. Guess: some jobs of an upload come within it, and nobody notices it.
const GATHER: Duration = Duration::from_millis(5);

/// A job that runs on this peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub token: u64,
    weight: u64,
    since: Instant,
    is_background: bool,
}

/// One peer's part in the work of its cluster.
#[derive(Debug)]
pub struct Queue {
    pub(super) own: PeerId,
    pub(super) policy: Policy,
    pub(super) planted: Planted,
    pub(super) prng: Prng,
    /// The next number for a job or a token, and the first that may not be drawn yet.
    next_number: u64,
    numbers_end: u64,
    pub(super) ledger: Ledger,
    pub(super) taken: Taken,
    pub(super) ready: Ready,
    pub(super) running: BTreeMap<JobId, Run>,
    pub(super) waiters: Waiters,
    /// Whether there are jobs that those who wait have not been offered.
    pub(super) has_news: bool,
    /// When they are.
    serve_at: Option<Instant>,
    pub(super) hints: Hints,
    pub(super) thief: Thief,
    pub(super) meter: Meter,
    pub(super) moves: Moves,
}

impl Queue {
    /// Returns the queue of the peer `own`, as it was stored: its rows, and the last [`Change::Numbers`], or 0. What was
    /// running or lent is to be done again. Rows of other peers are passed over.
    #[must_use]
    pub fn new(
        own: PeerId,
        policy: Policy,
        mut prng: Prng,
        numbers: u64,
        rows: impl IntoIterator<Item = Row>,
    ) -> Self {
        let thief = Thief::new(own, policy.clone(), prng.fork());
        let (mut ledger, mut ready) = (Ledger::default(), Ready::default());
        for row in rows {
            if row.job.id.origin != own || ledger.get(row.job.id).is_some() {
                continue;
            }
            match row.state {
                // Who is there is not known yet: jobs that are for somebody wait for him until it is.
                RowState::Waiting => {
                    match row.job.spec.holder.filter(|holder| *holder != own) {
                        Some(holder) => ready.insert_for(holder, &row.job),
                        None => ready.insert(&row.job),
                    }
                    ledger.insert(row.job, State::Ready);
                }
                RowState::Dead { reason } => ledger.insert(row.job, State::Dead { reason }),
            }
        }
        Self {
            own,
            policy,
            planted: Planted::default(),
            prng,
            next_number: numbers,
            numbers_end: numbers,
            ledger,
            taken: Taken::default(),
            ready,
            running: BTreeMap::new(),
            waiters: Waiters::default(),
            has_news: false,
            serve_at: None,
            hints: Hints::default(),
            thief,
            meter: Meter::default(),
            moves: Moves::default(),
        }
    }

    /// Plants defects.
    #[doc(hidden)]
    pub const fn plant(&mut self, planted: Planted) {
        self.planted = planted;
    }

    /// Takes one input. `fit` says what suits whom.
    ///
    /// Cost: O(log jobs); for a grant O(its jobs · log jobs).
    pub fn handle(&mut self, now: Instant, input: Input, fit: Fit<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Enqueue { tag, spec, created } => self.enqueue(tag, spec, created, out),
            Input::Finished { lease, outcome } => self.finish(now, lease, outcome, out),
            Input::Cancel { job } => self.cancel(job, out),
            Input::Revive { job } => self.revive(job, out),
            Input::Message { from, message } => self.listen(now, from, message, fit, out),
            Input::Peers { peers } => {
                self.thief.set_peers(peers);
                self.take_back_from_absent();
            }
            Input::Gone { peer } => {
                self.waiters.remove(peer);
                for id in self.ledger.lent_to(peer) {
                    self.make_ready(id);
                }
            }
            Input::Tick => {}
        }
        for id in self.ledger.due(now) {
            self.make_ready(id);
        }
        self.settle(now, fit, out);
    }

    /// Returns when [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.serve_at,
            self.hints.next_deadline(),
            self.ledger.next_deadline(),
            self.taken.next_deadline(),
            self.thief.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Returns what waits here, to be told to others.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            jobs: u32::try_from(self.ready.movable_jobs()).unwrap_or(u32::MAX),
            bytes: self.ready.movable_bytes(),
            bytes_per_s: self.meter.bytes_per_s(self.slots()),
        }
    }

    /// Returns what waits here that a peer could have.
    fn load_for(&self, peer: PeerId) -> Load {
        let load = self.load();
        let (jobs, bytes) =
            self.ready.for_alone(peer).fold((0u32, 0u64), |(jobs, bytes), (_, more)| {
                (jobs.saturating_add(1), bytes.saturating_add(more))
            });
        Load {
            jobs: load.jobs.saturating_add(jobs),
            bytes: load.bytes.saturating_add(bytes),
            ..load
        }
    }

    /// Has jobs that were for peers which are not there any more done by whom they suit.
    fn take_back_from_absent(&mut self) {
        for holder in self.ready.holders() {
            if self.is_elsewhere(holder) {
                self.hints.work_for(holder);
                continue;
            }
            let ids: Vec<JobId> = self.ready.for_alone(holder).map(|(id, _)| id).collect();
            for id in ids {
                let Some(job) = self.ledger.get(id).map(|entry| entry.job.clone()) else {
                    continue;
                };
                self.ready.remove(&job);
                self.wait(&job);
            }
        }
    }

    fn slots(&self) -> usize {
        self.policy.slots.clamp(1, WORK_SLOTS_MAX)
    }

    fn background_slots(&self) -> usize {
        self.policy.background_slots.clamp(1, WORK_SLOTS_MAX)
    }

    /// Begins what can be begun, gives to those who wait, and looks for more.
    fn settle(&mut self, now: Instant, fit: Fit<'_>, out: &mut Vec<Output>) {
        self.begin(now, out);
        match self.serve_at {
            Some(at) if at <= now => {
                self.serve_at = None;
                let jobs = self.ready.movable_jobs() as u64;
                let bytes = self.ready.movable_bytes();
                self.serve(now, Pile { reach: u64::MAX, jobs, bytes }, fit, out);
            }
            // What comes together is shared as one.
            None if self.has_news && !self.waiters.is_empty() => {
                self.serve_at = Some(now.after(GATHER));
            }
            Some(_) | None => {}
        }
        self.has_news = false;
        for peer in self.hints.due(now, GATHER) {
            let load = self.load_for(peer);
            if load.jobs > 0 {
                self.hints.told(now, peer);
                // An answer to no question: whoever has time comes for it.
                out.push(Output::Send { to: peer, message: Message::Load { ask: 0, load } });
            }
        }
        for (to, message) in self.taken.reports(now) {
            out.push(Output::Send { to, message });
        }
        let hunger = self.hunger();
        self.thief.hunger(now, hunger, out);
    }

    fn begin(&mut self, now: Instant, out: &mut Vec<Output>) {
        for is_background in [false, true] {
            while self.has_slot(is_background) {
                let Some(id) = self.ready.pop(is_background) else { break };
                self.start(now, id, out);
            }
        }
    }

    /// Says whether one more job in the background, or one that somebody waits for, may begin.
    fn has_slot(&self, is_background: bool) -> bool {
        let running = self.running.values().filter(|run| run.is_background == is_background);
        running.count() < if is_background { self.background_slots() } else { self.slots() }
    }

    fn hunger(&self) -> Hunger {
        if self.ready.is_empty() && self.has_slot(false) && self.has_slot(true) {
            Hunger::Any
        } else if !self.ready.has_foreground() && self.has_slot(false) {
            Hunger::Waited
        } else {
            Hunger::None
        }
    }

    pub(super) fn draw(&mut self, out: &mut Vec<Output>) -> u64 {
        if self.next_number >= self.numbers_end {
            self.numbers_end = self.next_number.saturating_add(WORK_NUMBERS_RESERVED);
            if !self.planted.numbers_reused {
                out.push(Output::Store(Change::Numbers(self.numbers_end)));
            }
        }
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        number
    }

    fn start(&mut self, now: Instant, id: JobId, out: &mut Vec<Output>) {
        let (job, token) = if id.origin == self.own {
            let token = self.draw(out);
            let Some(entry) = self.ledger.get(id) else { return };
            let job = entry.job.clone();
            self.ledger.set(id, State::Running { token });
            (job, token)
        } else {
            self.taken.start(id);
            let Some(loan) = self.taken.get(id) else { return };
            (loan.lent.job.clone(), loan.lent.token)
        };
        let is_background = job.spec.kind.is_background();
        let run = Run { token, weight: job.weight(), since: now, is_background };
        self.running.insert(id, run);
        out.push(Output::Run { job, token });
    }

    fn finish(&mut self, now: Instant, lease: LeaseName, outcome: Outcome, out: &mut Vec<Output>) {
        let id = lease.job;
        let Some(run) = self.running.get(&id).copied() else { return };
        if run.token != lease.token {
            return;
        }
        self.running.remove(&id);
        if outcome == Outcome::Done {
            self.meter.note(run.weight, now.since(run.since));
        }
        if id.origin != self.own {
            let outcome = match outcome {
                Outcome::Failed { reason } => Outcome::Failed { reason: clipped(reason) },
                Outcome::Done | Outcome::Returned => outcome,
            };
            // Without its loan it was lost, and whoever has it now reports.
            if self.taken.get(id).is_some_and(|loan| loan.lent.token == lease.token) {
                self.taken.end(now, lease, outcome);
            }
            return;
        }
        self.conclude(now, Done { lease, outcome }, out);
    }

    fn listen(
        &mut self,
        now: Instant,
        from: PeerId,
        message: Message,
        fit: Fit<'_>,
        out: &mut Vec<Output>,
    ) {
        if from == self.own || !message.is_valid() {
            return;
        }
        match message {
            Message::Load { ask, load } => {
                let is_hungry = self.hunger() == Hunger::Any;
                self.thief.told(now, from, ask, load, is_hungry, out);
            }
            Message::Steal { ask } => {
                if !self.give_half(now, from, ask, fit, out) {
                    self.grant(from, Answer { ask, number: 0 }, Vec::new(), 1, out);
                }
            }
            Message::Seek { ask, thief, more } => {
                // Who passed it on may know others than this peer does.
                let is_known = thief == from || self.thief.knows(thief);
                if thief != self.own && is_known && !self.give_half(now, thief, ask, fit, out) {
                    self.thief.pass_on(ask, thief, more, out);
                }
            }
            Message::Wait { ask } => {
                let load = self.load_for(from);
                if load.jobs == 0 {
                    self.waiters.insert(now, from, ask);
                } else {
                    // Not a grant: it says so to several at once, and would get something of each.
                    out.push(Output::Send { to: from, message: Message::Load { ask, load } });
                }
            }
            Message::Grant { ask, number, jobs, reach } => {
                let bytes = weight_of(&jobs);
                let pile = Pile { reach: reach.into(), jobs: jobs.len() as u64, bytes };
                if self.receive(now, from, Answer { ask, number }, jobs) && reach > 1 {
                    self.begin(now, out);
                    self.serve(now, pile, fit, out);
                    // With the others that wait here it is for somebody else to share.
                    self.waiters.fade(now);
                }
            }
            Message::Report { done, held } => self.reported(now, from, done, held, out),
            Message::Lost { leases } => {
                for lease in leases {
                    self.lose(from, lease, out);
                }
            }
        }
    }
}
