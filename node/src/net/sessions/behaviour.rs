//! The end of sessions beside the swarm: with whom there is one, and over which connections.
//!
//! Owns: who is admitted, the connections of every peer, and the addresses peers were last known at.
//! Never: more than [`BOOK_PEERS_MAX`] address entries; connections are bounded by the limits beside it.

#![expect(clippy::disallowed_methods, reason = "a driver takes the real clock")]

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm,
    NetworkBehaviour, NotifyHandler, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream};
use lru::LruCache;
use protocol::limits::{CLUSTER_PEERS_MAX, PEER_ADDRESSES_MAX};
use protocol::wire::Class;

use super::admission::Admission;
use super::handler::{HandlerEvent, Order, SessionHandler};
use super::remote::{Link, Opened, Opens, Remote};
use crate::net::discovery::without_peer;
use crate::net::identity::peer_from_libp2p;

/// Peers whose addresses are remembered: every one of the largest cluster.
const BOOK_PEERS_MAX: NonZeroUsize =
    NonZeroUsize::new(CLUSTER_PEERS_MAX).expect("a cluster has peers");

/// What the owner of the swarm must know.
#[derive(Debug)]
pub(in crate::net) enum SessionEvent {
    /// Frames of a class can be written to a peer: to this stream, instead of any earlier one.
    Opened { peer: PeerId, class: Class, stream: Stream },
    /// A peer will write frames of a class to this stream, instead of any earlier one.
    Accepted { peer: PeerId, class: Class, stream: Stream },
    /// A connected peer is no member, or does not take us for one.
    Refused { peer: PeerId },
    /// An open session goes on, but what was under way in a class went with its connection.
    Interrupted { peer: PeerId, class: Class },
    /// An open session ended.
    Lost { peer: PeerId },
}

/// A peer's key is of a kind that has no place in this protocol.
#[derive(Debug, thiserror::Error)]
#[error("peer {0} has no Ed25519 key")]
struct UnsupportedKey(PeerId);

/// See the module.
#[derive(Debug)]
pub(in crate::net) struct Sessions {
    local: PeerId,
    admission: Admission,
    /// Connections above which no second one is dialled: they are for peers that have none.
    spare_from: usize,
    peers: BTreeMap<PeerId, Remote>,
    book: LruCache<PeerId, Vec<Multiaddr>>,
    outputs: VecDeque<ToSwarm<SessionEvent, Order>>,
    waker: Option<Waker>,
}

impl Sessions {
    /// Returns the sessions of the peer `local`, which admits nobody yet.
    pub(in crate::net) fn new(local: PeerId, spare_from: usize) -> Self {
        Self {
            local,
            admission: Admission::default(),
            spare_from,
            peers: BTreeMap::new(),
            book: LruCache::new(BOOK_PEERS_MAX),
            outputs: VecDeque::new(),
            waker: None,
        }
    }

    /// Remembers where a peer may be found, the newest addresses before the older ones.
    pub(in crate::net) fn add_addresses(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>) {
        if let Some(known) = self.book.get(&peer) {
            let older: Vec<_> = known.iter().filter(|a| !addresses.contains(a)).cloned().collect();
            addresses.extend(older);
        }
        addresses.truncate(PEER_ADDRESSES_MAX);
        self.book.put(peer, addresses);
    }

