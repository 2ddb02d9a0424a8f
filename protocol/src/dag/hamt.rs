//! Directories that are spread over many nodes by the hashes of their names.
//!
//! A node has a slot for each value of the next bits of the hash; a slot that two names share holds a
//! node one level deeper. The name of a link is the slot in hexadecimal, then the name of the entry.
//! Never: reads a node with another hash, or deeper than the hash has bits.
//! Source: UnixFS specification, HAMT; MurmurHash3 x64-128 by Appleby, its first 64 bits.

use bytes::Bytes;

use super::directory::{Entry, entry_of};
use super::error::{DagError, malformed};
use super::file::{Block, Root};
use super::pb::{Link, Node};
use super::unixfs::{NodeKind, UnixFs};
use crate::cid::Cid;
use crate::limits::{HAMT_FANOUT, HAMT_FANOUT_MAX};

/// Multicodec of `murmur3-x64-64`.
const MURMUR3_X64_64: u64 = 0x22;
/// Bits of a name's hash.
const HASH_BITS: u32 = u64::BITS;
/// Bits of the hash that choose a slot of a node that is built here.
const SLOT_BITS: u32 = HAMT_FANOUT.trailing_zeros();
const _: () = assert!(HAMT_FANOUT == 1 << SLOT_BITS && HASH_BITS.is_multiple_of(SLOT_BITS));

/// Returns the hash of a name. Its highest bits choose the slot in the root.
fn hash(name: &str) -> u64 {
    let mut bytes = name.as_bytes();
    let wide = murmur3::murmur3_x64_128(&mut bytes, 0).expect("reading from memory does not fail");
    u64::try_from(wide & u128::from(u64::MAX)).expect("64 bits are left")
}

/// Returns the slot of a hash in a node whose `bits` follow the first `skipped` ones.
const fn slot_of(hash: u64, skipped: u32, bits: u32) -> u64 {
    (hash << skipped) >> (HASH_BITS - bits)
}

/// Builds a HAMT of `entries` with distinct names, and appends its blocks to `out`, the root at the end.
pub(super) fn build(entries: &[Entry], out: &mut Vec<Block>) -> Result<Root, DagError> {
    let mut hashed: Vec<_> = entries.iter().map(|entry| (hash(&entry.name), entry)).collect();
    hashed.sort_unstable_by_key(|(hash, _)| *hash);
    if hashed.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(malformed("two names with the same hash"));
    }
    Ok(build_shard(&hashed, 0, out))
}

/// Builds the node of entries whose hashes agree in the first `skipped` bits, and those below it.
fn build_shard(entries: &[(u64, &Entry)], skipped: u32, out: &mut Vec<Block>) -> Root {
    let slot = |(hash, _): &(u64, &Entry)| slot_of(*hash, skipped, SLOT_BITS);
    let mut slots_used = [0; HAMT_FANOUT / 8];
    let mut links = Vec::new();
    for group in entries.chunk_by(|a, b| slot(a) == slot(b)) {
        let at = usize::try_from(slot(&group[0])).expect("a slot is below the fan-out");
        // One large number, its highest byte first.
        slots_used[HAMT_FANOUT / 8 - 1 - at / 8] |= 1 << (at % 8);
        links.push(match group {
            [(_, entry)] => {
                let name = format!("{at:02X}{}", entry.name).into();
                Link { cid: entry.cid, name, dag_bytes: entry.dag_bytes }
            }
            _ => {
                let below = build_shard(group, skipped + SLOT_BITS, out);
                let name = format!("{at:02X}").into();
                Link { cid: below.cid, name, dag_bytes: below.dag_bytes }
            }
        });
    }
    let zeros = slots_used.iter().take_while(|byte| **byte == 0).count();
    let mut unixfs = UnixFs::new(NodeKind::HamtShard);
    unixfs.data = Some(Bytes::copy_from_slice(&slots_used[zeros..]));
    unixfs.hash = Some(MURMUR3_X64_64);
    unixfs.fanout = Some(HAMT_FANOUT as u64);
    let below: u64 = links.iter().map(|link| link.dag_bytes).sum();
    let block = Block::of_node(&Node { links, data: Some(unixfs.encode()) });
    let root = Root { cid: block.cid, size: 0, dag_bytes: below + block.bytes.len() as u64 };
    out.push(block);
    root
}

