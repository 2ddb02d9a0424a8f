//! Classes of traffic between two peers, each on a stream of its own.
//!
//! So that small urgent messages never wait behind blocks, and background work never delays people.
//! Never: priorities inside a class; frames of one class keep their order.

use crate::ClusterId;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Gossip, and whatever must arrive within milliseconds.
    Control,
    /// Blocks that somebody waits for.
    Bulk,
    /// Blocks that nobody waits for.
    Background,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Control, Self::Bulk, Self::Background];

    /// Returns the name: part of the protocol name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Bulk => "bulk",
            Self::Background => "background",
        }
    }
}

/// Returns the libp2p protocol name of a class of traffic inside a cluster.
///
/// It holds the cluster's id, so that streams between strangers fail at negotiation.
#[must_use]
pub fn protocol_name(cluster: ClusterId, class: Class) -> String {
    format!("/shoal/{cluster}/{}/1", class.name())
}
