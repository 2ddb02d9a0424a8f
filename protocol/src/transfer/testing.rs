//! Names and small makers for the tests of transfers.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::candidate::{Candidate, ZoneIndex};
use super::{Download, DownloadConfig, DownloadInput, DownloadOutput, Pace};
use crate::dag::{ByteRange, FileBuilder};
use crate::{Cid, Codec, Instant, PeerId, Prng};

pub(super) const A: PeerId = peer(1);
pub(super) const B: PeerId = peer(2);
pub(super) const C: PeerId = peer(3);
pub(super) const D: PeerId = peer(4);
pub(super) const E: PeerId = peer(5);

/// Returns the peer of a number.
pub(super) const fn peer(number: u8) -> PeerId {
    PeerId::from_public_key([number; 32])
}

/// Returns the point this many milliseconds after the start of a test.
pub(super) const fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Returns the CID of a block that is named by a number.
pub(super) fn block(number: u64) -> Cid {
    Cid::of(Codec::Raw, &number.to_be_bytes())
}

/// Returns usable candidates, each in a zone of its own.
pub(super) fn apart(peers: &[PeerId]) -> Vec<Candidate> {
    let zone = |peer: &PeerId| u16::from(peer.public_key()[0]);
    peers.iter().map(|peer| candidate(*peer, zone(peer))).collect()
}

/// Returns a usable candidate in a zone.
pub(super) const fn candidate(peer: PeerId, zone: u16) -> Candidate {
    Candidate { peer, zone: ZoneIndex(zone), usable: true, belongs: true }
}

/// Returns the candidate as the failure detector shows it when it is dead.
pub(super) const fn dead(candidate: Candidate) -> Candidate {
    Candidate { usable: false, ..candidate }
}

/// Returns the candidate as one where the block does not belong.
pub(super) const fn spare(candidate: Candidate) -> Candidate {
    Candidate { belongs: false, ..candidate }
}

/// A download, and a pace that nobody else knows.
#[derive(Debug)]
pub(super) struct Reading {
    pub download: Download,
    pub pace: Pace,
}

impl Reading {
    pub(super) fn new(config: DownloadConfig, root: Cid, range: ByteRange, prng: Prng) -> Self {
        Self { download: Download::new(config, root, range, prng), pace: Pace::default() }
    }

    pub(super) fn handle(
        &mut self,
        now: Instant,
        input: DownloadInput,
        out: &mut Vec<DownloadOutput>,
    ) {
        self.download.handle(now, input, &mut self.pace, out);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.download.next_deadline(&self.pace)
    }

    pub(super) fn is_over(&self) -> bool {
        self.download.is_over()
    }
}

/// An object whose blocks are all known.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub root: Cid,
    pub bytes: Vec<u8>,
    pub blocks: BTreeMap<Cid, Bytes>,
}

/// Returns the object of `bytes` with leaves of `leaf_bytes`.
pub(super) fn object(bytes: Vec<u8>, leaf_bytes: usize) -> Object {
    let mut blocks = BTreeMap::new();
    let mut nodes = Vec::new();
    let mut builder = FileBuilder::new();
    for leaf in bytes.chunks(leaf_bytes) {
        let cid = Cid::of(Codec::Raw, leaf);
        blocks.insert(cid, Bytes::copy_from_slice(leaf));
        builder.leaf(cid, u32::try_from(leaf.len()).unwrap(), &mut nodes);
    }
    if bytes.is_empty() {
        blocks.insert(Cid::of(Codec::Raw, b""), Bytes::new());
    }
    let root = builder.finish(&mut nodes).cid;
    blocks.extend(nodes.into_iter().map(|node| (node.cid, node.bytes)));
    Object { root, bytes, blocks }
}

/// Returns bytes that differ from place to place.
pub(super) fn random_bytes(prng: &mut Prng, len: usize) -> Vec<u8> {
    (0..len).map(|_| u8::try_from(prng.below(256)).unwrap()).collect()
}
