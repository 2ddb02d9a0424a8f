//! The list of members: who may be in the table, and what is agreed upon about them.
//!
//! Part of [`Membership`]. Never: agrees; the list comes from above.

use std::collections::BTreeMap;

use super::interface::{MemberFacts, Output};
use super::machine::{Membership, STRANGERS_MAX};
use super::table::{Liveness, PeerInfo};
use crate::limits::{CLUSTER_PEERS_MAX, PEER_ADDRESSES_MAX};
use crate::wire::{GossipEntry, GossipState, is_address};
use crate::{Instant, PeerId};

impl Membership {
    /// Takes these for the members, and nobody else. Who was removed is forgotten at once; who was added
    /// is suspected until it is heard of.
    pub(super) fn set_members(
        &mut self,
        now: Instant,
        members: Vec<MemberFacts>,
        out: &mut Vec<Output>,
    ) {
        let listed: BTreeMap<PeerId, MemberFacts> =
            members.into_iter().take(CLUSTER_PEERS_MAX).map(|facts| (facts.peer, facts)).collect();
        let own = self.own;
        let removed = |peer: &PeerId| *peer != own && !listed.contains_key(peer);
        for (peer, record) in self.table.records.extract_if(.., |peer, _| removed(peer)) {
            out.push(Output::Changed { peer });
            // In case that it comes back before its connection ends.
            if record.connected && self.strangers.len() < STRANGERS_MAX {
                self.strangers.insert(peer);
            }
        }
        for facts in listed.values() {
            self.set_member(now, facts, out);
        }
        let met: Vec<PeerId> =
            self.strangers.extract_if(.., |peer| listed.contains_key(peer)).collect();
        self.listed = Some(listed);
        for peer in met {
            self.greet(now, peer, out);
        }
    }

    fn set_member(&mut self, now: Instant, facts: &MemberFacts, out: &mut Vec<Output>) {
        let peer = facts.peer;
        let mut is_changed = false;
        if peer == self.own {
            let mut own = self.own_info().to_entry();
            facts.overrule(&mut own);
            if own != self.own_info().to_entry() {
                // Others are told anew.
                self.restate_silently(now, own);
                is_changed = true;
            }
        } else if !self.table.records.contains_key(&peer) {
            self.table.insert(now, facts.unheard(now));
            is_changed = true;
        }
        let Some(record) = self.table.records.get_mut(&peer) else { return };
        let info = &mut record.info;
        let before = info.clone();
        info.name.clone_from(&facts.name);
        info.zone.clone_from(&facts.zone);
        info.capacity_bytes = facts.capacity_bytes;
        info.draining = facts.draining;
        if info.addresses.is_empty() {
            info.addresses = facts.usable_addresses();
        }
        // A good-bye of the time before there was a list.
        if info.liveness == Liveness::Left && peer != self.own {
            info.set_liveness(Liveness::Suspect, now);
        }
        if is_changed || *info != before {
            out.push(Output::Changed { peer });
        }
    }

    fn restate_silently(&mut self, now: Instant, entry: GossipEntry) {
        // What changed is reported by the caller.
        self.restate(now, entry, &mut Vec::new());
    }

    /// Returns whether a peer may take part in the gossip.
    pub(super) fn may_be_heard(&self, peer: PeerId) -> bool {
        self.listed.as_ref().is_none_or(|listed| listed.contains_key(&peer))
    }

    /// Returns what is believed of an entry: all of it, as long as there is no list; then nothing about
    /// others than members, and of them only how they are doing and where they are.
    pub(super) fn agreed(&self, mut entry: GossipEntry) -> Option<GossipEntry> {
        let Some(listed) = &self.listed else { return Some(entry) };
        let facts = listed.get(&entry.peer)?;
        facts.overrule(&mut entry);
        (entry.state == GossipState::Alive).then_some(entry)
    }
}

impl MemberFacts {
    /// Puts what is agreed upon in the place of what a peer says.
    fn overrule(&self, entry: &mut GossipEntry) {
        entry.name.clone_from(&self.name);
        entry.zone.clone_from(&self.zone);
        entry.capacity_bytes = self.capacity_bytes;
        if entry.addresses.is_empty() {
            entry.addresses = self.usable_addresses();
        }
    }

    fn usable_addresses(&self) -> Vec<String> {
        let usable = self.addresses.iter().filter(|address| is_address(address));
        usable.take(PEER_ADDRESSES_MAX).cloned().collect()
    }

    /// Returns what is known of a member that was never heard of. Whatever it says is newer.
    fn unheard(&self, now: Instant) -> PeerInfo {
        let entry = GossipEntry {
            peer: self.peer,
            incarnation: 0,
            heartbeat: 0,
            state: GossipState::Alive,
            name: self.name.clone(),
            zone: self.zone.clone(),
            capacity_bytes: self.capacity_bytes,
            used_bytes: 0,
            addresses: self.usable_addresses(),
        };
        PeerInfo::new(entry, Liveness::Suspect, now)
    }
}

#[cfg(test)]
#[path = "members_test.rs"]
mod tests;
