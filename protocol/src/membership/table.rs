//! The peer table: what was last heard of every peer, and when.
//!
//! Owns the records; the machine decides whom to tell. Never: sends, draws by chance.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::interface::Config;
use crate::limits::CLUSTER_PEERS_MAX;
use crate::topology::Zone;
use crate::wire::{GossipEntry, GossipState};
use crate::{Instant, PeerId};
use core::time::Duration;

/// Peers up to which the timeouts of [`Config`] hold as they are; with more they grow in
/// proportion. A round tells of a bounded number of peers, so news takes rounds in proportion to
/// their number. Measured by simulation under loss of a tenth: the longest silence of a live peer
/// is 2.2 s among 50 peers, 4.1 s among 100, 8.7 s among 200, 13 s among 400 and (without loss) 31
/// s among 1,000.
const PEERS_AT_FULL_SPEED: usize = 50;

/// Latest incarnation that is believed: year 2248 in milliseconds. Beyond is nonsense, and would
/// leave its victim no higher one to take.
pub(super) const INCARNATION_MAX: u64 = 1 << 43;

/// What this peer thinks of another, by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// Its heartbeat rises, or it is in contact.
    Alive,
    /// Not heard of lately, or never: better ask another one first.
    Suspect,
    /// Not heard of for long. It is a member still, and expected back.
    Dead,
    /// It said good-bye, and is no member any more.
    Left,
}

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub id: PeerId,
    /// Milliseconds of wall time at its start.
    pub incarnation: u64,
    /// Last heartbeat heard of.
    pub heartbeat: u64,
    /// Its name for people.
    pub name: String,
    /// Where it is.
    pub zone: Zone,
    /// Bytes it offers to hold.
    pub capacity_bytes: u64,
    /// Bytes it holds, by its own account of some seconds ago.
    pub used_bytes: u64,
    /// Multiaddresses it listens on.
    pub addresses: Vec<String>,
    /// How it is doing.
    pub liveness: Liveness,
    /// Since when, by this peer's clock.
    pub since: Instant,
    /// Whether it is agreed that it is to be emptied.
    pub draining: bool,
}

impl PeerInfo {
    pub(super) fn new(entry: GossipEntry, liveness: Liveness, now: Instant) -> Self {
        Self {
            id: entry.peer,
            incarnation: entry.incarnation,
            heartbeat: entry.heartbeat,
            name: entry.name,
            zone: entry.zone,
            capacity_bytes: entry.capacity_bytes,
            used_bytes: entry.used_bytes,
            addresses: entry.addresses,
            liveness,
            since: now,
            draining: false,
        }
    }

    /// Returns what is told of this peer, or written down to be remembered.
    #[must_use]
    pub fn to_entry(&self) -> GossipEntry {
        GossipEntry {
            peer: self.id,
            incarnation: self.incarnation,
            heartbeat: self.heartbeat,
            state: match self.liveness {
                Liveness::Alive | Liveness::Suspect | Liveness::Dead => GossipState::Alive,
                Liveness::Left => GossipState::Left,
            },
            name: self.name.clone(),
            zone: self.zone.clone(),
            capacity_bytes: self.capacity_bytes,
            used_bytes: self.used_bytes,
            addresses: self.addresses.clone(),
        }
    }

    /// Orders what is told of one peer: higher is newer. Good-bye ends an incarnation.
    const fn age(&self) -> (u64, bool, u64) {
        (self.incarnation, matches!(self.liveness, Liveness::Left), self.heartbeat)
    }
}

/// What is known of a peer, and what was done about it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) info: PeerInfo,
    /// When its heartbeat last rose, or it was last in contact.
    pub(super) heard: Instant,
    /// Messages that carried it since it last changed: the fewer, the more it is news.
    pub(super) told: u32,
    /// Whether the driver has a connection to it.
    pub(super) connected: bool,
    /// When a connection was last asked for.
    pub(super) dialled: Option<Instant>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// Liveness or facts are not what they were.
    pub(super) changed: bool,
    /// Members, zones or capacities are not what they were.
    pub(super) topology: bool,
    /// The table knows of a later incarnation, or of the end of this one.
    pub(super) outdated: bool,
}

/// All peers known, this one included.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) records: BTreeMap<PeerId, Record>,
}

impl Table {
    /// Takes in what was told of a peer. `firsthand`: by that peer itself.
    pub(super) fn merge(&mut self, now: Instant, entry: GossipEntry, firsthand: bool) -> Merged {
        if entry.incarnation > INCARNATION_MAX {
            return Merged::default();
        }
        let told = match entry.state {
            GossipState::Left => Liveness::Left,
            // What others say of somebody unknown may be old; its next heartbeat shows.
            GossipState::Alive if firsthand || self.records.contains_key(&entry.peer) => {
                Liveness::Alive
            }
            GossipState::Alive => Liveness::Suspect,
        };
        let told = PeerInfo::new(entry, told, now);
        match self.records.get_mut(&told.id) {
            None => self.insert(now, told),
            Some(record) if told.age() > record.info.age() => record.update(now, told),
            Some(record) => {
                // An older heartbeat alone is a message that was overtaken.
                let ((told, told_left, _), (known, known_left, _)) =
                    (told.age(), record.info.age());
                Merged { outdated: (told, told_left) < (known, known_left), ..Merged::default() }
            }
        }
    }

