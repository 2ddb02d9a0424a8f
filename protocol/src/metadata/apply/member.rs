//! Members: who is in the cluster, and how each stands to it.

use super::step::{Step, Stop, check_room, invalid};
use crate::limits::{CLUSTER_PEERS_MAX, PEER_ADDRESSES_MAX};
use crate::metadata::command::Op;
use crate::metadata::effect::Effect;
use crate::metadata::keys;
use crate::metadata::outcome::Outcome;
use crate::metadata::refusal::{Bounded, Refusal};
use crate::metadata::value::{Member, MemberState};
use crate::wire::is_address;

impl Step<'_> {
    /// Makes a peer a member, active from now on.
    pub(super) fn add_member(&mut self, member: &Member) -> Result<(), Stop> {
        let Member { raft_id, peer, .. } = *member;
        check_addresses(&member.addresses)?;
        if self.draft_has(&keys::removed(raft_id))? {
            return Err(Refusal::MemberRemoved { raft_id }.into());
        }
        if self.draft_has(&keys::member(raft_id))? {
            return Err(Refusal::MemberExists { raft_id }.into());
        }
        if self.draft_has(&keys::member_peer(peer))? {
            return Err(Refusal::PeerIsMember { peer }.into());
        }
        let mut totals = self.totals()?;
        check_room(Bounded::Members, totals.members, CLUSTER_PEERS_MAX as u64)?;
        totals.members += 1;
        self.set_totals(&totals)?;
        let member = Member { state: MemberState::Active, joined: self.at, ..member.clone() };
        self.set(keys::member(raft_id), &member)?;
        self.set(keys::member_peer(peer), &raft_id)?;
        self.effect(Effect::MembersChanged);
        Ok(())
    }

    fn member(&self, raft_id: u64) -> Result<Member, Stop> {
        let member: Option<Member> = self.get(&keys::member(raft_id))?;
        Ok(member.ok_or(Refusal::NoMember { raft_id })?)
    }

    /// Writes a member that is another than before; the same one changes nothing.
    fn change_member(&mut self, before: &Member, after: &Member) -> Result<Outcome, Stop> {
        if before != after {
            self.set(keys::member(after.raft_id), after)?;
            self.effect(Effect::MembersChanged);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn set_member(&mut self, op: &Op) -> Result<Outcome, Stop> {
        let Op::SetMember { raft_id, name, zone, capacity_bytes } = op else {
            return Err(invalid("not a change of a member"));
        };
        self.need_admin()?;
        let before = self.member(*raft_id)?;
        let mut after = before.clone();
        after.name = name.clone().unwrap_or(after.name);
        after.zone = zone.clone().unwrap_or(after.zone);
        after.capacity_bytes = capacity_bytes.unwrap_or(after.capacity_bytes);
        self.change_member(&before, &after)
    }

    pub(super) fn set_addresses(
        &mut self,
        raft_id: u64,
        addresses: &[String],
    ) -> Result<Outcome, Stop> {
        self.need_admin()?;
        check_addresses(addresses)?;
        let before = self.member(raft_id)?;
        let after = Member { addresses: addresses.to_vec(), ..before.clone() };
        self.change_member(&before, &after)
    }

    pub(super) fn drain(&mut self, raft_id: u64) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let before = self.member(raft_id)?;
        let mut after = before.clone();
        if before.state == MemberState::Active {
            after.state = MemberState::Draining;
        }
        self.change_member(&before, &after)
    }

    pub(super) fn undrain(&mut self, raft_id: u64) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let before = self.member(raft_id)?;
        let after = Member { state: MemberState::Active, ..before.clone() };
        self.change_member(&before, &after)
    }

    pub(super) fn drained(&mut self, raft_id: u64) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let before = self.member(raft_id)?;
        if before.state == MemberState::Active {
            // It was taken back meanwhile.
            return Err(Refusal::NotDraining { raft_id }.into());
        }
        let after = Member { state: MemberState::Drained, ..before.clone() };
        self.change_member(&before, &after)
    }

    pub(super) fn remove_member(&mut self, raft_id: u64) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let member = self.member(raft_id)?;
        let mut totals = self.totals()?;
        if totals.members <= 1 {
            return Err(Refusal::LastMember.into());
        }
        totals.members -= 1;
        self.set_totals(&totals)?;
        let sessions: Vec<u64> = self.get(&keys::member_sessions(raft_id))?.unwrap_or_default();
        for session in sessions {
            self.close_session(session)?;
        }
        self.delete(keys::member(raft_id));
        self.delete(keys::member_peer(member.peer));
        // For ever: its directory may hold votes and a log that nobody else has.
        let at = self.at;
        self.set(keys::removed(raft_id), &at)?;
        self.effect(Effect::MembersChanged);
        Ok(Outcome::Done)
    }
}

fn check_addresses(addresses: &[String]) -> Result<(), Stop> {
    if addresses.len() > PEER_ADDRESSES_MAX {
        return Err(invalid(format!("a member may have {PEER_ADDRESSES_MAX} addresses at most")));
    }
    match addresses.iter().find(|address| !is_address(address)) {
        Some(address) => {
            let shown: String = address.chars().take(80).collect();
            Err(invalid(format!("{shown:?} is not an address of a peer")))
        }
        None => Ok(()),
    }
}
