//! The thief: whom an idle peer asks for work, when, and when it stops asking.
//!
//! Owned by [`super::Queue`], which says whether this peer is hungry. Probes two peers drawn at random, asks the better one,
//! and pauses for ever longer when there is nothing. After a few pauses it says to some that it waits. An answer counts if
//! it is to a question of this process that is open, and once by its number: so what is granted is at one place, however
//! often the grant arrives. Never: touches jobs.

use core::time::Duration;
use std::collections::BTreeMap;

use super::interface::{Output, Policy};
use super::load::Load;
use super::message::Message;
use crate::limits::{CLUSTER_PEERS_MAX, WORK_ASKS_MAX, WORK_WAIT};
use crate::{Instant, PeerId, Prng};

/// Doublings of the pause.
const DOUBLINGS_MAX: u32 = 16;

/// What the thief is about.
#[derive(Debug)]
enum Phase {
    /// Not looking.
    Content,
    /// Waiting for the answers to probes.
    Probing { asks: Vec<u64>, best: Option<(PeerId, Load)>, until: Instant },
    /// Waiting for what a peer gives.
    Asking { ask: u64, until: Instant },
    /// Found nothing.
    Pausing { until: Instant },
}

/// Which answer to which question a grant is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub ask: u64,
    pub number: u32,
}

/// A question that may be answered.
#[derive(Clone, Copy, Debug)]
struct Ask {
    peer: PeerId,
    until: Instant,
    /// Which of its answers came, a bit for each.
    answered: u32,
}

/// One peer's search for work.
#[derive(Debug)]
pub(super) struct Thief {
    policy: Policy,
    prng: Prng,
    own: PeerId,
    /// The other peers, in the order of ids.
    peers: Vec<PeerId>,
    asks: BTreeMap<u64, Ask>,
    phase: Phase,
    /// Searches in a row that found nothing.
    misses: u32,
    /// Who told of work, unasked, and until when that counts.
    hint: Option<(PeerId, Instant)>,
}

impl Thief {
    pub(super) const fn new(own: PeerId, policy: Policy, prng: Prng) -> Self {
        Self {
            own,
            policy,
            prng,
            peers: Vec::new(),
            asks: BTreeMap::new(),
            phase: Phase::Content,
            misses: 0,
            hint: None,
        }
    }

    pub(super) fn set_peers(&mut self, mut peers: Vec<PeerId>) {
        peers.truncate(CLUSTER_PEERS_MAX);
        self.peers = peers;
        self.peers.sort_unstable();
        self.peers.retain(|peer| *peer != self.own);
    }

    /// Says whether a peer is among those that may be asked.
    pub(super) fn knows(&self, peer: PeerId) -> bool {
        self.peers.binary_search(&peer).is_ok()
    }