    /// Adds a peer, if there is room or room can be made by forgetting one that left.
    pub(super) fn insert(&mut self, now: Instant, info: PeerInfo) -> Merged {
        if self.records.len() >= CLUSTER_PEERS_MAX {
            let gone = self.records.values().filter(|r| r.info.liveness == Liveness::Left);
            let Some(oldest) = gone.min_by_key(|record| record.info.since).map(|r| r.info.id)
            else {
                return Merged::default();
            };
            self.records.remove(&oldest);
        }
        let topology = info.liveness != Liveness::Left;
        match self.records.entry(info.id) {
            Entry::Occupied(_) => Merged::default(),
            Entry::Vacant(place) => {
                place.insert(Record::new(info, now));
                Merged { changed: true, topology, outdated: false }
            }
        }
    }

    /// Judges everybody but `own` by its silence. `forgets`: also whether anybody is known still.
    /// Pushes who changed; returns whether a member was forgotten. Cost: O(peers).
    pub(super) fn judge(
        &mut self,
        now: Instant,
        config: &Config,
        own: PeerId,
        forgets: bool,
        changed: &mut Vec<PeerId>,
    ) -> bool {
        let members = self.members().count();
        let suspect_after = patience(config.suspect_after, members);
        let dead_after = patience(config.dead_after, members);
        let mut topology = false;
        self.records.retain(|id, record| {
            if *id == own {
                return true;
            }
            let silence = now.since(record.heard);
            let lasting = now.since(record.info.since);
            let verdict = match record.info.liveness {
                Liveness::Alive | Liveness::Suspect if silence >= dead_after => Liveness::Dead,
                Liveness::Alive if silence >= suspect_after => Liveness::Suspect,
                same @ (Liveness::Alive | Liveness::Suspect) => same,
                same @ (Liveness::Dead | Liveness::Left)
                    if forgets && lasting >= config.forget_after =>
                {
                    topology |= same == Liveness::Dead;
                    changed.push(*id);
                    return false;
                }
                same @ (Liveness::Dead | Liveness::Left) => same,
            };
            if record.info.set_liveness(verdict, now) {
                changed.push(*id);
            }
            true
        });
        topology
    }

    /// Forgives everybody a silence of `by`: this peer did not listen.
    pub(super) fn forgive(&mut self, now: Instant, by: Duration) {
        for record in self.records.values_mut() {
            record.heard = record.heard.after(by).min(now);
        }
    }

    /// Returns everybody who has not left.
    pub(super) fn members(&self) -> impl Iterator<Item = &PeerInfo> {
        let all = self.records.values().map(|record| &record.info);
        all.filter(|info| info.liveness != Liveness::Left)
    }
}

impl Record {
    pub(super) const fn new(info: PeerInfo, now: Instant) -> Self {
        Self { info, heard: now, told: 0, connected: false, dialled: None }
    }

    /// Says whether others are still told of this peer. A peer that is about to be forgotten is no
    /// longer told of, or peers would remind each other of it for ever.
    pub(super) fn is_told(&self, now: Instant, config: &Config) -> bool {
        match self.info.liveness {
            Liveness::Alive | Liveness::Suspect => true,
            Liveness::Dead | Liveness::Left => now.since(self.info.since) < config.forget_after / 2,
        }
    }

    /// Replaces what is known by something newer.
    pub(super) fn update(&mut self, now: Instant, told: PeerInfo) -> Merged {
        let known = &mut self.info;
        let topology = known.zone != told.zone
            || known.capacity_bytes != told.capacity_bytes
            || (known.liveness == Liveness::Left) != (told.liveness == Liveness::Left);
        let changed = topology
            || known.liveness != told.liveness
            || known.incarnation != told.incarnation
            || known.name != told.name
            || known.addresses != told.addresses;
        let since = if known.liveness == told.liveness { known.since } else { now };
        *known = PeerInfo { since, draining: known.draining, ..told };
        self.heard = now;
        self.told = 0;
        Merged { changed, topology, outdated: false }
    }
}

impl PeerInfo {
    /// Changes the liveness, and says whether it was another.
    pub(super) fn set_liveness(&mut self, liveness: Liveness, now: Instant) -> bool {
        let other = self.liveness != liveness;
        if other {
            self.liveness = liveness;
            self.since = now;
        }
        other
    }
}

/// Returns how long a silence of `base` may last in a table of `members`.
fn patience(base: Duration, members: usize) -> Duration {
    let members = members.clamp(PEERS_AT_FULL_SPEED, CLUSTER_PEERS_MAX);
    let (members, speed) = (u32::try_from(members), u32::try_from(PEERS_AT_FULL_SPEED));
    base.saturating_mul(members.unwrap_or(u32::MAX)) / speed.unwrap_or(1)
}
