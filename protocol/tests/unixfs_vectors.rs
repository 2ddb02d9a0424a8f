//! Roots of files and directories, compared with those that IPFS tools computed.
//!
//! `vectors/unixfs-v1-2025.jsonl`: one vector a line. How the bytes are made is told at [`Stream`].

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::dag::directory::{self, Entry, Listing};
use protocol::dag::{Block, Chunker, FileBuilder, Root, Splitter};
use protocol::limits::DIRECTORY_BYTES_MAX;
use protocol::{Cid, Codec};
use serde_json::Value;

const VECTORS: &str = include_str!("vectors/unixfs-v1-2025.jsonl");

/// Files above this are hashed by optimised builds only: others take minutes for them.
const DEBUG_BYTES_MAX: u64 = 16 << 20;

/// The bytes of a vector: 32-bit word number `i` is `mix(seed + (i + 1) * 0x9E3779B9)`, little-endian.
struct Stream {
    state: u32,
    left: u64,
}

impl Stream {
    fn new(seed: u32, bytes: u64) -> Self {
        Self { state: seed, left: bytes }
    }

    fn word(&mut self) -> [u8; 4] {
        self.state = self.state.wrapping_add(0x9E37_79B9);
        let mut x = self.state;
        x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
        x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
        (x ^ (x >> 16)).to_le_bytes()
    }

    /// Returns the next bytes: `bytes_max`, a multiple of 4, or what is left.
    fn next(&mut self, bytes_max: usize) -> Option<Bytes> {
        let len = self.left.min(bytes_max as u64);
        self.left -= len;
        let len = usize::try_from(len).unwrap();
        let mut bytes = Vec::with_capacity(len + 4);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.word());
        }
        bytes.truncate(len);
        (len > 0).then(|| bytes.into())
    }
}

fn build_file(seed: u64, size: u64) -> Root {
    let mut stream = Stream::new(u32::try_from(seed % (1 << 32)).unwrap(), size);
    let mut splitter = Splitter::new(Chunker::Fixed);
    let mut builder = FileBuilder::new();
    let mut nodes: Vec<Block> = Vec::new();
    let mut chunks = Vec::new();
    let mut take = |chunks: &mut Vec<Bytes>| {
        for chunk in chunks.drain(..) {
            let cid = Cid::of(Codec::Raw, &chunk);
            builder.leaf(cid, u32::try_from(chunk.len()).unwrap(), &mut nodes);
        }
    };
    while let Some(bytes) = stream.next(100_000) {
        splitter.push(bytes, &mut chunks);
        take(&mut chunks);
    }
    splitter.finish(&mut chunks);
    take(&mut chunks);
    let root = builder.finish(&mut nodes);
    if let Some(last) = nodes.last() {
        assert_eq!(last.cid, root.cid, "the root comes last");
    }
    let nodes_bytes: u64 = nodes.iter().map(|node| node.bytes.len() as u64).sum();
    assert_eq!((root.size, root.dag_bytes), (size, size + nodes_bytes));
    root
}

fn vectors() -> impl Iterator<Item = (String, Value)> {
    VECTORS.lines().map(|line| {
        let vector: Value = serde_json::from_str(line).unwrap();
        (vector["name"].as_str().unwrap().to_owned(), vector)
    })
}

#[test]
fn every_file_has_the_root_that_ipfs_tools_compute() {
    let mut count = 0;
    for (name, vector) in vectors().filter(|(name, _)| name.starts_with("file-")) {
        let size = vector["size"].as_u64().unwrap();
        if cfg!(debug_assertions) && size > DEBUG_BYTES_MAX {
            continue;
        }
        let root = build_file(vector["seed"].as_u64().unwrap(), size);
        assert_eq!(root.cid.to_string(), vector["cid"], "{name}");
        count += 1;
    }
    assert!(count >= 10, "{count} vectors were checked");
}

/// A directory as the vectors tell it: paths, with the bytes of each file.
type Tree = Vec<(String, u64)>;

