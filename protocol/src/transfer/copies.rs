//! The copies of one block of an upload: which peers were asked, what they said, whom to ask next.
//!
//! Owned by [`super::Upload`], one per block that is not finished. Never: emits outputs; says who is
//! to be asked, and the upload asks.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::candidate::{Candidate, ZoneIndex};
use crate::limits::{PUT_ATTEMPTS_MAX, PUT_RETRY_PAUSE};
use crate::topology::ReplicaCount;
use crate::{Cid, Fault, Instant, Kind, PeerId};

/// What an upload asks of every block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub replicas: ReplicaCount,
    pub request_timeout: Duration,
    /// The planted bug: answers are counted, not peers.
    pub counts_duplicates: bool,
}

/// Peers that failed this upload lately, and until when they are a last resort.
pub(super) type Shunned = BTreeMap<PeerId, Instant>;

/// Why a peer has no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Refused(Kind),
    TimedOut,
}

/// A peer that is alive, and comes back soon: its copy is worth waiting for.
const BUSY: Cause = Cause::Refused(Kind::Busy);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Untried,
    Pending {
        since: Instant,
    },
    Stored,
    /// `retry_at`: from when it may be asked again, if no other candidate is left.
    Failed {
        cause: Cause,
        retry_at: Option<Instant>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    candidate: Candidate,
    state: State,
    attempts: u8,
    /// A put was sent and not answered; a late answer still counts.
    outstanding: bool,
}

/// The copies of one block.
#[derive(Debug)]
pub(super) struct Copies {
    /// Bytes of the block.
    pub bytes_len: u32,
    /// Since when the block waits only for copies beyond its quorum.
    pub late_since: Option<Instant>,
    slots: Vec<Slot>,
    /// Answers of peers that had answered before; counted only under the planted bug.
    answers_repeated: usize,
}

impl Copies {
    /// Returns a block of which no copy was asked for. `candidates`: distinct peers, best first.
    pub(super) fn new(bytes_len: u32, candidates: Vec<Candidate>) -> Self {
        let slot =
            |candidate| Slot { candidate, state: State::Untried, attempts: 0, outstanding: false };
        Self {
            bytes_len,
            late_since: None,
            slots: candidates.into_iter().map(slot).collect(),
            answers_repeated: 0,
        }
    }

