//! UnixFS: the data of a dag-pb node, which says what part of a file or directory the node is.
//!
//! Mode and time of files by other tools are skipped; the profile has none.
//! Never: judges whether a node fits its links; readers do.
//! Source: the UnixFS specification of IPFS.

use bytes::Bytes;

use super::error::{DagError, malformed};
use super::pb::{Fields, Value, put_bytes, put_number, set_once};
use crate::limits::READ_LINKS_MAX;

const KIND: u64 = 1;
const DATA: u64 = 2;
const FILE_BYTES: u64 = 3;
const BLOCK_SIZES: u64 = 4;
const HASH: u64 = 5;
const FANOUT: u64 = 6;

/// What a node is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    /// A leaf of a file, by old tools.
    Raw,
    /// A flat directory.
    Directory,
    /// A file, or a part of one.
    File,
    /// Data about a file; nobody makes these.
    Metadata,
    /// A symbolic link.
    Symlink,
    /// A part of a directory that is spread over many nodes.
    HamtShard,
}

impl NodeKind {
    const ALL: [Self; 6] =
        [Self::Raw, Self::Directory, Self::File, Self::Metadata, Self::Symlink, Self::HamtShard];

    const fn code(self) -> u64 {
        match self {
            Self::Raw => 0,
            Self::Directory => 1,
            Self::File => 2,
            Self::Metadata => 3,
            Self::Symlink => 4,
            Self::HamtShard => 5,
        }
    }
}

/// The UnixFS data of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnixFs {
    pub(super) kind: NodeKind,
    /// Bytes of a file that lie in the node itself, or the bit field of a HAMT.
    pub(super) data: Option<Bytes>,
    /// Bytes of the file below the node.
    pub(super) file_bytes: Option<u64>,
    /// For each link, the bytes of the file below it.
    pub(super) block_sizes: Vec<u64>,
    /// Multicodec of the hash that spreads a HAMT.
    pub(super) hash: Option<u64>,
    /// Slots of a HAMT node.
    pub(super) fanout: Option<u64>,
}

impl UnixFs {
    pub(super) const fn new(kind: NodeKind) -> Self {
        let block_sizes = Vec::new();
        Self { kind, data: None, file_bytes: None, block_sizes, hash: None, fanout: None }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64 + 6 * self.block_sizes.len());
        put_number(&mut out, KIND, self.kind.code());
        if let Some(data) = &self.data {
            put_bytes(&mut out, DATA, data);
        }
        if let Some(bytes) = self.file_bytes {
            put_number(&mut out, FILE_BYTES, bytes);
        }
        for size in &self.block_sizes {
            put_number(&mut out, BLOCK_SIZES, *size);
        }
        if let Some(hash) = self.hash {
            put_number(&mut out, HASH, hash);
        }
        if let Some(fanout) = self.fanout {
            put_number(&mut out, FANOUT, fanout);
        }
        out.into()
    }

    /// Returns what `message` says. Fields of later versions are skipped.
    pub(super) fn decode(message: &Bytes) -> Result<Self, DagError> {
        let mut read = Self::new(NodeKind::Raw);
        let mut kind = None;
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (KIND, Value::Number(code)) => {
                    let known = NodeKind::ALL.into_iter().find(|kind| kind.code() == code);
                    set_once(&mut kind, known.ok_or(malformed("an unknown kind of node"))?)?;
                }
                (DATA, Value::Bytes(data)) => set_once(&mut read.data, message.slice_ref(data))?,
                (FILE_BYTES, Value::Number(bytes)) => set_once(&mut read.file_bytes, bytes)?,
                (BLOCK_SIZES, Value::Number(size)) => read.push_block_size(size)?,
                (BLOCK_SIZES, Value::Bytes(packed)) => {
                    let mut sizes = Fields::new(packed);
                    while !sizes.is_empty() {
                        read.push_block_size(sizes.number()?)?;
                    }
                }
                (HASH, Value::Number(code)) => set_once(&mut read.hash, code)?,
                (FANOUT, Value::Number(slots)) => set_once(&mut read.fanout, slots)?,
                (KIND..=FANOUT, _) => return Err(malformed("a field of the wrong form")),
                _ => {}
            }
        }
        read.kind = kind.ok_or(malformed("no kind of node"))?;
        Ok(read)
    }

    fn push_block_size(&mut self, size: u64) -> Result<(), DagError> {
        if self.block_sizes.len() >= READ_LINKS_MAX {
            return Err(malformed("more block sizes than a node may have"));
        }
        self.block_sizes.push(size);
        Ok(())
    }
}
