//! What placement does at every size: load, movement, zones and time, measured against the targets.
//!
//! Uses `protocol` alone: no runtime, no network. Deterministic but for the times.
//! Never: decides anything; the targets are those of `protocol/decisions/0003-placement.md`.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context;
use protocol::limits::PARTITIONS;
use protocol::placement::{Partition, Placement, moved};
use protocol::topology::{Epoch, ReplicaCount, Topology, TopologyPeer, Zone};
use protocol::{PeerId, Prng};

const REPLICAS: u8 = 3;
const PEERS: [usize; 4] = [10, 100, 1_000, 10_000];

/// Most that the fullest peer may hold, in shares of it.
const FULLEST_MAX: f64 = 1.05;
/// Most bytes that one join or leave may move, in shares of what it has to.
const MOVED_MAX: f64 = 1.10;

/// Joins and leaves that are averaged, each from the founding.
const CHANGES: u64 = 8;

/// One row of the table.
#[derive(Debug, Default)]
struct Row {
    fullest: f64,
    fullest_after: f64,
    join: f64,
    leave: f64,
    sets_in_shared_zones: usize,
    distinct_sets: usize,
    full: Duration,
    incremental: Duration,
}

/// Prints the figures of every size and says whether all targets hold.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(out: &mut dyn Write) -> anyhow::Result<bool> {
    writeln!(
        out,
        "placement: {PARTITIONS} partitions, {REPLICAS} copies; means over {CHANGES} joins and leaves"
    )?;
    writeln!(
        out,
        "targets: fullest <= {FULLEST_MAX}, moved <= {MOVED_MAX}, shared zones = 0, sets <= {PARTITIONS}"
    )?;
    writeln!(
        out,
        "{:>6} {:>8} {:>5} | {:>7} {:>7} | {:>6} {:>6} | {:>6} {:>7} | {:>9} {:>11} |",
        "peers",
        "capacity",
        "zones",
        "fullest",
        "after",
        "join",
        "leave",
        "shared",
        "sets",
        "full",
        "incremental"
    )?;
    let mut all_hold = true;
    for count in PEERS {
        for spread in [1, 8] {
            for zones in [1, 5] {
                let row = measure(count, spread, zones)?;
                let holds = holds(&row, zones);
                all_hold &= holds;
                writeln!(
                    out,
                    "{count:>6} {:>8} {zones:>5} | {:>7.3} {:>7.3} | {:>6.3} {:>6.3} | {:>6} {:>7} | {:>7.3} s {:>8.1} ms | {}",
                    if spread == 1 { "equal" } else { "1:8" },
                    row.fullest,
                    row.fullest_after,
                    row.join,
                    row.leave,
                    row.sets_in_shared_zones,
                    row.distinct_sets,
                    row.full.as_secs_f64(),
                    row.incremental.as_secs_f64() * 1e3,
                    if holds { "ok" } else { "MISSED" }
                )?;
                out.flush()?;
            }
        }
    }
    writeln!(
        out,
        "fullest: over its fair share, at the founding; after: the mean of it after one join or leave"
    )?;
    writeln!(
        out,
        "join, leave: copies moved over the newcomer's fair share, and over what the leaver held"
    )?;
    writeln!(
        out,
        "shared: replica sets with two copies in one zone (counted with 3 or more zones)"
    )?;
    writeln!(out, "{}", if all_hold { "all targets hold" } else { "a target is missed" })?;
    Ok(all_hold)
}

fn holds(row: &Row, zones: usize) -> bool {
    row.fullest <= FULLEST_MAX
        && row.join <= MOVED_MAX
        && row.leave <= MOVED_MAX
        && (zones < usize::from(REPLICAS) || row.sets_in_shared_zones == 0)
        && row.distinct_sets <= PARTITIONS as usize
}