    /// Says who may take part from now on. Returns the connected peers that took part and may not any more:
    /// whatever is under way with them must end.
    pub(in crate::net) fn admit(&mut self, admission: Admission) -> Vec<PeerId> {
        let before = std::mem::replace(&mut self.admission, admission);
        let mut cut_off = Vec::new();
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            let protocols = self.admission.protocols_with(&peer).cloned();
            let was = before.protocols_with(&peer);
            if was == protocols.as_ref() {
                continue;
            }
            let was_admitted = was.is_some();
            let is_admitted = protocols.is_some();
            let Some(remote) = self.peers.get_mut(&peer) else { continue };
            remote.end();
            let links: Vec<ConnectionId> = remote.links().iter().map(|link| link.id).collect();
            for link in links {
                self.order(peer, link, Order::Offer(protocols.clone()));
            }
            if was_admitted {
                cut_off.push(peer);
            }
            if was_admitted && is_admitted {
                // Of another cluster: a stream that is being negotiated could be of either.
                let connection = CloseConnection::All;
                self.push(ToSwarm::CloseConnection { peer_id: peer, connection });
            } else if is_admitted {
                self.change(peer, Remote::begin);
            }
        }
        cut_off
    }

    /// Returns whether a peer may take part.
    pub(in crate::net) fn admits(&self, peer: &PeerId) -> bool {
        self.admission.admits(peer)
    }

    /// Begins a session with a peer that is connected and refused it before.
    pub(in crate::net) fn begin(&mut self, peer: PeerId) {
        if self.admits(&peer) {
            self.change(peer, Remote::begin);
        }
    }

    /// Opens another stream of a class to a peer, whose present one failed.
    pub(in crate::net) fn reopen(&mut self, peer: PeerId, class: Class) {
        let bearer = self.peers.get(&peer).and_then(|remote| remote.bearer(class));
        if let Some(bearer) = bearer {
            self.order(peer, bearer, Order::Open(class));
        }
    }

    /// Dials second connections that are due. Cost: O(connected peers).
    pub(in crate::net) fn dial_due(&mut self, now: Instant) {
        let due = self.peers.iter().filter(|(_, remote)| remote.second(now).is_some());
        let due: Vec<PeerId> = due.map(|(peer, _)| *peer).collect();
        for peer in due {
            self.dial_second(peer, now);
        }
    }

    fn dial_second(&mut self, peer: PeerId, now: Instant) {
        let connections: usize = self.peers.values().map(|remote| remote.links().len()).sum();
        let Some(remote) = self.peers.get_mut(&peer) else { return };
        if connections >= self.spare_from {
            return;
        }
        let Some(address) = remote.second(now) else { return };
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![without_peer(address.clone())])
            .build();
        remote.dials(opts.connection_id());
        self.push(ToSwarm::Dial { opts });
    }

    /// Changes what is known of a peer, and opens the streams that follow from it.
    fn change<T>(
        &mut self,
        peer: PeerId,
        change: impl FnOnce(&mut Remote, &mut Opens) -> T,
    ) -> Option<T> {
        let mut opens = Vec::new();
        let remote = self.peers.get_mut(&peer)?;
        let result = change(remote, &mut opens);
        for class in remote.take_interrupted() {
            self.push(ToSwarm::GenerateEvent(SessionEvent::Interrupted { peer, class }));
        }
        for (connection, class) in opens {
            self.order(peer, connection, Order::Open(class));
        }
        Some(result)
    }

    fn established(&mut self, peer: PeerId, id: ConnectionId, end: &ConnectedPoint, now: Instant) {
        let dialled = match end {
            ConnectedPoint::Dialer { address, .. } => Some(address.clone()),
            ConnectedPoint::Listener { .. } => None,
        };
        let chooses = self.local < peer;
        self.peers.entry(peer).or_insert_with(|| Remote::new(chooses, now));
        let is_admitted = self.admits(&peer);
        self.change(peer, |remote, opens| {
            remote.add(Link { id, dialled, since: now }, opens);
            if is_admitted {
                remote.begin(opens);
            }
        });
        if !is_admitted {
            self.push(ToSwarm::GenerateEvent(SessionEvent::Refused { peer }));
        }
    }

    fn closed(&mut self, peer: PeerId, id: ConnectionId, remaining: usize, now: Instant) {
        if remaining > 0 {
            self.change(peer, |remote, opens| remote.remove(id, now, opens));
            self.dial_second(peer, now);
        } else if self.peers.remove(&peer).is_some_and(|remote| remote.is_open()) {
            self.push(ToSwarm::GenerateEvent(SessionEvent::Lost { peer }));
        }
    }

    fn refused(&mut self, peer: PeerId, id: ConnectionId) {
        let ended = self.peers.get_mut(&peer).and_then(|remote| remote.refused(id));
        if ended == Some(true) {
            self.push(ToSwarm::GenerateEvent(SessionEvent::Lost { peer }));
        }
        if ended.is_some() {
            self.push(ToSwarm::GenerateEvent(SessionEvent::Refused { peer }));
        }
    }

    fn opened(&mut self, peer: PeerId, id: ConnectionId, class: Class, stream: Stream) {
        // A stale stream closes as it is dropped.
        let opened = self.change(peer, |remote, opens| remote.opened(id, class, opens));
        if matches!(opened, Some(Opened::First | Opened::Serves)) {
            self.push(ToSwarm::GenerateEvent(SessionEvent::Opened { peer, class, stream }));
        }
        if opened == Some(Opened::First) {
            self.dial_second(peer, Instant::now());
        }
    }

    fn accepted(&mut self, peer: PeerId, id: ConnectionId, class: Class, stream: Stream) {
        // It may have been cut off while this was negotiated.
        if self.admits(&peer) {
            self.change(peer, |remote, opens| remote.accepted(id, class, opens));
            self.push(ToSwarm::GenerateEvent(SessionEvent::Accepted { peer, class, stream }));
        }
    }

    fn order(&mut self, peer_id: PeerId, connection: ConnectionId, event: Order) {
        let handler = NotifyHandler::One(connection);
        self.push(ToSwarm::NotifyHandler { peer_id, handler, event });
    }

    fn push(&mut self, output: ToSwarm<SessionEvent, Order>) {
        self.outputs.push_back(output);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self, peer: PeerId) -> Result<SessionHandler, ConnectionDenied> {
        if peer_from_libp2p(&peer).is_none() {
            return Err(ConnectionDenied::new(UnsupportedKey(peer)));
        }
        Ok(SessionHandler::new(self.admission.protocols_with(&peer).cloned()))
    }
}

