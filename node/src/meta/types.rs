//! The types that Raft is built from here, and short names for those of the library.

use std::fmt;

use bytes::Bytes;
use openraft::impls::{BoxedErrorSource, InlineBatch, OneshotResponder, leader_id_adv};
use openraft::{OptionalSend, RaftTypeConfig};
use protocol::PeerId;

use super::machine::Machine;
use super::runtime::MetaRuntime;

/// A command as it lies in the log: the bytes of `protocol::metadata::Command`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proposal(pub(super) Bytes);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What applying an entry gave: the bytes of the answer to a command, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied(pub(super) Bytes);

/// A member of the Raft group, as far as Raft knows it. Its id is the random one of its data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// At whom it answers.
    pub(super) peer: PeerId,
}

impl Default for Seat {
    /// Nobody: openraft's own tests of a store ask for it.
    fn default() -> Self {
        Self { peer: PeerId::from_public_key([0; 32]) }
    }
}

/// The types of this agreement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Types;

impl RaftTypeConfig for Types {
    type D = Proposal;
    type R = Applied;
    type NodeId = u64;
    type Node = Seat;
    type Term = u64;
    // Term and id are compared: two candidates of one term never tie.
    type LeaderId = leader_id_adv::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Proposal, u64, Seat>;
    type Entry = openraft::impls::Entry<LeaderId, Self::Payload>;
    type AsyncRuntime = MetaRuntime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(super) type LeaderId = leader_id_adv::LeaderId<u64, u64>;
pub(super) type LogId = openraft::LogId<LeaderId>;
pub(super) type Vote = openraft::Vote<LeaderId>;
pub(super) type Payload = openraft::EntryPayload<Proposal, u64, Seat>;
pub(super) type Entry = openraft::Entry<LeaderId, Payload>;
pub(super) type Membership = openraft::Membership<u64, Seat>;
pub(super) type StoredMembership = openraft::StoredMembership<LeaderId, u64, Seat>;
pub(super) type Raft<E> = openraft::Raft<Types, Machine<E>>;
pub(super) type Metrics = openraft::RaftMetrics<Types>;
