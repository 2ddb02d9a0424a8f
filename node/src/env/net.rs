//! The network as a peer sees it: frames to and from other peers of the cluster, by class.
//!
//! The contract is deliberately weak: a frame may be lost, repeated, delayed or overtaken, and a connection
//! may end at any time; what arrives is whole and from the peer it says. Whoever needs more asks again.

use std::future::Future;

use protocol::PeerId;
use protocol::wire::{Class, Frame};
use tokio::sync::mpsc;

/// Why a frame was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// There is no connection to this peer and none could be made.
    #[error("peer {peer} is not reachable")]
    Unreachable { peer: PeerId },
    /// The network has stopped: the peer shuts down.
    #[error("the network has stopped")]
    Stopped,
}

/// A frame that arrived.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Who sent it; the driver has verified this.
    pub from: PeerId,
    /// What came.
    pub frame: Frame,
}

/// What the network tells unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// A peer of our cluster can be talked to.
    Connected(PeerId),
    /// The last connection to a peer of our cluster ended.
    Disconnected(PeerId),
    /// Dialling a peer failed.
    Unreachable(PeerId),
    /// Addresses where somebody of our cluster may be found were learned (Kademlia, identify).
    Discovered {
        /// Who.
        peer: PeerId,
        /// Multiaddresses without the peer's own id.
        addresses: Vec<String>,
    },
    /// The addresses this peer listens on changed: all of them, without its own id.
    Listening(Vec<String>),
}

/// A peer's network. Clones are handles to the same one.
pub trait Net: Clone + Send + Sync + 'static {
    /// Returns this peer's id.
    fn local_peer(&self) -> PeerId;

    /// Queues a frame for a peer, connecting first where needed; waits while the peer's queue of this class
    /// ([`protocol::limits::OUTBOX_FRAMES_MAX`]) is full. That it was queued says nothing of its arrival.
    /// Cancel-safe: a cancelled call has queued nothing.
    ///
    /// # Errors
    /// [`NetError`]
    fn send(
        &self,
        to: PeerId,
        class: Class,
        frame: Frame,
    ) -> impl Future<Output = Result<(), NetError>> + Send;

    /// Connects to a peer at these addresses (and those known before) unless connected. The result is an event.
    fn dial(&self, peer: PeerId, addresses: Vec<String>);

    /// Takes the receiving end of a class; the second call for a class returns `None`.
    fn take_inbox(&self, class: Class) -> Option<mpsc::Receiver<Inbound>>;

    /// Takes the receiving end of events; the second call returns `None`.
    fn take_events(&self) -> Option<mpsc::Receiver<NetEvent>>;
}
