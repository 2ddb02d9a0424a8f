//! The machine: when to tell whom what, and what to make of what is told.
//!
//! One per peer of a cluster. Owns the [`Table`]. A message is sent only where the driver reported
//! a connection ([`Input::Contact`]); elsewhere one is asked for ([`Output::Dial`]) and greeted
//! once it is there.

use std::collections::{BTreeMap, BTreeSet};

use super::interface::{Config, Input, MemberFacts, Output};
use super::table::{INCARNATION_MAX, Liveness, Merged, PeerInfo, Table};
use crate::limits::PEER_ADDRESSES_MAX;
use crate::topology::{Epoch, ReplicaCount, Topology, TopologyPeer};
use crate::wire::{GossipEntry, GossipState, Notice, WireError, is_address};
use crate::{Instant, PeerId, Prng};
use core::time::Duration;

/// Pause before a connection to the same peer is asked for again, for as long as an attempt may
/// take.
const DIAL_PAUSE: Duration = Duration::from_secs(2);

/// Connected peers that are in no table yet. They tell who they are within a round trip, or are on the
/// next list of members.
pub(super) const STRANGERS_MAX: usize = 256;

/// Peers that are told good-bye directly; they tell the rest.
const FAREWELLS_MAX: usize = 16;

/// The failure detector and peer table of one peer.
#[derive(Clone, Debug)]
pub struct Membership {
    pub(super) own: PeerId,
    pub(super) config: Config,
    pub(super) prng: Prng,
    pub(super) table: Table,
    /// The members, once they are known. The table then holds these and this peer, and nobody else.
    pub(super) listed: Option<BTreeMap<PeerId, MemberFacts>>,
    /// Peers in contact that are in no table yet.
    pub(super) strangers: BTreeSet<PeerId>,
    /// Up to where the rotating entries have come.
    pub(super) cursor: Option<PeerId>,
    /// When the next round is due.
    pub(super) round_at: Instant,
    pub(super) last_round: Option<Instant>,
}

impl Membership {
    /// Returns the machine of the peer that `own` describes.
    ///
    /// # Errors
    /// Those of [`GossipEntry::validate`].
    pub fn new(
        mut own: GossipEntry,
        config: Config,
        prng: Prng,
        now: Instant,
    ) -> Result<Self, WireError> {
        own.validate()?;
        let id = own.peer;
        own.incarnation = own.incarnation.min(INCARNATION_MAX);
        let mut table = Table::default();
        table.insert(now, PeerInfo::new(own, Liveness::Alive, now));
        let (strangers, listed, cursor, last_round) = (BTreeSet::new(), None, None, None);
        let round_at = now;
        Ok(Self { own: id, config, prng, table, listed, strangers, cursor, round_at, last_round })
    }

    /// Adds a peer known from before, suspected until it is heard of. What is already known, left
    /// the cluster, is no member or fails [`GossipEntry::validate`] is passed over.
    pub fn remember(&mut self, now: Instant, entry: GossipEntry) {
        let known = self.table.records.contains_key(&entry.peer);
        let Some(entry) = self.agreed(entry) else { return };
        if !known && entry.state == GossipState::Alive && entry.validate().is_ok() {
            self.table.merge(now, entry, false);
        }
    }

