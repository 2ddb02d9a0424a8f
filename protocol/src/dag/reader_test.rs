//! Files built and read again: any range, any order of arrival; and DAGs made to harm a reader.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;

use super::file::{Block, FileBuilder, Root};
use super::pb::{Link, Node};
use super::reader::{ByteRange, Reader};
use super::unixfs::{NodeKind, UnixFs};
use super::{Content, DagError, directory};
use crate::limits::{
    BLOCK_BYTES_MAX, DAG_DEPTH_MAX, NODE_LINKS_MAX, READ_LINKS_AHEAD_MAX, READ_LINKS_MAX,
};
use crate::{Cid, Codec, Prng};

type Blocks = BTreeMap<Cid, Bytes>;

const ALL: ByteRange = ByteRange { start: 0, end: None };

/// Builds a file of the given leaves; also returns every block and the bytes of the file.
fn build(leaves: &[Bytes]) -> (Root, Blocks, Vec<u8>) {
    let (mut builder, mut nodes, mut blocks) = (FileBuilder::new(), Vec::new(), Blocks::new());
    for leaf in leaves {
        let cid = Cid::of(Codec::Raw, leaf);
        builder.leaf(cid, u32::try_from(leaf.len()).unwrap(), &mut nodes);
        blocks.insert(cid, leaf.clone());
    }
    let root = builder.finish(&mut nodes);
    blocks.extend(nodes.into_iter().map(|Block { cid, bytes }| (cid, bytes)));
    (root, blocks, leaves.concat())
}

/// Reads a range with up to `ahead` blocks under way, which arrive in an order drawn from `prng`.
fn read(
    root: Cid,
    range: ByteRange,
    blocks: &Blocks,
    ahead: usize,
    prng: &mut Prng,
) -> Result<Vec<u8>, DagError> {
    let mut reader = Reader::new(root, range);
    let (mut under_way, mut bytes): (Vec<Cid>, Vec<u8>) = (Vec::new(), Vec::new());
    while !reader.is_finished() {
        while under_way.len() < ahead {
            let Some(wanted) = reader.next_wanted() else { break };
            under_way.push(wanted.cid);
        }
        let index = prng.index(under_way.len()).expect("an unfinished reader wants something");
        let cid = under_way.swap_remove(index);
        reader.supply(cid, blocks[&cid].clone())?;
        while let Some(more) = reader.next_bytes() {
            assert!(!more.is_empty());
            bytes.extend_from_slice(&more);
        }
    }
    assert_eq!((reader.next_bytes(), reader.bytes_ready()), (None, 0));
    Ok(bytes)
}

fn read_all(root: Cid, blocks: &Blocks) -> Result<Vec<u8>, DagError> {
    read(root, ALL, blocks, 4, &mut Prng::new(1))
}

fn leaves(count: usize) -> Vec<Bytes> {
    (0..count).map(|index| Bytes::from(index.to_string())).collect()
}

fn put(blocks: &mut Blocks, node: &Node) -> Cid {
    let block = Block::of_node(node);
    blocks.insert(block.cid, block.bytes);
    block.cid
}

/// A node over `children`, which are links with the bytes of the file below them.
fn node_of(children: &[(Cid, u64)]) -> Node {
    let mut unixfs = UnixFs::new(NodeKind::File);
    unixfs.block_sizes = children.iter().map(|(_, bytes)| *bytes).collect();
    unixfs.file_bytes = Some(unixfs.block_sizes.iter().sum());
    let link = |(cid, dag_bytes): &(Cid, u64)| Link {
        cid: *cid,
        name: Bytes::new(),
        dag_bytes: *dag_bytes,
    };
    Node { links: children.iter().map(link).collect(), data: Some(unixfs.encode()) }
}

fn unixfs_leaf(kind: NodeKind, bytes: &'static [u8]) -> Node {
    let mut unixfs = UnixFs::new(kind);
    unixfs.data = Some(Bytes::from_static(bytes));
    unixfs.file_bytes = Some(bytes.len() as u64);
    Node { links: Vec::new(), data: Some(unixfs.encode()) }
}

fn first_error(root: Cid, blocks: &Blocks) -> DagError {
    read_all(root, blocks).expect_err("the DAG is wrong")
}

fn arbitrary_leaves() -> impl Strategy<Value = Vec<Bytes>> {
    // Few different bytes, so that the same leaf often occurs twice.
    let leaf = prop::collection::vec(0..2u8, 1..5).prop_map(Bytes::from);
    prop::collection::vec(leaf, 1..40)
}

