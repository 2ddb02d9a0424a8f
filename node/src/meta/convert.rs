//! Raft's values as the library has them, and as [`protocol::raft`] writes them down.
//!
//! Functions and no `From`, because both sides are others' types. Never: decides anything.

use std::collections::BTreeMap;
use std::io;

use protocol::PeerId;
use protocol::format::FormatError;
use protocol::raft::{Ballot, Configuration, Configured, Content, Place, Record};

use super::types::{
    Entry, LeaderId, LogId, Membership, Payload, Proposal, Seat, StoredMembership, Vote,
};

/// Returns the error of a disk that holds something else.
pub(super) fn invalid_data(error: FormatError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

pub(super) fn place(id: LogId) -> Place {
    Place { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

pub(super) fn log_id(place: Place) -> LogId {
    LogId::new(LeaderId { term: place.term, node_id: place.leader }, place.index)
}

pub(super) fn ballot(vote: Vote) -> Ballot {
    let LeaderId { term, node_id: node } = vote.leader_id;
    Ballot { term, node, committed: vote.committed }
}

pub(super) fn vote(ballot: Ballot) -> Vote {
    let leader_id = LeaderId { term: ballot.term, node_id: ballot.node };
    Vote { leader_id, committed: ballot.committed }
}

pub(super) fn configuration(membership: &Membership) -> Configuration {
    let seats = membership.nodes().map(|(id, seat)| (*id, *seat.peer.public_key()));
    Configuration { voters: membership.get_joint_config().clone(), seats: seats.collect() }
}

fn membership(configuration: Configuration) -> Result<Membership, FormatError> {
    if configuration.voters.is_empty() && configuration.seats.is_empty() {
        return Ok(Membership::default());
    }
    let seat = |key| Seat { peer: PeerId::from_public_key(key) };
    let seats: BTreeMap<u64, Seat> =
        configuration.seats.into_iter().map(|(id, key)| (id, seat(key))).collect();
    Membership::new(configuration.voters, seats).map_err(|error| FormatError::Malformed {
        what: "configuration",
        detail: error.to_string(),
    })
}

pub(super) fn configured(stored: &StoredMembership) -> Configured {
    Configured { at: stored.log_id().map(place), configuration: configuration(stored.membership()) }
}

/// # Errors
/// [`FormatError::Malformed`] for one that the library would not make: a voter without a seat.
pub(super) fn stored_membership(configured: Configured) -> Result<StoredMembership, FormatError> {
    Ok(StoredMembership::new(configured.at.map(log_id), membership(configured.configuration)?))
}

pub(super) fn record(entry: &Entry) -> Record {
    let content = match &entry.payload {
        Payload::Blank => Content::Blank,
        Payload::Normal(Proposal(command)) => Content::Command(command.clone()),
        Payload::Membership(membership) => Content::Configuration(configuration(membership)),
    };
    Record { at: place(entry.log_id), content }
}

/// # Errors
/// As [`stored_membership`].
pub(super) fn entry(record: Record) -> Result<Entry, FormatError> {
    let payload = match record.content {
        Content::Blank => Payload::Blank,
        Content::Command(command) => Payload::Normal(Proposal(command)),
        Content::Configuration(configuration) => Payload::Membership(membership(configuration)?),
    };
    Ok(Entry { log_id: log_id(record.at), payload })
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
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use protocol::PeerId;
    use protocol::raft::{Configuration, Content, Place, Record};

    use super::{configuration, entry, record};
    use crate::meta::types::{Membership, Seat};

    #[test]
    fn an_entry_is_the_same_after_both_ways() {
        let seats = [1, 2, 300].map(|id: u64| {
            let key = [u8::try_from(id % 256).unwrap(); 32];
            (id, Seat { peer: PeerId::from_public_key(key) })
        });
        let voters = vec![[1].into(), [1, 300].into()];
        let membership = Membership::new(voters, BTreeMap::from(seats)).unwrap();
        let at = Place { term: 3, leader: 300, index: 7 };
        for content in [
            Content::Blank,
            Content::Command(Bytes::from_static(b"")),
            Content::Configuration(configuration(&membership)),
        ] {
            let before = Record { at, content };
            assert_eq!(record(&entry(before.clone()).unwrap()), before);
        }
        let nobody = Configuration { voters: vec![[9].into()], seats: BTreeMap::new() };
        assert!(entry(Record { at, content: Content::Configuration(nobody) }).is_err());
    }
}
