//! Where peers may be found: which addresses are worth a dial, and whom to meet next.
//!
//! Never: dials; the swarm's task does, as many at a time as it sees fit.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use lru::LruCache;
use protocol::limits::{ADDRESS_BYTES_MAX, PEER_ADDRESSES_MAX};

/// Peers that wait to be met. Kademlia tells of the rest again.
const WAITING_MAX: usize = 256;

/// Peers remembered as tried or as strangers.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not zero");

/// A peer that could not be met, or that is of another cluster, is left alone for this time.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Peers that were heard of and are not connected.
#[derive(Debug)]
pub(super) struct ToMeet {
    waiting: VecDeque<PeerId>,
    tried: LruCache<PeerId, Instant>,
}

impl ToMeet {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), tried: LruCache::new(REMEMBERED_MAX) }
    }

    /// Notes a peer, unless it waits already or was tried a short while ago.
    pub(super) fn add(&mut self, peer: PeerId, now: Instant) {
        let is_recent = self
            .tried
            .get(&peer)
            .is_some_and(|at| now.saturating_duration_since(*at) < RETRY_AFTER);
        if !is_recent && self.waiting.len() < WAITING_MAX && !self.waiting.contains(&peer) {
            self.waiting.push_back(peer);
        }
    }

    /// Takes the peer to meet next, which counts as tried.
    pub(super) fn next(&mut self, now: Instant) -> Option<PeerId> {
        let peer = self.waiting.pop_front()?;
        self.tried.put(peer, now);
        Some(peer)
    }
}

/// Peers of other clusters that were met, with an address of each. Memory: 100 KiB.
#[derive(Debug)]
pub(super) struct Strangers(LruCache<PeerId, Multiaddr>);

/// Strangers remembered: enough to hear of the others by.
const STRANGERS_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");

impl Strangers {
    pub(super) fn new() -> Self {
        Self(LruCache::new(STRANGERS_MAX))
    }

    /// Notes where a peer is reached.
    pub(super) fn met(&mut self, peer: PeerId, address: Multiaddr) {
        self.0.put(peer, address);
    }

    /// Forgets a peer: it is none, or cannot be reached.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.0.pop(peer);
    }

    /// Returns addresses with the peers at their ends, those met last first.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.0.iter().map(|(peer, address)| format!("{address}/p2p/{peer}")).collect()
    }
}

/// Returns those of the addresses that may be dialled, without the peer's own id: other machines' before
/// this one's, TCP before QUIC, at most [`PEER_ADDRESSES_MAX`].
pub(super) fn usable(addresses: impl IntoIterator<Item = Multiaddr>) -> Vec<Multiaddr> {
    // A hostile peer may send thousands; sixteen times what is kept is plenty to choose from.
    let mut kept: Vec<Multiaddr> = Vec::new();
    for address in addresses.into_iter().take(16 * PEER_ADDRESSES_MAX).map(without_peer) {
        if is_usable(&address) && !kept.contains(&address) {
            kept.push(address);
        }
    }
    // A peer that is reachable from elsewhere need not be tried on our own loopback, where another may answer.
    if kept.iter().any(|address| !is_loopback(address)) {
        kept.retain(|address| !is_loopback(address));
    }
    kept.sort_by_key(is_quic);
    kept.truncate(PEER_ADDRESSES_MAX);
    kept
}

/// Returns the address without `/p2p/…` at its end.
pub(super) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

/// Returns the peer named at the end of an address.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// Returns the peer that a text's address names, and the address without it, if it may be dialled.
pub(super) fn named_address(text: &str) -> Option<(PeerId, Multiaddr)> {
    let address: Multiaddr = text.parse().ok()?;
    let peer = peer_of(&address)?;
    Some((peer, usable([address]).pop()?))
}

/// Returns whether an address names this machine only.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    ip_of(address).is_some_and(|ip| ip.is_loopback())
}

fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::QuicV1))
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

/// Returns whether an address is of a kind that the transports dial, and may reach somebody.
fn is_usable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        // Link-local addresses mean nothing without an interface, which a multiaddress of ours does not name.
        Some(Protocol::Ip6(ip)) => {
            !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local()
        }
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        _ => false,
    };
    let port = match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None, None) => port,
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1), None) => port,
        _ => 0,
    };
    host && port != 0 && address.to_string().len() <= ADDRESS_BYTES_MAX
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    use super::{RETRY_AFTER, ToMeet, WAITING_MAX, peer_of, usable, without_peer};
    use libp2p::{Multiaddr, PeerId};
    use std::time::Instant;

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_nobody_can_dial_are_left_out() {
        let kept = usable(addresses(&[
            "/ip4/10.0.0.1/udp/4101/quic-v1",
            "/ip4/0.0.0.0/tcp/4101",
            "/ip4/127.0.0.1/tcp/4101",
            "/ip4/10.0.0.1/tcp/0",
            "/ip6/fe80::1/tcp/4101",
            "/unix/tmp",
            "/ip4/10.0.0.1/tcp/4101/ws",
            "/ip4/10.0.0.1/tcp/4101",
            "/ip4/10.0.0.1/tcp/4101",
        ]));
        assert_eq!(kept, addresses(&["/ip4/10.0.0.1/tcp/4101", "/ip4/10.0.0.1/udp/4101/quic-v1"]));
    }

    #[test]
    fn a_peer_on_loopback_only_is_dialled_there() {
        let loopback = addresses(&["/ip4/127.0.0.1/tcp/4101"]);
        assert_eq!(usable(loopback.clone()), loopback);
    }

    #[test]
    fn the_peer_at_the_end_of_an_address_is_told_from_it() {
        let peer = PeerId::random();
        let plain: Multiaddr = "/ip4/10.0.0.1/tcp/4101".parse().unwrap();
        let named = plain.clone().with_p2p(peer).unwrap();
        assert_eq!((peer_of(&plain), peer_of(&named)), (None, Some(peer)));
        assert_eq!((without_peer(named), without_peer(plain.clone())), (plain.clone(), plain));
    }

    #[test]
    fn nobody_is_met_twice_in_a_short_while_and_the_queue_is_bounded() {
        let (mut to_meet, start, peer) = (ToMeet::new(), Instant::now(), PeerId::random());
        to_meet.add(peer, start);
        to_meet.add(peer, start);
        assert_eq!(to_meet.next(start), Some(peer));
        to_meet.add(peer, start);
        assert_eq!(to_meet.next(start), None);
        to_meet.add(peer, start + RETRY_AFTER);
        assert_eq!(to_meet.next(start + RETRY_AFTER), Some(peer));
        for _ in 0..WAITING_MAX + 10 {
            to_meet.add(PeerId::random(), start);
        }
        assert_eq!(to_meet.waiting.len(), WAITING_MAX);
    }
}
