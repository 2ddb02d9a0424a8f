//! Roots of files and directories, compared with those that IPFS tools computed.
//!
//! `vectors/unixfs-v1-2025.jsonl`: one vector a line. How the bytes are made is told at [`Stream`].

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use protocol::dag::{Block, Chunker, FileBuilder, Root, Splitter};
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
