//! Reading a range of a file: which blocks it needs, and its bytes in order.
//!
//! A reader knows parts of the file by where they start. A part is *known* from its parent, then *named*
//! to the caller, then *supplied*: a leaf becomes bytes that are ready, a node its children.
//! Leaves are named in the order of the file, never past a node that is still awaited, so that the
//! caller's window fills with the bytes that are due first. Nodes are named some way ahead.
//! Owns the ready bytes, and the links of the nodes on the path. Never: fetches, verifies a hash.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::error::{DagError, malformed};
use super::file_node::{Child, FileNode};
use crate::cid::{Cid, Codec};
use crate::limits::{
    BLOCK_BYTES_MAX, DAG_DEPTH_MAX, NODE_AHEAD_BYTES, NODES_AHEAD_MAX, READ_LINKS_AHEAD_MAX,
    READ_LINKS_MAX,
};

/// Which bytes of a file are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// Byte after the last; `None` for the end of the file. Cut to the file.
    pub end: Option<u64>,
}

/// A block to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub cid: Cid,
    /// Bytes that it should have; 0 if unknown, as for the root and interior nodes.
    pub bytes_hint: u64,
}

/// A part of the file that begins at a known place.
#[derive(Clone, Copy, Debug)]
struct Part {
    cid: Cid,
    /// Bytes of the file in it; `None` for the root.
    bytes: Option<u64>,
    bytes_hint: u64,
    depth: usize,
}

/// Reads a range of a file from blocks that its caller fetches.
///
/// A file may have the same block in several places. Each is named by itself, and supplying the block
/// once serves all places that were named until then; a block that nobody awaits is ignored.
///
/// How far ahead to ask is the caller's choice, by what is under way and [`Reader::bytes_ready`]; and by
/// the count of blocks, because a file may have leaves of one byte.
/// When nothing is under way and [`Reader::next_bytes`] gives none, ask, however full the window seems.
/// After an error a reader does not finish.
#[derive(Debug)]
pub struct Reader {
    wanted: ByteRange,
    size: Option<u64>,
    /// What is still to be handed out. Empty until the size is known.
    left: Range<u64>,
    /// Known and not named, by the place in the file: what should be leaves, and what cannot be.
    leaves: BTreeMap<u64, Part>,
    nodes: BTreeMap<u64, Part>,
    /// Named and not supplied.
    awaited: BTreeMap<u64, Part>,
    awaited_by_cid: BTreeMap<Cid, BTreeSet<u64>>,
    /// Of these, what cannot be a leaf; and what may have links, be it taken for a leaf or not.
    awaited_nodes: BTreeSet<u64>,
    awaited_dag_pb: BTreeSet<u64>,
    /// Supplied and not handed out, cut to the range.
    ready: BTreeMap<u64, Bytes>,
    bytes_ready: u64,
}

impl Reader {
    /// Returns a reader that wants the root first.
    #[must_use]
    pub fn new(root: Cid, range: ByteRange) -> Self {
        let part = Part { cid: root, bytes: None, bytes_hint: 0, depth: 0 };
        Self {
            wanted: range,
            size: None,
            left: 0..0,
            leaves: BTreeMap::new(),
            nodes: BTreeMap::from([(0, part)]),
            awaited: BTreeMap::new(),
            awaited_by_cid: BTreeMap::new(),
            awaited_nodes: BTreeSet::new(),
            awaited_dag_pb: BTreeSet::new(),
            ready: BTreeMap::new(),
            bytes_ready: 0,
        }
    }

    /// Returns the next block to fetch, or `None` while nothing more can be named before something
    /// is supplied, and when all was named.
    ///
    /// Every place of the file is named once; only a node that comes when [`READ_LINKS_AHEAD_MAX`] links
    /// are known ahead is dropped, and named again in its turn. No sane file has one.
    /// Cost: O(log links).
    pub fn next_wanted(&mut self) -> Option<Wanted> {
        let naming_at = self.naming_at()?;
        if let Some((start, part)) =
            self.nodes.first_key_value().map(|(start, part)| (*start, *part))
            && self.may_name_node(start, naming_at)
        {
            self.nodes.remove(&start);
            self.awaited_nodes.insert(start);
            return Some(self.name(start, part));
        }
        // Only a leaf that comes before every node, be it awaited or not named yet.
        let part = self.leaves.remove(&naming_at)?;
        Some(self.name(naming_at, part))
    }

    /// Gives a block that was named, in any order. `bytes` were verified against `cid`.
    ///
    /// Cost: O(1) for a leaf, O(links · log links) for a node.
    ///
    /// # Errors
    /// [`DagError`] if the block does not fit the DAG, the content is no file, or the range lies outside.
    pub fn supply(&mut self, cid: Cid, bytes: Bytes) -> Result<(), DagError> {
        let Some(places) = self.awaited_by_cid.remove(&cid) else { return Ok(()) };
        if bytes.len() > BLOCK_BYTES_MAX as usize {
            return Err(malformed("larger than any block may be"));
        }
        let content = match cid.codec() {
            Codec::Raw => FileNode::leaf(bytes),
            Codec::DagPb => FileNode::decode(&bytes)?,
        };
        for start in places {
            self.awaited_nodes.remove(&start);
            self.awaited_dag_pb.remove(&start);
            if let Some(part) = self.awaited.remove(&start) {
                self.place(start, part, &content)?;
            }
        }
        Ok(())
    }

