//! The fetching of one block of a download: who may hold it, who was asked, what they said.
//!
//! Owned by [`super::Download`], one per block that was wanted and has not come. Never: emits outputs;
//! chooses by latency (that is [`super::pace`]).

use super::candidate::{Candidate, distinct};
use super::pace::Pace;
use crate::limits::{BUSY_PAUSE, BUSY_RETRIES_MAX, HOLDER_ROUND_PAUSE, HOLDER_ROUNDS_MAX};
use crate::{Cid, Fault, Instant, Kind, PeerId, Prng};

/// Candidates at the head of the list that are equally good but for their latency, where a block belongs to none of them.
const BEST_FEW: usize = 4;

/// Further holders that are asked for a block because others are slow.
const HEDGES_MAX: u8 = 3;

/// What one holder said in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Untried,
    Asked {
        since: Instant,
    },
    /// Did not answer in time. A late answer is as good as any.
    Overdue {
        since: Instant,
    },
    /// Asked to come back.
    Busy {
        until: Instant,
    },
    Missing,
    Corrupt,
    Failed(Kind),
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    candidate: Candidate,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waiting for the shell to say who may hold the block.
    Locating,
    Asking,
    /// Nobody had it; the next round begins at `until`.
    Pausing {
        until: Instant,
    },
}

/// What to do next for a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until an input or a deadline.
    Wait,
    Ask(PeerId),
    /// Begin another round: ask the shell again who may hold it.
    Locate,
    GiveUp(Fault),
}

/// One block on its way.
#[derive(Debug)]
pub(super) struct Fetch {
    /// Which block of the download this is, in order of delivery.
    pub order: u64,
    /// Bytes expected; what its requests are charged with.
    pub bytes_expected: u64,
    /// Bytes that it will deliver, over all its places in the object.
    pub bytes_reserved: u64,
    /// Places in the object that wait for it.
    pub places: usize,
    is_root: bool,
    stage: Stage,
    rounds: u8,
    busy_answers: u8,
    hedges: u8,
    slots: Vec<Slot>,
    corrupt: Vec<PeerId>,
}

impl Fetch {
    /// Returns the fetching of a block of which no holder is known.
    pub(super) const fn new(order: u64, bytes_expected: u64, is_root: bool) -> Self {
        Self {
            order,
            bytes_expected,
            bytes_reserved: bytes_expected,
            places: 1,
            is_root,
            stage: Stage::Locating,
            rounds: 0,
            busy_answers: 0,
            hedges: 0,
            slots: Vec::new(),
            corrupt: Vec::new(),
        }
    }

    /// Notes one more place in the object that waits for the block, and takes `bytes` there.
    pub(super) const fn want_again(&mut self, bytes: u64) {
        self.bytes_reserved = self.bytes_reserved.saturating_add(bytes);
        self.places += 1;
    }

    /// Begins a round with these candidates. Ignored unless the shell was asked for them.
    pub(super) fn locate(&mut self, candidates: Vec<Candidate>) {
        if self.stage != Stage::Locating {
            return;
        }
        self.stage = Stage::Asking;
        self.rounds += 1;
        self.busy_answers = 0;
        let corrupt = &self.corrupt;
        let slot = |candidate: Candidate| {
            // A second read of a corrupt copy would give the same bytes.
            let is_corrupt = corrupt.contains(&candidate.peer);
            Slot { candidate, state: if is_corrupt { State::Corrupt } else { State::Untried } }
        };
        self.slots = distinct(candidates).into_iter().map(slot).collect();
    }

    /// Forgets who was asked: their answers were cancelled.
    pub(super) fn forget(&mut self) {
        self.slots.clear();
        self.hedges = 0;
    }

    /// Returns since when `peer` has been asked, or `None` when no answer of it is expected.
    pub(super) fn asked_since(&self, peer: PeerId) -> Option<Instant> {
        self.slots.iter().find(|slot| slot.candidate.peer == peer)?.open_since()
    }

    /// Returns the peers whose answer is open.
    pub(super) fn open(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.slots.iter().filter(|slot| slot.open_since().is_some()).map(|slot| slot.candidate.peer)
    }

    /// Returns the peers whose copy is corrupt.
    pub(super) fn corrupt(&self) -> &[PeerId] {
        &self.corrupt
    }

    /// Notes that `peer` hasn't got the block. Says whether it was asked besides another one.
    pub(super) fn missing(&mut self, peer: PeerId) -> bool {
        self.answer(peer, State::Missing);
        self.asked().next().is_some()
    }

