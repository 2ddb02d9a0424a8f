//! What a root is: the first question about content of which only the name is known.
//!
//! Never: looks below the root block.

use bytes::Bytes;

use super::directory;
use super::error::DagError;
use super::file_node::FileNode;
use crate::cid::{Cid, Codec};

/// What the DAG of a root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file.
    File {
        /// Its bytes, as the root says. Readers check it on the way.
        size: u64,
    },
    /// A directory.
    Directory,
}

impl Content {
    /// Returns what the block `cid` with the verified `bytes` is the root of. Cost: O(bytes).
    ///
    /// # Errors
    /// [`DagError::NotAFile`] if it is neither, or what is wrong with the block.
    pub fn of_root(cid: Cid, bytes: &Bytes) -> Result<Self, DagError> {
        let node = match cid.codec() {
            Codec::Raw => Ok(FileNode::leaf(bytes.clone())),
            Codec::DagPb => FileNode::decode(bytes),
        };
        match node {
            Ok(node) => Ok(Self::File { size: node.file_bytes }),
            Err(DagError::IsDirectory) => directory::parse_node(bytes).map(|_| Self::Directory),
            Err(err) => Err(err),
        }
    }
}
