//! The cluster, its peers, and the tickets by which more join.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The cluster as one peer sees it: answer to `GET cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The epoch of its topology.
    pub epoch: u64,
    /// The leader's peer id, while there is one.
    pub leader: Option<String>,
    /// Its peers, the asked one included, in order of their ids.
    pub peers: Vec<Peer>,
}

/// One peer of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its id.
    pub peer_id: String,
    /// Its name.
    pub name: String,
    /// Its zone, or empty.
    pub zone: String,
    /// Bytes it offers to hold.
    pub capacity: u64,
    /// Bytes it holds.
    pub used: u64,
    /// `alive`, `suspect`, `dead` or `draining`.
    pub state: String,
    /// `voter` or `learner`.
    pub raft: String,
    /// Whether it holds nothing that others do not hold, so that it can be switched off for good.
    #[serde(default)]
    pub drained: bool,
    /// Multiaddresses, its id included.
    pub addrs: Vec<String>,
}

/// What changes about a peer: body of `PATCH cluster/peers/{id}`. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPeer {
    /// Its zone; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Bytes it offers to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
}

/// A ticket to be made: body of `POST cluster/invites`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInvite {
    /// How long it may be used, in milliseconds; a day unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_ms: Option<u64>,
    /// For whom, for people.
    #[serde(default)]
    pub label: String,
}

/// A ticket that was made. It is shown once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invited {
    /// Its id, by which it is listed and withdrawn.
    pub id: String,
    /// The text that `shoald --join` takes.
    pub ticket: String,
    /// Until when, RFC 3339.
    pub expires: String,
}

/// A ticket that was given out and not used yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invite {
    /// Its id.
    pub id: String,
    /// For whom, for people.
    pub label: String,
    /// Until when, RFC 3339.
    pub expires: String,
}

/// The tickets that can still be used: answer to `GET cluster/invites`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invites {
    /// In no particular order.
    pub invites: Vec<Invite>,
}