proptest! {
    #[test]
    fn any_range_of_a_small_file_is_the_slice_of_it(
        leaves in arbitrary_leaves(), a in 0..200usize, b in 0..200usize, seed in any::<u64>(), ahead in 1..9usize,
    ) {
        let (root, blocks, bytes) = build(&leaves);
        check_range(&root, &blocks, &bytes, (a, b), ahead, seed)?;
    }

    #[test]
    fn any_range_of_a_file_by_other_tools_is_the_slice_of_it(
        seed in any::<u64>(), a in 0..200usize, b in 0..200usize, ahead in 1..9usize,
    ) {
        let mut prng = Prng::new(seed);
        let (mut blocks, mut bytes) = (Blocks::new(), Vec::new());
        let cid = grow(&mut prng, 3, &mut blocks, &mut bytes);
        let root = Root { cid, size: 0, dag_bytes: 0 };
        check_range(&root, &blocks, &bytes, (a, b), ahead, seed)?;
    }

    #[test]
    fn blocks_of_any_bytes_make_no_reader_panic(block in prop::collection::vec(any::<u8>(), 0..200)) {
        let block = Bytes::from(block);
        let mut reader = Reader::new(Cid::of(Codec::DagPb, &block), ALL);
        let wanted = reader.next_wanted().unwrap();
        // An arbitrary block is hardly ever a node; that it is refused is not the point.
        drop(reader.supply(wanted.cid, block));
    }

    #[test]
    fn mutated_nodes_make_no_reader_panic(
        leaves in arbitrary_leaves(), at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let (root, blocks, _) = build(&leaves);
        let mut block = blocks[&root.cid].to_vec();
        let at = at.index(block.len());
        block[at] = value;
        block.truncate(block.len() - cut.index(block.len()) / 8);
        let mut reader = Reader::new(root.cid, ALL);
        reader.next_wanted();
        drop(reader.supply(root.cid, block.into()));
        while reader.next_wanted().is_some() {}
    }
}

fn check_range(
    root: &Root,
    blocks: &Blocks,
    bytes: &[u8],
    (a, b): (usize, usize),
    ahead: usize,
    seed: u64,
) -> Result<(), TestCaseError> {
    let (start, end) = (a.min(b), a.max(b));
    let range = ByteRange { start: start as u64, end: Some(end as u64) };
    let read = read(root.cid, range, blocks, ahead, &mut Prng::new(seed));
    if start > bytes.len() {
        let size = bytes.len() as u64;
        prop_assert_eq!(read, Err(DagError::RangeOutside { start: start as u64, size }));
    } else {
        prop_assert_eq!(read.unwrap(), &bytes[start..end.min(bytes.len())]);
    }
    Ok(())
}

#[test]
fn a_file_of_three_levels_is_read_whole_and_by_ranges() {
    let (root, blocks, bytes) = build(&leaves(NODE_LINKS_MAX * 2 + 5));
    assert_eq!(root.size, bytes.len() as u64);
    let mut prng = Prng::new(7);
    for ahead in [1, 3, 50] {
        assert_eq!(read(root.cid, ALL, &blocks, ahead, &mut prng).unwrap(), bytes);
    }
    for seed in 0..50 {
        let (a, b) = (prng.index(bytes.len()).unwrap(), prng.index(bytes.len()).unwrap());
        check_range(&root, &blocks, &bytes, (a, b), 5, seed).unwrap();
    }
}

/// Grows a random tree with everything that old and odd tools make: leaves in nodes, data beside
/// links, empty parts, parts at different depths. Returns its root, and appends the bytes of the file.
fn grow(prng: &mut Prng, depth: usize, blocks: &mut Blocks, bytes: &mut Vec<u8>) -> Cid {
    let own: Vec<u8> = (0..prng.below(6)).map(|_| if prng.chance(1, 2) { 0 } else { 1 }).collect();
    let own = Bytes::from(own);
    let before = bytes.len();
    bytes.extend_from_slice(&own);
    if depth == 0 && prng.chance(1, 2) {
        let cid = Cid::of(Codec::Raw, &own);
        blocks.insert(cid, own);
        return cid;
    }
    let children = if depth == 0 { 0 } else { prng.below(5) };
    let mut links = Vec::new();
    for _ in 0..children {
        let before = bytes.len();
        let cid = grow(prng, depth - 1, blocks, bytes);
        links.push((cid, (bytes.len() - before) as u64));
    }
    let mut unixfs = UnixFs::new(NodeKind::File);
    unixfs.data = (!own.is_empty()).then_some(own);
    unixfs.block_sizes = links.iter().map(|(_, bytes)| *bytes).collect();
    unixfs.file_bytes = prng.chance(1, 2).then_some((bytes.len() - before) as u64);
    let node = Node { data: Some(unixfs.encode()), ..node_of(&links) };
    put(blocks, &node)
}