    /// Notes that `peer` holds the block durably. Says whether `peer` is a candidate at all.
    pub(super) fn stored(&mut self, peer: PeerId) -> bool {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.candidate.peer == peer) else {
            return false;
        };
        slot.outstanding = false;
        if slot.state == State::Stored {
            self.answers_repeated += 1;
        }
        slot.state = State::Stored;
        true
    }

    /// Notes that `peer` did not take the block. Says whether that changes anything.
    pub(super) fn failed(&mut self, now: Instant, peer: PeerId, kind: Kind) -> bool {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.candidate.peer == peer) else {
            return false;
        };
        let was_outstanding = core::mem::take(&mut slot.outstanding);
        if !was_outstanding {
            return false;
        }
        // A peer that stored the block holds it, whatever a second put of it came to.
        if slot.state == State::Stored {
            return true;
        }
        let may_retry = match kind {
            Kind::Busy | Kind::Unavailable | Kind::Corrupt | Kind::Internal => {
                slot.attempts < PUT_ATTEMPTS_MAX
            }
            Kind::NotFound
            | Kind::Conflict
            | Kind::Precondition
            | Kind::Invalid
            | Kind::Denied
            | Kind::Full => false,
        };
        let pause = PUT_RETRY_PAUSE * 4u32.pow(u32::from(slot.attempts.saturating_sub(1)));
        slot.state = State::Failed {
            cause: Cause::Refused(kind),
            retry_at: may_retry.then(|| now.after(pause)),
        };
        true
    }

    /// Notes that `peer` is gone. Says whether a put to it was under way.
    pub(super) fn lost(&mut self, now: Instant, peer: PeerId) -> bool {
        for slot in self.slots.iter_mut().filter(|slot| slot.candidate.peer == peer) {
            slot.candidate.usable = false;
        }
        self.failed(now, peer, Kind::Unavailable)
    }

    /// Gives up on puts that are older than `patience`; adds their peers to `overdue`.
    pub(super) fn expire(&mut self, now: Instant, patience: Duration, overdue: &mut Vec<PeerId>) {
        for slot in &mut self.slots {
            let State::Pending { since } = slot.state else { continue };
            if since.after(patience) <= now {
                let may_retry = slot.attempts < PUT_ATTEMPTS_MAX;
                slot.state =
                    State::Failed { cause: Cause::TimedOut, retry_at: may_retry.then_some(now) };
                overdue.push(slot.candidate.peer);
            }
        }
    }

    /// Gives up on peers that were busy; a block that holds up others does not wait for them.
    pub(super) fn give_up_busy(&mut self) {
        for slot in &mut self.slots {
            if let State::Failed { cause: BUSY, retry_at } = &mut slot.state {
                *retry_at = None;
            }
        }
    }

    /// Chooses the peers to ask now, marks them as asked, and adds them to `targets`.
    pub(super) fn choose(
        &mut self,
        now: Instant,
        rule: &Rule,
        shunned: &Shunned,
        targets: &mut Vec<PeerId>,
    ) {
        let wanted = rule.replicas.get();
        loop {
            let pending = self.pending_count();
            let live = self.counted(rule) + pending;
            // Enough copies in too few zones, and none under way: one more, in another zone.
            let zones_short = pending == 0 && !self.is_durable(now, rule, shunned);
            if live >= wanted && !zones_short {
                return;
            }
            let last_resort = live < rule.replicas.write_quorum();
            if rule.counts_duplicates
                && let Some(peer) = self.repeat()
            {
                targets.push(peer);
                continue;
            }
            let Some(index) = self.next_target(now, shunned, last_resort) else { return };
            let slot = &mut self.slots[index];
            slot.state = State::Pending { since: now };
            slot.attempts += 1;
            slot.outstanding = true;
            targets.push(slot.candidate.peer);
        }
    }

    /// Returns the slot to ask next: an eligible peer in a zone without a copy, then any eligible peer,
    /// then, as a last resort, one that is thought dead, then one that failed before.
    fn next_target(&self, now: Instant, shunned: &Shunned, last_resort: bool) -> Option<usize> {
        let covered: BTreeSet<ZoneIndex> = self
            .slots
            .iter()
            .filter(|slot| matches!(slot.state, State::Stored | State::Pending { .. }))
            .map(|slot| slot.candidate.zone)
            .collect();
        let first = |fits: &dyn Fn(&Slot) -> bool| {
            let elsewhere = |slot: &Slot| fits(slot) && !covered.contains(&slot.candidate.zone);
            self.slots.iter().position(elsewhere).or_else(|| self.slots.iter().position(fits))
        };
        let eligible = first(&|slot| slot.is_eligible(now, shunned))
            .or_else(|| first(&|slot| slot.busy_until().is_some_and(|until| until <= now)));
        if !last_resort {
            return eligible;
        }
        eligible.or_else(|| first(&|slot| slot.state == State::Untried)).or_else(|| {
            first(&|slot| match slot.state {
                State::Failed { retry_at: Some(at), .. } => at <= now,
                State::Failed { retry_at: None, .. }
                | State::Untried
                | State::Pending { .. }
                | State::Stored => false,
            })
        })
    }

    /// Says whether a write quorum of distinct peers holds the block, in distinct zones while zones last:
    /// a zone lasts while a peer there has stored the block, is being asked or could still be asked.
    pub(super) fn is_durable(&self, now: Instant, rule: &Rule, shunned: &Shunned) -> bool {
        let quorum = rule.replicas.write_quorum();
        if rule.counts_duplicates {
            return self.counted(rule) >= quorum;
        }
        if self.stored_count() < quorum {
            return false;
        }
        let mut zones_stored = BTreeSet::new();
        let mut zones_left = BTreeSet::new();
        for slot in &self.slots {
            let zone = slot.candidate.zone;
            match slot.state {
                State::Stored => {
                    zones_stored.insert(zone);
                    zones_left.insert(zone);
                }
                State::Pending { .. } => {
                    zones_left.insert(zone);
                }
                State::Untried if slot.is_eligible(now, shunned) => {
                    zones_left.insert(zone);
                }
                State::Failed { .. } if slot.busy_until().is_some() => {
                    zones_left.insert(zone);
                }
                State::Untried | State::Failed { .. } => {}
            }
        }
        zones_stored.len() >= quorum.min(zones_left.len())
    }

    /// Says whether nothing more is expected of a durable block. To be asked after [`Copies::choose`].
    pub(super) fn is_settled(&self, rule: &Rule) -> bool {
        let waits = self.pending_count() > 0 || self.busy_until().next().is_some();
        self.counted(rule) >= rule.replicas.get() || !waits
    }

    /// Says whether the write quorum can't be reached any more.
    pub(super) fn is_hopeless(&self, rule: &Rule) -> bool {
        let possible = self.slots.iter().filter(|slot| match slot.state {
            State::Untried | State::Pending { .. } | State::Stored => true,
            State::Failed { retry_at, .. } => retry_at.is_some(),
        });
        possible.count() < rule.replicas.write_quorum()
    }

    /// Returns when something happens here without an input.
    pub(super) fn next_deadline(&self, rule: &Rule) -> Option<Instant> {
        let live = self.counted(rule) + self.pending_count();
        let waits_to_retry = live < rule.replicas.write_quorum();
        let deadline = |slot: &Slot| match slot.state {
            State::Pending { since } => Some(since.after(rule.request_timeout)),
            State::Failed { retry_at, .. } if waits_to_retry => retry_at,
            State::Failed { .. } | State::Untried | State::Stored => None,
        };
        // Busy peers are not asked while enough others are.
        let waits_for_busy = live < rule.replicas.get() || self.pending_count() == 0;
        let busy = self.busy_until().filter(|_| waits_for_busy);
        self.slots.iter().filter_map(deadline).chain(busy).min()
    }

    /// Returns from when each busy peer may be asked again.
    fn busy_until(&self) -> impl Iterator<Item = Instant> {
        self.slots.iter().filter_map(Slot::busy_until)
    }

    /// Returns how many distinct peers hold the block.
    pub(super) fn stored_count(&self) -> usize {
        self.stored_peers().count()
    }

    /// Returns the peers that hold the block.
    pub(super) fn stored_peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        let stored = self.slots.iter().filter(|slot| slot.state == State::Stored);
        stored.map(|slot| slot.candidate.peer)
    }

    /// Returns how many holders the block is believed to have.
    fn counted(&self, rule: &Rule) -> usize {
        let repeated = if rule.counts_duplicates { self.answers_repeated } else { 0 };
        self.stored_count() + repeated
    }

    /// Returns a holder to take the place of one that failed, though it has the block already: the other
    /// half of the planted bug, without which a shell that matches answers to requests would hide it.
    fn repeat(&mut self) -> Option<PeerId> {
        let has_failed = |slot: &Slot| matches!(slot.state, State::Failed { .. });
        if !self.slots.iter().any(has_failed) {
            return None;
        }
        let is_idle = |slot: &&mut Slot| slot.state == State::Stored && !slot.outstanding;
        let slot = self.slots.iter_mut().find(is_idle)?;
        slot.outstanding = true;
        Some(slot.candidate.peer)
    }

    fn pending_count(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.state, State::Pending { .. })).count()
    }

    /// Returns the peers whose answer is still open, timed out or not.
    pub(super) fn outstanding(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.slots.iter().filter(|slot| slot.outstanding).map(|slot| slot.candidate.peer)
    }

    /// Returns why the write quorum was not reached, and what to do about it.
    pub(super) fn fault(&self, cid: Cid, rule: &Rule) -> Fault {
        let count = |wanted: Cause| {
            let has =
                |slot: &&Slot| matches!(slot.state, State::Failed { cause, .. } if cause == wanted);
            self.slots.iter().filter(has).count()
        };
        let quorum = rule.replicas.write_quorum();
        let full = count(Cause::Refused(Kind::Full));
        let mut answers = vec![format!("{} stored it", self.stored_count())];
        for kind in Kind::ALL {
            let refused = count(Cause::Refused(kind));
            if refused > 0 {
                answers.push(format!("{refused} said {kind}"));
            }
        }
        let timed_out = count(Cause::TimedOut);
        if timed_out > 0 {
            answers.push(format!("{timed_out} did not answer in time"));
        }
        let answers = answers.join(", ");
        let known = self.slots.len();
        if full > 0 {
            let detail = format!(
                "no room: block {cid} needs {quorum} peers, and of {known} known {answers}; \
                 free space or add a peer"
            );
            return Fault::new(Kind::Full, detail);
        }
        let detail = format!(
            "block {cid} needs {quorum} peers, and of {known} known {answers}; nothing was acknowledged"
        );
        let retry_after = Some(rule.request_timeout);
        Fault { kind: Kind::Unavailable, detail, retry_after }
    }
}

impl Slot {
    /// Returns from when this peer may be asked again, if it was busy and may be asked at all.
    fn busy_until(&self) -> Option<Instant> {
        match self.state {
            State::Failed { cause: BUSY, retry_at } => retry_at,
            State::Failed { .. } | State::Untried | State::Pending { .. } | State::Stored => None,
        }
    }

    /// Says whether this peer may be asked while there is a choice.
    fn is_eligible(&self, now: Instant, shunned: &Shunned) -> bool {
        self.state == State::Untried
            && self.candidate.usable
            && shunned.get(&self.candidate.peer).is_none_or(|until| *until <= now)
    }
}
