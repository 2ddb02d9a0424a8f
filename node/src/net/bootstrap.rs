//! The addresses a peer starts from: when to dial which.
//!
//! Each is dialled until it was reached once, and again whenever no peer of the cluster is connected.
//! Never: dials.

use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::discovery::{peer_of, without_peer};

/// Wait after the first failure. Peers that are started together find each other within a second or two.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(500);

/// Longest wait between two tries.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Addresses that are used; whoever gives more of them has an error in the settings, but a harmless one.
pub(super) const ADDRESSES_MAX: usize = 64;

#[derive(Debug)]
struct Entry {
    address: Multiaddr,
    /// Who answers there, if that is known.
    peer: Option<PeerId>,
    dial: Option<ConnectionId>,
    was_reached: bool,
    retry_after: Duration,
    due: Instant,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Bootstrap(Vec<Entry>);

impl Bootstrap {
    pub(super) fn new(addresses: Vec<Multiaddr>, now: Instant) -> Self {
        let entry = |address: Multiaddr| Entry {
            peer: peer_of(&address),
            address: without_peer(address),
            dial: None,
            was_reached: false,
            retry_after: RETRY_AFTER_MIN,
            due: now,
        };
        Self(addresses.into_iter().take(ADDRESSES_MAX).map(entry).collect())
    }

    /// Returns the dials to make now. `is_alone`: no peer of the cluster is connected.
    pub(super) fn due(&mut self, is_alone: bool, now: Instant) -> Vec<DialOpts> {
        let mut dials = Vec::new();
        for entry in &mut self.0 {
            if entry.dial.is_some() || now < entry.due || (entry.was_reached && !is_alone) {
                continue;
            }
            let options = match entry.peer {
                Some(peer) => DialOpts::peer_id(peer)
                    .condition(PeerCondition::DisconnectedAndNotDialing)
                    .addresses(vec![entry.address.clone()])
                    .build(),
                None => DialOpts::unknown_peer_id().address(entry.address.clone()).build(),
            };
            entry.dial = Some(options.connection_id());
            // Also when the dial succeeds: a stranger who answers is not asked over and over.
            entry.due = now + entry.retry_after;
            entry.retry_after = (entry.retry_after * 2).min(RETRY_AFTER_MAX);
            dials.push(options);
        }
        dials
    }

    /// Notes that a dial was answered by `peer`.
    pub(super) fn reached(&mut self, dial: ConnectionId, peer: PeerId) {
        if let Some(entry) = self.of(dial) {
            entry.dial = None;
            entry.peer = Some(peer);
            entry.was_reached = true;
            entry.retry_after = RETRY_AFTER_MIN;
        }
    }

    /// Notes that a dial failed. `answered`: by another peer than the one that was expected.
    pub(super) fn failed(&mut self, dial: ConnectionId, answered: bool) {
        if let Some(entry) = self.of(dial) {
            entry.dial = None;
            if answered {
                entry.peer = None;
            }
        }
    }

    /// Notes that a dial reached this peer itself: the address is of no use.
    pub(super) fn is_own(&mut self, dial: ConnectionId) {
        self.0.retain(|entry| entry.dial != Some(dial));
    }

    fn of(&mut self, dial: ConnectionId) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.dial == Some(dial))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    use super::{Bootstrap, RETRY_AFTER_MAX, RETRY_AFTER_MIN};
    use libp2p::PeerId;
    use std::time::Instant;

    fn one(start: Instant) -> Bootstrap {
        Bootstrap::new(vec!["/ip4/127.0.0.1/tcp/4101".parse().unwrap()], start)
    }

    #[test]
    fn an_address_is_tried_at_growing_distances_until_it_is_reached() {
        let start = Instant::now();
        let mut bootstrap = one(start);
        let mut now = start;
        for _ in 0..20 {
            let dials = bootstrap.due(false, now);
            assert_eq!(dials.len(), 1);
            assert!(bootstrap.due(false, now + RETRY_AFTER_MAX).is_empty(), "one at a time");
            bootstrap.failed(dials[0].connection_id(), false);
            assert!(bootstrap.due(false, now).is_empty(), "not at once");
            now += RETRY_AFTER_MAX;
        }
        let dials = bootstrap.due(false, now);
        bootstrap.reached(dials[0].connection_id(), PeerId::random());
        assert!(bootstrap.due(false, now + 2 * RETRY_AFTER_MAX).is_empty(), "reached once");
        assert_eq!(bootstrap.due(true, now + 2 * RETRY_AFTER_MAX).len(), 1, "alone again");
    }

    #[test]
    fn a_peer_that_lost_its_identity_is_dialled_under_any() {
        let start = Instant::now();
        let mut bootstrap = one(start);
        let first = bootstrap.due(true, start).remove(0);
        let peer = PeerId::random();
        bootstrap.reached(first.connection_id(), peer);
        let again = bootstrap.due(true, start + RETRY_AFTER_MIN).remove(0);
        assert_eq!(again.get_peer_id(), Some(peer));
        bootstrap.failed(again.connection_id(), true);
        let anybody = bootstrap.due(true, start + RETRY_AFTER_MAX).remove(0);
        assert_eq!(anybody.get_peer_id(), None);
    }

    #[test]
    fn its_own_address_is_forgotten() {
        let start = Instant::now();
        let mut bootstrap = one(start);
        let dial = bootstrap.due(true, start).remove(0);
        bootstrap.is_own(dial.connection_id());
        assert!(bootstrap.due(true, start + RETRY_AFTER_MAX).is_empty());
    }
}
