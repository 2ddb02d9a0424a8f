//! Directories built and listed again; and directories made to harm who lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

use super::directory::{DirNode, Entry, Listing, build, parse_node};
use super::error::DagError;
use super::file::{Block, Root};
use super::hamt;
use super::pb::{Link, Node};
use super::unixfs::{NodeKind, UnixFs};
use crate::{Cid, Codec};

fn entry(name: &str) -> Entry {
    Entry { name: name.to_owned(), cid: Cid::of(Codec::Raw, name.as_bytes()), dag_bytes: 3 }
}

fn entries(names: &[&str]) -> Vec<Entry> {
    names.iter().map(|name| entry(name)).collect()
}

fn numbered(count: usize) -> Vec<Entry> {
    (0..count).map(|number| entry(&format!("file {number}"))).collect()
}

fn list(root: Cid, blocks: &[Block]) -> Result<Vec<Entry>, DagError> {
    let blocks: BTreeMap<Cid, &Bytes> =
        blocks.iter().map(|block| (block.cid, &block.bytes)).collect();
    let (mut listing, mut entries) = (Listing::new(root), Vec::new());
    while !listing.is_finished() {
        let cid = listing.next_wanted().expect("an unfinished listing wants something");
        entries.extend(listing.supply(cid, blocks[&cid])?);
    }
    entries.sort();
    Ok(entries)
}

/// A node with links of these names, all to the same block.
fn node(names: &[&str], unixfs: &UnixFs) -> Bytes {
    let link = |name: &&str| Link {
        name: Bytes::copy_from_slice(name.as_bytes()),
        cid: Cid::of(Codec::DagPb, b""),
        dag_bytes: 0,
    };
    Node { links: names.iter().map(link).collect(), data: Some(unixfs.encode()) }.encode()
}

fn shard_data(hash: u64, fanout: u64) -> UnixFs {
    let mut unixfs = UnixFs::new(NodeKind::HamtShard);
    unixfs.hash = Some(hash);
    unixfs.fanout = Some(fanout);
    unixfs
}

fn is_malformed<T>(result: &Result<T, DagError>) -> bool {
    matches!(result, Err(DagError::Malformed { .. }))
}

#[test]
fn the_order_of_entries_does_not_matter() {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let root = build(entries(&["b", "a", "B"]), &mut a).unwrap();
    assert_eq!(build(entries(&["a", "B", "b"]), &mut b).unwrap(), root);
    assert_eq!((a.len(), a[0].cid), (1, root.cid));
    assert_eq!(root.dag_bytes, 9 + a[0].bytes.len() as u64);
    let read = parse_node(&a[0].bytes).unwrap();
    assert_eq!(read, DirNode { entries: entries(&["B", "a", "b"]), shards: Vec::new() });
}

#[test]
fn names_that_would_leave_the_directory_are_refused_both_ways() {
    let flat = UnixFs::new(NodeKind::Directory);
    for name in ["", ".", "..", "a/b", "/", "../x", "a\0"] {
        let invalid = DagError::NameInvalid { name: name.to_owned() };
        assert_eq!(build(entries(&["ok", name]), &mut Vec::new()), Err(invalid.clone()));
        assert_eq!(parse_node(&node(&["ok", name], &flat)), Err(invalid.clone()));
        if !name.is_empty() {
            let in_hamt = node(&[&format!("0A{name}")], &shard_data(0x22, 256));
            assert_eq!(parse_node(&in_hamt), Err(invalid));
        }
    }
    for name in ["...", "a b", "ünï", "a\\b", "-rf", "\n"] {
        assert!(parse_node(&node(&[name], &flat)).is_ok(), "{name:?}");
    }
}

#[test]
fn a_name_may_occur_only_once() {
    let twice = Err(DagError::NameTwice { name: "a".into() });
    assert_eq!(build(entries(&["a", "b", "a"]), &mut Vec::new()), twice);
    let block = node(&["a", "b", "a"], &UnixFs::new(NodeKind::Directory));
    assert_eq!(parse_node(&block).map(|_| ()), twice.map(|_: Root| ()));
}

#[test]
fn what_is_no_directory_is_told_apart() {
    let file = node(&[], &UnixFs::new(NodeKind::File));
    assert_eq!(parse_node(&file), Err(DagError::NotADirectory));
    assert_eq!(parse_node(&Bytes::new()), Err(DagError::NotADirectory));
    let raw = Cid::of(Codec::Raw, b"");
    let mut listing = Listing::new(raw);
    listing.next_wanted();
    assert_eq!(listing.supply(raw, &Bytes::new()), Err(DagError::NotADirectory));
}

