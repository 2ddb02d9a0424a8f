//! Rows, peers and placements for the tests of this module.

use core::time::Duration;
use std::sync::Arc;

use super::{Absence, Desired, Row, Scope, Summary};
use crate::placement::Placement;
use crate::topology::{Epoch, ReplicaCount, Topology, TopologyPeer, Zone};
use crate::{Cid, Codec, Instant, OwnerId, PeerId, Prng};

pub(super) fn peer(number: u64) -> PeerId {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    PeerId::from_public_key(key)
}

pub(super) fn owner(number: u64) -> OwnerId {
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    OwnerId::from_bytes(bytes)
}

/// Returns a row of a random block and one of a few owners.
pub(super) fn row(prng: &mut Prng, owner_number: u64) -> Row {
    let mut digest = [0; 32];
    digest
        .chunks_exact_mut(8)
        .for_each(|part| part.copy_from_slice(&prng.next_u64().to_be_bytes()));
    let codec = if prng.chance(1, 2) { Codec::Raw } else { Codec::DagPb };
    let bytes = u32::try_from(prng.below(1 << 20)).unwrap();
    Row {
        cid: Cid::from_digest(codec, digest),
        owner: owner(owner_number),
        root: prng.chance(1, 4),
        bytes,
    }
}

pub(super) fn summary<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Summary {
    let mut summary = Summary::new();
    rows.into_iter().for_each(|row| summary.insert(row));
    summary
}

pub(super) fn member(number: u64, zone: &str) -> TopologyPeer {
    TopologyPeer { id: peer(number), zone: Zone::new(zone).unwrap(), capacity_bytes: 1 << 40 }
}

/// Returns the placement of peers 1 to `count` in one zone.
pub(super) fn placement(count: u64, copies: u8) -> Arc<Placement> {
    let peers = (1..=count).map(|number| member(number, "z")).collect();
    let replicas = ReplicaCount::new(copies).unwrap();
    Arc::new(Placement::new(&Topology::new(Epoch(1), replicas, peers)))
}

pub(super) fn desired(placement: &Arc<Placement>, absent: &[(u64, Absence)]) -> Desired {
    let epoch = placement.topology().epoch();
    let absent = absent.iter().map(|(number, absence)| (peer(*number), *absence)).collect();
    Desired::new(Arc::clone(placement), Scope { epoch, absent })
}

pub(super) fn secs(seconds: u64) -> Instant {
    Instant::ZERO.after(Duration::from_secs(seconds))
}
