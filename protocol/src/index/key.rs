//! Keys of the index: they begin with a letter, and sort by what they are looked up by.
//!
//! A block is its digest and the byte of its codec, an owner its 16 bytes; numbers are big-endian.
//! Never: knows a value.

use bytes::Bytes;

use crate::placement::Partition;
use crate::record::{codec_byte, codec_of};
use crate::repair::RowKey;
use crate::{Cid, OwnerId};

/// Bytes of a block's key: digest and codec.
const BLOCK_KEY_BYTES: usize = 33;
/// The key of the totals in `Segments`.
pub const TOTALS_KEY: &[u8] = b"t";
/// The key of the scrub's place in `Segments`.
pub const SCRUB_KEY: &[u8] = b"v";
/// What all keys of segments begin with.
pub const SEGMENT_KEYS: &[u8] = b"s";

/// Returns the key of a block.
#[must_use]
pub fn block_key(cid: &Cid) -> Bytes {
    Bytes::copy_from_slice(&block_bytes(cid))
}

/// Returns the block of a key's end.
#[must_use]
pub fn block_in(key: &[u8]) -> Option<Cid> {
    let (codec, digest) = key.last_chunk::<BLOCK_KEY_BYTES>()?.split_last()?;
    Some(Cid::from_digest(codec_of(*codec)?, digest.try_into().ok()?))
}

/// Returns the owner of a key's end.
#[must_use]
pub fn owner_in(key: &[u8]) -> Option<OwnerId> {
    Some(OwnerId::from_bytes(*key.last_chunk()?))
}

/// What the keys of references from their blocks begin with.
pub const REFERENCES: &[u8] = b"c";

/// What the keys of references from their owners begin with.
pub const OWNERS: &[u8] = b"o";

/// Returns the first key that comes after `key`.
#[must_use]
pub fn behind(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// Returns the owner of a reference's key from the owner.
#[must_use]
pub fn owner_before_block(key: &[u8]) -> Option<OwnerId> {
    let rest = key.strip_prefix(OWNERS)?;
    Some(OwnerId::from_bytes(*rest.first_chunk()?))
}

/// Returns the keys of one reference: from the block, from the owner.
#[must_use]
pub fn reference_keys(cid: &Cid, owner: &OwnerId) -> [Bytes; 2] {
    let block = block_bytes(cid);
    [joined(b"c", &block, owner.as_bytes()), joined(b"o", owner.as_bytes(), &block)]
}

/// Returns the block and the owner in the key of a reference from its block.
#[must_use]
pub fn reference_in(key: &[u8]) -> Option<RowKey> {
    let rest = key.strip_prefix(REFERENCES)?;
    let (block, owner) = rest.split_at_checked(BLOCK_KEY_BYTES)?;
    let owner = OwnerId::from_bytes(owner.try_into().ok()?);
    Some(RowKey { cid: block_in(block)?, owner })
}

/// Returns where the references to the blocks of a partition begin.
#[must_use]
pub fn references_from(partition: Partition) -> Bytes {
    joined(REFERENCES, &partition.first_digest(), b"")
}

/// Returns the range of the references to the blocks of a partition.
#[must_use]
pub fn references_within(partition: Partition) -> (Bytes, Option<Bytes>) {
    let next = u32::try_from(partition.index() + 1).ok().and_then(Partition::new);
    let until = next.map_or_else(|| range_of(REFERENCES).1, |next| Some(references_from(next)));
    (references_from(partition), until)
}

/// Returns the keys that say that a block is the root of an owner: from the block, from the owner.
#[must_use]
pub fn root_keys(cid: &Cid, owner: &OwnerId) -> [Bytes; 2] {
    let block = block_bytes(cid);
    [joined(b"r", &block, owner.as_bytes()), joined(b"s", owner.as_bytes(), &block)]
}

/// Returns what the keys of a block's references begin with.
#[must_use]
pub fn references_of(cid: &Cid) -> Bytes {
    joined(b"c", &block_bytes(cid), b"")
}

/// Returns what the keys of those who have a block as root begin with.
#[must_use]
pub fn roots_of(cid: &Cid) -> Bytes {
    joined(b"r", &block_bytes(cid), b"")
}

/// Returns what the keys of an owner's references begin with.
#[must_use]
pub fn owned_by(owner: &OwnerId) -> Bytes {
    joined(b"o", owner.as_bytes(), b"")
}

/// Returns what the keys of an owner's roots begin with.
#[must_use]
pub fn rooted_by(owner: &OwnerId) -> Bytes {
    joined(b"s", owner.as_bytes(), b"")
}

/// Returns the key of a segment.
#[must_use]
pub fn segment_key(number: u32) -> Bytes {
    joined(b"s", &number.to_be_bytes(), b"")
}

/// Returns the number in the key of a segment.
#[must_use]
pub fn segment_in(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.strip_prefix(b"s")?.try_into().ok()?))
}

/// Returns the key of a record that a block lies in.
#[must_use]
pub fn record_key(number: u32, offset: u64) -> Bytes {
    joined(b"p", &number.to_be_bytes(), &offset.to_be_bytes())
}

/// Returns what the keys of the live records of a segment begin with.
#[must_use]
pub fn records_of(number: u32) -> Bytes {
    joined(b"p", &number.to_be_bytes(), b"")
}

/// Returns the offset in the key of a record.
#[must_use]
pub fn offset_in(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk()?))
}

/// Returns the range of keys that begin with `prefix`.
#[must_use]
pub fn range_of(prefix: &[u8]) -> (Bytes, Option<Bytes>) {
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
