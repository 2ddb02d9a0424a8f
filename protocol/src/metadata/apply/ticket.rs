//! Tickets: each lets one peer in, once, until it expires.
//!
//! The cluster knows the hash of a ticket's secret only. A ticket is remembered for a day after its end, so that a
//! refusal can say why; and so that a peer whose answer was lost may ask again.

use super::step::{Step, Stop, check_room};
use crate::WallTime;
use crate::limits::{TICKET_MEMORY_MS, TICKETS_MAX};
use crate::metadata::keys;
use crate::metadata::name::Label;
use crate::metadata::outcome::Outcome;
use crate::metadata::refusal::{Bounded, Refusal};
use crate::metadata::value::{Due, Member, Ticket, TicketState};

impl Step<'_> {
    pub(super) fn invite(
        &mut self,
        secret_hash: &[u8; 32],
        expires: WallTime,
        label: &Label,
    ) -> Result<Outcome, Stop> {
        self.need_admin()?;
        if self.draft_has(&keys::ticket(secret_hash))? {
            return Err(Refusal::TicketExists.into());
        }
        let mut totals = self.totals()?;
        check_room(Bounded::Tickets, totals.tickets, TICKETS_MAX)?;
        totals.tickets += 1;
        self.set_totals(&totals)?;
        let id = self.index;
        let ticket = Ticket {
            id,
            secret_hash: *secret_hash,
            expires,
            label: label.clone(),
            created: self.at,
            state: TicketState::Open,
        };
        self.set(keys::ticket(secret_hash), &ticket)?;
        self.set(keys::ticket_id(id), secret_hash)?;
        self.add_due(Due::Ticket(*secret_hash), expires.after_millis(TICKET_MEMORY_MS))?;
        Ok(Outcome::Invited { id })
    }

    pub(super) fn revoke_ticket(&mut self, id: u64) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let hash: Option<[u8; 32]> = self.get(&keys::ticket_id(id))?;
        let hash = hash.ok_or(Refusal::NoTicket { id })?;
        let ticket: Option<Ticket> = self.get(&keys::ticket(&hash))?;
        let ticket = ticket.ok_or(Refusal::NoTicket { id })?;
        match ticket.state {
            TicketState::Open => self.end_ticket(ticket, TicketState::Revoked)?,
            TicketState::Revoked => {}
            TicketState::Used { .. } => return Err(Refusal::TicketUsed.into()),
        }
        Ok(Outcome::Done)
    }

    fn end_ticket(&mut self, mut ticket: Ticket, state: TicketState) -> Result<(), Stop> {
        ticket.state = state;
        let hash = ticket.secret_hash;
        self.set(keys::ticket(&hash), &ticket)?;
        self.add_due(Due::Ticket(hash), self.at.after_millis(TICKET_MEMORY_MS))
    }

    pub(super) fn join(&mut self, hash: &[u8; 32], member: &Member) -> Result<Outcome, Stop> {
        // The peer that the newcomer asked proposes it; the ticket is the newcomer's right.
        self.need_admin()?;
        let ticket: Option<Ticket> = self.get(&keys::ticket(hash))?;
        let ticket = ticket.ok_or(Refusal::TicketUnknown)?;
        let raft_id = member.raft_id;
        let known: Option<Member> = self.get(&keys::member(raft_id))?;
        let is_known = known.is_some_and(|known| known.peer == member.peer);
        match ticket.state {
            TicketState::Used { raft_id: by } if by == raft_id => {
                if is_known {
                    return Ok(Outcome::Joined { raft_id });
                }
                if self.draft_has(&keys::removed(raft_id))? {
                    return Err(Refusal::MemberRemoved { raft_id }.into());
                }
                return Err(Refusal::TicketUsed.into());
            }
            TicketState::Used { .. } => return Err(Refusal::TicketUsed.into()),
            TicketState::Revoked => return Err(Refusal::TicketRevoked.into()),
            TicketState::Open => {}
        }
        if self.at >= ticket.expires {
            return Err(Refusal::TicketExpired { expires: ticket.expires }.into());
        }
        if is_known {
            // A member has no use for the ticket; somebody else may.
            return Ok(Outcome::Joined { raft_id });
        }
        self.add_member(member)?;
        self.end_ticket(ticket, TicketState::Used { raft_id })?;
        Ok(Outcome::Joined { raft_id })
    }
}
