//! What the network keeps of one machine: its address, and the process that listens there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Weak};

use node::env::{GuestQuestion, Inbound, Membership, NetEvent};
use protocol::limits::{INBOX_FRAMES_MAX, OUTBOX_FRAMES_MAX};
use protocol::wire::{Class, Frame};
use protocol::{ClusterId, PeerId};
use tokio::sync::mpsc;

use super::link::{Lane, carry};
use crate::sim::machine::Life;

/// Events that a process may leave untaken before it counts as a fault of the process.
const EVENTS_MAX: usize = 1024;

/// Questions of guests that a process may leave untaken; more are refused.
const GUESTS_WAITING_MAX: usize = 32;

/// A place in the network.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) address: String,
    pub(super) process: Option<Process>,
}

/// The two ends of one inbox; the receiving one is there until it is taken.
#[derive(Debug)]
struct Inbox {
    sender: mpsc::Sender<Inbound>,
    receiver: Option<mpsc::Receiver<Inbound>>,
}

/// With whom a process speaks its cluster's protocols.
#[derive(Debug, Default)]
pub(super) enum Admission {
    #[default]
    Nobody,
    Members(Membership),
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Members(membership) => {
                membership.members.iter().try_for_each(|peer| write!(f, "{peer} "))
            }
        }
    }
}

/// A process that uses the network.
#[derive(Debug)]
pub(super) struct Process {
    life: Weak<Life>,
    inboxes: BTreeMap<Class, Inbox>,
    events: mpsc::Sender<NetEvent>,
    events_end: Option<mpsc::Receiver<NetEvent>>,
    guests: mpsc::Sender<GuestQuestion>,
    guests_end: Option<mpsc::Receiver<GuestQuestion>>,
    pub(super) admission: Admission,
    /// Addresses it was told.
    pub(super) known: BTreeMap<PeerId, BTreeSet<String>>,
    /// Its ends of connections.
    sides: BTreeMap<PeerId, Side>,
}

/// One end of a connection.
#[derive(Debug)]
struct Side {
    connection: u64,
    outboxes: BTreeMap<Class, mpsc::Sender<Frame>>,
}

impl Process {
    pub(super) fn new(life: &Arc<Life>) -> Self {
        let inbox = || {
            let (sender, receiver) = mpsc::channel(INBOX_FRAMES_MAX);
            Inbox { sender, receiver: Some(receiver) }
        };
        let (events, events_end) = mpsc::channel(EVENTS_MAX);
        let (guests, guests_end) = mpsc::channel(GUESTS_WAITING_MAX);
        Self {
            life: Arc::downgrade(life),
            inboxes: Class::ALL.into_iter().map(|class| (class, inbox())).collect(),
            events,
            events_end: Some(events_end),
            guests,
            guests_end: Some(guests_end),
            admission: Admission::default(),
            known: BTreeMap::new(),
            sides: BTreeMap::new(),
        }
    }

    /// Tells the process something.
    pub(super) fn tell(&self, event: NetEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event)
            && let Some(life) = self.life.upgrade()
        {
            let peer = life.peer();
            life.world().fail(format!("{peer} leaves its network events untaken, at {event:?}"));
        }
    }

    pub(super) fn inbox(&self, class: Class) -> Option<mpsc::Sender<Inbound>> {
        Some(self.inboxes.get(&class)?.sender.clone())
    }

    pub(super) fn take_inbox(&mut self, class: Class) -> Option<mpsc::Receiver<Inbound>> {
        self.inboxes.get_mut(&class)?.receiver.take()
    }

    pub(super) fn take_events(&mut self) -> Option<mpsc::Receiver<NetEvent>> {
        self.events_end.take()
    }

    pub(super) fn guests(&self) -> mpsc::Sender<GuestQuestion> {
        self.guests.clone()
    }

    pub(super) fn take_guests(&mut self) -> Option<mpsc::Receiver<GuestQuestion>> {
        self.guests_end.take()
    }

    /// Returns the cluster whose protocols it speaks with a peer, if any.
    pub(super) fn admits(&self, peer: PeerId) -> Option<ClusterId> {
        match &self.admission {
            Admission::Nobody => None,
            Admission::Members(membership) => {
                membership.members.contains(&peer).then_some(membership.cluster)
            }
        }
    }

    /// Returns the number of the connection to a peer.
    pub(super) fn connection(&self, peer: PeerId) -> Option<u64> {
        Some(self.sides.get(&peer)?.connection)
    }

    /// Returns the peers it is connected to.
    pub(super) fn connected(&self) -> Vec<(PeerId, u64)> {
        self.sides.iter().map(|(peer, side)| (*peer, side.connection)).collect()
    }

    /// Notes a connection. A later one to the same peer takes the place of the earlier, silently.
    pub(super) fn connect(&mut self, peer: PeerId, connection: u64, address: &str) {
        let side = Side { connection, outboxes: BTreeMap::new() };
        if self.sides.insert(peer, side).is_none() {
            self.tell(NetEvent::Connected(peer));
        }
        self.known.entry(peer).or_default().insert(address.to_owned());
        self.tell(NetEvent::Discovered { peer, addresses: vec![address.to_owned()] });
    }

    /// Ends a connection, unless another has taken its place.
    pub(super) fn disconnect(&mut self, peer: PeerId, connection: u64) {
        if self.connection(peer) == Some(connection) {
            self.sides.remove(&peer);
            self.tell(NetEvent::Disconnected(peer));
        }
    }

    /// Returns where frames of a class for a peer wait, or `None` when there is no connection.
    pub(super) fn outbox(&mut self, to: PeerId, class: Class) -> Option<mpsc::Sender<Frame>> {
        let life = self.life.upgrade()?;
        let side = self.sides.get_mut(&to)?;
        let connection = side.connection;
        let outbox = side.outboxes.entry(class).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(OUTBOX_FRAMES_MAX);
            let lane = Lane { from: life.peer(), to, class, connection };
            life.spawn("net", carry(life.world().clone(), lane, receiver));
            sender
        });
        Some(outbox.clone())
    }
}