#[test]
fn the_empty_file_and_a_file_of_one_leaf_are_raw_blocks() {
    for leaf in ["", "one"] {
        let (root, blocks, _) = build(&[Bytes::from(leaf)]);
        assert_eq!(
            (root.cid, root.size),
            (Cid::of(Codec::Raw, leaf.as_bytes()), leaf.len() as u64)
        );
        assert_eq!(read_all(root.cid, &blocks).unwrap(), leaf.as_bytes());
    }
    assert_eq!(FileBuilder::new().finish(&mut Vec::new()), build(&[Bytes::new()]).0);
}

#[test]
fn one_block_serves_every_place_that_was_named() {
    let zeros = Bytes::from_static(&[0; 4]);
    let (root, blocks, _) = build(&[zeros.clone(), zeros.clone(), zeros.clone()]);
    let mut reader = Reader::new(root.cid, ALL);
    assert_eq!(reader.next_wanted().unwrap().cid, root.cid);
    assert_eq!(reader.next_wanted(), None);
    reader.supply(root.cid, blocks[&root.cid].clone()).unwrap();
    assert_eq!(reader.size(), Some(12));

    // When two of the three places are named, one block serves both, and a second one nobody.
    let leaf = reader.next_wanted().unwrap().cid;
    assert_eq!(reader.next_wanted().unwrap().cid, leaf);
    reader.supply(leaf, zeros.clone()).unwrap();
    reader.supply(leaf, zeros.clone()).unwrap();
    assert_eq!(reader.bytes_ready(), 8);

    // Then the third is named by itself.
    assert_eq!(reader.next_wanted().unwrap().cid, leaf);
    assert_eq!(reader.next_wanted(), None);
    reader.supply(leaf, zeros).unwrap();
    while reader.next_bytes().is_some() {}
    assert!(reader.is_finished());
}

/// Builds the nodes of a file of so many MiB, whose leaves nobody made.
fn build_large(leaves: u32) -> (Root, Blocks) {
    let (mut builder, mut nodes) = (FileBuilder::new(), Vec::new());
    for index in 0..leaves {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&index.to_be_bytes());
        builder.leaf(Cid::from_digest(Codec::Raw, digest), 1 << 20, &mut nodes);
    }
    let root = builder.finish(&mut nodes);
    (root, nodes.into_iter().map(|node| (node.cid, node.bytes)).collect())
}

/// Names all that can be named, and says of each whether it is a leaf.
fn name_all(reader: &mut Reader) -> Vec<(Cid, bool)> {
    core::iter::from_fn(|| reader.next_wanted())
        .map(|wanted| (wanted.cid, wanted.bytes_hint == 1 << 20))
        .collect()
}

#[test]
fn the_next_node_is_asked_for_before_its_leaves_are_due() {
    let (root, blocks) = build_large(3000);
    let mut reader = Reader::new(root.cid, ALL);
    assert_eq!(name_all(&mut reader), [(root.cid, false)]);
    reader.supply(root.cid, blocks[&root.cid].clone()).unwrap();

    // Given a first node: the second is a GiB away, and not asked for.
    let named = name_all(&mut reader);
    assert_eq!(named.len(), 1);
    reader.supply(named[0].0, blocks[&named[0].0].clone()).unwrap();

    // When its leaves are asked for, the second node comes 64 MiB before its place; no leaf after it.
    let named = name_all(&mut reader);
    let place = named.iter().position(|(_, is_leaf)| !is_leaf);
    assert_eq!((named.len(), place), (1025, Some(960)));
    reader.supply(named[960].0, blocks[&named[960].0].clone()).unwrap();
    assert_eq!(name_all(&mut reader).len(), 1025);
}

