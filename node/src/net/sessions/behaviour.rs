//! The end of sessions beside the swarm: which connection bears each peer's session.
//!
//! Owns: the connections of every peer, oldest first, and the addresses peers were last known at.
//! Never: more than [`BOOK_PEERS_MAX`] address entries; connections are bounded by the limits beside it.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream};
use lru::LruCache;
use protocol::limits::{CLUSTER_PEERS_MAX, PEER_ADDRESSES_MAX};
use protocol::wire::Class;

use super::handler::{HandlerEvent, Open, SessionHandler};
use super::offer::Protocols;
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
    /// A connected peer is not of our cluster.
    Foreign { peer: PeerId },
    /// The last connection to a peer ended that was known to be of our cluster.
    Lost { peer: PeerId },
}

/// A peer's key is of a kind that has no place in this protocol.
#[derive(Debug, thiserror::Error)]
#[error("peer {0} has no Ed25519 key")]
struct UnsupportedKey(PeerId);

/// The connections of one peer.
#[derive(Debug, Default)]
struct Connections {
    /// Those that may bear the session, oldest first; the first one does.
    candidates: Vec<ConnectionId>,
    /// Whether the control stream was negotiated on a bearer.
    is_member: bool,
}

/// See the module.
#[derive(Debug)]
pub(in crate::net) struct Sessions {
    protocols: Protocols,
    peers: BTreeMap<PeerId, Connections>,
    book: LruCache<PeerId, Vec<Multiaddr>>,
    outputs: VecDeque<ToSwarm<SessionEvent, Open>>,
    waker: Option<Waker>,
}

impl Sessions {
    pub(in crate::net) fn new(protocols: Protocols) -> Self {
        Self {
            protocols,
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

    /// Returns whether a peer is connected whose session was refused.
    pub(in crate::net) fn is_foreign(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|connections| connections.candidates.is_empty())
    }

    /// Opens another stream of a class to a peer, whose present one failed.
    pub(in crate::net) fn reopen(&mut self, peer: PeerId, class: Class) {
        if let Some(bearer) = self.peers.get(&peer).and_then(|c| c.candidates.first()) {
            let bearer = *bearer;
            self.open(peer, bearer, class);
        }
    }

    fn established(&mut self, peer: PeerId, connection: ConnectionId) {
        let connections = self.peers.entry(peer).or_default();
        connections.candidates.push(connection);
        if connections.candidates.len() == 1 {
            self.open(peer, connection, Class::Control);
        }
    }

    fn closed(&mut self, peer: PeerId, connection: ConnectionId, remaining: usize) {
        self.drop_candidate(peer, connection);
        if remaining == 0
            && let Some(connections) = self.peers.remove(&peer)
            && connections.is_member
        {
            self.push(ToSwarm::GenerateEvent(SessionEvent::Lost { peer }));
        }
    }

    /// Takes a connection out of the choice; the next oldest bears the session if it was the bearer.
    fn drop_candidate(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(connections) = self.peers.get_mut(&peer) else { return };
        let was_bearer = connections.candidates.first() == Some(&connection);
        connections.candidates.retain(|candidate| *candidate != connection);
        if was_bearer && let Some(next) = connections.candidates.first() {
            let next = *next;
            self.open(peer, next, Class::Control);
        }
    }

    fn refused(&mut self, peer: PeerId, connection: ConnectionId) {
        self.drop_candidate(peer, connection);
        let Some(connections) = self.peers.get_mut(&peer) else { return };
        if !connections.candidates.is_empty() {
            return;
        }
        let was_member = std::mem::take(&mut connections.is_member);
        if was_member {
            self.push(ToSwarm::GenerateEvent(SessionEvent::Lost { peer }));
        }
        self.push(ToSwarm::GenerateEvent(SessionEvent::Foreign { peer }));
    }

    fn opened(&mut self, peer: PeerId, connection: ConnectionId, class: Class, stream: Stream) {
        let Some(connections) = self.peers.get_mut(&peer) else { return };
        if connections.candidates.first() != Some(&connection) {
            // The bearer changed while this was negotiated; the stream closes as it is dropped.
            return;
        }
        if class == Class::Control {
            connections.is_member = true;
            for class in [Class::Bulk, Class::Background] {
                self.open(peer, connection, class);
            }
        }
        self.push(ToSwarm::GenerateEvent(SessionEvent::Opened { peer, class, stream }));
    }

    fn open(&mut self, peer_id: PeerId, connection: ConnectionId, class: Class) {
        let handler = NotifyHandler::One(connection);
        self.push(ToSwarm::NotifyHandler { peer_id, handler, event: Open(class) });
    }

    fn push(&mut self, output: ToSwarm<SessionEvent, Open>) {
        self.outputs.push_back(output);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&self, peer: PeerId) -> Result<SessionHandler, ConnectionDenied> {
        if peer_from_libp2p(&peer).is_none() {
            return Err(ConnectionDenied::new(UnsupportedKey(peer)));
        }
        Ok(SessionHandler::new(self.protocols.clone()))
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
        if let FromSwarm::ConnectionEstablished(established) = event {
            self.established(established.peer_id, established.connection_id);
        } else if let FromSwarm::ConnectionClosed(closed) = event {
            let ConnectionClosed { peer_id, connection_id, remaining_established, .. } = closed;
            self.closed(peer_id, connection_id, remaining_established);
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
                self.push(ToSwarm::GenerateEvent(SessionEvent::Accepted { peer, class, stream }));
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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<SessionEvent, Open>> {
        if let Some(output) = self.outputs.pop_front() {
            return Poll::Ready(output);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
