//! Who waits for which peer to be connected.
//!
//! Every entry is settled by an event of the swarm: the peer's session, the end of its connection, or a dial
//! that failed. Never: dials.

use std::collections::BTreeMap;

use libp2p::PeerId;
use tokio::sync::oneshot;

/// Peers that somebody asked to reach and that are neither connected nor given up.
const PEERS_MAX: usize = 4096;

/// Senders that wait for one peer.
const WAITERS_MAX: usize = 1024;

/// Peers that are being connected. One without waiters was asked for by somebody who watches events.
#[derive(Debug)]
pub(super) struct Wanted(BTreeMap<PeerId, Vec<oneshot::Sender<bool>>>);

impl Wanted {
    pub(super) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a peer and who waits for it. Returns whether there was room; otherwise the waiter is told no.
    pub(super) fn add(&mut self, peer: PeerId, waiter: Option<oneshot::Sender<bool>>) -> bool {
        let has_room = self.0.len() < PEERS_MAX || self.0.contains_key(&peer);
        if has_room {
            let waiters = self.0.entry(peer).or_default();
            // Those who gave up make room for others.
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.len() < WAITERS_MAX {
                waiters.extend(waiter);
                return true;
            }
        }
        if let Some(waiter) = waiter {
            answer(waiter, false);
        }
        false
    }

    /// Tells everybody who waits for a peer how it went. Returns whether anybody had asked for it.
    pub(super) fn settle(&mut self, peer: &PeerId, is_connected: bool) -> bool {
        let waiters = self.0.remove(peer);
        let was_wanted = waiters.is_some();
        for waiter in waiters.into_iter().flatten() {
            answer(waiter, is_connected);
        }
        was_wanted
    }
}

/// Answers who may have stopped waiting.
pub(super) fn answer(waiter: oneshot::Sender<bool>, is_connected: bool) {
    let _has_gone = waiter.send(is_connected).is_err();
}

#[cfg(test)]
mod tests {
    use super::{PEERS_MAX, WAITERS_MAX, Wanted};
    use libp2p::PeerId;
    use tokio::sync::oneshot;

    #[test]
    fn everybody_who_waits_is_told_once() {
        let (mut wanted, peer) = (Wanted::new(), PeerId::random());
        let (a, mut at_a) = oneshot::channel();
        let (b, mut at_b) = oneshot::channel();
        assert!(wanted.add(peer, Some(a)) && wanted.add(peer, Some(b)));
        assert!(wanted.settle(&peer, true));
        assert_eq!((at_a.try_recv(), at_b.try_recv()), (Ok(true), Ok(true)));
        assert!(!wanted.settle(&peer, true));
    }

    #[test]
    fn who_finds_no_room_is_told_at_once_and_who_left_makes_room() {
        let (mut wanted, peer) = (Wanted::new(), PeerId::random());
        let mut patient: Vec<_> = (0..WAITERS_MAX)
            .map(|_| {
                let (waiter, answer) = oneshot::channel();
                assert!(wanted.add(peer, Some(waiter)));
                answer
            })
            .collect();
        let (late, mut at_late) = oneshot::channel();
        assert!(!wanted.add(peer, Some(late)));
        assert_eq!(at_late.try_recv(), Ok(false));
        patient.pop();
        let (late, _at_late) = oneshot::channel();
        assert!(wanted.add(peer, Some(late)));
        for _ in 1..PEERS_MAX {
            assert!(wanted.add(PeerId::random(), None));
        }
        assert!(!wanted.add(PeerId::random(), None));
    }
}
