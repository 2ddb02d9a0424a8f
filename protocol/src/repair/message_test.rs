//! The bytes of questions and answers.

use proptest::prelude::*;

use super::*;
use crate::limits::PARTITIONS;
use crate::repair::testing::{peer, row};
use crate::{Codec, Prng};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key() -> RowKey {
    let cid = Cid::from_digest(Codec::DagPb, [0xAB; 32]);
    RowKey { cid, owner: OwnerId::from_bytes([0xCD; 16]) }
}

/// Returns some of each kind of message.
fn questions(prng: &mut Prng) -> Vec<Question> {
    let absent = (0..prng.below(4))
        .map(|n| (peer(n), if prng.chance(1, 2) { Absence::Brief } else { Absence::Replaced }));
    let scope = Scope { epoch: Epoch(7), absent: absent.collect() };
    let partitions: Vec<Partition> = (3..6).filter_map(Partition::new).collect();
    let sums =
        partitions.iter().map(|partition| (*partition, u128::from(prng.next_u64()))).collect();
    let after = prng.chance(1, 2).then(key);
    vec![
        Question::All { scope: scope.clone(), sum: u128::from(prng.next_u64()) << 64 },
        Question::Groups { scope, groups: vec![0, 1, 511] },
        Question::Check { epoch: Epoch(7), sums },
        Question::Rows { epoch: Epoch(7), partitions, after },
    ]
}

fn answers(prng: &mut Prng) -> Vec<Answer> {
    let mut rows: Vec<Row> = (0..prng.below(20)).map(|n| row(prng, n)).collect();
    let more: Vec<Row> = rows.iter().map(|row| Row { owner: key().owner, ..*row }).collect();
    rows.extend(more);
    rows.sort();
    let partitions: Vec<Partition> = (3..6).filter_map(Partition::new).collect();
    vec![
        Answer::Equal,
        Answer::Epoch(Epoch(9)),
        Answer::Groups(vec![(3, 4), (5, u128::MAX)]),
        Answer::Partitions(partitions.iter().map(|partition| (*partition, 1)).collect()),
        Answer::Differing(partitions),
        Answer::Rows(Page { rows, is_last: prng.chance(1, 2) }),
    ]
}

#[test]
fn the_bytes_of_messages_are_fixed() {
    // Given one of each kind; a change of these bytes is another version.
    let scope = Scope {
        epoch: Epoch(7),
        absent: [(PeerId::from_public_key([9; 32]), Absence::Brief)].into(),
    };
    let partitions = vec![Partition::new(1).unwrap(), Partition::new(0x1_0000).unwrap()];
    let questions = [
        Question::All { scope: scope.clone(), sum: 5 },
        Question::Groups {
            scope: Scope { epoch: Epoch(7), ..Scope::default() },
            groups: vec![1, 511],
        },
        Question::Check { epoch: Epoch(7), sums: vec![(partitions[1], 6)] },
        Question::Rows { epoch: Epoch(7), partitions: partitions.clone(), after: Some(key()) },
    ];
    let nine = "09".repeat(32);
    let zeros = "0".repeat(31);
    let (block, owner) = ("ab".repeat(32) + "70", "cd".repeat(16));
    let epoch = "0000000000000007";
    let expected = [
        format!("0101{epoch}0001{nine}02{zeros}5"),
        format!("0102{epoch}00000002000101ff"),
        format!("0103{epoch}000100010000{zeros}6"),
        format!("0104{epoch}0002000000010001000001{block}{owner}"),
    ];
    for (question, expected) in questions.iter().zip(expected) {
        assert_eq!(hex(&question.encode()), expected, "{question:?}");
    }
    let row = Row { cid: key().cid, owner: key().owner, root: true, bytes: 0x10_0000 };
    let answers = [
        Answer::Equal,
        Answer::Epoch(Epoch(7)),
        Answer::Groups(vec![(511, 6)]),
        Answer::Partitions(vec![(partitions[1], 6)]),
        Answer::Differing(partitions),
        Answer::Rows(Page { rows: vec![row], is_last: true }),
    ];
    let expected = [
        "0101".to_owned(),
        format!("0102{epoch}"),
        format!("0103000101ff{zeros}6"),
        format!("0104000100010000{zeros}6"),
        "010500020000000100010000".to_owned(),
        format!("01060001{block}001000000001{owner}0101"),
    ];
    for (answer, expected) in answers.iter().zip(expected) {
        assert_eq!(hex(&answer.encode()), expected, "{answer:?}");
    }
}

