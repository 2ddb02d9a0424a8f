//! The thief: whom an idle peer asks for work, when, and when it stops asking.
//!
//! Owned by [`super::Queue`], which says whether this peer is hungry. Asks a peer drawn at random, which passes the question on
//! when it has nothing, and pauses for ever longer while nobody answers. After a few searches it says to some that it
//! waits, and searches no more: who waits is served when work comes, and would take of the shares of others. An answer
//! counts if it is to a question of this process that is open, and once by its number: so what is granted is at one
//! place, however often the grant arrives. Never: touches jobs.

use core::time::Duration;
use std::collections::BTreeMap;

use super::interface::{Output, Policy};
use super::load::Load;
use super::message::Message;
use crate::limits::{CLUSTER_PEERS_MAX, WORK_ASKS_MAX, WORK_SEEK_PEERS_MAX, WORK_WAIT};
use crate::{Instant, PeerId, Prng};

/// Doublings of the pause.
const DOUBLINGS_MAX: u32 = 16;

/// What the thief is about.
#[derive(Debug)]
enum Phase {
    /// Not looking.
    Content,
    /// Waiting for what a peer gives that has work.
    Asking { ask: u64, until: Instant },
    /// Waiting for an answer to a search, if there is one, or for the time of the next.
    Pausing { search: Option<u64>, until: Instant },
}

/// What a peer could begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hunger {
    /// Nothing.
    None,
    /// What somebody waits for, beside what it has in the background: it comes if it is told of some.
    Waited,
    /// Anything.
    Any,
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
    /// Who may answer; `None` for whoever is known.
    peer: Option<PeerId>,
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
    /// Pauses in a row after which nothing was found, the present one included. The most that count while this peer waits.
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

    /// Takes who may be asked from now on. Whoever is new has not heard that this peer waits, so that it searches anew.
    pub(super) fn set_peers(&mut self, mut peers: Vec<PeerId>) {
        peers.truncate(CLUSTER_PEERS_MAX);
        peers.sort_unstable();
        peers.retain(|peer| *peer != self.own);
        let is_new = |peer: &PeerId| self.peers.binary_search(peer).is_err();
        if peers.iter().any(is_new) && matches!(self.phase, Phase::Pausing { .. }) {
            self.misses = 0;
            self.phase = Phase::Content;
        }
        self.peers = peers;
    }

    /// Says whether a peer is among those that may be asked.
    pub(super) fn knows(&self, peer: PeerId) -> bool {
        self.peers.binary_search(&peer).is_ok()
    }

    /// Says what this peer could begin.
    pub(super) fn hunger(&mut self, now: Instant, hunger: Hunger, out: &mut Vec<Output>) {
        let is_asking = matches!(&self.phase, Phase::Asking { .. });
        let is_hungry = hunger == Hunger::Any;
        if hunger != Hunger::None
            && !is_asking
            && let Some((peer, until)) = self.hint.take()
            && until > now
        {
            return self.steal(now, peer, out);
        }
        match &self.phase {
            Phase::Content if is_hungry => self.search(now, out),
            Phase::Pausing { until, .. } if *until <= now && is_hungry => self.search(now, out),
            Phase::Pausing { .. } if !is_hungry => self.phase = Phase::Content,
            Phase::Asking { until, .. } if *until <= now => self.pause(now, None),
            Phase::Content | Phase::Pausing { .. } | Phase::Asking { .. } => {}
        }
    }

    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Content => None,
            Phase::Asking { until, .. } | Phase::Pausing { until, .. } => Some(*until),
        }
    }

    fn search(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Policy { asked, wait_after, .. } = self.policy;
        let search = if wait_after > 0 && (asked == 0 || self.misses >= wait_after) {
            // The longest pause follows: whoever waits is told when there is work.
            self.misses = self.misses.max(DOUBLINGS_MAX);
            self.wait(now, out);
            None
        } else if asked > 0 {
            let ask = self.ask(now, None);
            self.pass_on(ask, self.own, asked.min(WORK_SEEK_PEERS_MAX), out);
            Some(ask)
        } else {
            None
        };
        self.pause(now, search);
    }

    /// Asks a peer drawn at random for `thief`, if `more` may be asked.
    pub(super) fn pass_on(&mut self, ask: u64, thief: PeerId, more: u8, out: &mut Vec<Output>) {
        let Some(more) = more.checked_sub(1) else { return };
        let place = self.peers.binary_search(&thief).ok();
        let count = self.peers.len() - usize::from(place.is_some());
        let Some(pick) = self.prng.index(count) else { return };
        let pick = pick + usize::from(place.is_some_and(|place| pick >= place));
        let Some(to) = self.peers.get(pick).copied() else { return };
        out.push(Output::Send { to, message: Message::Seek { ask, thief, more } });
    }

    fn ask(&mut self, now: Instant, peer: Option<PeerId>) -> u64 {
        self.asks.retain(|_, ask| ask.until > now);
        while self.asks.len() >= WORK_ASKS_MAX {
            self.asks.pop_first();
        }
        let name = self.prng.next_u64();
        self.asks.insert(name, Ask { peer, until: now.after(2 * WORK_WAIT), answered: 0 });
        name
    }

    /// Takes a peer's word that it has work: as the answer to one that waits, or unasked.
    pub(super) fn told(
        &mut self,
        now: Instant,
        from: PeerId,
        ask: u64,
        load: Load,
        is_hungry: bool,
        out: &mut Vec<Output>,
    ) {
        if load.jobs == 0 {
            return;
        }
        let is_ours = self.asks.get(&ask).is_some_and(|open| open.peer == Some(from));
        if is_ours && is_hungry && matches!(self.phase, Phase::Pausing { .. }) {
            self.steal(now, from, out);
        } else if !is_ours && self.knows(from) {
            // It is taken up as soon as there is time for it.
            self.hint = Some((from, now.after(self.policy.patience)));
        }
    }

    fn steal(&mut self, now: Instant, peer: PeerId, out: &mut Vec<Output>) {
        let ask = self.ask(now, Some(peer));
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
    ) -> bool {
        let Answer { ask, number } = answer;
        let Some(bit) = 1u32.checked_shl(number) else { return false };
        let is_known = self.knows(from);
        let Some(open) = self.asks.get_mut(&ask) else { return false };
        let may_answer = open.peer.map_or(is_known, |peer| peer == from);
        if !may_answer || open.until <= now || open.answered & bit != 0 {
            return false;
        }
        let awaited = match &self.phase {
            Phase::Asking { ask, .. } => Some(*ask),
            Phase::Pausing { search, .. } => *search,
            Phase::Content => None,
        };
        if is_empty {
            // The question stays open: there may be work later.
            if awaited == Some(ask) {
                self.pause(now, None);
            }
            return false;
        }
        open.answered |= bit;
        self.misses = 0;
        if awaited == Some(ask) {
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
                let ask = self.ask(now, Some(peer));
                out.push(Output::Send { to: peer, message: Message::Wait { ask } });
            }
        }
    }

    /// Pauses for ever longer, until something is found.
    fn pause(&mut self, now: Instant, search: Option<u64>) {
        let pause = self.policy.pause * 2u32.pow(self.misses.min(DOUBLINGS_MAX));
        self.misses = self.misses.saturating_add(1);
        // Between half and one and a half of it, so that those who found nothing together part.
        let micros = pause.min(self.policy.pause_max).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        let jittered = micros / 2 + self.prng.below(micros.max(1));
        let until = now.after(Duration::from_micros(jittered));
        self.phase = Phase::Pausing { search, until };
    }
}
