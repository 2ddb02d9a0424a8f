//! Reading the state: as it is here, or at least as new as everything that was acknowledged before the question.
//!
//! The latest state takes a read index: the leader asks a quorum whether it still leads, and says how far the log was
//! committed; this peer waits until it has applied that much, then reads its own disk. Questions that wait at the same
//! time share one. Never: answers from a leader's belief in itself.
//! Source: Ongaro, "Consensus: bridging theory and practice", 2014, section 6.4.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use protocol::metadata::{Source, SourceError};
use protocol::raft::{Answer, Ask};
use protocol::{Fault, Instant, Kind, PeerId};
use tokio::sync::oneshot;

use super::handle::Meta;
use super::propose::{leader_of, watch_leader, watch_successor};
use super::serve::failed;
use super::source::Generation;
use crate::env::{Disk, Env, Home};

/// How long a read of the latest state looks for a leader: over one election, and what comes of it.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// Least and most pause between two attempts.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// How new what is read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Everything acknowledged before the question, anywhere, is in it. Takes a round trip to the leader and its quorum.
    Latest,
    /// What this peer has applied. Takes no other peer, and may be old.
    Local,
    /// The entry of this index is in it: what a command that was answered did. Takes no other peer.
    Since(u64),
}

type Waiting = oneshot::Sender<Result<u64, Fault>>;

/// Who waits for the next read index.
#[derive(Debug, Default)]
pub(super) struct ReadIndexes {
    state: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Whether a task is asking, for those who came before.
    is_asking: bool,
    /// Who came since. Bounded by the callers, who each wait.
    waiting: Vec<Waiting>,
}

impl ReadIndexes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Env> Meta<E> {
    /// Runs `question` over one state of the metadata, where it may take its time. It may be asked more than once.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the latest state was asked for and no leader answers in time;
    /// [`Kind::Internal`] when the disk fails.
    pub async fn read<T: Send + 'static>(
        &self,
        freshness: Freshness,
        question: impl Fn(&dyn Source) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, Fault> {
        if freshness != Freshness::Local {
            let end = self.env().now().after(READ_PATIENCE);
            tokio::select! {
                biased; // what is there beats a deadline that has just passed
                caught_up = self.catch_up(freshness) => caught_up?,
                reason = self.failure().wait() => return Err(failed(reason.detail)),
                () = self.env().sleep_until(end) => {
                    return Err(Fault::new(Kind::Unavailable, "no leader answered in time"));
                }
            }
        }
        let outcome = self
            .env()
            .disk()
            .query(Home::Metadata, move |reader| Ok(question(&Generation::current(reader)?)));
        outcome.await.map_err(failed)?.map_err(failed)
    }

    /// Returns once this peer has applied what is asked for: for the latest, everything that was committed before the
    /// call.
    async fn catch_up(&self, freshness: Freshness) -> Result<(), Fault> {
        let index = match freshness {
            Freshness::Local => return Ok(()),
            Freshness::Since(index) => index,
            Freshness::Latest => {
                self.metrics().reads_latest.inc();
                self.read_index().await?
            }
        };
        if self.machine().wait_applied(index).await {
            Ok(())
        } else {
            Err(Fault::new(Kind::Unavailable, "this peer is stopping"))
        }
    }

    /// Returns a read index that was asked for after this call began.
    pub(super) async fn read_index(&self) -> Result<u64, Fault> {
        let (reply, index) = oneshot::channel();
        let asks = {
            let mut queue = self.read_indexes().lock();
            queue.waiting.push(reply);
            !std::mem::replace(&mut queue.is_asking, true)
        };
        if asks {
            // A task of its own: whoever began it may go while others wait.
            let meta = self.clone();
            self.env().spawn("meta.read_index", async move { meta.ask_read_indexes().await });
        }
        let gone = |_| Fault::new(Kind::Unavailable, "this peer is stopping");
        index.await.map_err(gone)?
    }

    /// Asks until nobody waits any more. Those who come while one is under way wait for the next.
    async fn ask_read_indexes(&self) {
        loop {
            let waiting = {
                let mut queue = self.read_indexes().lock();
                let waiting = std::mem::take(&mut queue.waiting);
                queue.is_asking = !waiting.is_empty();
                waiting
            };
            if waiting.is_empty() {
                return;
            }
            self.metrics().read_indexes.inc();
            let outcome = self.find_read_index().await;
            for reply in waiting {
                // Whoever asked may have gone.
                reply.send(outcome.clone()).ok();
            }
        }
    }

    /// Asks whoever leads, over changes of the leader.
    async fn find_read_index(&self) -> Result<u64, Fault> {
        let end = self.env().now().after(READ_PATIENCE);
        let mut hint = None;
        let mut pause = PAUSE_MIN;
        loop {
            let mut watch = self.watch_status();
            let leader = hint.take().or_else(|| self.known_leader());
            let answer = tokio::select! {
                biased; // an answer is what is wanted
                answer = self.ask_read_index(leader, end) => answer,
                () = watch_successor(self, leader, &mut watch) => Answer::NotLeader(None),
            };
            match answer {
                Answer::ReadIndex(index) => return Ok(index),
                Answer::NotLeader(leader) => {
                    hint = leader.map(|(id, key)| (id, PeerId::from_public_key(key)));
                }
                Answer::Appended(_)
                | Answer::Voted(_)
                | Answer::Transfer(_)
                | Answer::Page(_)
                | Answer::Finished(_)
                | Answer::Proposed(_)
                | Answer::InDoubt
                | Answer::Misdelivered
                | Answer::Seats(_)
                | Answer::Noted
                | Answer::Outdated(_) => {}
            }
            if self.env().now() >= end {
                return Err(Fault::new(Kind::Unavailable, "no leader answered in time"));
            }
            let resume = self.env().now().after(pause);
            pause = (2 * pause).min(PAUSE_MAX);
            tokio::select! {
                biased; // a change of the leader saves the pause
                () = watch_leader(self, &mut watch) => {}
                () = self.env().sleep_until(resume) => {}
            }
        }
    }

    async fn ask_read_index(&self, leader: Option<(u64, PeerId)>, end: Instant) -> Answer {
        match leader {
            Some((raft_id, _)) if raft_id == self.raft_id().0 => self.read_index_here().await,
            Some((raft_id, peer)) => {
                let patience = self.settings().election.1.min(end.since(self.env().now()));
                let answer = self.post().ask(raft_id, peer, Ask::ReadIndex, patience).await;
                answer.unwrap_or(Answer::NotLeader(None))
            }
            None => Answer::NotLeader(None),
        }
    }

    /// Returns the read index, if this peer leads and a quorum says so.
    pub(super) async fn read_index_here(&self) -> Answer {
        if self.planted().stale_read && self.status().is_leader {
            return Answer::ReadIndex(self.status().applied.unwrap_or(0));
        }
        let linearizer = self.raft().get_read_linearizer(ReadPolicy::ReadIndex);
        match self.on_host(linearizer).await {
            Ok(linearizer) => Answer::ReadIndex(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(other))) => {
                let leader = leader_of(&other);
                Answer::NotLeader(leader.map(|(id, peer)| (id, *peer.public_key())))
            }
            Err(_) => Answer::NotLeader(None),
        }
    }
}

const _: fn() = || {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Arc<ReadIndexes>>();
};