#[test]
fn a_range_wants_no_block_that_it_does_not_need() {
    let (root, blocks) = build_large(3000);
    let mut reader = Reader::new(root.cid, ByteRange { start: 5 << 20, end: Some((5 << 20) + 1) });
    let mut wanted = Vec::new();
    while let Some(next) = reader.next_wanted() {
        wanted.push(next.bytes_hint);
        if let Some(block) = blocks.get(&next.cid) {
            reader.supply(next.cid, block.clone()).unwrap();
        }
    }
    assert_eq!(wanted, [0, 0, 1 << 20]);
}

#[test]
fn a_range_is_cut_to_the_file_and_may_be_empty_but_not_outside() {
    let (root, blocks, _) = build(&leaves(12));
    let read_range =
        |start, end| read(root.cid, ByteRange { start, end }, &blocks, 2, &mut Prng::new(1));
    assert_eq!(read_range(12, Some(99)), Ok(b"11".to_vec()));
    assert_eq!(read_range(14, None), Ok(Vec::new()));
    assert_eq!(read_range(3, Some(3)), Ok(Vec::new()));
    assert_eq!(read_range(15, None), Err(DagError::RangeOutside { start: 15, size: 14 }));
    assert_eq!(read_range(3, Some(2)), Err(DagError::RangeOutside { start: 3, size: 14 }));
}

#[test]
fn leaves_of_other_tools_are_nodes_with_data() {
    let mut blocks = Blocks::new();
    let a = put(&mut blocks, &unixfs_leaf(NodeKind::Raw, b"ab"));
    let b = put(&mut blocks, &unixfs_leaf(NodeKind::File, b"cde"));
    let root = put(&mut blocks, &node_of(&[(a, 2), (b, 3)]));
    assert_eq!(read_all(root, &blocks).unwrap(), b"abcde");
    assert_eq!(read_all(b, &blocks).unwrap(), b"cde");
}

#[test]
fn sizes_that_do_not_agree_are_refused() {
    let leaf = Bytes::from_static(b"leaf");
    let cid = Cid::of(Codec::Raw, &leaf);
    let refuse = |node: &Node, reason: &'static str| {
        let mut blocks = Blocks::from([(cid, leaf.clone())]);
        let root = put(&mut blocks, node);
        assert_eq!(first_error(root, &blocks), DagError::Malformed { reason });
    };
    refuse(&node_of(&[(cid, 3)]), "not as many bytes as its parent says");
    refuse(&node_of(&[(cid, 5)]), "not as many bytes as its parent says");
    let too_large = u64::from(BLOCK_BYTES_MAX) + 1;
    refuse(&node_of(&[(cid, too_large)]), "a leaf larger than any block");

    let two = node_of(&[(cid, 4), (cid, 4)]);
    let fewer_links = Node { links: two.links[..1].to_vec(), ..two.clone() };
    refuse(&fewer_links, "not one size for each link");
    refuse(&Node { data: node_of(&[(cid, 8)]).data, ..two.clone() }, "not one size for each link");

    let mut unixfs = UnixFs::new(NodeKind::File);
    unixfs.block_sizes = vec![4, 4];
    unixfs.file_bytes = Some(5);
    refuse(&Node { data: Some(unixfs.encode()), ..two.clone() }, "sizes that do not add up");
    unixfs.block_sizes = vec![u64::MAX, 6];
    refuse(&Node { data: Some(unixfs.encode()), ..two }, "sizes beyond all numbers");

    let many = vec![(cid, 4); READ_LINKS_MAX + 1];
    refuse(&node_of(&many), "more block sizes than a node may have");
}

#[test]
fn a_dag_is_followed_down_to_its_limit_only() {
    let leaf = Bytes::from_static(b"deep");
    let mut cid = Cid::of(Codec::Raw, &leaf);
    let mut blocks = Blocks::from([(cid, leaf.clone())]);
    for _ in 0..DAG_DEPTH_MAX {
        cid = put(&mut blocks, &node_of(&[(cid, 4)]));
    }
    assert_eq!(read_all(cid, &blocks).unwrap(), leaf);
    cid = put(&mut blocks, &node_of(&[(cid, 4)]));
    assert!(matches!(first_error(cid, &blocks), DagError::Malformed { .. }));
}

