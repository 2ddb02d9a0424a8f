//! Keys and values of the store's maps.
//!
//! | map | key | value |
//! |---|---|---|
//! | `Blocks` | block | [`Place`] |
//! | `Small` | block | the block's bytes |
//! | `References` | `c` block owner · `o` owner block · `r` block owner (root) · `s` owner block (root) | empty |
//! | `Segments` | `s` number · `p` number offset · `t` · `v` | segment · block · totals · place of the scrub |
//!
//! A block is its digest and the byte of its codec; numbers are big-endian. References are written blindly:
//! setting one twice is setting it once. The `p` keys tell what lives in a segment without reading it.
//! Never: reads or writes a map.

use bytes::Bytes;
use protocol::placement::Partition;
use protocol::record::{RECORD_HEADER_BYTES, codec_byte, codec_of};
use protocol::repair::RowKey;
use protocol::{Cid, OwnerId};

/// Bytes of a block's key: digest and codec.
const BLOCK_KEY_BYTES: usize = 33;
/// Version of all values.
const VALUE_VERSION: u8 = 1;
const PLACE_SMALL: u8 = 1;
const PLACE_SEGMENT: u8 = 2;
const PLACE_CORRUPT: u8 = 3;

/// The key of the totals in `Segments`.
pub(super) const TOTALS_KEY: &[u8] = b"t";
/// The key of the scrub's place in `Segments`.
pub(super) const SCRUB_KEY: &[u8] = b"v";
/// What all keys of segments begin with.
pub(super) const SEGMENT_KEYS: &[u8] = b"s";

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the map `Small`.
    Small { bytes: u32, checksum: u64 },
    /// In a segment file: a record of `bytes` payload bytes.
    Segment { number: u32, offset: u64, bytes: u32 },
    /// Nowhere any more: its bytes were found damaged. The entry remembers that references to it stand.
    Corrupt,
}

impl Place {
    /// Says whether there are bytes at this place.
    pub(super) const fn is_held(self) -> bool {
        !matches!(self, Self::Corrupt)
    }

    /// Returns the length of the block.
    pub(super) const fn block_bytes(self) -> u64 {
        match self {
            Self::Small { bytes, .. } | Self::Segment { bytes, .. } => bytes as u64,
            Self::Corrupt => 0,
        }
    }

    /// Returns the value of this place.
    pub(super) fn encode(self) -> Bytes {
        let mut value = Vec::with_capacity(18);
        value.push(VALUE_VERSION);
        match self {
            Self::Small { bytes, checksum } => {
                value.push(PLACE_SMALL);
                value.extend(bytes.to_be_bytes());
                value.extend(checksum.to_be_bytes());
            }
            Self::Segment { number, offset, bytes } => {
                value.push(PLACE_SEGMENT);
                value.extend(number.to_be_bytes());
                value.extend(offset.to_be_bytes());
                value.extend(bytes.to_be_bytes());
            }
            Self::Corrupt => value.push(PLACE_CORRUPT),
        }
        value.into()
    }

    /// Returns the place of a value, or `None` for one that this version never writes.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_first_chunk::<2>()?;
        match (head, rest.len()) {
            ([VALUE_VERSION, PLACE_SMALL], 12) => {
                Some(Self::Small { bytes: u32_at(rest, 0)?, checksum: u64_at(rest, 4)? })
            }
            ([VALUE_VERSION, PLACE_SEGMENT], 16) => Some(Self::Segment {
                number: u32_at(rest, 0)?,
                offset: u64_at(rest, 4)?,
                bytes: u32_at(rest, 12)?,
            }),
            ([VALUE_VERSION, PLACE_CORRUPT], 0) => Some(Self::Corrupt),
            _ => None,
        }
    }
}

/// Returns the bytes that a block takes on the disk, by the same measure for small ones and others.
pub(super) const fn footprint(block_bytes: u64) -> u64 {
    RECORD_HEADER_BYTES as u64 + block_bytes
}

