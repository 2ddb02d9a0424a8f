//! Files built and read again: any range, any order of arrival; and DAGs made to harm a reader.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;

use super::file::{Block, FileBuilder, Root};
use super::pb::{Link, Node};
use super::reader::{ByteRange, Reader};
use super::unixfs::{NodeKind, UnixFs};
use super::{DagError, directory};
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
            let len = blocks[&wanted.cid].len() as u64;
            if wanted.cid.codec() == Codec::Raw && wanted.cid != root {
                assert_eq!(wanted.bytes_hint, len);
            }
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