#[test]
fn nodes_of_other_hashes_or_with_impossible_slots_are_refused() {
    let shard = |names: &[&str], hash, fanout| parse_node(&node(names, &shard_data(hash, fanout)));
    assert!(shard(&["00a", "1F", "FFb"], 0x22, 256).is_ok());
    assert!(shard(&["000a", "3FFb"], 0x22, 1024).is_ok());
    assert!(shard(&["0a", "7b"], 0x22, 8).is_ok());
    assert!(is_malformed(&shard(&["00a"], 0x23, 256)));
    for fanout in [0, 1, 4, 100, 2048, 1 << 40, u64::MAX] {
        assert!(is_malformed(&shard(&[], 0x22, fanout)), "{fanout}");
    }
    // Out of order, twice the same, lower case, too short, not a number, beyond the fan-out.
    for names in [&["01a", "00b"], &["01a", "01b"], &["0aa", "0b"], &["0", "00b"], &["+1a", "20b"]]
    {
        assert!(is_malformed(&shard(names, 0x22, 256)), "{names:?}");
    }
    assert!(is_malformed(&shard(&["8b"], 0x22, 8)));
    assert!(is_malformed(&shard(&["400"], 0x22, 1024)));
}

/// A HAMT of so many entries that it has nodes below the root: its blocks, the root last.
fn deep_hamt() -> (Vec<Block>, Cid) {
    let mut blocks = Vec::new();
    let root = hamt::build(&numbered(600), &mut blocks).unwrap();
    assert!(blocks.len() > 1);
    (blocks, root.cid)
}

#[test]
fn an_entry_in_the_wrong_part_of_a_directory_is_refused() {
    let (mut blocks, root) = deep_hamt();
    assert_eq!(list(root, &blocks).unwrap().len(), 600);

    // Given two parts below the root that changed places.
    let mut top = Node::decode(&blocks.last().unwrap().bytes, usize::MAX).unwrap();
    let parts: Vec<usize> =
        (0..top.links.len()).filter(|index| top.links[*index].name.len() == 2).take(2).collect();
    let first = top.links[parts[0]].cid;
    top.links[parts[0]].cid = top.links[parts[1]].cid;
    top.links[parts[1]].cid = first;
    blocks.push(Block::of_node(&top));
    assert!(is_malformed(&list(blocks.last().unwrap().cid, &blocks)));

    // And a part that stands in two places.
    top.links[parts[0]].cid = first;
    blocks.push(Block::of_node(&top));
    assert!(is_malformed(&list(blocks.last().unwrap().cid, &blocks)));
}

#[test]
fn a_part_without_entries_is_refused_because_it_could_stand_for_an_endless_directory() {
    let empty =
        Block::of_node(&Node { links: Vec::new(), data: Some(shard_data(0x22, 256).encode()) });
    assert_eq!(list(empty.cid, core::slice::from_ref(&empty)), Ok(Vec::new()));
    let link = Link { cid: empty.cid, name: Bytes::from_static(b"00"), dag_bytes: 0 };
    let data = Some(shard_data(0x22, 256).encode());
    let top = Block::of_node(&Node { links: vec![link], data });
    assert!(is_malformed(&list(top.cid, &[empty, top.clone()])));
}

#[test]
fn a_chain_of_parts_ends_with_the_bits_of_the_hash() {
    let shard = |below: Cid| {
        let link = Link { cid: below, name: Bytes::from_static(b"00"), dag_bytes: 0 };
        Block::of_node(&Node { links: vec![link], data: Some(shard_data(0x22, 256).encode()) })
    };
    let mut blocks = vec![shard(Cid::of(Codec::DagPb, b""))];
    for _ in 0..20 {
        blocks.push(shard(blocks.last().unwrap().cid));
    }
    assert!(is_malformed(&list(blocks.last().unwrap().cid, &blocks)));
}

/// Built once: mutations are many.
static DEEP_HAMT: LazyLock<Vec<Block>> = LazyLock::new(|| deep_hamt().0);

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]
    #[test]
    fn a_hamt_lists_what_it_was_built_of(names in prop::collection::btree_set("[a-zä ]{1,6}", 0..400)) {
        let entries: Vec<Entry> = names.iter().map(|name| entry(name)).collect();
        let mut blocks = Vec::new();
        let root = hamt::build(&entries, &mut blocks).unwrap();
        let bytes: u64 = blocks.iter().map(|block| block.bytes.len() as u64).sum();
        prop_assert_eq!(root.dag_bytes, bytes + 3 * entries.len() as u64);
        prop_assert_eq!(list(root.cid, &blocks).unwrap(), entries);
    }

    #[test]
    fn changed_directories_are_refused_or_read_but_never_panic(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), value in any::<u8>(),
    ) {
        let mut block = which.get(&DEEP_HAMT).bytes.to_vec();
        let at = at.index(block.len());
        block[at] = value;
        if let Ok(read) = parse_node(&block.into()) {
            let names: BTreeSet<_> = read.entries.iter().map(|entry| &entry.name).collect();
            prop_assert_eq!(names.len(), read.entries.len());
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_but_never_panic(block in arbitrary_block()) {
        let cid = Cid::of(Codec::DagPb, &block);
        let mut listing = Listing::new(cid);
        listing.next_wanted();
        // Most are refused; that is not the point.
        drop(listing.supply(cid, &block));
    }
}

/// Arbitrary bytes, as a block or as the data of a node.
fn arbitrary_block() -> impl Strategy<Value = Bytes> {
    (any::<bool>(), prop::collection::vec(any::<u8>(), 0..100)).prop_map(|(is_data, bytes)| {
        if is_data {
            Node { links: Vec::new(), data: Some(bytes.into()) }.encode()
        } else {
            bytes.into()
        }
    })
}
