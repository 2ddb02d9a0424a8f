//! What is known of other clusters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SearchState;

/// The clusters that a peer knows of: answer to `GET catalog/clusters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Clusters {
    /// This one, and how its own catalog stands.
    pub own: OwnCatalog,
    /// The others, in order of their names.
    pub clusters: Vec<KnownCluster>,
}

/// This cluster's catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OwnCatalog {
    /// Which cluster.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Public objects.
    pub entries: u64,
    /// Whether others may hear of it: whether anything was ever published.
    pub told: bool,
}

/// Another cluster's content that an upload has now: answer to `POST content/{cid}/import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// The root of the content.
    pub cid: String,
    /// Its bytes.
    pub size: u64,
    /// Media type, as its cluster says.
    pub content_type: Option<String>,
    /// Tags, as its cluster says.
    pub tags: BTreeMap<String, String>,
}

/// A cluster that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownCluster {
    /// Which.
    pub id: String,
    /// Its name, which others may have too.
    pub name: String,
    /// Its peers.
    pub peers: u32,
    /// Public objects that it says it has.
    pub entries: u64,
    /// Those of them that can be found here.
    pub held: u64,
    /// How long ago all of them were known here; null when they never were.
    pub age_ms: Option<u64>,
    /// Whether its peers answer.
    pub reachable: bool,
    /// How its part of searches stands.
    pub state: SearchState,
    /// Where some of its peers are reached.
    pub contacts: Vec<String>,
}