impl NetworkBehaviour for Sessions {
    type ConnectionHandler = SessionHandler;
    type ToSwarm = SessionEvent;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<SessionHandler, ConnectionDenied> {
        self.handler(peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<SessionHandler, ConnectionDenied> {
        self.handler(peer)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Ok(peer.and_then(|peer| self.book.get(&peer).cloned()).unwrap_or_default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let now = Instant::now();
        if let FromSwarm::ConnectionEstablished(made) = event {
            self.established(made.peer_id, made.connection_id, made.endpoint, now);
        } else if let FromSwarm::ConnectionClosed(closed) = event {
            let ConnectionClosed { peer_id, connection_id, remaining_established, .. } = closed;
            self.closed(peer_id, connection_id, remaining_established, now);
        } else if let FromSwarm::DialFailure(failure) = event {
            let DialFailure { peer_id, connection_id, .. } = failure;
            if let Some(remote) = peer_id.and_then(|peer| self.peers.get_mut(&peer)) {
                remote.failed(connection_id, now);
            }
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: HandlerEvent,
    ) {
        match event {
            HandlerEvent::Opened(class, stream) => self.opened(peer, connection, class, stream),
            HandlerEvent::Accepted(class, stream) => {
                self.accepted(peer, connection, class, stream);
            }
            HandlerEvent::Refused => self.refused(peer, connection),
            // A connection that opens no stream is broken or far too slow: another one may do better, and
            // whoever still wants the peer dials anew.
            HandlerEvent::Failed => self.push(ToSwarm::CloseConnection {
                peer_id: peer,
                connection: CloseConnection::One(connection),
            }),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<SessionEvent, Order>> {
        if let Some(output) = self.outputs.pop_front() {
            return Poll::Ready(output);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