    /// Notes that the copy of `peer` is corrupt.
    pub(super) fn corrupted(&mut self, peer: PeerId) {
        self.answer(peer, State::Corrupt);
        if !self.corrupt.contains(&peer) {
            self.corrupt.push(peer);
        }
    }

    /// Notes that `peer` failed to answer with the block. Returns until when it is to be left alone,
    /// if it is busy.
    pub(super) fn failed(&mut self, now: Instant, peer: PeerId, kind: Kind) -> Option<Instant> {
        if kind == Kind::Busy && self.busy_answers < BUSY_RETRIES_MAX {
            let until = now.after(BUSY_PAUSE * 2u32.pow(u32::from(self.busy_answers)));
            self.busy_answers += 1;
            self.answer(peer, State::Busy { until });
            return Some(until);
        }
        self.answer(peer, State::Failed(kind));
        None
    }

    fn answer(&mut self, peer: PeerId, state: State) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.candidate.peer == peer) {
            slot.state = state;
        }
    }

    /// Notes requests that passed `timeout`; calls `late` with each peer.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        timeout: core::time::Duration,
        mut late: impl FnMut(PeerId),
    ) {
        for slot in &mut self.slots {
            if let State::Asked { since } = slot.state
                && since.after(timeout) <= now
            {
                slot.state = State::Overdue { since };
                late(slot.candidate.peer);
            }
        }
    }

    /// Returns the peer to hedge with, if the only request under way has been open for too long: again, where the last one
    /// that was asked besides had nothing.
    pub(super) fn hedge(
        &mut self,
        now: Instant,
        local: Option<PeerId>,
        pace: &Pace,
        prng: &mut Prng,
    ) -> Option<PeerId> {
        if self.hedge_at(pace)? > now {
            return None;
        }
        let peer = self.choose(now, local, pace, prng, Reach::Willing)?;
        self.hedges += 1;
        self.answer(peer, State::Asked { since: now });
        Some(peer)
    }

    fn hedge_at(&self, pace: &Pace) -> Option<Instant> {
        if self.hedges >= HEDGES_MAX || !pace.may_hedge() {
            return None;
        }
        let mut asked = self.asked();
        let (since, None) = (asked.next()?, asked.next()) else { return None };
        let spare_from = self.spares_from(pace).min()?;
        Some(since.after(pace.hedge_after()).max(spare_from))
    }

    /// Returns from when each holder may be asked that was not asked and is thought alive.
    fn spares_from(&self, pace: &Pace) -> impl Iterator<Item = Instant> {
        let spare = |slot: &&Slot| slot.state == State::Untried && slot.candidate.usable;
        self.slots.iter().filter(spare).map(|slot| pace.aside_until(slot.candidate.peer))
    }

    /// Decides what to do next; marks the peer that is to be asked.
    pub(super) fn step(
        &mut self,
        now: Instant,
        cid: Cid,
        local: Option<PeerId>,
        pace: &Pace,
        prng: &mut Prng,
    ) -> Step {
        match self.stage {
            Stage::Locating => return Step::Wait,
            Stage::Pausing { until } if until > now => return Step::Wait,
            Stage::Pausing { .. } => {
                self.stage = Stage::Locating;
                return Step::Locate;
            }
            Stage::Asking => {}
        }
        if self.asked().next().is_some() {
            return Step::Wait;
        }
        for reach in [Reach::Willing, Reach::Returning, Reach::Anybody] {
            // A busy holder is known to be alive: rather wait for it than ask one that is thought dead.
            if reach == Reach::Anybody && self.return_at(pace).is_some_and(|at| at > now) {
                return Step::Wait;
            }
            if let Some(peer) = self.choose(now, local, pace, prng, reach) {
                self.answer(peer, State::Asked { since: now });
                return Step::Ask(peer);
            }
        }
        // Everybody denies the root: there is no such object, and waiting would not make one.
        // Any other block must exist, so that its holders may be moving it.
        if self.rounds >= HOLDER_ROUNDS_MAX || (self.is_root && self.all_missing()) {
            return Step::GiveUp(self.fault(cid));
        }
        let pause = HOLDER_ROUND_PAUSE * 2u32.pow(u32::from(self.rounds.saturating_sub(1)));
        self.stage = Stage::Pausing { until: now.after(pause) };
        Step::Wait
    }

    /// Returns when [`Fetch::step`] or [`Fetch::expire`] has something to do without an input.
    pub(super) fn next_deadline(
        &self,
        timeout: core::time::Duration,
        pace: &Pace,
    ) -> Option<Instant> {
        match self.stage {
            Stage::Locating => None,
            Stage::Pausing { until } => Some(until),
            Stage::Asking => match self.asked().min() {
                Some(since) => {
                    Some(since.after(timeout)).into_iter().chain(self.hedge_at(pace)).min()
                }
                None => self.return_at(pace),
            },
        }
    }

    /// Returns when the first busy holder may be asked again, for this block or another one.
    fn return_at(&self, pace: &Pace) -> Option<Instant> {
        self.slots.iter().filter_map(Slot::busy_until).chain(self.spares_from(pace)).min()
    }

    /// Returns since when each request that is not overdue has been open.
    fn asked(&self) -> impl Iterator<Item = Instant> + '_ {
        self.slots.iter().filter_map(|slot| match slot.state {
            State::Asked { since } => Some(since),
            State::Untried
            | State::Overdue { .. }
            | State::Busy { .. }
            | State::Missing
            | State::Corrupt
            | State::Failed(_) => None,
        })
    }

    fn choose(
        &self,
        now: Instant,
        local: Option<PeerId>,
        pace: &Pace,
        prng: &mut Prng,
        reach: Reach,
    ) -> Option<PeerId> {
        let fits = |slot: &&Slot| {
            let (peer, usable) = (slot.candidate.peer, slot.candidate.usable);
            match reach {
                Reach::Willing => {
                    slot.state == State::Untried && usable && pace.aside_until(peer) <= now
                }
                Reach::Returning => slot.busy_until().is_some_and(|until| until <= now),
                Reach::Anybody => slot.state == State::Untried,
            }
        };
        let fitting = || self.slots.iter().filter(fits).map(|slot| slot.candidate);
        // A copy on this very peer costs no network at all.
        if let Some(local) = local.filter(|local| fitting().any(|fit| fit.peer == *local)) {
            return Some(local);
        }
        let mut peers: Vec<PeerId> =
            fitting().filter(|fit| fit.belongs).map(|fit| fit.peer).collect();
        if peers.is_empty() {
            peers = fitting().map(|fit| fit.peer).take(BEST_FEW).collect();
        }
        pace.better_of_two(now, &peers, prng)
    }

    fn all_missing(&self) -> bool {
        !self.slots.is_empty() && self.slots.iter().all(|slot| slot.state == State::Missing)
    }

    /// Returns why the block could not be had.
    fn fault(&self, cid: Cid) -> Fault {
        let (mut missing, mut corrupt, mut late, mut failed) = (0usize, 0usize, 0usize, 0usize);
        for slot in &self.slots {
            match slot.state {
                State::Missing => missing += 1,
                State::Corrupt => corrupt += 1,
                State::Overdue { .. } | State::Asked { .. } => late += 1,
                State::Failed(_) | State::Busy { .. } | State::Untried => failed += 1,
            }
        }
        let known = self.slots.len();
        let detail = format!(
            "block {cid}: of {known} possible holders {missing} have not got it, {corrupt} have a corrupt copy, \
             {late} did not answer in time, {failed} failed"
        );
        if self.all_missing() {
            return Fault::new(Kind::NotFound, detail);
        }
        if corrupt > 0 && missing + corrupt == known {
            return Fault::new(Kind::Corrupt, detail);
        }
        Fault { kind: Kind::Unavailable, detail, retry_after: Some(HOLDER_ROUND_PAUSE) }
    }
}

/// Which holders may be chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Not asked yet, thought alive, and not set aside.
    Willing,
    /// Were busy, and asked to come back by now.
    Returning,
    /// Not asked yet, thought dead or set aside.
    Anybody,
}

impl Slot {
    const fn open_since(&self) -> Option<Instant> {
        match self.state {
            State::Asked { since } | State::Overdue { since } => Some(since),
            State::Untried
            | State::Busy { .. }
            | State::Missing
            | State::Corrupt
            | State::Failed(_) => None,
        }
    }

    const fn busy_until(&self) -> Option<Instant> {
        match self.state {
            State::Busy { until } => Some(until),
            State::Untried
            | State::Asked { .. }
            | State::Overdue { .. }
            | State::Missing
            | State::Corrupt
            | State::Failed(_) => None,
        }
    }
}
