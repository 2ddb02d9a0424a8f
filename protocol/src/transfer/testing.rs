//! Names and small makers for the tests of transfers.

use super::candidate::{Candidate, ZoneIndex};
use crate::{Cid, Codec, Instant, PeerId};

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
    Candidate { peer, zone: ZoneIndex(zone), usable: true }
}

/// Returns the candidate as the failure detector shows it when it is dead.
pub(super) const fn dead(candidate: Candidate) -> Candidate {
    Candidate { usable: false, ..candidate }
}