fn measure(count: usize, spread: u64, zones: usize) -> anyhow::Result<Row> {
    let mut prng = Prng::new(count as u64 ^ spread << 32 ^ (zones as u64) << 48);
    let peers = (0..count).map(|index| peer(&mut prng, index, spread, zones));
    let peers: Vec<TopologyPeer> = peers.collect::<anyhow::Result<_>>()?;
    let replicas = ReplicaCount::new(REPLICAS).context("the replica count is in range")?;
    let topology = Topology::new(Epoch(1), replicas, peers.clone());
    let (founding, full) = timed(|| Placement::new(&topology));
    let mut row = Row { fullest: fullest(&founding), full, ..Row::default() };
    count_sets(&founding, zones, &mut row);
    let mut changed = Duration::ZERO;
    for change in 0..CHANGES {
        // Newcomers of every capacity, in every zone, as far as the changes go round.
        let newcomer = peer(&mut prng, count + usize::try_from(change)?, spread, zones)?;
        let id = newcomer.id;
        let (joined, took) = timed(|| founding.with_peer(Epoch(2), newcomer));
        changed += took;
        let load = joined.loads().into_iter().find(|load| load.peer == id);
        let fair = load.map_or(0.0, |load| load.fair_copies_q16 as f64 / 65_536.0);
        row.join += moved(&founding, &joined).copies_moved() as f64 / fair;

        let leaver = &peers[prng.index(peers.len()).context("there are peers")?];
        let (left, took) = timed(|| founding.without_peer(Epoch(2), leaver.id));
        changed += took;
        let held = founding.partitions_of(leaver.id).count();
        row.leave += moved(&founding, &left).copies_moved() as f64 / held as f64;
        row.fullest_after += (fullest(&joined) + fullest(&left)) / 2.0;
        // Shared zones are counted after changes too, without the count of distinct sets.
        let mut after = Row::default();
        count_sets(&joined, zones, &mut after);
        count_sets(&left, zones, &mut after);
        row.sets_in_shared_zones += after.sets_in_shared_zones;
    }
    row.join /= CHANGES as f64;
    row.leave /= CHANGES as f64;
    row.fullest_after /= CHANGES as f64;
    row.incremental = changed / (2 * u32::try_from(CHANGES)?);
    Ok(row)
}

/// Peers take zones and capacities in turn, the capacities from another start in each round of zones.
fn peer(prng: &mut Prng, index: usize, spread: u64, zones: usize) -> anyhow::Result<TopologyPeer> {
    let mut key = [0; 32];
    for part in key.chunks_exact_mut(8) {
        part.copy_from_slice(&prng.next_u64().to_be_bytes());
    }
    let zone = Zone::new(&format!("zone-{}", index % zones)).context("the zone has a name")?;
    let capacity_bytes = (1 + index as u64 % spread) << 40;
    Ok(TopologyPeer { id: PeerId::from_public_key(key), zone, capacity_bytes })
}

fn fullest(placement: &Placement) -> f64 {
    let ratio = |copies: u32, fair: u64| f64::from(copies) * 65_536.0 / fair as f64;
    let loads = placement.loads();
    loads.iter().map(|load| ratio(load.copies, load.fair_copies_q16)).fold(0.0, f64::max)
}

/// Counts distinct replica sets, and those with two copies in one zone.
fn count_sets(placement: &Placement, zones: usize, row: &mut Row) {
    let mut sets = BTreeSet::new();
    for partition in Partition::all() {
        let mut set: Vec<PeerId> = placement.replica_set(partition).collect();
        if zones >= usize::from(REPLICAS) {
            let topology = placement.topology();
            let in_zones: BTreeSet<&Zone> =
                set.iter().filter_map(|id| topology.peer(*id)).map(|peer| &peer.zone).collect();
            row.sets_in_shared_zones += usize::from(in_zones.len() < set.len());
        }
        set.sort_unstable();
        sets.insert(set);
    }
    row.distinct_sets = sets.len();
}

#[expect(clippy::disallowed_methods, reason = "measures the time of this machine")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}
