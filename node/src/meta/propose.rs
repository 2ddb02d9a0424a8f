//! Proposing commands: to Raft where this peer leads, to the leader where it does not, until there is an answer.
//!
//! A command keeps its request id over all attempts, so that trying again after an unknown outcome does nothing
//! twice. Its time is the leader's. Never: answers before the command is committed and applied at the leader.

use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use protocol::metadata::{Actor, Command, Op, Outcome, RequestId, decode_answer};
use protocol::raft::{Answer, Ask};
use protocol::{Fault, Instant, Kind, PeerId, WallTime};

use super::handle::Meta;
use super::types::{Applied, Proposal, Types};
use crate::env::Env;

/// Least and most pause before another attempt, where nothing tells of a change. The more attempts failed the
/// longer: a cluster without a leader is asked ten times a second, not ten thousand.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// What became of one attempt.
enum Attempt {
    /// There is an answer.
    Done(Bytes),
    /// Nothing was done; somebody else may lead.
    NotLeader(Option<(u64, PeerId)>),
    /// Whether it was done is not known.
    InDoubt,
}

impl<E: Env> Meta<E> {
    /// Has a command committed and applied, and returns what it did. Tries over changes of the leader until
    /// `patience` ends. Not cancel-safe in that a cancelled call may have been carried out.
    ///
    /// # Errors
    /// What the state machine refused with. [`Kind::Unavailable`] at the end of patience: then it says whether the
    /// outcome is unknown. [`Kind::Invalid`] when the command is too long.
    pub async fn propose(
        &self,
        op: Op,
        actor: Actor,
        patience: Duration,
    ) -> Result<Outcome, Fault> {
        let mut request = [0; 16];
        self.env().fill_secret(&mut request);
        let command = Command { request: RequestId(request), at: WallTime::default(), actor, op };
        self.submit(command, patience).await
    }

    /// As [`Meta::propose`], for a command with a request id of the caller's.
    ///
    /// # Errors
    /// As there.
    pub async fn submit(&self, command: Command, patience: Duration) -> Result<Outcome, Fault> {
        let began = self.env().now();
        let end = began.after(patience);
        let bytes = command.encode();
        let bytes = bytes.map_err(|error| Fault::new(Kind::Invalid, error.to_string()))?;
        self.metrics().proposals.inc();
        let answer = tokio::select! {
            biased; // whatever happened is better to know than not
            answer = self.attempts(bytes, end) => answer,
            reason = self.failure().wait() => {
                return Err(super::serve::failed(reason.detail));
            }
        };
        let took = self.env().now().since(began);
        self.metrics().proposal_seconds.observe(took.as_secs_f64());
        match decode_answer(&answer?) {
            Ok(answer) => answer.map_err(Fault::from),
            Err(error) => Err(Fault::new(Kind::Internal, format!("the answer: {error}"))),
        }
    }

    async fn attempts(&self, command: Bytes, end: Instant) -> Result<Bytes, Fault> {
        let mut is_in_doubt = false;
        let give_up = |is_in_doubt: bool| {
            if is_in_doubt {
                self.metrics().proposals_in_doubt.inc();
            }
            let detail = if is_in_doubt {
                "no leader answered in time: whether this was done is unknown"
            } else {
                "no leader was found in time: nothing was done"
            };
            Fault::new(Kind::Unavailable, detail)
        };
        let room = tokio::select! {
            biased; // a free place beats a deadline that has just passed
            room = self.proposals().acquire() => room,
            () = self.env().sleep_until(end) => return Err(give_up(false)),
        };
        let _room = room.map_err(|_| give_up(false))?;
        let mut hint = None;
        let mut pause = PAUSE_MIN;
        loop {
            // Changes from here on end the pause below.
            let mut watch = self.watch_status();
            let leader = hint.take().or_else(|| self.known_leader());
            // From the start of an attempt on, being cut off at the end leaves it in doubt.
            let attempt = tokio::select! {
                biased; // an answer beats a deadline that has just passed
                attempt = self.attempt(&command, leader, end) => attempt,
                () = watch_successor(self, leader, &mut watch) => Attempt::InDoubt,
                () = self.env().sleep_until(end) => return Err(give_up(true)),
            };
            match attempt {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::NotLeader(Some(leader)) => hint = Some(leader),
                Attempt::NotLeader(None) => {}
                Attempt::InDoubt => is_in_doubt = true,
            }
            let resume = self.env().now().after(pause);
            pause = (2 * pause).min(PAUSE_MAX);
            tokio::select! {
                biased; // a change of the leader saves the pause
                () = watch_leader(self, &mut watch) => {}
                () = self.env().sleep_until(resume.min(end)) => {}
            }
            if self.env().now() >= end {
                return Err(give_up(is_in_doubt));
            }
        }
    }