    /// Takes one input. Cost: O(peers) for a round or an answer, else O(log peers) per entry.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Vec<Output>) {
        if self.has_left() {
            return;
        }
        match input {
            Input::Tick => self.tick(now, out),
            Input::Gossip { from, entries, answer } => {
                self.listen(now, from, entries, answer, out);
            }
            Input::Contact { peer } => self.greet(now, peer, out),
            Input::Disconnected { peer } => {
                self.disconnect(peer);
                self.dial(now, peer, out);
            }
            Input::Unreachable { peer } => {
                self.disconnect(peer);
                self.suspect(now, peer, out);
            }
            Input::Own { capacity_bytes, used_bytes, addresses } => {
                let mut own = self.own_info().to_entry();
                own.capacity_bytes = capacity_bytes;
                own.used_bytes = used_bytes;
                own.addresses = addresses;
                own.addresses.retain(|address| is_address(address));
                own.addresses.truncate(PEER_ADDRESSES_MAX);
                let own = self.agreed(own.clone()).unwrap_or(own);
                self.restate(now, own, out);
            }
            Input::Members { members } => self.set_members(now, members, out),
            Input::Leave => self.leave(now, out),
        }
    }

    /// Returns when [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        if self.has_left() { Instant::from_nanos(u64::MAX) } else { self.round_at }
    }

    /// Returns everybody known, this peer and those who left included, in order of ids.
    pub fn peers(&self) -> impl Iterator<Item = &PeerInfo> {
        self.table.records.values().map(|record| &record.info)
    }

    /// Returns what is known of a peer.
    #[must_use]
    pub fn get(&self, id: PeerId) -> Option<&PeerInfo> {
        self.table.records.get(&id).map(|record| &record.info)
    }

    /// Returns every peer that has not left, dead or alive, this one included. Cost: O(peers).
    ///
    /// Provisional, until the list of members is agreed on: the epoch is a digest of the list, so
    /// equal lists have equal epochs on all peers, but a later one need not be higher.
    #[must_use]
    pub fn topology(&self, replicas: ReplicaCount) -> Topology {
        let peers: Vec<TopologyPeer> = self
            .table
            .members()
            .map(|info| TopologyPeer {
                id: info.id,
                zone: info.zone.clone(),
                capacity_bytes: info.capacity_bytes,
            })
            .collect();
        let mut bytes = Vec::new();
        for peer in &peers {
            let zone = peer.zone.name().as_bytes();
            bytes.extend_from_slice(peer.id.public_key());
            bytes.extend_from_slice(&peer.capacity_bytes.to_be_bytes());
            bytes.extend_from_slice(&(zone.len() as u64).to_be_bytes());
            bytes.extend_from_slice(zone);
        }
        // 53 bits, so that every reader of JSON keeps them all.
        Topology::new(Epoch(twox_hash::XxHash3_64::oneshot(&bytes) >> 11), replicas, peers)
    }

    // ---- What others do --------------------------------------------------------------------

    fn listen(
        &mut self,
        now: Instant,
        from: PeerId,
        entries: Vec<GossipEntry>,
        answer: bool,
        out: &mut Vec<Output>,
    ) {
        if from == self.own || !self.may_be_heard(from) {
            return;
        }
        let incarnation_of = |table: &Table| table.records.get(&from).map(|r| r.info.incarnation);
        let before = incarnation_of(&self.table);
        let (mut topology, mut outdated) = (false, false);
        for entry in entries {
            let peer = entry.peer;
            if peer == self.own {
                self.refute(&entry);
                continue;
            }
            let Some(entry) = self.agreed(entry) else { continue };
            let merged = self.table.merge(now, entry, peer == from);
            if let Some(record) = self.table.records.get_mut(&peer)
                && self.strangers.remove(&peer)
            {
                record.connected = true;
            }
            topology |= merged.topology;
            outdated |= merged.outdated && peer == from;
            report(peer, Merged { topology: false, ..merged }, out);
        }
        if topology && self.listed.is_none() {
            out.push(Output::TopologyChanged);
        }
        if outdated && let Some(known) = self.get(from) {
            // It started again with its clock set back: it must learn which incarnation to exceed.
            let notice = Notice::Gossip { entries: vec![known.to_entry()], answer: false };
            out.push(Output::Send { to: from, notice });
        }
        let after = incarnation_of(&self.table);
        if answer && after.is_some() && after != before {
            self.welcome(now, from, out);
        } else if answer {
            let notice = Notice::Gossip { entries: self.select(now, 1), answer: false };
            out.push(Output::Send { to: from, notice });
        }
    }

    /// Takes a higher incarnation if others know of one as high that is not this one's own word.
    fn refute(&mut self, told: &GossipEntry) {
        let Some(record) = self.table.records.get_mut(&self.own) else { return };
        let own = &mut record.info;
        let foreign = told.state == GossipState::Left || told.heartbeat > own.heartbeat;
        let later = told.incarnation > own.incarnation;
        // Beyond the highest that is believed it would be refused by everybody.
        let believed = told.incarnation < INCARNATION_MAX;
        if believed && (later || (told.incarnation == own.incarnation && foreign)) {
            own.incarnation = told.incarnation.saturating_add(1);
        }
    }

    pub(super) fn greet(&mut self, now: Instant, peer: PeerId, out: &mut Vec<Output>) {
        if peer == self.own {
            return;
        }
        if !self.may_be_heard(peer) {
            if self.strangers.len() < STRANGERS_MAX {
                self.strangers.insert(peer);
            }
            return;
        }
        match self.table.records.get_mut(&peer) {
            Some(record) => {
                record.connected = true;
                let left = record.info.liveness == Liveness::Left;
                if !left {
                    record.heard = now;
                    if record.info.set_liveness(Liveness::Alive, now) {
                        out.push(Output::Changed { peer });
                    }
                }
            }
            None if self.strangers.len() < STRANGERS_MAX => {
                self.strangers.insert(peer);
            }
            None => {}
        }
        let notice = Notice::Gossip { entries: self.select(now, 1), answer: true };
        out.push(Output::Send { to: peer, notice });
    }

    fn disconnect(&mut self, peer: PeerId) {
        self.strangers.remove(&peer);
        if let Some(record) = self.table.records.get_mut(&peer) {
            record.connected = false;
        }
    }

    fn suspect(&mut self, now: Instant, peer: PeerId, out: &mut Vec<Output>) {
        let Some(record) = self.table.records.get_mut(&peer) else { return };
        if peer != self.own && record.info.liveness == Liveness::Alive {
            record.info.set_liveness(Liveness::Suspect, now);
            out.push(Output::Changed { peer });
        }
    }

    pub(super) fn dial(&mut self, now: Instant, peer: PeerId, out: &mut Vec<Output>) {
        let Some(record) = self.table.records.get_mut(&peer) else { return };
        let lately = record.dialled.is_some_and(|at| now.since(at) < DIAL_PAUSE);
        if peer != self.own && !lately && record.info.liveness != Liveness::Left {
            record.dialled = Some(now);
            out.push(Output::Dial { peer, addresses: record.info.addresses.clone() });
        }
    }

    // ---- This peer itself ------------------------------------------------------------------

    fn leave(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut own = self.own_info().to_entry();
        own.state = GossipState::Left;
        self.restate(now, own.clone(), out);
        let mut connected: Vec<PeerId> = self
            .table
            .records
            .values()
            .filter(|record| record.connected && record.info.liveness == Liveness::Alive)
            .map(|record| record.info.id)
            .collect();
        self.prng.shuffle(&mut connected);
        for to in connected.into_iter().take(FAREWELLS_MAX) {
            let notice = Notice::Gossip { entries: vec![own.clone()], answer: false };
            out.push(Output::Send { to, notice });
        }
    }

    /// Replaces what this peer tells of itself.
    pub(super) fn restate(&mut self, now: Instant, mut entry: GossipEntry, out: &mut Vec<Output>) {
        entry.heartbeat = entry.heartbeat.saturating_add(1);
        let liveness = match entry.state {
            GossipState::Alive => Liveness::Alive,
            GossipState::Left => Liveness::Left,
        };
        let is_listed = self.listed.is_some();
        if let Some(record) = self.table.records.get_mut(&self.own) {
            let merged = record.update(now, PeerInfo::new(entry, liveness, now));
            report(self.own, Merged { topology: merged.topology && !is_listed, ..merged }, out);
        }
    }

    pub(super) fn own_info(&self) -> &PeerInfo {
        self.get(self.own).expect("a machine's table holds its own peer")
    }

    fn has_left(&self) -> bool {
        self.own_info().liveness == Liveness::Left
    }
}

fn report(peer: PeerId, merged: Merged, out: &mut Vec<Output>) {
    if merged.changed {
        out.push(Output::Changed { peer });
    }
    if merged.topology {
        out.push(Output::TopologyChanged);
    }
}

#[cfg(test)]
#[path = "machine_test.rs"]
mod tests;
