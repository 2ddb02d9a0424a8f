//! How Raft's values lie on the disk and travel between peers: plain values with a version byte in front.
//!
//! They are our own, not the library's, so that a new release of it changes no byte. Enums only grow at their end.
//! Never: decides anything.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use protocol::PeerId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::types::{
    Entry, LeaderId, LogId, Membership, Payload, Proposal, Seat, StoredMembership, Vote,
};

/// Version of every value here.
const VERSION: u8 = 1;

/// Bytes that are no value of this format: damaged, or of a later release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormatError {
    /// Written by a release that this one does not know.
    #[error("version {found} is not known, only {VERSION} is")]
    Version { found: u8 },
    /// Not what its place promises.
    #[error("{what} does not read")]
    Malformed { what: &'static str },
}

impl From<FormatError> for std::io::Error {
    fn from(error: FormatError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Returns the bytes of a value.
///
/// # Errors
/// [`FormatError::Malformed`] when it cannot be written, which no value here is.
pub(super) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Bytes, FormatError> {
    let mut bytes = BytesMut::new();
    bytes.put_u8(VERSION);
    let written = postcard::serialize_with_flavor(value, Growing(bytes));
    written.map_err(|_| FormatError::Malformed { what })
}

/// Returns the value of bytes.
///
/// # Errors
/// Any [`FormatError`]; also when bytes are left over.
pub(super) fn decode<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, FormatError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            Ok(_) | Err(_) => Err(FormatError::Malformed { what }),
        },
        Some((&found, _)) => Err(FormatError::Version { found }),
        None => Err(FormatError::Malformed { what }),
    }
}

/// Where encoded bytes go.
struct Growing(BytesMut);

impl postcard::ser_flavors::Flavor for Growing {
    type Output = Bytes;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put_u8(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Bytes> {
        Ok(self.0.freeze())
    }
}

/// Bytes inside a value, written and read at once rather than one by one.
pub(super) mod blob {
    use std::fmt;

    use bytes::Bytes;
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        from.deserialize_bytes(Blob)
    }

    struct Blob;

    impl Visitor<'_> for Blob {
        type Value = Bytes;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(bytes))
        }
    }
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) term: u64,
    pub(super) leader: u64,
    pub(super) index: u64,
}

/// A vote: for whom, in which term, and whether a quorum gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ballot {
    pub(super) term: u64,
    pub(super) node: u64,
    pub(super) committed: bool,
}

/// Who votes and who only learns. Two sets of voters are a joint configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Configuration {
    pub(super) voters: Vec<BTreeSet<u64>>,
    pub(super) seats: BTreeMap<u64, [u8; 32]>,
}

/// A configuration with the place of the entry that made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Configured {
    pub(super) at: Option<Place>,
    pub(super) configuration: Configuration,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Content {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A command.
    Command(#[serde(with = "blob")] Bytes),
    /// A configuration.
    Configuration(Configuration),
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) at: Place,
    pub(super) content: Content,
}

/// How far the log was applied to the state, and which generation of keys has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Prefix of the keys of [`crate::env::Map::Metadata`] that count.
    pub(super) generation: u32,
    /// The last entry applied.
    pub(super) applied: Option<Place>,
    /// The last configuration applied.
    pub(super) configured: Configured,
}

/// What a data directory is, decided when it was formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its Raft id: random, never used by another directory.
    pub(super) raft_id: u64,
    /// Its cluster.
    pub(super) cluster: [u8; 16],
}

impl From<LogId> for Place {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
    }
}

impl From<Place> for LogId {
    fn from(place: Place) -> Self {
        Self::new(LeaderId { term: place.term, node_id: place.leader }, place.index)
    }
}

impl From<Vote> for Ballot {
    fn from(vote: Vote) -> Self {
        let LeaderId { term, node_id: node } = vote.leader_id;
        Self { term, node, committed: vote.committed }
    }
}

impl From<Ballot> for Vote {
    fn from(ballot: Ballot) -> Self {
        let leader_id = LeaderId { term: ballot.term, node_id: ballot.node };
        Self { leader_id, committed: ballot.committed }
    }
}

impl From<&Membership> for Configuration {
    fn from(membership: &Membership) -> Self {
        let seats = membership.nodes().map(|(id, seat)| (*id, *seat.peer.public_key()));
        Self { voters: membership.get_joint_config().clone(), seats: seats.collect() }
    }
}

impl TryFrom<Configuration> for Membership {
    type Error = FormatError;

    fn try_from(configuration: Configuration) -> Result<Self, FormatError> {
        if configuration.voters.is_empty() && configuration.seats.is_empty() {
            return Ok(Self::default());
        }
        let seat = |key| Seat { peer: PeerId::from_public_key(key) };
        let seats: BTreeMap<u64, Seat> =
            configuration.seats.into_iter().map(|(id, key)| (id, seat(key))).collect();
        Self::new(configuration.voters, seats)
            .map_err(|_| FormatError::Malformed { what: "configuration" })
    }
}

impl From<&StoredMembership> for Configured {
    fn from(stored: &StoredMembership) -> Self {
        Self { at: stored.log_id().map(Place::from), configuration: stored.membership().into() }
    }
}

impl TryFrom<Configured> for StoredMembership {
    type Error = FormatError;

    fn try_from(configured: Configured) -> Result<Self, FormatError> {
        Ok(Self::new(configured.at.map(LogId::from), configured.configuration.try_into()?))
    }
}

impl From<&Entry> for Record {
    fn from(entry: &Entry) -> Self {
        let content = match &entry.payload {
            Payload::Blank => Content::Blank,
            Payload::Normal(Proposal(command)) => Content::Command(command.clone()),
            Payload::Membership(membership) => Content::Configuration(membership.into()),
        };
        Self { at: entry.log_id.into(), content }
    }
}

impl TryFrom<Record> for Entry {
    type Error = FormatError;

    fn try_from(record: Record) -> Result<Self, FormatError> {
        let payload = match record.content {
            Content::Blank => Payload::Blank,
            Content::Command(command) => Payload::Normal(Proposal(command)),
            Content::Configuration(configuration) => Payload::Membership(configuration.try_into()?),
        };
        Ok(Self { log_id: record.at.into(), payload })
    }
}

/// Returns about how many bytes an entry takes in a message or on the disk.
pub(super) fn entry_bytes(entry: &Entry) -> usize {
    /// Bytes of an entry's place and frame, at most.
    const FRAME_BYTES: usize = 48;
    match &entry.payload {
        Payload::Blank => FRAME_BYTES,
        Payload::Normal(Proposal(command)) => FRAME_BYTES + command.len(),
        Payload::Membership(membership) => {
            FRAME_BYTES + 48 * membership.nodes().count() + 20 * membership.voter_ids().count()
        }
    }
}

#[cfg(test)]
#[path = "format_test.rs"]
mod tests;
