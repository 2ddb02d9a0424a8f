//! How Raft's values lie on the disk and travel between peers.
//!
//! They are our own, not the library's, so that a new release of it changes no byte. Enums only grow at their end.
//! Never: decides anything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::format::{self, FormatError};
use crate::limits::FRAME_BODY_BYTES_MAX;

/// Bytes of a value, at most: each fits in a message.
const VALUE_BYTES_MAX: usize = FRAME_BODY_BYTES_MAX as usize;

/// Returns the bytes of a value.
///
/// # Errors
/// [`FormatError::TooLong`] for one that fits in no message.
pub fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Bytes, FormatError> {
    format::encode(what, value, VALUE_BYTES_MAX)
}

/// Returns the value of bytes, which must be all of them. Memory is in proportion to their length.
///
/// # Errors
/// Any [`FormatError`].
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    format::decode(what, bytes, VALUE_BYTES_MAX)
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The term of the leader that put the entry there.
    pub term: u64,
    /// That leader's Raft id.
    pub leader: u64,
    /// How many entries are before it.
    pub index: u64,
}

/// A vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// The term.
    pub term: u64,
    /// The candidate's Raft id.
    pub node: u64,
    /// Whether a quorum gave it.
    pub committed: bool,
}

/// Who votes and who only learns. Two sets of voters are a joint configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The Raft ids of those that vote.
    pub voters: Vec<BTreeSet<u64>>,
    /// All Raft ids, each with the key of its peer.
    pub seats: BTreeMap<u64, [u8; 32]>,
}

/// A configuration with the place of the entry that made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// The place of that entry; none when nothing was configured yet.
    pub at: Option<Place>,
    /// The configuration.
    pub configuration: Configuration,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A command.
    Command(#[serde(with = "crate::format::blob")] Bytes),
    /// A configuration.
    Configuration(Configuration),
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place.
    pub at: Place,
    /// What it says.
    pub content: Content,
}

/// How far the log was applied to the state, and which generation of keys has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Prefix of the keys of the metadata that count.
    pub generation: u32,
    /// The last entry applied.
    pub applied: Option<Place>,
    /// The last configuration applied.
    pub configured: Configured,
}

/// What a data directory is, decided when it was formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its Raft id: random, never used by another directory.
    pub raft_id: u64,
    /// Its cluster.
    pub cluster: [u8; 16],
}
