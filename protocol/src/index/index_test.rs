//! What the bytes of the index are, and that they lead back to what they were made of.

use proptest::prelude::*;

use super::*;
use crate::cid::Codec;
use crate::placement::Partition;
use crate::repair::RowKey;
use crate::{Cid, OwnerId};

#[test]
fn the_bytes_of_a_value_are_fixed() {
    // A change of these bytes is a new version of the format: they lie on disks.
    let small = Place::Small { bytes: 5, checksum: 6 };
    let segment = Place::Segment { number: 1, offset: 2 << 40, bytes: 3 };
    for (place, bytes) in [
        (small, &[1, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6][..]),
        (segment, &[1, 2, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 3]),
        (Place::Corrupt, &[1, 3]),
    ] {
        assert_eq!(place.encode(), bytes);
        assert_eq!(Place::decode(bytes), Some(place));
    }
    let totals = Totals { blocks: 3, small_bytes: 4 };
    let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4];
    assert_eq!((totals.encode(), Totals::decode(&bytes)), (bytes.to_vec().into(), Some(totals)));
    let segment = Segment { indexed: 9, live: 8, doomed: true };
    let bytes = [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 8, 1];
    assert_eq!((segment.encode(), Segment::decode(&bytes)), (bytes.to_vec().into(), Some(segment)));
}

#[test]
fn a_value_that_this_version_never_writes_is_refused() {
    let doomed = |byte| {
        let mut value = Segment::default().encode().to_vec();
        value[17] = byte;
        Segment::decode(&value)
    };
    assert!(doomed(0).is_some() && doomed(1).is_some() && doomed(2).is_none());
    assert_eq!(Place::decode(&[2, 3]), None, "a later version");
    assert_eq!(Place::decode(&[1, 4]), None, "a tag that is none");
    assert_eq!(Place::decode(&[1, 3, 0]), None, "a byte too many");
}

#[test]
fn keys_lead_back_to_what_they_name() {
    let cid = Cid::of(Codec::DagPb, b"x");
    let owner = OwnerId::from_bytes([9; 16]);
    assert_eq!(block_in(&block_key(&cid)), Some(cid));
    let [by_block, by_owner] = reference_keys(&cid, &owner);
    assert_eq!((owner_in(&by_block), block_in(&by_owner)), (Some(owner), Some(cid)));
    assert_eq!(owner_before_block(&by_owner), Some(owner));
    assert_eq!(reference_in(&by_block), Some(RowKey { cid, owner }));
    let partition = Partition::of(&cid);
    assert!(references_from(partition) <= by_block);
    let (from, until) = references_within(partition);
    assert!(from <= by_block && until.is_some_and(|until| by_block < until));
    assert_eq!(segment_in(&segment_key(7)), Some(7));
    assert_eq!(offset_in(&record_key(7, 1 << 33)), Some(1 << 33));
}

proptest! {
    #[test]
    fn a_range_holds_the_keys_of_its_prefix_and_no_others(prefix: Vec<u8>, key: Vec<u8>) {
        let (from, until) = range_of(&prefix);
        let inside = key >= from && until.is_none_or(|until| key < until);
        prop_assert_eq!(inside, key.starts_with(&prefix));
    }
}
