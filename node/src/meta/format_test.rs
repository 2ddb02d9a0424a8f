//! The bytes of every value are what they were, and lead back to it.

use bytes::Bytes;
use protocol::PeerId;

use super::{Ballot, Content, FormatError, Identity, Place, Progress, Record, decode, encode};
use crate::meta::types::{Entry, Membership, Seat};

fn place(index: u64) -> Place {
    Place { term: 3, leader: 300, index }
}

fn membership() -> Membership {
    let seats = [1, 2, 300].map(|id: u64| {
        let key = [u8::try_from(id % 256).unwrap(); 32];
        (id, Seat { peer: PeerId::from_public_key(key) })
    });
    Membership::new(vec![[1].into(), [1, 300].into()], std::collections::BTreeMap::from(seats))
        .unwrap()
}

fn hex(bytes: &Bytes) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn values_lie_on_the_disk_as_they_always_did() {
    let ballot = Ballot { term: 3, node: 300, committed: true };
    assert_eq!(hex(&encode("vote", &ballot).unwrap()), "0103ac0201");
    let command = Record { at: place(7), content: Content::Command(Bytes::from_static(b"put")) };
    assert_eq!(hex(&encode("entry", &command).unwrap()), "0103ac02070103707574");
    let blank = Record { at: place(7), content: Content::Blank };
    assert_eq!(hex(&encode("entry", &blank).unwrap()), "0103ac020700");
    let configuration = Content::Configuration((&membership()).into());
    let record = Record { at: place(7), content: configuration };
    let keys = ["01", "02", "2c"].map(|byte| byte.repeat(32));
    let expected =
        format!("0103ac02070202010102 01ac020301{}02{}ac02{}", keys[0], keys[1], keys[2]);
    assert_eq!(hex(&encode("entry", &record).unwrap()), expected.replace(' ', ""));
    let progress =
        Progress { generation: 2, applied: Some(place(9)), configured: Default::default() };
    assert_eq!(hex(&encode("progress", &progress).unwrap()), "01020103ac0209000000");
    let identity = Identity { raft_id: 300, cluster: [7; 16] };
    assert_eq!(hex(&encode("identity", &identity).unwrap()), format!("01ac02{}", "07".repeat(16)));
}

#[test]
fn an_entry_survives_the_disk() {
    for content in [
        Content::Blank,
        Content::Command(Bytes::from_static(b"")),
        Content::Configuration((&membership()).into()),
    ] {
        let record = Record { at: place(7), content };
        let read: Record = decode("entry", &encode("entry", &record).unwrap()).unwrap();
        let entry = Entry::try_from(read).unwrap();
        assert_eq!(Record::from(&entry), record);
    }
}

#[test]
fn other_bytes_are_refused() {
    let malformed = Err(FormatError::Malformed { what: "vote" });
    assert_eq!(decode::<Ballot>("vote", &[]), malformed);
    assert_eq!(decode::<Ballot>("vote", &[1, 3]), malformed);
    assert_eq!(decode::<Ballot>("vote", &[1, 3, 4, 1, 0]), malformed);
    assert_eq!(decode::<Ballot>("vote", &[2, 3, 4, 1]), Err(FormatError::Version { found: 2 }));
    let nobody = Record {
        at: place(1),
        content: Content::Configuration(super::Configuration {
            voters: vec![[9].into()],
            seats: Default::default(),
        }),
    };
    assert!(Entry::try_from(nobody).is_err());
}