    /// Returns the next bytes of the range, in order; `None` while they are not there, and at the end.
    /// Never empty.
    pub fn next_bytes(&mut self) -> Option<Bytes> {
        let bytes = self.ready.remove(&self.left.start)?;
        self.left.start += bytes.len() as u64;
        self.bytes_ready -= bytes.len() as u64;
        Some(bytes)
    }

    /// Returns the bytes of the whole file, once the root was supplied.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Returns how many bytes were supplied and wait to be handed out.
    #[must_use]
    pub const fn bytes_ready(&self) -> u64 {
        self.bytes_ready
    }

    /// Says whether everything of the range was handed out.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.size.is_some() && self.left.is_empty()
    }

    fn may_name_node(&self, start: u64, naming_at: u64) -> bool {
        self.is_due(start)
            || (start - naming_at <= NODE_AHEAD_BYTES
                && self.awaited_nodes.len() < NODES_AHEAD_MAX
                && self.links_known() + READ_LINKS_MAX * (self.awaited_nodes.len() + 1)
                    <= READ_LINKS_AHEAD_MAX)
    }

    /// Returns how many links are remembered and not named: what hostile DAGs would like to be many.
    pub(super) fn links_known(&self) -> usize {
        self.leaves.len() + self.nodes.len()
    }

    fn name(&mut self, start: u64, part: Part) -> Wanted {
        self.awaited.insert(start, part);
        if part.cid.codec() == Codec::DagPb {
            self.awaited_dag_pb.insert(start);
        }
        self.awaited_by_cid.entry(part.cid).or_default().insert(start);
        Wanted { cid: part.cid, bytes_hint: part.bytes_hint }
    }

    /// Puts the content of a part where the part was.
    fn place(&mut self, start: u64, part: Part, content: &FileNode) -> Result<(), DagError> {
        match part.bytes {
            None => self.learn_size(content.file_bytes)?,
            Some(bytes) if bytes != content.file_bytes => {
                return Err(malformed("not as many bytes as its parent says"));
            }
            Some(_) => {}
        }
        // Children that come early are remembered only while they are few; those that are due always,
        // so that reading goes on.
        let links = content.children.len();
        let is_too_many = links > 0 && self.links_known() + links > READ_LINKS_AHEAD_MAX;
        if is_too_many && !self.is_due(start) {
            self.nodes.insert(start, part);
            return Ok(());
        }
        let data_end = start + content.data.len() as u64;
        self.put_ready(start..data_end, &content.data);
        let mut child_start = data_end;
        for child in &content.children {
            let end = child_start + child.file_bytes;
            if child_start < self.left.end && end > self.left.start && end > child_start {
                self.learn_child(child_start, child, part.depth + 1)?;
            }
            child_start = end;
        }
        Ok(())
    }

    fn learn_size(&mut self, size: u64) -> Result<(), DagError> {
        let start = self.wanted.start;
        let end = self.wanted.end.unwrap_or(size).min(size);
        if start > end {
            return Err(DagError::RangeOutside { start, size });
        }
        self.size = Some(size);
        self.left = start..end;
        Ok(())
    }

    fn learn_child(&mut self, start: u64, child: &Child, depth: usize) -> Result<(), DagError> {
        if depth > DAG_DEPTH_MAX {
            return Err(malformed("deeper than a DAG may be"));
        }
        let mut part = Part { cid: child.cid, bytes: Some(child.file_bytes), bytes_hint: 0, depth };
        let fits_block = child.file_bytes <= u64::from(BLOCK_BYTES_MAX);
        match child.cid.codec() {
            Codec::Raw if !fits_block => return Err(malformed("a leaf larger than any block")),
            // Other tools wrap leaves into nodes. What fits a block is taken for one of those: if it is
            // not, the parts after it were named a little early, and no more.
            Codec::DagPb if !fits_block => {
                self.nodes.insert(start, part);
            }
            Codec::Raw | Codec::DagPb => {
                part.bytes_hint = child.bytes_hint();
                self.leaves.insert(start, part);
            }
        }
        Ok(())
    }

    /// Returns where the first part lies that was not named, or whose children cannot be yet.
    fn naming_at(&self) -> Option<u64> {
        let leaf = self.leaves.first_key_value().map(|(start, _)| *start);
        let node = self.nodes.first_key_value().map(|(start, _)| *start);
        [leaf, node, self.awaited_nodes.first().copied()].into_iter().flatten().min()
    }

    /// Says whether no part before `start` is unnamed, or awaited and perhaps with links.
    fn is_due(&self, start: u64) -> bool {
        let awaited = self.awaited_dag_pb.first().copied();
        [self.naming_at(), awaited].into_iter().flatten().all(|other| start <= other)
    }

    /// Keeps of `bytes`, which lie at `place` in the file, what is in the range.
    fn put_ready(&mut self, place: Range<u64>, bytes: &Bytes) {
        let start = place.start.max(self.left.start);
        let end = place.end.min(self.left.end);
        if start >= end {
            return;
        }
        let offset = |at: u64| usize::try_from(at - place.start).unwrap_or(usize::MAX);
        self.ready.insert(start, bytes.slice(offset(start)..offset(end)));
        self.bytes_ready += end - start;
    }
}
