//! Everything that a seed decides before a run begins.

use std::collections::BTreeSet;
use std::time::Duration;

use node::HealSettings;
use node::store::StoreSettings;
use protocol::Prng;
use protocol::limits::REPAIR_AWAY;
use protocol::repair::ScrubSettings;
use protocol::topology::{ReplicaCount, Zone};
use protocol::transfer::SpreadRule;

use crate::sim::{DiskHabits, LinkHabits};

/// Bytes that a peer offers: never the reason of a refusal, the device is.
const CAPACITY_BYTES: u64 = 1 << 30;

/// The course of a run, as far as it is known before.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The zone of each peer.
    pub(super) zones: Vec<Zone>,
    /// Copies of every block.
    pub(super) replicas: ReplicaCount,
    /// How peers store blocks.
    pub(super) store: StoreSettings,
    /// Peers whose disks may rot or be lost in the storm. With those lost in an ambush, never more than
    /// the write quorum less one.
    pub(super) doomed: Vec<usize>,
    /// At which acknowledgements, counted from 1, the power of every machine fails.
    pub(super) blackouts: BTreeSet<u64>,
    /// From which acknowledgement on a peer loses its disk right after one that came late, when the
    /// copies beyond the quorum are still missing.
    pub(super) disk_loss_from: Option<u64>,
    /// Memory for blocks that were read. None in a run: what a cache remembers would hide what disks have lost.
    pub(super) cache_bytes: u64,
    /// How peers repair: soon, so that runs need not last for long.
    pub(super) heal: HealSettings,
    pub(super) scrub: ScrubSettings,
    /// Which copies holders bring to each other.
    pub(super) spread: SpreadRule,
    /// How long deleted content can be had back, in milliseconds: short, so that much is freed in the storm.
    pub(super) grace_ms: u64,
    /// Clients at work.
    pub(super) clients: usize,
    /// How long faults happen.
    pub(super) storm: Duration,
    /// Mean pause between two faults.
    pub(super) fault_pause: Duration,
    /// Whether a blackout ends the storm.
    pub(super) ends_in_blackout: bool,
}

impl Plan {
    /// Draws a plan. `peers` overrides the seed's choice of their number.
    pub(super) fn draw(prng: &mut Prng, peers: Option<usize>) -> Self {
        let drawn = 3 + usize::try_from(prng.below(5)).unwrap_or(0);
        let peers = peers.unwrap_or(drawn);
        let zone_count = 1 + prng.below(3);
        let zones = (0..peers as u64)
            .map(|peer| Zone::new(&format!("z{}", peer % zone_count)).unwrap_or_default())
            .collect();
        // Mostly 2 and 3: one copy leaves little to doubt.
        let wanted = [1, 2, 2, 3, 3, 3][prng.index(6).unwrap_or(5)];
        let replicas = ReplicaCount::new(wanted.min(u8::try_from(peers).unwrap_or(u8::MAX)))
            .expect("at least one peer");
        let mut order: Vec<usize> = (0..peers).collect();
        prng.shuffle(&mut order);
        let mut losses = replicas.write_quorum() - 1;
        let mut disk_loss_from = None;
        if losses > 0 && prng.chance(1, 2) {
            losses -= 1;
            disk_loss_from = Some(1 + prng.below(10));
        }
        order.truncate(losses);
        let mut plan = Self {
            zones,
            replicas,
            store: store_settings(prng),
            doomed: if prng.chance(2, 3) { order } else { Vec::new() },
            blackouts: BTreeSet::new(),
            disk_loss_from,
            cache_bytes: 0,
            heal: heal_settings(peers),
            // Shorter than a storm, so that what rots in it is found in it.
            scrub: ScrubSettings { pass: Duration::from_secs(10), ..ScrubSettings::default() },
            spread: spread_rule(peers),
            grace_ms: 200 + prng.below(5_000),
            clients: 2 + usize::try_from(prng.below(3)).unwrap_or(0),
            storm: Duration::from_millis(8_000 + prng.below(20_000)),
            fault_pause: Duration::from_millis(300 + prng.below(3_000)),
            ends_in_blackout: prng.chance(1, 2),
        };
        for _ in 0..prng.below(3) {
            plan.blackouts.insert(1 + prng.below(12));
        }
        plan
    }
}

/// Returns how peers repair: in every other size of cluster, who is away in the storm is replaced.
fn heal_settings(peers: usize) -> HealSettings {
    HealSettings {
        away: if peers.is_multiple_of(2) { Duration::from_secs(5) } else { REPAIR_AWAY },
        settle: Duration::from_secs(5),
        interval: Duration::from_secs(20),
    }
}

/// Returns how copies spread: in most sizes of cluster from the first byte on, because what is uploaded is small.
fn spread_rule(peers: usize) -> SpreadRule {
    if peers.is_multiple_of(3) {
        return SpreadRule::default();
    }
    SpreadRule { after_bytes: 0, block_bytes_min: 0, ..SpreadRule::default() }
}

/// Draws small segments and a low bound of small blocks, so that small objects exercise both.
fn store_settings(prng: &mut Prng) -> StoreSettings {
    StoreSettings {
        segment_bytes: [256 << 10, 1 << 20, 4 << 20][prng.index(3).unwrap_or(0)],
        small_block_bytes: [512, 4 << 10, 64 << 10][prng.index(3).unwrap_or(0)],
        reserve_bytes: Some(128 << 10),
        ..StoreSettings::with_capacity(CAPACITY_BYTES)
    }
}

/// Draws how one direction of a link behaves while faults happen.
pub(super) fn weather(prng: &mut Prng) -> LinkHabits {
    let mut up_to = |most: u64| if prng.chance(1, 2) { 0 } else { prng.below(most) };
    let (losses, repeats, overtaken) = (up_to(30_000), up_to(50_000), up_to(50_000));
    let (resets, garbles) = (up_to(3_000), up_to(20_000));
    let least = Duration::from_micros(100 + up_to(5_000));
    LinkHabits {
        delay: (least, least + Duration::from_micros(up_to(45_000))),
        bytes_per_second: 1 << (20 + prng.below(9)),
        losses,
        repeats,
        overtaken,
        resets,
        garbles,
    }
}

/// Draws how a slow disk behaves.
pub(super) fn slow_disk(prng: &mut Prng) -> DiskHabits {
    let slowness = 10 + u32::try_from(prng.below(90)).unwrap_or(0);
    DiskHabits { slowness, ..DiskHabits::default() }
}
