//! Directories: names that lead to files and other directories.
//!
//! A directory whose block would be too large is spread over many nodes, as a HAMT.
//! Names from other peers may be made to write outside a target directory; none such is let through.
//! Never: knows what an entry is before its block is there; follows entries into other directories.
//! Source: UnixFS specification; profile `unixfs-v1-2025` (IPIP-0499).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::error::{DagError, malformed};
use super::file::{Block, Root};
use super::hamt::{self, Path, Shard};
use super::pb::{Link, Node};
use super::unixfs::{NodeKind, UnixFs};
use crate::cid::{Cid, Codec};
use crate::limits::DIRECTORY_BYTES_MAX;

/// Characters of a wrong name that an error repeats.
const NAME_CHARS_SHOWN: usize = 80;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name: not empty, not `.` or `..`, without `/` and NUL.
    pub name: String,
    /// Root of the file or directory.
    pub cid: Cid,
    /// Bytes of all its blocks, as in [`Root::dag_bytes`]. When read: what the directory's maker says.
    pub dag_bytes: u64,
}

/// What one block of a directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirNode {
    /// Entries that lie in the block itself.
    pub entries: Vec<Entry>,
    /// Blocks that hold more entries of the same directory: only in a HAMT.
    pub shards: Vec<Cid>,
}

/// Builds a directory of `entries`, in any order, and appends its blocks to `out`, the root at the end.
///
/// Cost: O(entries · log entries), and SHA-256 over some 60 bytes an entry.
///
/// # Errors
/// [`DagError::NameInvalid`] or [`DagError::NameTwice`], before anything is appended;
/// [`DagError::Malformed`] if names were made to have the same hash.
pub fn build(mut entries: Vec<Entry>, out: &mut Vec<Block>) -> Result<Root, DagError> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in &entries {
        check_name(&entry.name)?;
    }
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(DagError::NameTwice { name: shown(&pair[0].name) });
    }
    let below: u64 = entries.iter().map(|entry| entry.dag_bytes).sum();
    let link = |entry: &Entry| Link {
        cid: entry.cid,
        name: Bytes::copy_from_slice(entry.name.as_bytes()),
        dag_bytes: entry.dag_bytes,
    };
    let data = Some(UnixFs::new(NodeKind::Directory).encode());
    let flat = Node { links: entries.iter().map(link).collect(), data };
    if flat.encoded_len() > DIRECTORY_BYTES_MAX {
        return hamt::build(&entries, out);
    }
    let block = Block::of_node(&flat);
    let root = Root { cid: block.cid, size: 0, dag_bytes: below + block.bytes.len() as u64 };
    out.push(block);
    Ok(root)
}

/// Returns what a dag-pb block of a directory holds. [`Listing`] does this for a whole directory.
///
/// Entries of one block have distinct names; those of several shards need not, if their maker is hostile.
/// Cost: O(bytes).
///
/// # Errors
/// [`DagError::NotADirectory`], or what is wrong with the block or a name in it.
pub fn parse_node(block: &Bytes) -> Result<DirNode, DagError> {
    match Parsed::of(block)? {
        Parsed::Flat(entries) => Ok(DirNode { entries, shards: Vec::new() }),
        Parsed::Shard(shard) => {
            let entries = shard.entries.into_iter().map(|(_, entry)| entry).collect();
            let shards = shard.shards.into_iter().map(|(_, cid)| cid).collect();
            Ok(DirNode { entries, shards })
        }
    }
}

enum Parsed {
    Flat(Vec<Entry>),
    Shard(Shard),
}

impl Parsed {
    fn of(block: &Bytes) -> Result<Self, DagError> {
        let node = Node::decode(block, usize::MAX)?;
        let message = node.data.ok_or(DagError::NotADirectory)?;
        let unixfs = UnixFs::decode(&message)?;
        match unixfs.kind {
            NodeKind::HamtShard => Shard::read(&node.links, &unixfs).map(Self::Shard),
            NodeKind::Directory => {
                let entries = node.links.iter().map(|link| entry_of(link, &link.name));
                let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
                let mut names = BTreeSet::new();
                if let Some(twice) = entries.iter().find(|entry| !names.insert(&entry.name)) {
                    return Err(DagError::NameTwice { name: shown(&twice.name) });
                }
                Ok(Self::Flat(entries))
            }
            NodeKind::Raw | NodeKind::File | NodeKind::Metadata | NodeKind::Symlink => {
                Err(DagError::NotADirectory)
            }
        }
    }
}

/// Reads all entries of a directory from blocks that its caller fetches.
///
/// Every entry is where its name's hash says, so no name occurs twice, and no small set of blocks can
/// stand for an endless directory. After an error a listing is of no more use.
#[derive(Debug)]
pub struct Listing {
    /// Known and not named; deepest last, so that there are few.
    known: Vec<Cid>,
    /// Known and not supplied.
    missing: BTreeMap<Cid, Path>,
}

impl Listing {
    /// Returns a listing that wants the root first.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self { known: vec![root], missing: BTreeMap::from([(root, Path::default())]) }
    }

    /// Returns the next block to fetch, each once; `None` while nothing more can be named.
    pub fn next_wanted(&mut self) -> Option<Cid> {
        self.known.pop()
    }

    /// Gives a block that was named, in any order, and returns the entries in it.
    /// `bytes` were verified against `cid`. A block that nobody awaits has none.
    ///
    /// # Errors
    /// As [`parse_node`], or [`DagError::Malformed`] if an entry is not where it belongs.
    pub fn supply(&mut self, cid: Cid, bytes: &Bytes) -> Result<Vec<Entry>, DagError> {
        let Some(path) = self.missing.remove(&cid) else { return Ok(Vec::new()) };
        if cid.codec() == Codec::Raw {
            return Err(DagError::NotADirectory);
        }
        let shard = match Parsed::of(bytes)? {
            Parsed::Flat(entries) if path == Path::default() => return Ok(entries),
            Parsed::Flat(_) => return Err(malformed("a directory in place of a part of one")),
            Parsed::Shard(shard) => shard,
        };
        path.check(&shard)?;
        for (slot, cid) in shard.shards.iter().rev() {
            // A part of two places would be wrong in one of them.
            if self.missing.insert(*cid, path.below(&shard, *slot)).is_some() {
                return Err(malformed("a part of a directory in two places"));
            }
            self.known.push(*cid);
        }
        Ok(shard.entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Says whether all entries were returned.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Returns the entry of a link, whose name is `name`.
pub(super) fn entry_of(link: &Link, name: &[u8]) -> Result<Entry, DagError> {
    let name = core::str::from_utf8(name).map_err(|_| malformed("a name that is not UTF-8"))?;
    check_name(name)?;
    Ok(Entry { name: name.to_owned(), cid: link.cid, dag_bytes: link.dag_bytes })
}

fn check_name(name: &str) -> Result<(), DagError> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(DagError::NameInvalid { name: shown(name) });
    }
    Ok(())
}

fn shown(name: &str) -> String {
    name.chars().take(NAME_CHARS_SHOWN).collect()
}
