//! What a DAG that somebody else made says of itself, held against what is there: every node of a file has as many of its
//! bytes in and below it as its parents say, and all that lies below a root is counted.
//!
//! Nodes are read, leaves only measured. The walk goes down one path, and a node is done when all below it is: what it came to
//! is all that is remembered of it, so that it is read once, in however many places it stands. The nodes that come next are
//! named ahead. Owns the links of the nodes on the path, and what nodes came to. Never: fetches, verifies a hash; believes
//! a `Tsize`, which other tools leave out or get wrong, and which no reader needs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::content::Content;
use super::directory;
use super::error::{DagError, malformed};
use super::file_node::FileNode;
use super::pb::Node;
use super::unixfs::{NodeKind, UnixFs};
use crate::cid::{Cid, Codec};
use crate::error::Kind;
use crate::limits::{
    AUDIT_DEPTH_MAX, AUDIT_LEAVES_REMEMBERED, AUDIT_LINKS_MAX, AUDIT_NODES_AHEAD, AUDIT_NODES_MAX,
    DAG_DEPTH_MAX, READ_LINKS_MAX,
};

/// Links that are looked at to find a node to name ahead: enough for a few that are done.
const LOOK_AHEAD_LINKS: usize = 8 * AUDIT_NODES_AHEAD;

/// What an audit needs to know next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditStep {
    /// The bytes of a node, by [`Audit::node`].
    Read(Cid),
    /// How long a leaf is, by [`Audit::leaf`].
    Measure(Cid),
}

/// What a DAG came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    /// What it is.
    pub content: Content,
    /// Bytes of all its blocks, those that stand in several places counted in each: what IPFS tools call the cumulative size.
    pub dag_bytes: u64,
}

/// Why a DAG is not what it says. Whoever made it is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// A node that no reader could read.
    #[error("block {cid}: {source}")]
    Block {
        /// Which.
        cid: Cid,
        /// What is wrong with it.
        source: DagError,
    },
    /// A node that says something else of one below it than that one is.
    #[error(
        "block {parent} says that block {child} has {said} bytes of the file, and it has {found}"
    )]
    Sizes {
        /// Who says so.
        parent: Cid,
        /// Of which.
        child: Cid,
        /// How many it should have.
        said: u64,
        /// How many it has.
        found: u64,
    },
    /// More nodes than are looked through.
    #[error("{root} has more than {AUDIT_NODES_MAX} nodes")]
    TooManyNodes {
        /// Of what.
        root: Cid,
    },
    /// A path to a node that is longer, or has more links along it, than is followed.
    #[error(
        "block {cid} lies more than {AUDIT_DEPTH_MAX} levels or {AUDIT_LINKS_MAX} links below the root"
    )]
    TooDeep {
        /// Which.
        cid: Cid,
    },
}

impl AuditError {
    /// Returns the kind of failure this is to whoever wants to keep the content.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Block { .. }
            | Self::Sizes { .. }
            | Self::TooManyNodes { .. }
            | Self::TooDeep { .. } => Kind::Invalid,
        }
    }
}

/// A link, and the bytes of the file that its node says are below it; none in a directory.
#[derive(Clone, Copy, Debug)]
struct Edge {
    cid: Cid,
    said: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// No block: what the root hangs on.
    Start,
    File,
    Directory,
    /// A symbolic link, or data of other programs: kept, and read by nobody here.
    Other,
}

/// A node that was read, and whose links are not done.
#[derive(Debug)]
struct Open {
    cid: Cid,
    shape: Shape,
    /// Bytes of the file in and below it, as it says.
    file_bytes: Option<u64>,
    /// Links to nodes that are not done, the next one last. The last one of all but the deepest is the next on the path.
    nodes: Vec<Edge>,
    /// Links to leaves that were not asked for, the next one last.
    leaves: Vec<Edge>,
    /// Links to leaves that are being measured.
    measuring: usize,
    /// Bytes of it and of all below it that is done.
    dag_bytes: u64,
    /// Levels of the file below it.
    height: usize,
}

/// What a node came to.
#[derive(Clone, Copy, Debug)]
struct Below {
    file_bytes: Option<u64>,
    dag_bytes: u64,
    height: usize,
}

/// Where a leaf that is being measured stands: the place of its node on the path, and what that says.
#[derive(Clone, Copy, Debug)]
struct Place {
    depth: usize,
    said: Option<u64>,
}

/// Walks a DAG and counts what it has. Memory is in proportion to its nodes, some 100 bytes each, whatever their leaves;
/// beside that, the links of the nodes on the path, at most [`AUDIT_LINKS_MAX`].
///
/// The caller decides how many leaves are measured at a time. After an error an audit is of no more use.
#[derive(Debug)]
pub struct Audit {
    root: Cid,
    path: Vec<Open>,
    on_path: BTreeSet<Cid>,
    links_open: usize,
    /// Nodes that were named so far.
    nodes_named: usize,
    reading: BTreeSet<Cid>,
    /// Read ahead of their turn.
    read: BTreeMap<Cid, Open>,
    done: BTreeMap<Cid, Below>,
    measuring: BTreeMap<Cid, Vec<Place>>,
    measured: Measured,
    found: Option<Audited>,
}