/// Sums over the whole store, kept in step with it by every batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Blocks held.
    pub(super) blocks: u64,
    /// [`footprint`] of small blocks.
    pub(super) small_bytes: u64,
}

impl Totals {
    pub(super) fn encode(self) -> Bytes {
        let mut value = vec![VALUE_VERSION];
        value.extend(self.blocks.to_be_bytes());
        value.extend(self.small_bytes.to_be_bytes());
        value.into()
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        match value.split_first()? {
            (&VALUE_VERSION, rest) if rest.len() == 16 => {
                Some(Self { blocks: u64_at(rest, 0)?, small_bytes: u64_at(rest, 8)? })
            }
            _ => None,
        }
    }
}

/// What the index knows of a segment file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// Bytes from its start whose records are indexed: all of it but an end to recover.
    pub(super) indexed: u64,
    /// Bytes of records that blocks lie in.
    pub(super) live: u64,
    /// Its blocks were moved; the file is to be removed.
    pub(super) doomed: bool,
}

impl Segment {
    pub(super) fn encode(self) -> Bytes {
        let mut value = vec![VALUE_VERSION];
        value.extend(self.indexed.to_be_bytes());
        value.extend(self.live.to_be_bytes());
        value.push(u8::from(self.doomed));
        value.into()
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        match value.split_first()? {
            (&VALUE_VERSION, rest) if rest.len() == 17 => Some(Self {
                indexed: u64_at(rest, 0)?,
                live: u64_at(rest, 8)?,
                doomed: rest.get(16)? == &1,
            }),
            _ => None,
        }
    }
}

/// Returns the key of a block.
pub(super) fn block_key(cid: &Cid) -> Bytes {
    Bytes::copy_from_slice(&block_bytes(cid))
}

/// Returns the block of a key's end.
pub(super) fn block_in(key: &[u8]) -> Option<Cid> {
    let (codec, digest) = key.last_chunk::<BLOCK_KEY_BYTES>()?.split_last()?;
    Some(Cid::from_digest(codec_of(*codec)?, digest.try_into().ok()?))
}

/// Returns the owner of a key's end.
pub(super) fn owner_in(key: &[u8]) -> Option<OwnerId> {
    Some(OwnerId::from_bytes(*key.last_chunk()?))
}

/// What the keys of references from their blocks begin with.
pub(super) const REFERENCES: &[u8] = b"c";

/// What the keys of references from their owners begin with.
pub(super) const OWNERS: &[u8] = b"o";

/// Returns the first key that comes after `key`.
pub(super) fn behind(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// Returns the owner of a reference's key from the owner.
pub(super) fn owner_before_block(key: &[u8]) -> Option<OwnerId> {
    let rest = key.strip_prefix(OWNERS)?;
    Some(OwnerId::from_bytes(*rest.first_chunk()?))
}

/// Returns the keys of one reference: from the block, from the owner.
pub(super) fn reference_keys(cid: &Cid, owner: &OwnerId) -> [Bytes; 2] {
    let block = block_bytes(cid);
    [joined(b"c", &block, owner.as_bytes()), joined(b"o", owner.as_bytes(), &block)]
}

/// Returns the block and the owner in the key of a reference from its block.
pub(super) fn reference_in(key: &[u8]) -> Option<RowKey> {
    let rest = key.strip_prefix(REFERENCES)?;
    let (block, owner) = rest.split_at_checked(BLOCK_KEY_BYTES)?;
    let owner = OwnerId::from_bytes(owner.try_into().ok()?);
    Some(RowKey { cid: block_in(block)?, owner })
}

/// Returns where the references to the blocks of a partition begin.
pub(super) fn references_from(partition: Partition) -> Bytes {
    joined(REFERENCES, &partition.first_digest(), b"")
}

/// Returns the range of the references to the blocks of a partition.
pub(super) fn references_within(partition: Partition) -> (Bytes, Option<Bytes>) {
    let next = u32::try_from(partition.index() + 1).ok().and_then(Partition::new);
    let until = next.map_or_else(|| range_of(REFERENCES).1, |next| Some(references_from(next)));
    (references_from(partition), until)
}

/// Returns the keys that say that a block is the root of an owner: from the block, from the owner.
pub(super) fn root_keys(cid: &Cid, owner: &OwnerId) -> [Bytes; 2] {
    let block = block_bytes(cid);
    [joined(b"r", &block, owner.as_bytes()), joined(b"s", owner.as_bytes(), &block)]
}

/// Returns what the keys of a block's references begin with.
pub(super) fn references_of(cid: &Cid) -> Bytes {
    joined(b"c", &block_bytes(cid), b"")
}

/// Returns what the keys of those who have a block as root begin with.
pub(super) fn roots_of(cid: &Cid) -> Bytes {
    joined(b"r", &block_bytes(cid), b"")
}

/// Returns what the keys of an owner's references begin with.
pub(super) fn owned_by(owner: &OwnerId) -> Bytes {
    joined(b"o", owner.as_bytes(), b"")
}

/// Returns what the keys of an owner's roots begin with.
pub(super) fn rooted_by(owner: &OwnerId) -> Bytes {
    joined(b"s", owner.as_bytes(), b"")
}

/// Returns the key of a segment.
pub(super) fn segment_key(number: u32) -> Bytes {
    joined(b"s", &number.to_be_bytes(), b"")
}

/// Returns the number in the key of a segment.
pub(super) fn segment_in(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.strip_prefix(b"s")?.try_into().ok()?))
}