#[test]
fn what_is_no_file_is_told_apart() {
    let mut blocks = Blocks::new();
    let mut out = Vec::new();
    let directory = directory::build(Vec::new(), &mut out).unwrap().cid;
    blocks.extend(out.into_iter().map(|block| (block.cid, block.bytes)));
    let shard = put(&mut blocks, &unixfs_leaf(NodeKind::HamtShard, b""));
    let link = put(&mut blocks, &unixfs_leaf(NodeKind::Symlink, b"target"));
    let bare = put(&mut blocks, &Node::default());
    assert_eq!(first_error(directory, &blocks), DagError::IsDirectory);
    assert_eq!(first_error(shard, &blocks), DagError::IsDirectory);
    assert_eq!(first_error(link, &blocks), DagError::NotAFile);
    assert_eq!(first_error(bare, &blocks), DagError::NotAFile);
    // A directory within a file is no part of it.
    let inner = put(&mut blocks, &node_of(&[(directory, 4)]));
    assert_eq!(first_error(inner, &blocks), DagError::IsDirectory);

    let content = |cid: Cid| Content::of_root(cid, &blocks[&cid]);
    assert_eq!(content(directory), Ok(Content::Directory));
    assert_eq!(content(inner), Ok(Content::File { size: 4 }));
    assert_eq!(content(link), Err(DagError::NotAFile));
    let (file, leaves, _) = build(&leaves(3));
    assert_eq!(Content::of_root(file.cid, &leaves[&file.cid]), Ok(Content::File { size: 3 }));
}

#[test]
fn nodes_disguised_as_leaves_do_not_fill_the_memory() {
    // Given a file of parts that could be leaves by their size, each with as many links as are followed.
    let parts = 3 * READ_LINKS_AHEAD_MAX / READ_LINKS_MAX;
    let (mut blocks, mut bytes, mut children) = (Blocks::new(), Vec::new(), Vec::new());
    for index in 0..parts {
        let leaf = Bytes::from(vec![u8::try_from(index).unwrap()]);
        let cid = Cid::of(Codec::Raw, &leaf);
        blocks.insert(cid, leaf.clone());
        bytes.extend(leaf.repeat(READ_LINKS_MAX));
        let part = put(&mut blocks, &node_of(&vec![(cid, 1); READ_LINKS_MAX]));
        children.push((part, READ_LINKS_MAX as u64));
    }
    let root = put(&mut blocks, &node_of(&children));

    // When nodes arrive before leaves, and the last ones first.
    let mut reader = Reader::new(root, ALL);
    let (mut under_way, mut read): (Vec<Cid>, Vec<u8>) = (Vec::new(), Vec::new());
    let (mut nodes_count, mut leaves_count, mut links_max) = (0, 0, 0);
    while !reader.is_finished() {
        while under_way.len() < parts {
            let Some(wanted) = reader.next_wanted() else { break };
            under_way.push(wanted.cid);
            leaves_count += usize::from(wanted.cid.codec() == Codec::Raw);
        }
        let node = under_way.iter().rposition(|cid| cid.codec() == Codec::DagPb);
        nodes_count += usize::from(node.is_some());
        assert!(nodes_count <= 3 * parts, "nodes are asked for again and again");
        let cid = under_way.remove(node.unwrap_or(0));
        reader.supply(cid, blocks[&cid].clone()).unwrap();
        links_max = links_max.max(reader.links_known());
        while let Some(more) = reader.next_bytes() {
            read.extend_from_slice(&more);
        }
    }

    // Then the file is read, and the reader never knew more links than it may: those ahead, and those
    // of the two nodes above the place it reads.
    assert!(read == bytes);
    assert_eq!(leaves_count, bytes.len());
    assert!(links_max <= READ_LINKS_AHEAD_MAX + READ_LINKS_MAX + parts, "{links_max}");
}

#[test]
fn no_leaf_is_asked_for_before_a_node_that_comes_first() {
    let mut blocks = Blocks::new();
    let leaf = |index: u8| (Cid::from_digest(Codec::Raw, [index; 32]), 1 << 20);
    let inner = put(&mut blocks, &node_of(&[leaf(0), leaf(1), leaf(2)]));
    let root = put(&mut blocks, &node_of(&[leaf(3), (inner, 3 << 20), leaf(4)]));
    let mut reader = Reader::new(root, ALL);
    reader.next_wanted();
    reader.supply(root, blocks[&root].clone()).unwrap();
    // The node first, because it is due soon; then what comes before it, but not what comes after.
    assert_eq!(name_all(&mut reader), [(inner, false), (leaf(3).0, true)]);
    reader.supply(inner, blocks[&inner].clone()).unwrap();
    let rest = [leaf(0), leaf(1), leaf(2), leaf(4)].map(|(cid, _)| (cid, true));
    assert_eq!(name_all(&mut reader), rest);
}