impl Audit {
    /// Returns an audit that has seen nothing yet.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        let mut start = Open::new(root, Shape::Start, None, 0);
        start.link(Edge { cid: root, said: None });
        Self {
            root,
            path: vec![start],
            on_path: BTreeSet::new(),
            links_open: 1,
            nodes_named: 0,
            reading: BTreeSet::new(),
            read: BTreeMap::new(),
            done: BTreeMap::new(),
            measuring: BTreeMap::new(),
            measured: Measured::default(),
            found: None,
        }
    }

    /// Returns what is to be found out next; `None` while nothing more can be asked before something is answered, and at the
    /// end. A node is asked for once; a leaf once for a while. Cost: O(depth + log nodes).
    ///
    /// # Errors
    /// Any [`AuditError`].
    pub fn next_step(&mut self) -> Result<Option<AuditStep>, AuditError> {
        loop {
            if let Some(cid) = self.next_node() {
                self.nodes_named += 1;
                if self.nodes_named > AUDIT_NODES_MAX {
                    return Err(AuditError::TooManyNodes { root: self.root });
                }
                self.reading.insert(cid);
                return Ok(Some(AuditStep::Read(cid)));
            }
            let Some(depth) = self.path.iter().rposition(|open| !open.leaves.is_empty()) else {
                return Ok(None);
            };
            let Some(Edge { cid, said }) = self.path[depth].leaves.pop() else { return Ok(None) };
            self.links_open -= 1;
            self.path[depth].measuring += 1;
            let place = Place { depth, said };
            if let Some(bytes) = self.measured.bytes_of(&cid) {
                self.add_leaf(cid, bytes, place)?;
                self.settle()?;
                continue;
            }
            let places = self.measuring.entry(cid).or_default();
            places.push(place);
            if places.len() == 1 {
                return Ok(Some(AuditStep::Measure(cid)));
            }
        }
    }

    /// Gives the bytes of a node that was asked for, verified against `cid`. Cost: O(bytes).
    ///
    /// # Errors
    /// Any [`AuditError`].
    pub fn node(&mut self, cid: Cid, bytes: &Bytes) -> Result<(), AuditError> {
        if self.reading.remove(&cid) {
            let open = Open::of(cid, bytes).map_err(|source| AuditError::Block { cid, source })?;
            self.read.insert(cid, open);
            self.settle()?;
        }
        Ok(())
    }

    /// Says how long a leaf is that was asked for; one that nobody asked for is passed over.
    ///
    /// # Errors
    /// Any [`AuditError`].
    pub fn leaf(&mut self, cid: Cid, bytes: u64) -> Result<(), AuditError> {
        let Some(places) = self.measuring.remove(&cid) else { return Ok(()) };
        self.measured.remember(cid, bytes);
        for place in places {
            self.add_leaf(cid, bytes, place)?;
        }
        self.settle()
    }

    /// Says whether a leaf was asked for and is not measured yet.
    #[must_use]
    pub fn wants_leaf(&self, cid: &Cid) -> bool {
        self.measuring.contains_key(cid)
    }

    /// Returns what the DAG came to, once all of it was looked through.
    #[must_use]
    pub const fn found(&self) -> Option<Audited> {
        self.found
    }

    /// Returns a node to read that nobody was asked for: the one that the walk needs now, or one that it will need soon.
    fn next_node(&self) -> Option<Cid> {
        let is_new = |cid: &Cid| {
            let sets = [&self.reading, &self.on_path];
            !sets.iter().any(|set| set.contains(cid))
                && !self.read.contains_key(cid)
                && !self.done.contains_key(cid)
        };
        let (top, others) = self.path.split_last()?;
        // In any case: else nodes that were read ahead could keep it from being read.
        if let Some(edge) = top.nodes.last()
            && is_new(&edge.cid)
        {
            return Some(edge.cid);
        }
        if self.reading.len() + self.read.len() >= AUDIT_NODES_AHEAD {
            return None;
        }
        let others = others.iter().rev().flat_map(|open| open.nodes.iter().rev().skip(1));
        let ahead = top.nodes.iter().rev().chain(others).map(|edge| edge.cid);
        ahead.take(LOOK_AHEAD_LINKS).find(is_new)
    }

    fn add_leaf(&mut self, cid: Cid, bytes: u64, place: Place) -> Result<(), AuditError> {
        let open = &mut self.path[place.depth];
        open.measuring -= 1;
        let below = Below { file_bytes: Some(bytes), dag_bytes: bytes, height: 0 };
        open.add(Edge { cid, said: place.said }, below)
    }

    /// Goes on along the path as far as it is known.
    fn settle(&mut self) -> Result<(), AuditError> {
        while let Some(top) = self.path.last_mut() {
            if let Some(edge) = top.nodes.last().copied() {
                if let Some(below) = self.done.get(&edge.cid) {
                    top.nodes.pop();
                    self.links_open -= 1;
                    top.add(edge, *below)?;
                } else if let Some(open) = self.read.remove(&edge.cid) {
                    self.enter(open)?;
                } else {
                    return Ok(());
                }
            } else if top.leaves.is_empty() && top.measuring == 0 {
                self.leave();
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    fn enter(&mut self, open: Open) -> Result<(), AuditError> {
        let cid = open.cid;
        if self.path.len() == 1 && open.shape == Shape::Other {
            return Err(AuditError::Block { cid, source: DagError::NotAFile });
        }
        self.links_open += open.nodes.len() + open.leaves.len();
        if self.path.len() > AUDIT_DEPTH_MAX || self.links_open > AUDIT_LINKS_MAX {
            return Err(AuditError::TooDeep { cid });
        }
        self.on_path.insert(cid);
        self.path.push(open);
        Ok(())
    }

    /// Takes the deepest node off the path: all below it is done.
    fn leave(&mut self) {
        let Some(open) = self.path.pop() else { return };
        let Open { cid, shape, file_bytes, dag_bytes, height, .. } = open;
        if shape != Shape::Start {
            self.on_path.remove(&cid);
            self.done.insert(cid, Below { file_bytes, dag_bytes, height });
            return;
        }
        let size = match self.root.codec() {
            Codec::Raw => Some(dag_bytes),
            Codec::DagPb => self.done.get(&self.root).and_then(|below| below.file_bytes),
        };
        let content = size.map_or(Content::Directory, |size| Content::File { size });
        self.found = Some(Audited { content, dag_bytes });
    }
}

impl Open {
    fn new(cid: Cid, shape: Shape, file_bytes: Option<u64>, dag_bytes: u64) -> Self {
        let (nodes, leaves) = (Vec::new(), Vec::new());
        Self { cid, shape, file_bytes, nodes, leaves, measuring: 0, dag_bytes, height: 0 }
    }

    /// Returns the node of a dag-pb block.
    fn of(cid: Cid, bytes: &Bytes) -> Result<Self, DagError> {
        let node = Node::decode(bytes, READ_LINKS_MAX)?;
        let kind = match &node.data {
            Some(message) => UnixFs::decode(message)?.kind,
            None => NodeKind::Metadata,
        };
        let (shape, file) = match kind {
            NodeKind::File | NodeKind::Raw => (Shape::File, Some(FileNode::decode(bytes)?)),
            NodeKind::Directory | NodeKind::HamtShard => {
                directory::parse_node(bytes)?;
                (Shape::Directory, None)
            }
            NodeKind::Metadata | NodeKind::Symlink => (Shape::Other, None),
        };
        let file_bytes = file.as_ref().map(|file| file.file_bytes);
        let mut open = Self::new(cid, shape, file_bytes, bytes.len() as u64);
        match file {
            Some(file) => file.children.iter().rev().for_each(|child| {
                open.link(Edge { cid: child.cid, said: Some(child.file_bytes) });
            }),
            None => node.links.iter().rev().for_each(|link| {
                open.link(Edge { cid: link.cid, said: None });
            }),
        }
        Ok(open)
    }

    fn link(&mut self, edge: Edge) {
        match edge.cid.codec() {
            Codec::Raw => self.leaves.push(edge),
            Codec::DagPb => self.nodes.push(edge),
        }
    }

    /// Counts what is below a link, and holds it against what this node says.
    fn add(&mut self, edge: Edge, below: Below) -> Result<(), AuditError> {
        let wrong = |cid, source| Err(AuditError::Block { cid, source });
        if let Some(said) = edge.said {
            let Some(found) = below.file_bytes else {
                return wrong(edge.cid, DagError::NotAFile);
            };
            if found != said {
                let (parent, child) = (self.cid, edge.cid);
                return Err(AuditError::Sizes { parent, child, said, found });
            }
            self.height = self.height.max(below.height + 1);
            if self.height > DAG_DEPTH_MAX {
                return wrong(self.cid, malformed("deeper than a DAG may be"));
            }
        }
        match self.dag_bytes.checked_add(below.dag_bytes) {
            Some(sum) => self.dag_bytes = sum,
            None => return wrong(self.cid, malformed("sizes beyond all numbers")),
        }
        Ok(())
    }
}

/// The leaves that were measured last, at most [`AUDIT_LEAVES_REMEMBERED`]: runs of equal ones (zeros) are measured once.
#[derive(Debug, Default)]
struct Measured {
    bytes: BTreeMap<Cid, u64>,
    order: VecDeque<Cid>,
}

impl Measured {
    fn remember(&mut self, cid: Cid, bytes: u64) {
        if self.bytes.insert(cid, bytes).is_some() {
            return;
        }
        self.order.push_back(cid);
        if self.order.len() > AUDIT_LEAVES_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes.remove(&oldest);
        }
    }

    fn bytes_of(&self, cid: &Cid) -> Option<u64> {
        self.bytes.get(cid).copied()
    }
}