    /// Says that this peer has nothing to do, or that it has.
    pub(super) fn hunger(&mut self, now: Instant, is_hungry: bool, out: &mut Vec<Output>) {
        let is_asking = matches!(&self.phase, Phase::Asking { .. });
        if is_hungry
            && !is_asking
            && let Some((peer, until)) = self.hint.take()
            && until > now
        {
            return self.steal(now, peer, out);
        }
        match &self.phase {
            Phase::Content if is_hungry => self.search(now, out),
            Phase::Pausing { until } if *until <= now && is_hungry => self.search(now, out),
            Phase::Pausing { .. } if !is_hungry => self.phase = Phase::Content,
            Phase::Probing { until, .. } if *until <= now => self.decide(now, is_hungry, out),
            Phase::Asking { until, .. } if *until <= now => self.miss(now, out),
            Phase::Content
            | Phase::Pausing { .. }
            | Phase::Probing { .. }
            | Phase::Asking { .. } => {}
        }
    }

    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Content => None,
            Phase::Probing { until, .. }
            | Phase::Asking { until, .. }
            | Phase::Pausing { until } => Some(*until),
        }
    }

    fn search(&mut self, now: Instant, out: &mut Vec<Output>) {
        let targets = self.targets();
        if targets.is_empty() {
            return self.miss(now, out);
        }
        let mut asks = Vec::new();
        for peer in targets {
            let ask = self.ask(now, peer);
            asks.push(ask);
            out.push(Output::Send { to: peer, message: Message::Probe { ask } });
        }
        self.phase = Phase::Probing { asks, best: None, until: now.after(self.policy.patience) };
    }

    /// Chooses whom to probe.
    fn targets(&mut self) -> Vec<PeerId> {
        let mut targets = Vec::new();
        let count = self.policy.probes.min(self.peers.len());
        while targets.len() < count {
            let Some(pick) = self.prng.index(self.peers.len()) else { break };
            if !targets.contains(&self.peers[pick]) {
                targets.push(self.peers[pick]);
            }
        }
        targets
    }

    fn ask(&mut self, now: Instant, peer: PeerId) -> u64 {
        self.asks.retain(|_, ask| ask.until > now);
        while self.asks.len() >= WORK_ASKS_MAX {
            self.asks.pop_first();
        }
        let name = self.prng.next_u64();
        self.asks.insert(name, Ask { peer, until: now.after(2 * WORK_WAIT), answered: 0 });
        name
    }

    /// Takes the answer to a probe.
    pub(super) fn probed(
        &mut self,
        now: Instant,
        from: PeerId,
        ask: u64,
        load: Load,
        is_hungry: bool,
        out: &mut Vec<Output>,
    ) {
        let is_ours = self.asks.get(&ask).is_some_and(|open| open.peer == from);
        if !is_ours && load.jobs > 0 && self.knows(from) {
            // Told unasked. It is taken up as soon as there is time for it.
            self.hint = Some((from, now.after(self.policy.patience)));
            return;
        }
        if is_ours && is_hungry && load.jobs > 0 && matches!(self.phase, Phase::Pausing { .. }) {
            // It waited, and work was there already.
            return self.steal(now, from, out);
        }
        let Phase::Probing { asks, best, .. } = &mut self.phase else { return };
        if !is_ours || !asks.contains(&ask) {
            return;
        }
        asks.retain(|open| *open != ask);
        if load.jobs > 0 && best.is_none_or(|(_, before)| load.wait() > before.wait()) {
            *best = Some((from, load));
        }
        if asks.is_empty() {
            self.decide(now, is_hungry, out);
        }
    }

    /// Asks the better of those that were probed.
    fn decide(&mut self, now: Instant, is_hungry: bool, out: &mut Vec<Output>) {
        let Phase::Probing { best, .. } = &self.phase else { return };
        let best = *best;
        if !is_hungry {
            self.phase = Phase::Content;
        } else if let Some((peer, _)) = best {
            self.steal(now, peer, out);
        } else {
            self.miss(now, out);
        }
    }

    fn steal(&mut self, now: Instant, peer: PeerId, out: &mut Vec<Output>) {
        let ask = self.ask(now, peer);
        out.push(Output::Send { to: peer, message: Message::Steal { ask } });
        self.phase = Phase::Asking { ask, until: now.after(self.policy.patience) };
    }

    /// Takes a grant. Says whether it answers an open question; the same one does not a second time.
    pub(super) fn granted(
        &mut self,
        now: Instant,
        from: PeerId,
        answer: Answer,
        is_empty: bool,
        out: &mut Vec<Output>,
    ) -> bool {
        let Answer { ask, number } = answer;
        let Some(bit) = 1u32.checked_shl(number) else { return false };
        let Some(open) = self.asks.get_mut(&ask) else { return false };
        if open.peer != from || open.until <= now || open.answered & bit != 0 {
            return false;
        }
        let is_awaited =
            matches!(&self.phase, Phase::Asking { ask: awaited, .. } if *awaited == ask);
        if is_empty {
            // The question stays open: there may be work later.
            if is_awaited {
                self.miss(now, out);
            }
            return false;
        }
        open.answered |= bit;
        self.misses = 0;
        if is_awaited {
            self.phase = Phase::Content;
        }
        true
    }

    /// Returns how many peers from this one on, in the order of ids, `peer` is; `None` for a peer that is not known.
    pub(super) fn distance(&self, peer: PeerId) -> Option<u64> {
        let rank = self.peers.binary_search(&peer).ok()? as u64;
        let own = self.peers.partition_point(|other| *other < self.own) as u64;
        // Ranks above the own one leave its place out.
        let (rank, count) = (rank + u64::from(rank >= own), self.peers.len() as u64 + 1);
        Some((rank + count - own) % count)
    }

    /// Returns how many peers there are, this one included.
    pub(super) fn count(&self) -> u64 {
        self.peers.len() as u64 + 1
    }

    /// Returns the peer that is `distance` peers before this one.
    fn before(&self, distance: usize) -> Option<PeerId> {
        let count = self.peers.len() + 1;
        let own = self.peers.partition_point(|other| *other < self.own);
        let rank = (own + count).checked_sub(distance)? % count;
        self.peers.get(if rank > own { rank - 1 } else { rank }).copied()
    }

    /// Says to some that this peer waits.
    fn wait(&mut self, now: Instant, out: &mut Vec<Output>) {
        let count = self.peers.len();
        let distances = (0..usize::BITS).map(|bit| 1usize << bit);
        for distance in distances.take_while(|distance| *distance <= count) {
            if let Some(peer) = self.before(distance) {
                let ask = self.ask(now, peer);
                out.push(Output::Send { to: peer, message: Message::Wait { ask } });
            }
        }
    }

    fn miss(&mut self, now: Instant, out: &mut Vec<Output>) {
        let pause = self.policy.pause * 2u32.pow(self.misses.min(DOUBLINGS_MAX));
        let mut pause = pause.min(self.policy.pause_max);
        self.misses = self.misses.saturating_add(1);
        if self.policy.wait_after > 0 && self.misses >= self.policy.wait_after {
            self.wait(now, out);
            pause = self.policy.pause_max;
        }
        // Between half and one and a half of it, so that those who found nothing together part.
        let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        let jittered = micros / 2 + self.prng.below(micros.max(1));
        self.phase = Phase::Pausing { until: now.after(Duration::from_micros(jittered)) };
    }
}
