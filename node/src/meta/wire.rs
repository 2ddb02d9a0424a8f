//! What the peers of an agreement tell each other: the body of `Request::Meta` and `Reply::Meta`.
//!
//! Every question says for which directory it is and from which, so that none is ever answered by another that took
//! its place. The version byte and the growth of enums are those of [`super::format`].
//! Never: decides what to answer.

use bytes::Bytes;
use protocol::record::checksum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::format::{Ballot, Configured, FormatError, Place, Record, blob, decode, encode};

/// Bytes of the checksum at the end of every message.
const CHECKSUM_BYTES: usize = 8;

/// Returns a message as it travels: its bytes and their checksum. Agreement trusts what peers say, so a bit that bad
/// memory flips on the way, where no encryption notices, would make two histories of one.
///
/// # Errors
/// As [`encode`].
pub(super) fn seal<T: Serialize>(what: &'static str, message: &T) -> Result<Bytes, FormatError> {
    let bytes = encode(what, message)?;
    let sum = checksum(&bytes).to_be_bytes();
    Ok([&bytes[..], &sum[..]].concat().into())
}

/// Returns the message that travelled as these bytes.
///
/// # Errors
/// As [`decode`], also when the checksum is another.
pub(super) fn open<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, FormatError> {
    let damaged = FormatError::Malformed { what };
    let end = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(damaged.clone())?;
    let (bytes, sum) = bytes.split_at(end);
    if checksum(bytes).to_be_bytes() != sum {
        return Err(damaged);
    }
    decode(what, bytes)
}

/// A question with its sender and receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// The cluster.
    pub(super) cluster: [u8; 16],
    /// The sender's Raft id.
    pub(super) from: u64,
    /// For whom it is.
    pub(super) to: u64,
    /// What it asks.
    pub(super) ask: Ask,
}

/// Who stands for election, with what log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Candidacy {
    pub(super) ballot: Ballot,
    pub(super) last: Option<Place>,
    /// Whether the leader asked for it, so that its lease does not stand against it.
    pub(super) transfer: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Append these entries behind `previous`; none is a sign of life.
    Append {
        ballot: Ballot,
        previous: Option<Place>,
        entries: Vec<Record>,
        committed: Option<Place>,
    },
    /// Vote for me.
    Vote(Candidacy),
    /// Would you vote for me?
    PreVote(Candidacy),
    /// Stand for election: I step back.
    Transfer { ballot: Ballot, to: u64, last: Option<Place> },
    /// Keep this page of a snapshot.
    Page { transfer: u64, number: u64, entries: Vec<(Blob, Blob)> },
    /// That was the snapshot: take it over.
    Finish {
        transfer: u64,
        pages: u64,
        ballot: Ballot,
        applied: Option<Place>,
        configured: Configured,
    },
    /// Propose this command, with your clock's time.
    Propose(#[serde(with = "blob")] Bytes),
    /// Up to which index must I have applied for a read of the latest state?
    ReadIndex,
    /// Who has a seat in the group, as far as you know?
    Seats,
}

/// Bytes of a key or a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob(#[serde(with = "blob")] pub(super) Bytes);

/// What became of entries that were to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Appended {
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
pub(super) struct Voted {
    pub(super) ballot: Ballot,
    pub(super) granted: bool,
    pub(super) last: Option<Place>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
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
}

#[cfg(test)]
mod tests {
    use super::{Answer, Appended, Ask, Letter, Record, open, seal};
    use crate::meta::format::{Content, Place, decode, encode};
    use bytes::Bytes;
    use protocol::Prng;
    use serde::{Serialize, de::DeserializeOwned};
    use std::fmt::Debug;

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

    /// Decodes altered and random bytes: none panics, and what is accepted survives being encoded again.
    fn withstands<T: Serialize + DeserializeOwned + PartialEq + Debug>(valid: &[T]) {
        let valid: Vec<Bytes> = valid.iter().map(|value| encode("value", value).unwrap()).collect();
        let mut prng = Prng::new(0x5ea1);
        let mut accepted = 0_u32;
        for _ in 0..20_000 {
            let pick = prng.index(valid.len()).unwrap();
            let mut bytes = valid[pick].to_vec();
            for _ in 0..=prng.below(3) {
                let at = prng.index(bytes.len()).unwrap();
                match prng.below(3) {
                    0 => bytes[at] ^= 1 << prng.below(8),
                    1 => bytes.insert(at, u8::try_from(prng.below(256)).unwrap()),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            if let Ok(value) = decode::<T>("value", &bytes) {
                let again = encode("value", &value).unwrap();
                assert_eq!(decode::<T>("value", &again), Ok(value));
                accepted += 1;
            }
        }
        assert!(accepted > 100, "only {accepted} were accepted: nothing was tried");
    }

    #[test]
    fn altered_questions_and_answers_are_refused_or_read_alike() {
        let at = Place { term: 3, leader: 300, index: 7 };
        let entry = Record { at, content: Content::Command(Bytes::from_static(b"put")) };
        let entry = encode("entry", &entry).unwrap();
        let letter = |ask| Letter { cluster: [1; 16], from: 2, to: 300, ask };
        withstands(&[letter(Ask::ReadIndex), letter(Ask::Seats), letter(Ask::Propose(entry))]);
        withstands(&[
            Answer::Appended(Appended::Part(Some(at))),
            Answer::Proposed(Bytes::from_static(b"done")),
            Answer::NotLeader(Some((300, [7; 32]))),
            Answer::Seats(vec![(2, [3; 32]), (300, [4; 32])]),
        ]);
    }
}
