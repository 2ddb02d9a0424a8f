//! The bytes of every value are what they were, and lead back to it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    Answer, Appended, Ask, Ballot, Candidacy, Configuration, Configured, Content, Identity, Letter,
    Mark, Marks, Place, Progress, Record, Voted, decode, encode,
};
use crate::format::{Blob, FormatError};

const AT: Place = Place { term: 3, leader: 300, index: 7 };
/// How [`AT`] lies.
const AT_HEX: &str = "03ac0207";
const BALLOT: Ballot = Ballot { term: 3, node: 300, committed: true };

/// Checks that a value has these bytes, after the version, and that they lead back to it.
fn lies<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, expected: &str) {
    let bytes = encode("value", value).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, format!("01{}", expected.replace(' ', "")), "{value:?}");
    assert_eq!(decode::<T>("value", &bytes).as_ref(), Ok(value));
}

fn configuration() -> Configuration {
    let key = |id: u64| [u8::try_from(id % 256).unwrap(); 32];
    Configuration {
        voters: vec![[1].into(), [1, 300].into()],
        seats: BTreeMap::from([1, 2, 300].map(|id| (id, key(id)))),
    }
}

fn configuration_hex() -> String {
    let [one, two, three] = ["01", "02", "2c"].map(|byte| byte.repeat(32));
    format!("02 0101 0201ac02 03 01{one} 02{two} ac02{three}")
}

#[test]
fn values_lie_on_the_disk_as_they_always_did() {
    lies(&BALLOT, "03ac0201");
    let command = Content::Command(Bytes::from_static(b"put"));
    lies(&Record { at: AT, content: command }, &format!("{AT_HEX} 0103707574"));
    lies(&Record { at: AT, content: Content::Blank }, &format!("{AT_HEX} 00"));
    let content = Content::Configuration(configuration());
    lies(&Record { at: AT, content }, &format!("{AT_HEX} 02 {}", configuration_hex()));
    let progress = Progress { generation: 2, applied: Some(AT), configured: Configured::default() };
    lies(&progress, &format!("02 01{AT_HEX} 00 0000"));
    let marks = Marks { latest: Mark { number: 300, nonce: 1 }, earlier: vec![300] };
    lies(&marks, "ac02 01 01 ac02");
    lies(&marks.latest, "ac02 01");
    lies(&Identity { raft_id: 300, cluster: [7; 16] }, &format!("ac02 {}", "07".repeat(16)));
}

#[test]
fn questions_travel_as_they_always_did() {
    let lies = |ask, expected: &str| {
        let envelope = format!("{} 02 ac02", "01".repeat(16));
        let letter = Letter { cluster: [1; 16], from: 2, to: 300, ask };
        lies(&letter, &format!("{envelope} {expected}"));
    };
    let (ballot, last) = (BALLOT, Some(AT));
    let entries = vec![Record { at: AT, content: Content::Blank }];
    let append = Ask::Append { ballot, previous: None, entries, committed: last };
    lies(append, &format!("00 03ac0201 00 01{AT_HEX}00 01{AT_HEX}"));
    let candidacy = Candidacy { ballot, last, transfer: true };
    lies(Ask::Vote(candidacy), &format!("01 03ac0201 01{AT_HEX} 01"));
    lies(Ask::PreVote(candidacy), &format!("02 03ac0201 01{AT_HEX} 01"));
    lies(Ask::Transfer { ballot, to: 300, last }, &format!("03 03ac0201 ac02 01{AT_HEX}"));
    let blob = |bytes: &'static [u8]| Blob(Bytes::from_static(bytes));
    let entries = vec![(blob(b"key"), blob(b""))];
    lies(Ask::Page { transfer: 300, number: 1, entries }, "04 ac02 01 01 036b6579 00");
    let configured = Configured { at: last, configuration: configuration() };
    let finish = Ask::Finish { transfer: 300, pages: 1, ballot, applied: last, configured };
    let configured = format!("01{AT_HEX} {}", configuration_hex());
    lies(finish, &format!("05 ac02 01 03ac0201 01{AT_HEX} {configured}"));
    lies(Ask::Propose(Bytes::from_static(b"put")), "06 03707574");
    lies(Ask::ReadIndex, "07");
    lies(Ask::Seats, "08");
    let marks = Marks { latest: Mark { number: 2, nonce: 300 }, earlier: vec![5, 300] };
    lies(Ask::CheckIn(marks), "09 02 ac02 02 05 ac02");
}

#[test]
fn answers_travel_as_they_always_did() {
    lies(&Answer::Appended(Appended::All), "00 00");
    lies(&Answer::Appended(Appended::Part(Some(AT))), &format!("00 01 01{AT_HEX}"));
    lies(&Answer::Appended(Appended::Conflict), "00 02");
    lies(&Answer::Appended(Appended::HigherVote(BALLOT)), "00 03 03ac0201");
    let voted = Voted { ballot: BALLOT, granted: true, last: None };
    lies(&Answer::Voted(voted), "01 03ac0201 01 00");
    lies(&Answer::Transfer(true), "02 01");
    lies(&Answer::Page(false), "03 00");
    lies(&Answer::Finished(Some(BALLOT)), "04 01 03ac0201");
    lies(&Answer::Proposed(Bytes::from_static(b"done")), "05 04646f6e65");
    lies(&Answer::InDoubt, "06");
    lies(&Answer::ReadIndex(300), "07 ac02");
    lies(&Answer::NotLeader(Some((300, [7; 32]))), &format!("08 01 ac02 {}", "07".repeat(32)));
    lies(&Answer::Misdelivered, "09");
    lies(&Answer::Seats(vec![(2, [3; 32])]), &format!("0a 01 02 {}", "03".repeat(32)));
    lies(&Answer::Noted, "0b");
    lies(&Answer::Outdated(Mark { number: 2, nonce: 300 }), "0c 02 ac02");
}

#[test]
fn other_bytes_are_refused() {
    let is_malformed = |bytes: &[u8]| {
        matches!(decode::<Ballot>("vote", bytes), Err(FormatError::Malformed { .. }))
    };
    assert!(is_malformed(&[]));
    assert!(is_malformed(&[1, 3]));
    assert!(is_malformed(&[1, 3, 4, 1, 0]));
    let later = FormatError::Version { what: "vote", found: 2 };
    assert_eq!(decode::<Ballot>("vote", &[2, 3, 4, 1]), Err(later));
}