/// A node of a HAMT, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    /// Bits of the hash that choose a slot.
    slot_bits: u32,
    /// Entries, with their slots.
    pub(super) entries: Vec<(u64, Entry)>,
    /// Nodes below, with their slots.
    pub(super) shards: Vec<(u64, Cid)>,
}

impl Shard {
    /// Returns the node with the given links and data.
    pub(super) fn read(links: &[Link], unixfs: &UnixFs) -> Result<Self, DagError> {
        if unixfs.hash != Some(MURMUR3_X64_64) {
            return Err(malformed("a directory spread by an unknown hash"));
        }
        let fanout = unixfs.fanout.unwrap_or(0);
        if !(8..=HAMT_FANOUT_MAX).contains(&fanout) || !fanout.is_power_of_two() {
            return Err(malformed("a directory with an impossible number of slots"));
        }
        let slot_bits = fanout.trailing_zeros();
        let digits = usize::try_from(slot_bits.div_ceil(4)).unwrap_or(0);
        let (mut entries, mut shards) = (Vec::new(), Vec::new());
        let mut slot_next = 0;
        for link in links {
            let (prefix, name) =
                link.name.split_at_checked(digits).ok_or(malformed("a link without a slot"))?;
            let slot = parse_slot(prefix)?;
            // In order and below the fan-out: so there are no more links than slots.
            if slot < slot_next || slot >= fanout {
                return Err(malformed("slots out of order"));
            }
            slot_next = slot + 1;
            if name.is_empty() {
                shards.push((slot, link.cid));
            } else {
                entries.push((slot, entry_of(link, name)?));
            }
        }
        Ok(Self { slot_bits, entries, shards })
    }
}

/// Returns the number of a slot in upper-case hexadecimal.
fn parse_slot(digits: &[u8]) -> Result<u64, DagError> {
    digits.iter().try_fold(0, |slot, digit| match digit {
        b'0'..=b'9' => Ok(slot << 4 | u64::from(digit - b'0')),
        b'A'..=b'F' => Ok(slot << 4 | u64::from(digit - b'A' + 10)),
        _ => Err(malformed("a slot that is no number")),
    })
}

/// The way from the root of a HAMT to one of its nodes: the first bits of all hashes below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Path {
    bits: u32,
    /// The bits, as the lowest of a number.
    prefix: u64,
}

impl Path {
    /// Returns the path to `slot` of a node at this path that passed [`Path::check`].
    pub(super) const fn below(self, shard: &Shard, slot: u64) -> Self {
        let bits = self.bits + shard.slot_bits;
        Self { bits, prefix: self.prefix << shard.slot_bits | slot }
    }

    /// Checks that the hash has bits for the node at this path, that the node is not empty unless it is
    /// the root, and that its entries belong there.
    pub(super) fn check(self, shard: &Shard) -> Result<(), DagError> {
        if self.bits > 0 && shard.entries.is_empty() && shard.shards.is_empty() {
            return Err(malformed("an empty part of a directory"));
        }
        let bits = self.bits + shard.slot_bits;
        if bits > HASH_BITS {
            return Err(malformed("a directory deeper than its hash"));
        }
        let is_in_place = |(slot, entry): &(u64, Entry)| {
            slot_of(hash(&entry.name), 0, bits) == self.prefix << shard.slot_bits | slot
        };
        if !shard.entries.iter().all(is_in_place) {
            return Err(malformed("an entry in the wrong part of a directory"));
        }
        Ok(())
    }
}
