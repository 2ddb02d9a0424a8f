//! The network as a peer sees it: frames to and from other members of the cluster, by class, and questions of
//! guests, who need not be members.
//!
//! The contract is deliberately weak: a frame may be lost, repeated, delayed or overtaken, and a connection
//! may end at any time; what arrives is whole and from the peer it says. Whoever needs more asks again.

use std::collections::BTreeSet;
use std::future::Future;

use bytes::Bytes;
use protocol::wire::{Class, Frame};
use protocol::{ClusterId, PeerId};
use tokio::sync::{mpsc, oneshot};

/// Why a frame was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// There is no connection to this peer and none could be made, or it is no member of our cluster.
    #[error("peer {peer} is not reachable")]
    Unreachable { peer: PeerId },
    /// None of the addresses led to the peer they name and to an answer of it.
    #[error("none of {addresses} addresses answered")]
    Unanswered { addresses: usize },
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
    /// A peer of our cluster can still be talked to, but what was under way with it in a class is lost.
    Interrupted {
        /// Who.
        peer: PeerId,
        /// Whose frames.
        class: Class,
    },
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

/// The cluster this peer takes part in, as it knows it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Which one. Its id is part of the names of its protocols.
    pub cluster: ClusterId,
    /// Everybody who may speak them, with or without this peer itself.
    pub members: BTreeSet<PeerId>,
}

/// In which protocol guests ask, who need not be members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestProtocol {
    /// To join, with a ticket: at most [`protocol::limits::GUEST_QUESTION_BYTES_MAX`] and
    /// [`protocol::limits::GUEST_ANSWER_BYTES_MAX`].
    Join,
    /// For what is public: at most [`protocol::limits::OVERLAY_QUESTION_BYTES_MAX`] and
    /// [`protocol::limits::OVERLAY_ANSWER_BYTES_MAX`].
    Overlay,
}

/// What somebody told the whole overlay.
#[derive(Debug)]
pub struct Gossip {
    /// Who passed it on, which need not be who made it.
    pub from: PeerId,
    /// What: at most [`protocol::limits::CATALOG_HEAD_BYTES_MAX`].
    pub bytes: Bytes,
    /// Says what becomes of it; dropped, it is not passed on.
    pub verdict: oneshot::Sender<Verdict>,
}

/// What becomes of gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is passed on.
    Pass,
    /// It is not, and nobody is to blame.
    Keep,
    /// It is not, and whoever passed it on is to blame.
    Blame,
}

/// What a peer asks that need not be a member: it waits for [`Self::answer`] for at most
/// [`protocol::limits::GUEST_PATIENCE`].
#[derive(Debug)]
pub struct GuestQuestion {
    /// Who asks; the driver has verified this. Anybody can make himself a new identity.
    pub from: PeerId,
    /// Within the bound of its protocol.
    pub question: Bytes,
    /// Takes what is within the bound of its protocol; dropped, it refuses.
    pub answer: oneshot::Sender<Bytes>,
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

    /// Says with whom the cluster's protocols are spoken from now on; `None`, as at the start: with nobody.
    ///
    /// Who is left out is cut off at once: its streams end, frames for it are dropped, and if it was connected,
    /// that is [`NetEvent::Disconnected`]. Who is added is connected when either side dials, or is at once where
    /// there is a connection already and the other side has added this peer, too.
    fn set_membership(&self, membership: Option<Membership>);

    /// Asks a peer at one of these addresses, tried in turn, a question that needs no membership. Returns who
    /// answered, and what.
    ///
    /// `addresses`: multiaddresses that end in `/p2p/<peer id>`; only that peer's answer counts. `question`: within the
    /// bound of its protocol. The question may arrive more than once. Takes at
    /// most [`protocol::limits::GUEST_PATIENCE`] per address. Cancel-safe: nobody waits for the answer then.
    ///
    /// # Errors
    /// [`NetError::Unanswered`], [`NetError::Stopped`]
    fn ask_guest(
        &self,
        protocol: GuestProtocol,
        addresses: Vec<String>,
        question: Bytes,
    ) -> impl Future<Output = Result<(PeerId, Bytes), NetError>> + Send;

    /// Takes the receiving end of what guests ask in a protocol; the second call returns `None`.
    fn take_guests(&self, protocol: GuestProtocol) -> Option<mpsc::Receiver<GuestQuestion>>;

    /// Tells everybody in the overlay, as far as it gets: nothing says who heard of it.
    fn gossip(&self, bytes: Bytes);

    /// Takes the receiving end of what others tell everybody; the second call returns `None`.
    fn take_gossip(&self) -> Option<mpsc::Receiver<Gossip>>;

    /// Returns where some peers are reached that are no members, those met last first: addresses as [`Self::ask_guest`] takes.
    fn strangers(&self) -> Vec<String>;
}
