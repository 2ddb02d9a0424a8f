//! The leaves of a file in order, without their bytes: what a new version can share with an old one.
//!
//! Walks depth first and asks for one interior node at a time. Memory: the links of the nodes on the path.
//! Never: asks for a leaf that is a block of plain bytes; its parent says all that is needed.

use std::vec;

use bytes::Bytes;

use super::error::{DagError, malformed};
use super::file_node::{Child, FileNode};
use crate::cid::{Cid, Codec};
use crate::limits::{BLOCK_BYTES_MAX, DAG_DEPTH_MAX};

/// A part of a file that one leaf holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Where it begins in the file, in bytes.
    pub start: u64,
    /// Its bytes.
    pub bytes_len: u32,
    /// The block that holds these bytes and nothing else; `None` where a node of another tool has them
    /// inside, so that no other file can share them as a leaf.
    pub cid: Option<Cid>,
}

impl Leaf {
    /// Returns where it ends in the file: the byte after its last.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.bytes_len as u64
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafStep {
    /// The next leaf.
    Leaf(Leaf),
    /// Fetch this block, verify it, and give it to [`Leaves::supply`].
    Fetch(Cid),
    /// There is no further leaf.
    End,
}

/// Walks the leaves of one file.
#[derive(Debug)]
pub struct Leaves {
    /// Children still to be visited, the innermost node's last.
    path: Vec<vec::IntoIter<Child>>,
    /// Where the next leaf begins.
    at: u64,
    /// The node to be fetched, and the bytes of the file its parent says are below it; the root's are not known.
    awaited: Option<(Cid, Option<u64>)>,
    /// Bytes that the node fetched last has inside.
    inside: Option<Leaf>,
}

impl Leaves {
    /// Returns the walk over the file `root` of `size` bytes.
    #[must_use]
    pub fn new(root: Cid, size: u64) -> Self {
        let is_leaf = root.codec() == Codec::Raw;
        let leaf = u32::try_from(size).ok().filter(|len| is_leaf && *len > 0);
        let leaf = leaf.map(|bytes_len| Leaf { start: 0, bytes_len, cid: Some(root) });
        let awaited = (!is_leaf).then_some((root, None));
        Self { path: Vec::new(), at: 0, awaited, inside: leaf }
    }

    /// Returns what comes next. The same fetch is asked for until it is supplied.
    ///
    /// # Errors
    /// [`DagError::Malformed`] when a leaf is larger than any block.
    pub fn step(&mut self) -> Result<LeafStep, DagError> {
        if let Some((cid, _)) = self.awaited {
            return Ok(LeafStep::Fetch(cid));
        }
        if let Some(leaf) = self.inside.take() {
            self.at = leaf.end();
            return Ok(LeafStep::Leaf(leaf));
        }
        while let Some(children) = self.path.last_mut() {
            match children.next() {
                None => {
                    self.path.pop();
                }
                Some(child) if child.file_bytes == 0 => {}
                Some(child) if child.cid.codec() == Codec::DagPb => {
                    self.awaited = Some((child.cid, Some(child.file_bytes)));
                    return Ok(LeafStep::Fetch(child.cid));
                }
                Some(child) => {
                    let bytes_len = u32::try_from(child.file_bytes).ok();
                    let bytes_len = bytes_len
                        .filter(|len| *len <= BLOCK_BYTES_MAX)
                        .ok_or(malformed("a leaf larger than any block"))?;
                    let leaf = Leaf { start: self.at, bytes_len, cid: Some(child.cid) };
                    self.at = leaf.end();
                    return Ok(LeafStep::Leaf(leaf));
                }
            }
        }
        Ok(LeafStep::End)
    }

    /// Gives the block that was asked for. `bytes` were verified against its name.
    ///
    /// # Errors
    /// [`DagError`] when it does not fit the DAG, or is no part of a file.
    pub fn supply(&mut self, bytes: &Bytes) -> Result<(), DagError> {
        let Some((_, said)) = self.awaited.take() else { return Ok(()) };
        let node = FileNode::decode(bytes)?;
        if said.is_some_and(|said| said != node.file_bytes) {
            return Err(malformed("not as many bytes as its parent says"));
        }
        if self.path.len() >= DAG_DEPTH_MAX {
            return Err(malformed("deeper than a DAG may be"));
        }
        let inside = u32::try_from(node.data.len()).unwrap_or(u32::MAX);
        self.inside = (inside > 0).then_some(Leaf { start: self.at, bytes_len: inside, cid: None });
        self.path.push(node.children.into_iter());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Leaf, LeafStep, Leaves};
    use crate::dag::{Block, FileBuilder, Root};
    use crate::limits::NODE_LINKS_MAX;
    use crate::{Cid, Codec};
    use std::collections::BTreeMap;

    /// Returns a file whose leaves have these lengths, and its nodes.
    fn file(lengths: &[u32]) -> (Root, Vec<Cid>, BTreeMap<Cid, Block>) {
        let (mut builder, mut blocks, mut leaves) = (FileBuilder::new(), Vec::new(), Vec::new());
        for (number, len) in lengths.iter().enumerate() {
            let cid = Cid::of(Codec::Raw, &number.to_le_bytes());
            builder.leaf(cid, *len, &mut blocks);
            leaves.push(cid);
        }
        let root = builder.finish(&mut blocks);
        (root, leaves, blocks.into_iter().map(|block| (block.cid, block)).collect())
    }

    fn walk(root: Root, blocks: &BTreeMap<Cid, Block>) -> Vec<Leaf> {
        let (mut walk, mut found) = (Leaves::new(root.cid, root.size), Vec::new());
        loop {
            match walk.step().unwrap() {
                LeafStep::Leaf(leaf) => found.push(leaf),
                LeafStep::Fetch(cid) => walk.supply(&blocks[&cid].bytes).unwrap(),
                LeafStep::End => return found,
            }
        }
    }

    #[test]
    fn every_leaf_comes_once_in_order_and_where_it_lies() {
        for count in [0, 1, 2, NODE_LINKS_MAX, NODE_LINKS_MAX + 1, 3 * NODE_LINKS_MAX + 7] {
            let lengths: Vec<u32> = (1..=5).cycle().take(count).collect();
            let (root, cids, blocks) = file(&lengths);
            let mut start = 0;
            let mut expected = Vec::new();
            for (cid, bytes_len) in cids.into_iter().zip(lengths) {
                expected.push(Leaf { start, bytes_len, cid: Some(cid) });
                start += u64::from(bytes_len);
            }
            assert_eq!(walk(root, &blocks), expected, "{count} leaves");
        }
    }

    #[test]
    fn a_node_that_lies_about_what_is_below_it_is_refused() {
        let (outer, _, blocks) = file(&[4; NODE_LINKS_MAX + 1]);
        let (other, _, others) = file(&[4; 3]);
        let mut walk = Leaves::new(outer.cid, outer.size);
        walk.supply(&blocks[&outer.cid].bytes).unwrap();
        assert!(matches!(walk.step(), Ok(LeafStep::Fetch(_))));
        assert!(walk.supply(&others[&other.cid].bytes).is_err());
    }
}
