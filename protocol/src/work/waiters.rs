//! Who waits for work at this peer.
//!
//! Owned by [`super::Queue`]. A peer that has been idle for a while says so to those whose distance behind it, in the order of ids,
//! is a power of two. Whoever gets work shares it with those that wait at it: the farthest gets what is for all peers
//! from it on, and so on, as a broadcast along the fingers of a ring. So work that comes to one peer of a thousand reaches all
//! within ten hops, in equal shares, at one message for each. Whoever was served goes on being served for a moment: where work comes to
//! several peers at a time, the first would otherwise use up those that wait for the others. Never: promises anything; a peer that finds no place asks
//! elsewhere.
//! Source: Saraswat et al., "Lifeline-based global load balancing", 2011; El-Ansary et al., "Efficient broadcast in
//! structured P2P networks", 2003.

use std::collections::VecDeque;

use crate::limits::{WORK_ANSWERS_MAX, WORK_FADE, WORK_WAIT, WORK_WAITERS_MAX};
use crate::{Instant, PeerId};

/// A peer that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub peer: PeerId,
    pub ask: u64,
    /// How often it was answered.
    pub answers: u32,
    until: Instant,
}

/// The peers that wait, in the order in which they asked.
#[derive(Debug, Default)]
pub(super) struct Waiters(VecDeque<Waiter>);

impl Waiters {
    /// Notes a peer; its latest question counts. When there is no place the first that came goes on waiting.
    pub(super) fn insert(&mut self, now: Instant, peer: PeerId, ask: u64) {
        self.0.retain(|waiter| waiter.until > now);
        if self.0.iter().any(|waiter| waiter.peer == peer && waiter.ask == ask) {
            // Said twice. Its answers are counted on: one number for two would lose the second.
            return;
        }
        self.remove(peer);
        if self.0.len() < WORK_WAITERS_MAX {
            self.0.push_back(Waiter { peer, ask, answers: 0, until: now.after(WORK_WAIT) });
        }
    }

    /// Forgets a peer.
    pub(super) fn remove(&mut self, peer: PeerId) {
        self.0.retain(|waiter| waiter.peer != peer);
    }

    /// Takes all out that may still be answered.
    pub(super) fn take(&mut self, now: Instant) -> VecDeque<Waiter> {
        let mut waiters = core::mem::take(&mut self.0);
        waiters.retain(|waiter| waiter.until > now);
        waiters
    }

    /// Notes one again that was taken out and got nothing.
    pub(super) fn put_back(&mut self, waiter: Waiter) {
        self.0.push_back(waiter);
    }

    /// Notes one again that was answered: for a moment it gets more.
    pub(super) fn put_back_served(&mut self, now: Instant, waiter: Waiter) {
        let answers = waiter.answers + 1;
        if answers < WORK_ANSWERS_MAX {
            let until = waiter.until.min(now.after(WORK_FADE));
            self.0.push_back(Waiter { answers, until, ..waiter });
        }
    }

    /// Forgets all in a moment.
    pub(super) fn fade(&mut self, now: Instant) {
        let end = now.after(WORK_FADE);
        self.0.iter_mut().for_each(|waiter| waiter.until = waiter.until.min(end));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