/// Builds the directory of `files`, whose numbers choose their bytes, and those in it.
fn build_tree(files: &[(usize, &str, u64)], blocks: &mut Vec<Block>) -> Root {
    let mut entries = Vec::new();
    let mut below: BTreeMap<&str, Vec<(usize, &str, u64)>> = BTreeMap::new();
    for (number, path, size) in files {
        if let Some((name, rest)) = path.split_once('/') {
            below.entry(name).or_default().push((*number, rest, *size));
        } else {
            let root = build_file(1000 + *number as u64, *size);
            entries.push(entry(path, root));
        }
    }
    for (name, files) in below {
        let root = build_tree(&files, blocks);
        entries.push(entry(name, root));
    }
    directory::build(entries, blocks).unwrap()
}

fn entry(name: &str, root: Root) -> Entry {
    Entry { name: name.to_owned(), cid: root.cid, dag_bytes: root.dag_bytes }
}

fn numbered(count: usize, digits: usize) -> Tree {
    (0..count).map(|number| (format!("f{number:0digits$}"), 3)).collect()
}

fn tree_of(name: &str, vector: &Value) -> Tree {
    let length = |field: &str| usize::try_from(vector[field].as_u64().unwrap()).unwrap();
    match name {
        "dir-empty" => Vec::new(),
        "dir-one" => vec![("a.txt".into(), 5)],
        "dir-nested" => [
            ("readme.md", 100),
            ("z/last", 1),
            ("sub/a", 3),
            ("sub/deeper/b+c %.bin", 70_000),
            ("sub/deeper/big", (3 << 20) + 5),
            ("ünï/日本.txt", 9),
            ("A", 1),
            ("a", 2),
            (".hidden", 4),
        ]
        .map(|(path, size)| (path.to_owned(), size))
        .into(),
        "dir-flat-1000" => numbered(1000, 7),
        "dir-hamt-6000" => numbered(6000, 13),
        "dir-hamt-nested" => {
            let big = numbered(6000, 13).into_iter();
            let mut tree: Tree = big.map(|(name, size)| (format!("big/{name}"), size)).collect();
            tree.push(("small/x".into(), 1));
            tree
        }
        "dir-edge-flat" | "dir-edge-hamt" => {
            let mut tree = numbered(length("entries"), length("name_len") - 1);
            tree.last_mut().unwrap().0 = format!("z{}", "y".repeat(length("last_name_len") - 1));
            tree
        }
        _ => panic!("{name} is not known"),
    }
}

#[test]
fn every_directory_has_the_root_that_ipfs_tools_compute() {
    let mut count = 0;
    for (name, vector) in vectors().filter(|(name, _)| name.starts_with("dir-")) {
        let tree = tree_of(&name, &vector);
        assert_eq!(tree.len() as u64, vector["entries"].as_u64().unwrap());
        let files = tree.iter().enumerate();
        let files = files.map(|(number, (path, size))| (number, path.as_str(), *size));
        let mut blocks = Vec::new();
        let root = build_tree(&files.collect::<Vec<_>>(), &mut blocks);
        assert_eq!(root.cid.to_string(), vector["cid"], "{name}");
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn a_block_of_the_largest_size_is_a_flat_directory_and_a_listing_gives_back_every_entry() {
    for (name, vector) in vectors().filter(|(name, _)| name.starts_with("dir-edge")) {
        let tree = tree_of(&name, &vector);
        let files = tree.iter().enumerate();
        let mut blocks = Vec::new();
        let files = files.map(|(number, (path, size))| (number, path.as_str(), *size));
        let root = build_tree(&files.collect::<Vec<_>>(), &mut blocks);
        assert_eq!(blocks.len() > 1, vector["hamt"].as_bool().unwrap());
        if blocks.len() == 1 {
            assert_eq!(blocks[0].bytes.len(), DIRECTORY_BYTES_MAX);
        }
        let blocks: BTreeMap<Cid, Bytes> =
            blocks.into_iter().map(|block| (block.cid, block.bytes)).collect();
        let mut listing = Listing::new(root.cid);
        let mut names = Vec::new();
        while let Some(cid) = listing.next_wanted() {
            let entries = listing.supply(cid, &blocks[&cid]).unwrap();
            names.extend(entries.into_iter().map(|entry| entry.name));
        }
        assert!(listing.is_finished());
        names.sort();
        assert!(names.iter().eq(tree.iter().map(|(name, _)| name)), "{name}");
    }
}