    /// Tries once, with whoever is thought to lead.
    async fn attempt(
        &self,
        command: &Bytes,
        leader: Option<(u64, PeerId)>,
        end: Instant,
    ) -> Attempt {
        match leader {
            Some((raft_id, _)) if raft_id == self.raft_id().0 => self.attempt_here(command).await,
            Some((raft_id, peer)) => {
                self.metrics().proposals_forwarded.inc();
                // A leader that does not answer for as long as an election takes is not one any more.
                let patience = self.settings().election.1.min(end.since(self.env().now()));
                let ask = Ask::Propose(command.clone());
                match self.post().ask(raft_id, peer, ask, patience).await {
                    Ok(Answer::Proposed(answer)) => Attempt::Done(answer),
                    Ok(Answer::NotLeader(leader)) => Attempt::NotLeader(
                        leader.map(|(id, key)| (id, PeerId::from_public_key(key))),
                    ),
                    Ok(Answer::Misdelivered) => Attempt::NotLeader(None),
                    Ok(_) | Err(_) => Attempt::InDoubt,
                }
            }
            None => Attempt::NotLeader(None),
        }
    }

    /// Returns the leader that this peer knows of, if it knows where it is.
    pub(super) fn known_leader(&self) -> Option<(u64, PeerId)> {
        let (raft_id, peer) = self.status().leader?;
        Some((raft_id.0, peer?))
    }

    async fn attempt_here(&self, command: &Bytes) -> Attempt {
        let stamped = Command::decode(command).and_then(|mut command| {
            command.at = self.env().wall();
            command.encode()
        });
        // It was read and written before: only a later release's command from elsewhere fails here.
        let Ok(stamped) = stamped else { return Attempt::NotLeader(None) };
        let write = self.raft().client_write(Proposal(stamped));
        match self.on_host(write).await {
            Ok(written) => {
                let Applied(answer) = written.data;
                Attempt::Done(answer)
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(other))) => {
                Attempt::NotLeader(leader_of(&other))
            }
            Err(_) => Attempt::InDoubt,
        }
    }

    /// Proposes another peer's command, if this one leads.
    pub(super) async fn propose_here(&self, command: &Bytes) -> Answer {
        match self.attempt_here(command).await {
            Attempt::Done(answer) => Answer::Proposed(answer),
            Attempt::NotLeader(leader) => {
                Answer::NotLeader(leader.map(|(id, peer)| (id, *peer.public_key())))
            }
            Attempt::InDoubt => Answer::InDoubt,
        }
    }
}

/// Returns who leads instead, if that is known.
pub(super) fn leader_of(forward: &ForwardToLeader<Types>) -> Option<(u64, PeerId)> {
    Some((forward.leader_id?, forward.leader_node?.peer))
}

/// Returns once somebody else leads than when it was called.
pub(super) async fn watch_leader<E: Env>(meta: &Meta<E>, watch: &mut super::status::StatusWatch) {
    let before = meta.known_leader();
    while meta.known_leader() == before {
        if !watch.changed().await {
            std::future::pending::<()>().await;
        }
    }
}

/// Returns once somebody else is known to lead than the peer that is being asked: a leader that died does not say
/// so, and its successor needs not wait until it should have answered. Never, while this peer itself is asked.
pub(super) async fn watch_successor<E: Env>(
    meta: &Meta<E>,
    asked: Option<(u64, PeerId)>,
    watch: &mut super::status::StatusWatch,
) {
    let before = meta.known_leader();
    let is_elsewhere = asked.is_some_and(|(raft_id, _)| raft_id != meta.raft_id().0);
    loop {
        let leader = meta.known_leader();
        // Whoever was pointed to is known a little later.
        if is_elsewhere && leader.is_some() && leader != before && leader != asked {
            return;
        }
        if !is_elsewhere || !watch.changed().await {
            std::future::pending::<()>().await;
        }
    }
}
