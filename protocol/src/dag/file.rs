//! From leaves to the DAG of a file, as a stream.
//!
//! Balanced: every leaf lies at the same depth, every node but the last of a level is full.
//! Holds the links of one unfinished node a level, so memory is depth x width, about 60 KiB a level.
//! Never: sees the bytes of a leaf; its caller hashed them already.
//! Source: profile `unixfs-v1-2025` (IPIP-0499).

use bytes::Bytes;

use super::pb::{Link, Node};
use super::unixfs::{NodeKind, UnixFs};
use crate::cid::{Cid, Codec};
use crate::limits::NODE_LINKS_MAX;

/// A block: bytes and the name they hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub cid: Cid,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Block {
    /// Returns the block of a node. Cost: one SHA-256 over it.
    pub(super) fn of_node(node: &Node) -> Self {
        let bytes = node.encode();
        Self { cid: Cid::of(Codec::DagPb, &bytes), bytes }
    }
}

/// What a finished DAG is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// The root block.
    pub cid: Cid,
    /// Bytes of the file; 0 for a directory.
    pub size: u64,
    /// Bytes of all blocks of the DAG, repeated ones counted each time (`Tsize`).
    pub dag_bytes: u64,
}

/// Builds the nodes of a file above its leaves.
#[derive(Clone, Debug, Default)]
pub struct FileBuilder {
    /// The unfinished node of each level, leaves' parents first. The last one is never empty.
    levels: Vec<Vec<Root>>,
}

impl FileBuilder {
    /// Returns a builder that has seen no leaf yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next leaf of the file, and appends to `out` the nodes that have no room for it. None of
    /// them is the root: that comes out of [`Self::finish`] alone, so that it can be stored as what it is.
    ///
    /// `cid`: the leaf's raw CID. `bytes_len`: its bytes. The leaf itself is not put into `out`.
    /// Cost: constant, but every 1,024 leaves one node of about 50 KiB is written and hashed.
    pub fn leaf(&mut self, cid: Cid, bytes_len: u32, out: &mut Vec<Block>) {
        let bytes = u64::from(bytes_len);
        let mut part = Root { cid, size: bytes, dag_bytes: bytes };
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let parts = &mut self.levels[level];
            if parts.len() < NODE_LINKS_MAX {
                parts.push(part);
                return;
            }
            let full = close(parts, out);
            parts.push(part);
            part = full;
        }
    }

    /// Appends the last nodes to `out`, the root at the end, and returns what the file is known by.
    ///
    /// A file of one leaf is that leaf. A file without leaves is the empty raw block, which the
    /// caller has to store: `out` holds nodes only.
    pub fn finish(mut self, out: &mut Vec<Block>) -> Root {
        let top = self.levels.len().saturating_sub(1);
        for level in 0..self.levels.len() {
            let parts = &mut self.levels[level];
            let part = match parts.as_slice() {
                [] => continue,
                [only] if level == top => return *only,
                _ => close(parts, out),
            };
            match self.levels.get_mut(level + 1) {
                Some(above) => above.push(part),
                None => return part,
            }
        }
        Root { cid: Cid::of(Codec::Raw, b""), size: 0, dag_bytes: 0 }
    }
}

/// Makes a node of `parts`, which are empty afterwards.
fn close(parts: &mut Vec<Root>, out: &mut Vec<Block>) -> Root {
    let mut unixfs = UnixFs::new(NodeKind::File);
    unixfs.block_sizes = parts.iter().map(|part| part.size).collect();
    let size = unixfs.block_sizes.iter().sum();
    unixfs.file_bytes = Some(size);
    let below: u64 = parts.iter().map(|part| part.dag_bytes).sum();
    let links = parts.drain(..);
    let links = links
        .map(|part| Link { cid: part.cid, name: Bytes::new(), dag_bytes: part.dag_bytes })
        .collect();
    let block = Block::of_node(&Node { links, data: Some(unixfs.encode()) });
    let root = Root { cid: block.cid, size, dag_bytes: below + block.bytes.len() as u64 };
    out.push(block);
    root
}

#[cfg(test)]
mod tests {
    use super::FileBuilder;
    use crate::cid::{Cid, Codec};
    use crate::limits::NODE_LINKS_MAX;

    #[test]
    fn the_root_comes_last_and_out_of_the_end_alone() {
        let leaf = Cid::of(Codec::Raw, b"leaf");
        for leaves in
            [2, NODE_LINKS_MAX - 1, NODE_LINKS_MAX, NODE_LINKS_MAX + 1, 2 * NODE_LINKS_MAX]
        {
            let (mut builder, mut before, mut last) = (FileBuilder::new(), Vec::new(), Vec::new());
            for _ in 0..leaves {
                builder.leaf(leaf, 4, &mut before);
            }
            let root = builder.finish(&mut last);
            assert_eq!(last.last().map(|block| block.cid), Some(root.cid), "{leaves} leaves");
            assert!(before.iter().all(|block| block.cid != root.cid), "{leaves} leaves");
        }
    }
}
