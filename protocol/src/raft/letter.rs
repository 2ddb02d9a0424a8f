//! What the peers of an agreement tell each other: the body of `Request::Meta` and `Reply::Meta`.
//!
//! Every question says for which directory it is and from which, so that none is ever answered by another that took
//! its place.
//! Never: decides what to answer.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::mark::{Mark, Marks};
use super::value::{Ballot, Configured, Place, Record, decode, encode};
use crate::format::{Blob, FormatError, blob};
use crate::record::checksum;

/// Bytes of the checksum at the end of every message.
const CHECKSUM_BYTES: usize = 8;

/// Returns a message as it travels: its bytes and their checksum. Agreement trusts what peers say, so a bit that bad
/// memory flips on the way, where no encryption notices, would make two histories of one.
///
/// # Errors
/// As [`encode`].
pub fn seal<T: Serialize>(what: &'static str, message: &T) -> Result<Bytes, FormatError> {
    let bytes = encode(what, message)?;
    let sum = checksum(&bytes).to_be_bytes();
    Ok([&bytes[..], &sum[..]].concat().into())
}

/// Returns the message that travelled as these bytes.
///
/// # Errors
/// As [`decode`], also when the checksum is another.
pub fn open<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    let damaged = FormatError::Malformed { what, detail: "its checksum is another's".to_owned() };
    let end = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(damaged.clone())?;
    let (bytes, sum) = bytes.split_at(end);
    if checksum(bytes).to_be_bytes() != sum {
        return Err(damaged);
    }
    decode(what, bytes)
}

/// A question with its sender and receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The cluster.
    pub cluster: [u8; 16],
    /// The sender's Raft id.
    pub from: u64,
    /// For whom it is.
    pub to: u64,
    /// What it asks.
    pub ask: Ask,
}

/// Who stands for election, with what log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidacy {
    /// The vote that it asks for.
    pub ballot: Ballot,
    /// The end of its log.
    pub last: Option<Place>,
    /// Whether the leader asked for it, so that its lease does not stand against it.
    pub transfer: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Append these entries behind `previous`; none is a sign of life.
    Append {
        /// The leader's vote.
        ballot: Ballot,
        /// What must be before them; none at the beginning of the log.
        previous: Option<Place>,
        /// The entries, in order.
        entries: Vec<Record>,
        /// Up to where a quorum has the log.
        committed: Option<Place>,
    },
    /// Vote for me.
    Vote(Candidacy),
    /// Would you vote for me?
    PreVote(Candidacy),
    /// Stand for election: I step back.
    Transfer {
        /// The leader's vote.
        ballot: Ballot,
        /// The Raft id of who shall stand.
        to: u64,
        /// What its log must have.
        last: Option<Place>,
    },
    /// Keep this page of a snapshot.
    Page {
        /// Which sending of a snapshot it belongs to.
        transfer: u64,
        /// How many pages were before it.
        number: u64,
        /// Keys and values.
        entries: Vec<(Blob, Blob)>,
    },
    /// That was the snapshot: take it over.
    Finish {
        /// Which sending of a snapshot it ends.
        transfer: u64,
        /// How many pages it had.
        pages: u64,
        /// The leader's vote.
        ballot: Ballot,
        /// The last entry that the snapshot has.
        applied: Option<Place>,
        /// The last configuration that it has.
        configured: Configured,
    },
    /// Propose this command, with your clock's time.
    Propose(#[serde(with = "blob")] Bytes),
    /// Up to which index must I have applied for a read of the latest state?
    ReadIndex,
    /// Who has a seat in the group, as far as you know?
    Seats,
    /// Take note of my marks: until you have, I exchange no votes and no entries with you.
    CheckIn(Marks),
}

/// What became of entries that were to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Appended {
    /// All are there.
    All,
    /// Those up to here are there.
    Part(Option<Place>),
    /// What should be before them is not there.
    Conflict,
    /// A higher vote was seen.
    HigherVote(Ballot),
}

/// The answer to a candidacy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voted {
    /// The vote of who answers, after it.
    pub ballot: Ballot,
    /// Whether it votes as asked.
    pub granted: bool,
    /// The end of its log.
    pub last: Option<Place>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Ask::Append`].
    Appended(Appended),
    /// To [`Ask::Vote`] and [`Ask::PreVote`].
    Voted(Voted),
    /// To [`Ask::Transfer`]: whether the conditions for it hold.
    Transfer(bool),
    /// To [`Ask::Page`]: whether it was the page that was expected.
    Page(bool),
    /// To [`Ask::Finish`]: the receiver's vote; none when pages are missing.
    Finished(Option<Ballot>),
    /// To [`Ask::Propose`]: the bytes of the command's answer.
    Proposed(#[serde(with = "blob")] Bytes),
    /// To [`Ask::Propose`]: whether it was done is not known. The same request may be proposed again.
    InDoubt,
    /// To [`Ask::ReadIndex`].
    ReadIndex(u64),
    /// To [`Ask::Propose`] and [`Ask::ReadIndex`]: nothing was done; another leads, if it is known who.
    NotLeader(Option<(u64, [u8; 32])>),
    /// The letter was for another directory or cluster, or from somebody else than it says.
    Misdelivered,
    /// To [`Ask::Seats`]: Raft ids and peers.
    Seats(Vec<(u64, [u8; 32])>),
    /// To [`Ask::CheckIn`]: it is on the disk.
    Noted,
    /// To [`Ask::CheckIn`]: this mark was shown before, and those do not go on from it.
    Outdated(Mark),
}

#[cfg(test)]
mod tests {
    use super::{Ask, Letter, open, seal};

    #[test]
    fn a_message_with_any_bit_flipped_is_none() {
        let letter = Letter { cluster: [1; 16], from: 2, to: 3, ask: Ask::ReadIndex };
        let sealed = seal("letter", &letter).unwrap();
        assert_eq!(open::<Letter>("letter", &sealed), Ok(letter));
        for bit in 0..8 * sealed.len() {
            let mut bytes = sealed.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(open::<Letter>("letter", &bytes).is_err(), "bit {bit}");
        }
        assert!(open::<Letter>("letter", &sealed[..4]).is_err());
    }
}
