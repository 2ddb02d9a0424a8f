//! What goes into the machine and what comes out, and its times.

use crate::PeerId;
use crate::topology::Zone;
use crate::wire::{GossipEntry, Notice};
use core::time::Duration;

/// The times of the failure detector. All peers of a cluster should use the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Time between two rounds. Each costs `fanout` messages of some kilobytes.
    pub interval: Duration,
    /// Peers told in a round. With 3, and one answer, those who know a piece of news grow at most
    /// fourfold a round: some 5 rounds for 100 peers, and 2 more make up for lost messages.
    pub fanout: usize,
    /// Silence after which a peer is suspected: 6 rounds, a third more than the longest silence
    /// of a live peer among 50 in simulation. In clusters of more than 50 peers, longer in
    /// proportion.
    pub suspect_after: Duration,
    /// Silence after which a peer is taken for dead: 20 rounds; what gossip brings within them is
    /// beyond doubt. In clusters of more than 50 peers, longer in proportion.
    pub dead_after: Duration,
    /// How long a dead peer is remembered, and a good-bye, so that old gossip brings nobody back:
    /// longer than a machine is usually away for repair.
    pub forget_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            fanout: 3,
            suspect_after: Duration::from_secs(3),
            dead_after: Duration::from_secs(10),
            forget_after: Duration::from_secs(24 * 3600),
        }
    }
}

/// What is agreed upon about a member, as far as the table shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// Who.
    pub peer: PeerId,
    /// Its name for people.
    pub name: String,
    /// Where it is.
    pub zone: Zone,
    /// Bytes it offers to hold.
    pub capacity_bytes: u64,
    /// Multiaddresses it is known to have listened on. What it tells itself is newer.
    pub addresses: Vec<String>,
    /// Whether it is being emptied: it gets nothing new.
    pub draining: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The deadline passed.
    Tick,
    /// A peer of the cluster sent [`Notice::Gossip`].
    Gossip {
        /// Who, as its connection proves.
        from: PeerId,
        /// What it told; checked by the decoder.
        entries: Vec<GossipEntry>,
        /// Whether it wants to be told in return.
        answer: bool,
    },
    /// There is a connection to a peer of the cluster, whoever opened it.
    Contact {
        /// Who, as the connection proves.
        peer: PeerId,
    },
    /// The last connection to a peer ended. No judgement: another one is asked for, and if that
    /// fails, the driver reports [`Input::Unreachable`].
    Disconnected {
        /// Who.
        peer: PeerId,
    },
    /// No connection to a peer could be made, or it stopped answering.
    Unreachable {
        /// Who.
        peer: PeerId,
    },
    /// Facts about this peer itself changed.
    Own {
        /// Bytes it offers to hold.
        capacity_bytes: u64,
        /// Bytes it holds.
        used_bytes: u64,
        /// Multiaddresses it listens on. Those beyond [`crate::limits::PEER_ADDRESSES_MAX`] or not
        /// [`crate::wire::is_address`] are left out.
        addresses: Vec<String>,
    },
    /// These are the members, and there are no others: at most
    /// [`crate::limits::CLUSTER_PEERS_MAX`]. From the first list on, gossip tells only how they are
    /// doing; a good-bye means nothing, since it takes another list to remove a member.
    Members {
        /// All of them. This peer may be missing; it then knows itself by its own account.
        members: Vec<MemberFacts>,
    },
    /// This peer leaves the cluster for good. Afterwards it is silent. For clusters without a list of
    /// members.
    Leave,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a notice on the connection to a peer. It may get lost; if there is no connection,
    /// report [`Input::Disconnected`].
    Send {
        /// To whom.
        to: PeerId,
        /// What.
        notice: Notice,
    },
    /// Liveness or facts of a peer changed (its heartbeat and used bytes aside), or it was
    /// forgotten.
    Changed {
        /// Who.
        peer: PeerId,
    },
    /// Connect to a known peer; report [`Input::Contact`] or [`Input::Unreachable`].
    Dial {
        /// Who.
        peer: PeerId,
        /// Where it said it listens.
        addresses: Vec<String>,
    },
    /// Members, zones or capacities changed: [`super::Membership::topology`] gives another value.
    /// Never after [`Input::Members`], which comes with a topology of its own.
    TopologyChanged,
}