/// Returns the key of a record that a block lies in.
pub(super) fn record_key(number: u32, offset: u64) -> Bytes {
    joined(b"p", &number.to_be_bytes(), &offset.to_be_bytes())
}

/// Returns what the keys of the live records of a segment begin with.
pub(super) fn records_of(number: u32) -> Bytes {
    joined(b"p", &number.to_be_bytes(), b"")
}

/// Returns the offset in the key of a record.
pub(super) fn offset_in(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk()?))
}

/// Returns the range of keys that begin with `prefix`.
pub(super) fn range_of(prefix: &[u8]) -> (Bytes, Option<Bytes>) {
    let mut until = prefix.to_vec();
    while until.last() == Some(&0xFF) {
        until.pop();
    }
    let until = until.last().copied().map(|last| {
        let end = until.len() - 1;
        until[end] = last + 1;
        Bytes::from(until)
    });
    (Bytes::copy_from_slice(prefix), until)
}

fn block_bytes(cid: &Cid) -> [u8; BLOCK_KEY_BYTES] {
    let mut key = [0; BLOCK_KEY_BYTES];
    key[..32].copy_from_slice(cid.digest());
    key[32] = codec_byte(cid.codec());
    key
}

fn joined(tag: &[u8], first: &[u8], second: &[u8]) -> Bytes {
    [tag, first, second].concat().into()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::cid::Codec;

    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        for place in [
            Place::Small { bytes: 5, checksum: 6 },
            Place::Segment { number: 1, offset: 2 << 40, bytes: 3 },
            Place::Corrupt,
        ] {
            assert_eq!(Place::decode(&place.encode()), Some(place));
        }
        let totals = Totals { blocks: 3, small_bytes: 4 };
        assert_eq!(Totals::decode(&totals.encode()), Some(totals));
        let segment = Segment { indexed: 9, live: 8, doomed: true };
        assert_eq!(Segment::decode(&segment.encode()), Some(segment));
    }

    #[test]
    fn keys_lead_back_to_what_they_name() {
        let cid = Cid::of(Codec::DagPb, b"x");
        let owner = OwnerId::from_bytes([9; 16]);
        assert_eq!(block_in(&block_key(&cid)), Some(cid));
        let [by_block, by_owner] = reference_keys(&cid, &owner);
        assert_eq!((owner_in(&by_block), block_in(&by_owner)), (Some(owner), Some(cid)));
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

        #[test]
        fn values_of_any_kind_are_decoded_or_refused(value: Vec<u8>) {
            Place::decode(&value);
            Totals::decode(&value);
            Segment::decode(&value);
            block_in(&value);
            reference_in(&value);
        }
    }
}
