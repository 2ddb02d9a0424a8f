//! One block of a file, as a reader sees it: bytes of its own, and children with theirs.
//!
//! Sums are checked here, so that readers can add without overflow. Never: follows a link.

use bytes::Bytes;

use super::error::{DagError, malformed};
use super::pb::Node;
use super::unixfs::{NodeKind, UnixFs};
use crate::cid::{Cid, Codec};
use crate::limits::BLOCK_BYTES_MAX;

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileNode {
    /// Bytes of the file in the block itself. They come before those of the children.
    pub(super) data: Bytes,
    pub(super) children: Vec<Child>,
    /// Bytes of the file in and below the block: the sum of all the others.
    pub(super) file_bytes: u64,
}

/// A link of a file's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) cid: Cid,
    /// Bytes of the file below the link.
    pub(super) file_bytes: u64,
    /// Bytes of the blocks below the link, as the node says.
    dag_bytes: u64,
}

impl Child {
    /// Returns how many bytes the child's block should have, if it is a leaf.
    pub(super) fn bytes_hint(&self) -> u64 {
        match self.cid.codec() {
            Codec::Raw => self.file_bytes,
            // A leaf with a wrapper is a little larger than its part of the file.
            Codec::DagPb => self.dag_bytes.max(self.file_bytes).min(u64::from(BLOCK_BYTES_MAX)),
        }
    }
}

impl FileNode {
    /// Returns the content of a raw block.
    pub(super) fn leaf(bytes: Bytes) -> Self {
        let file_bytes = bytes.len() as u64;
        Self { data: bytes, children: Vec::new(), file_bytes }
    }

    /// Returns the content of a dag-pb block.
    pub(super) fn decode(block: &Bytes) -> Result<Self, DagError> {
        let node = Node::decode(block, usize::MAX)?;
        let message = node.data.ok_or(DagError::NotAFile)?;
        let unixfs = UnixFs::decode(&message)?;
        match unixfs.kind {
            NodeKind::File | NodeKind::Raw => {}
            NodeKind::Directory | NodeKind::HamtShard => return Err(DagError::IsDirectory),
            NodeKind::Metadata | NodeKind::Symlink => return Err(DagError::NotAFile),
        }
        // This bounds the links too: no more sizes than `READ_LINKS_MAX` are read.
        if unixfs.block_sizes.len() != node.links.len() {
            return Err(malformed("not one size for each link"));
        }
        let data = unixfs.data.unwrap_or_default();
        let mut file_bytes = data.len() as u64;
        let mut children = Vec::with_capacity(node.links.len());
        for (link, bytes) in node.links.iter().zip(unixfs.block_sizes) {
            let sum = file_bytes.checked_add(bytes);
            file_bytes = sum.ok_or(malformed("sizes beyond all numbers"))?;
            children.push(Child { cid: link.cid, file_bytes: bytes, dag_bytes: link.dag_bytes });
        }
        if unixfs.file_bytes.is_some_and(|said| said != file_bytes) {
            return Err(malformed("sizes that do not add up"));
        }
        Ok(Self { data, children, file_bytes })
    }
}