#[test]
fn the_largest_messages_fit_the_bound() {
    let mut prng = Prng::new(1);
    let absent = (0..REPAIR_ABSENT_MAX as u64).map(|n| (peer(n), Absence::Replaced)).collect();
    let scope = Scope { epoch: Epoch(u64::MAX), absent };
    let partitions: Vec<_> = Partition::all().take(INVENTORY_PARTITIONS_MAX).collect();
    let sums: Vec<_> = partitions.iter().map(|partition| (*partition, u128::MAX)).collect();
    let mut rows: Vec<Row> = (0..INVENTORY_ROWS_MAX as u64).map(|n| row(&mut prng, n)).collect();
    rows.sort();
    let groups = (0..512).map(|group| (group, u128::MAX)).collect();
    let lengths = [
        Question::All { scope, sum: 0 }.encode().len(),
        Question::Check { epoch: Epoch(1), sums: sums.clone() }.encode().len(),
        Question::Rows { epoch: Epoch(1), partitions, after: Some(key()) }.encode().len(),
        Answer::Groups(groups).encode().len(),
        Answer::Partitions(sums).encode().len(),
        Answer::Rows(Page { rows, is_last: false }).encode().len(),
    ];
    for length in lengths {
        assert!(length <= INVENTORY_MESSAGE_BYTES_MAX, "{length}");
    }
}

#[test]
fn what_this_version_never_writes_is_refused() {
    let refused = |bytes: &[u8]| Question::decode(bytes).is_err() && Answer::decode(bytes).is_err();
    assert_eq!(Question::decode(&[2, 1]), Err(RepairFormatError::Version { found: 2 }));
    let long = vec![REPAIR_VERSION; INVENTORY_MESSAGE_BYTES_MAX + 1];
    let too_long = RepairFormatError::TooLong { bytes: long.len() };
    assert_eq!((Question::decode(&long), Answer::decode(&long)), (Err(too_long), Err(too_long)));
    assert!(refused(&[]) && refused(&[1]) && refused(&[1, 9]));
    // A count beyond its bound is refused although the bytes for it are not there.
    let mut counts = vec![1, 5, 0xFF, 0xFF];
    assert_eq!(Answer::decode(&counts), Err(RepairFormatError::Field { field: "partitions" }));
    counts[2..].copy_from_slice(&[0, 2]);
    for (twice, is_valid) in
        [([1u32, 1], false), ([2, 1], false), ([1, PARTITIONS], false), ([1, 2], true)]
    {
        let bytes: Vec<u8> =
            counts.iter().copied().chain(twice.iter().flat_map(|n| n.to_be_bytes())).collect();
        assert_eq!(Answer::decode(&bytes).is_ok(), is_valid, "{twice:?}");
    }
    let page = |rows: Vec<Row>| Answer::Rows(Page { rows, is_last: true }).encode();
    let row = Row { bytes: BLOCK_BYTES_MAX + 1, ..row(&mut Prng::new(1), 1) };
    assert!(Answer::decode(&page(vec![row])).is_err());
    let row = Row { bytes: 1, ..row };
    assert!(Answer::decode(&page(vec![row])).is_ok());
    assert!(Answer::decode(&page(vec![row, row])).is_err());
}

proptest! {
    #[test]
    fn messages_come_back_as_they_were_and_not_from_a_part_of_their_bytes(seed: u64) {
        let mut prng = Prng::new(seed);
        for question in questions(&mut prng) {
            let bytes = question.encode();
            prop_assert_eq!(Question::decode(&bytes), Ok(question));
            let part = &bytes[..prng.index(bytes.len()).unwrap()];
            prop_assert!(Question::decode(part).is_err());
        }
        for answer in answers(&mut prng) {
            let bytes = answer.encode();
            prop_assert_eq!(Answer::decode(&bytes), Ok(answer));
            let part = &bytes[..prng.index(bytes.len()).unwrap()];
            prop_assert!(Answer::decode(part).is_err());
        }
    }
}
