//! What a search finds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of what a search found: answer to `GET search`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Whose objects were searched, and how old what is known of them is.
    pub clusters: Vec<Searched>,
    /// Objects found, on all pages.
    pub total: u64,
    /// What to pass as `after` for the next page; null at the end, and after the 10,000 best.
    pub next: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

/// An object that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Hit {
    /// Name of its cluster.
    pub cluster: String,
    /// Its cluster.
    pub cluster_id: String,
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// The root of its content.
    pub cid: String,
    /// Bytes of its content.
    pub size: u64,
    /// Media type of its content.
    pub content_type: String,
    /// The user who wrote it; empty for another cluster's, which does not say.
    pub owner: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was written, RFC 3339.
    pub modified: String,
    /// How well it fits: to be compared with other hits of the same answer.
    pub score: f64,
    /// How old what is known of it may be; null when that is not known.
    pub age_ms: Option<u64>,
}

/// A cluster whose objects were searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Searched {
    /// Which.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How long ago all that it has was known; null when it never was.
    pub age_ms: Option<u64>,
    /// How its part stands.
    pub state: SearchState,
}

/// How a cluster's part of an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchState {
    /// All that was known of it was searched.
    Searched,
    /// What is known of it is not up to date yet, after a start or since it was heard of: there may be more than was found.
    Building,
    /// None of its peers answers: what was known of it was searched, as old as it is.
    Unreachable,
    /// Its catalog is larger than what is kept of one cluster here: what was known of it before was searched.
    TooLarge,
    /// It told what cannot be true, and is left alone for a while: what was known of it before was searched.
    CutOff,
}
