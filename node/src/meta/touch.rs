//! Whether the cluster can agree as far as this peer knows: for whoever watches it.
//!
//! Owns the one question that is asked because somebody watches. Never: has whoever watches wait for an answer; asks while
//! nobody watches.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::Instant;
use protocol::raft::{OutOfTouch, Touch, quorum_silence};

use super::handle::Meta;
use crate::env::Env;

/// How long an answer is good for: whoever looks more often learns nothing new.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// For how long a peer is taken to be in touch, in the most of what is drawn before an election: the leader's lease is as long
/// as that, so an election begins within two of them, and another one makes up for a vote that nobody won.
const PATIENCE_ELECTIONS: u32 = 4;

/// A question to the leader that is asked until it is answered.
#[derive(Debug, Default)]
pub(super) struct Question(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    /// Since when, while one is asked.
    since: Option<Instant>,
    answered: Option<Instant>,
}

impl Question {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Env> Meta<E> {
    /// Says whether this peer can have its cluster agree, as far as it knows, at once; and has it find out more until it is
    /// asked again.
    ///
    /// # Errors
    /// [`OutOfTouch`]: nobody was heard from, or nothing was answered, for longer than an election takes.
    pub fn in_touch(&self) -> Result<(), OutOfTouch> {
        let now = self.env().now();
        let status = self.status();
        let voters = status.members.iter().filter(|seat| seat.is_voter);
        let quorum = status.is_leader.then(|| quorum_silence(voters.map(|seat| seat.silent_for)));
        let unanswered = {
            let mut asked = self.question().lock();
            let is_new =
                asked.since.is_none() && asked.answered.is_none_or(|at| now.since(at) >= GOOD_FOR);
            if is_new {
                asked.since = Some(now);
                let meta = self.clone();
                self.env().spawn("meta.touch", async move { meta.ask_until_answered().await });
            }
            asked.since.map(|since| now.since(since))
        };
        let touch = Touch { leader: self.leader_silence(), quorum: quorum.flatten(), unanswered };
        touch.check(self.settings().election.1 * PATIENCE_ELECTIONS)
    }

    async fn ask_until_answered(&self) {
        loop {
            let is_answered = tokio::select! {
                biased; // nobody answers any more then
                _ = self.failure().wait() => true,
                answer = self.read_index() => answer.is_ok(),
            };
            let now = self.env().now();
            if is_answered {
                *self.question().lock() = Asked { since: None, answered: Some(now) };
                return;
            }
            self.env().sleep_until(now.after(GOOD_FOR)).await;
        }
    }
}
