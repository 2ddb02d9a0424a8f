//! Checking in: a peer shows the marks of its directory to others before it votes or acknowledges anything, and takes
//! note of theirs.
//!
//! Votes and entries go to, and are taken from, those only that have noted the first mark of this run; and nobody's
//! before enough voters have, so that a directory that was replaced by an older copy meets somebody who remembers what
//! it forgot. New marks are drawn while the peer runs, so that a copy of a running peer is old soon. Owns the marks, in
//! [`Map::RaftState`]. Never: waits with a note for its own check-in, so that a cluster that was switched off as a whole
//! comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::async_runtime::watch::WatchReceiver;
use protocol::limits::META_MARKS_MAX;
use protocol::raft::{Answer, Ask, Mark, Marks, Standing, decode, encode, is_enough, judge};
use protocol::{Fault, Instant, Kind, PeerId};
use tracing::{debug, info};

use super::flusher::{Failure, write_when_there_is_room};
use super::handle::Meta;
use super::network::Post;
use super::serve::failed;
use super::watch::{FairReceiver, FairSender, channel};
use crate::env::{Batch, Disk, DiskError, Durability, Env, Home, Map};

/// Key of this peer's own marks, and what stands before the Raft id in the keys of others' latest ones.
const OWN: &[u8] = b"marks";
const OTHERS: &[u8] = b"marked/";
/// The first key behind those.
const OTHERS_END: &[u8] = b"marked0";

/// How long one voter may take to note a mark: a long round trip and a sync.
const PATIENCE: Duration = Duration::from_secs(1);
/// Least and most pause between two rounds until the peer takes part, and the pause from then on.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(320);
const PAUSE_LATER: Duration = Duration::from_secs(1);
/// How long enough voters are not enough while others have not answered: one of those may remember more. Shorter than
/// the silence before an election, so that nobody notices a start.
const OTHERS_PATIENCE: Duration = Duration::from_millis(500);
/// How long a letter waits here until this peer takes part.
const LETTER_PATIENCE: Duration = Duration::from_millis(400);
/// After how long the word of one who leads is enough: this peer may have been away until none of the voters that it
/// knows is left.
const LEADER_AFTER: Duration = Duration::from_secs(5);

/// The marks of this peer, and what it knows of others'. Clones are handles to the same ones.
pub(super) struct CheckIn<E: Env> {
    inner: Arc<Inner<E>>,
}

struct Inner<E: Env> {
    env: E,
    post: Post<E>,
    failure: Failure,
    is_off: bool,
    began: Instant,
    /// The number of the first mark of this run.
    start: u64,
    state: Mutex<State>,
    /// One note at a time: what is remembered is what was written last.
    noting: tokio::sync::Mutex<()>,
    /// Whether this peer takes part.
    part: FairSender<bool>,
    watch: FairReceiver<bool>,
}

struct State {
    own: Marks,
    /// By Raft id, the latest mark that was shown. Bounded by [`META_MARKS_MAX`].
    remembered: BTreeMap<u64, Mark>,
    /// By Raft id, the number of the latest own mark that was noted there. Bounded by the voters and leaders of one run.
    noted: BTreeMap<u64, u64>,
}

impl<E: Env> Clone for CheckIn<E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<E: Env> fmt::Debug for CheckIn<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckIn").finish_non_exhaustive()
    }
}

impl<E: Env> CheckIn<E> {
    /// Reads the marks, and draws the first one of this run, which is durable then.
    ///
    /// # Errors
    /// When the disk fails, or what lies there does not read.
    pub(super) async fn start(
        env: E,
        post: Post<E>,
        failure: Failure,
        is_off: bool,
    ) -> Result<Self, DiskError> {
        let read = env.disk().query(Home::Metadata, |reader| {
            let own = reader.get(Map::RaftState, OWN)?;
            let limit = META_MARKS_MAX;
            Ok((own, reader.scan(Map::RaftState, OTHERS, Some(OTHERS_END), limit)?))
        });
        let (own, others) = read.await?;
        let corrupt = |error: &dyn fmt::Display| DiskError::Corrupt { detail: error.to_string() };
        let mut remembered = BTreeMap::new();
        for (key, value) in others {
            let id = key.strip_prefix(OTHERS).and_then(|id| id.try_into().ok());
            let id = id.ok_or_else(|| corrupt(&"a mark is nobody's"))?;
            let mark = decode::<Mark>("mark", &value).map_err(|error| corrupt(&error))?;
            remembered.insert(u64::from_be_bytes(id), mark);
        }
        let own = own.map(|bytes| decode::<Marks>("marks", &bytes)).transpose();
        let own = own.map_err(|error| corrupt(&error))?;
        let nonce = draw(&env);
        let own = own.map_or_else(|| Marks::first(nonce), |own| own.next(nonce));
        let batch = batch_of(&own).map_err(|fault| corrupt(&fault))?;
        write_when_there_is_room(&env, batch, Durability::Synced).await?;
        let (part, watch) = channel(false);
        let (began, start) = (env.now(), own.latest.number);
        let state = Mutex::new(State { own, remembered, noted: BTreeMap::new() });
        let noting = tokio::sync::Mutex::default();
        let inner = Inner { env, post, failure, is_off, began, start, state, noting, part, watch };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside stops the machine; whoever comes after it sees what was.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn takes_part(&self) -> bool {
        *self.inner.watch.value()
    }

    fn judge(&self, remembered: Option<Mark>, shown: &Marks) -> Standing {
        let standing = judge(remembered, shown);
        let is_passed = self.inner.is_off && standing == Standing::Outdated;
        if is_passed { Standing::Newer } else { standing }
    }

    /// Asks a member to note this peer's marks, unless it has noted one of this run.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when it does not, or this peer's directory is an older copy.
    pub(super) async fn ensure_noted(
        &self,
        raft_id: u64,
        peer: PeerId,
        patience: Duration,
    ) -> Result<(), Fault> {
        if self.inner.failure.get().is_some() {
            return Err(Fault::new(Kind::Unavailable, "this peer takes part no more"));
        }
        if self.lock().noted.get(&raft_id).is_some_and(|number| *number >= self.inner.start) {
            return Ok(());
        }
        self.show(raft_id, peer, patience).await
    }

    /// Shows this peer's marks to a member.
    async fn show(&self, raft_id: u64, peer: PeerId, patience: Duration) -> Result<(), Fault> {
        let shown = self.lock().own.clone();
        let number = shown.latest.number;
        let answer = self.inner.post.ask(raft_id, peer, Ask::CheckIn(shown), patience).await?;
        let remembered = if let Answer::Outdated(remembered) = answer {
            Some(remembered)
        } else if answer == Answer::Noted {
            None
        } else {
            let detail = format!("peer {peer} did not note this peer's mark: {answer:?}");
            return Err(Fault::new(Kind::Unavailable, detail));
        };
        let mut state = self.lock();
        // A later mark may have been noted meanwhile: it is one of this directory's own.
        if remembered.is_some() && self.judge(remembered, &state.own) == Standing::Outdated {
            drop(state);
            self.inner.failure.set_outdated(outdated(peer));
            return Err(Fault::new(Kind::Conflict, outdated(peer)));
        }
        let noted = state.noted.entry(raft_id).or_default();
        *noted = number.max(*noted);
        Ok(())
    }

    /// Draws another mark, durable when this returns.
    async fn renew(&self) -> Result<(), Fault> {
        let own = self.lock().own.next(draw(&self.inner.env));
        let written = self.inner.env.disk().write(batch_of(&own)?, Durability::Synced).await;
        written.map_err(|error| self.unwritten(&error))?;
        self.lock().own = own;
        Ok(())
    }

    /// Takes note of the marks that a member shows. `is_seated`: who is worth remembering when it is too much.
    async fn note(
        &self,
        raft_id: u64,
        shown: &Marks,
        is_seated: impl Fn(u64) -> bool,
    ) -> Result<Answer, Fault> {
        let _one = self.inner.noting.lock().await;
        let remembered = self.lock().remembered.get(&raft_id).copied();
        match (self.judge(remembered, shown), remembered) {
            (Standing::Outdated, Some(remembered)) => return Ok(Answer::Outdated(remembered)),
            (Standing::Current, _) => return Ok(Answer::Noted),
            (Standing::Newer | Standing::Outdated, _) => {}
        }
        let mut batch = Batch::default();
        let mut gone = BTreeSet::new();
        if remembered.is_none() && self.lock().remembered.len() >= META_MARKS_MAX {
            gone.extend(self.lock().remembered.keys().copied().filter(|id| !is_seated(*id)));
            if gone.is_empty() {
                return Err(Fault::new(Kind::Busy, "this peer remembers too many others"));
            }
        }
        gone.iter().for_each(|id| batch.delete(Map::RaftState, key_of(*id)));
        let value = encode("mark", &shown.latest).map_err(failed)?;
        batch.put(Map::RaftState, key_of(raft_id), value);
        let written = self.inner.env.disk().write(batch, Durability::Synced).await;
        written.map_err(|error| self.unwritten(&error))?;
        let mut state = self.lock();
        state.remembered.retain(|id, _| !gone.contains(id));
        state.remembered.insert(raft_id, shown.latest);
        Ok(Answer::Noted)
    }

    /// Returns why a mark was not written; a device that failed stops the peer.
    fn unwritten(&self, error: &DiskError) -> Fault {
        match error {
            DiskError::Full | DiskError::Closed => {
                Fault::new(Kind::Unavailable, format!("a mark cannot be written: {error}"))
            }
            DiskError::Failed { .. } | DiskError::Corrupt { .. } | DiskError::Missing { .. } => {
                self.inner.failure.set(format!("the marks cannot be written: {error}"));
                failed(error)
            }
        }
    }
}

impl<E: Env> Meta<E> {
    /// Takes note of the marks that a member shows.
    pub(super) async fn note(&self, raft_id: u64, shown: &Marks) -> Result<Answer, Fault> {
        self.check_in().note(raft_id, shown, |id| self.seat_of(id).is_some()).await
    }

    /// Returns once this peer may answer a member's vote or entries. `leads`: whether they come from a leader.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when it does not take part in time, or no more.
    pub(super) async fn ready_for(
        &self,
        raft_id: u64,
        peer: PeerId,
        leads: bool,
    ) -> Result<(), Fault> {
        let check_in = self.check_in();
        check_in.ensure_noted(raft_id, peer, PATIENCE).await?;
        if check_in.takes_part() {
            return Ok(());
        }
        if leads && self.env().now().since(check_in.inner.began) >= LEADER_AFTER {
            self.take_part();
            return Ok(());
        }
        let end = self.env().now().after(LETTER_PATIENCE);
        let mut watch = check_in.inner.watch.clone();
        while !*watch.value() {
            tokio::select! {
                biased; // what is there beats a deadline that has just passed
                _ = watch.next() => {}
                () = self.env().sleep_until(end) => {
                    let detail = "this peer has not checked in with enough others yet";
                    return Err(Fault::new(Kind::Unavailable, detail));
                }
            }
        }
        Ok(())
    }

    /// Takes part from now on: votes, acknowledges, stands for election.
    fn take_part(&self) {
        let has_begun = self.check_in().inner.part.modify(|part| !std::mem::replace(part, true));
        if has_begun {
            self.raft().runtime_config().elect(true);
        }
    }

    /// Takes part, if enough voters know of this run.
    pub(super) fn take_part_if_enough(&self) {
        let check_in = self.check_in();
        if check_in.takes_part() || check_in.inner.failure.get().is_some() {
            return;
        }
        let voters: Vec<BTreeSet<u64>> = {
            let metrics = self.raft().metrics();
            let membership = Arc::clone(&metrics.borrow_watched().membership_config);
            membership.membership().get_joint_config().clone()
        };
        let own = self.raft_id().0;
        let noted: BTreeSet<u64> = check_in.lock().noted.keys().copied().collect();
        // What the library shows before it has read its log has no voters. One that has no entries may have voted, and knows
        // of nobody to check in with.
        let is_known = voters.iter().any(|set| !set.is_empty()) || self.log().is_empty();
        let is_everybody = voters.iter().flatten().all(|id| *id == own || noted.contains(id));
        let has_waited = self.env().now().since(check_in.inner.began) >= OTHERS_PATIENCE;
        if is_known && (is_everybody || has_waited && is_enough(&voters, own, &noted)) {
            info!(voters = noted.len(), "checked in");
            self.take_part();
        }
    }

    /// Shows this peer's marks to all voters, and draws new ones, for as long as it runs.
    pub(super) async fn keep_checked_in(self) {
        let check_in = self.check_in();
        let mut renewal = self.env().now().after(self.settings().mark_pause);
        let mut pause = PAUSE_MIN;
        let (mut asked, mut answers) = (BTreeSet::new(), FuturesUnordered::new());
        loop {
            for (raft_id, peer) in self.unaware() {
                if asked.insert(raft_id) {
                    answers.push(
                        async move { (raft_id, check_in.show(raft_id, peer, PATIENCE).await) },
                    );
                }
            }
            self.take_part_if_enough();
            if check_in.inner.failure.get().is_some() {
                return;
            }
            let takes_part = check_in.takes_part();
            if takes_part && self.env().now() >= renewal {
                renewal = self.env().now().after(self.settings().mark_pause);
                if let Err(fault) = check_in.renew().await {
                    debug!(err = %fault, "no mark drawn");
                }
                continue;
            }
            pause = if takes_part { PAUSE_LATER } else { (2 * pause).min(PAUSE_MAX) };
            let until = self.env().now().after(pause);
            loop {
                tokio::select! {
                    biased; // what is known matters more than the time
                    Some((raft_id, outcome)) = answers.next() => {
                        asked.remove(&raft_id);
                        if let Err(fault) = outcome {
                            debug!(err = %fault, "mark not noted");
                        }
                        self.take_part_if_enough();
                    }
                    () = self.env().sleep_until(until) => break,
                }
            }
        }
    }

    /// Returns the other voters that have not noted this peer's latest mark.
    fn unaware(&self) -> Vec<(u64, PeerId)> {
        let state = self.check_in().lock();
        let latest = state.own.latest.number;
        let is_aware = |id| state.noted.get(&id).is_some_and(|number| *number >= latest);
        let seats = self.status().members.into_iter();
        let others = seats.filter(|seat| seat.is_voter && seat.raft_id != self.raft_id());
        let others = others.map(|seat| (seat.raft_id.0, seat.peer));
        others.filter(|(id, _)| !is_aware(*id)).collect()
    }
}

fn draw<E: Env>(env: &E) -> u64 {
    let mut nonce = [0; 8];
    env.fill_secret(&mut nonce);
    u64::from_le_bytes(nonce)
}

fn batch_of(own: &Marks) -> Result<Batch, Fault> {
    let mut batch = Batch::default();
    batch.put(Map::RaftState, OWN, encode("marks", own).map_err(failed)?);
    Ok(batch)
}

fn key_of(raft_id: u64) -> Bytes {
    [OTHERS, &raft_id.to_be_bytes()[..]].concat().into()
}

/// Returns why a peer takes part no more whose directory is an older copy, and what its owner does then.
fn outdated(remembering: PeerId) -> String {
    format!(
        "this data directory is an older copy of what this peer had: peer {remembering} remembers what came after \
             it, so that votes and acknowledgements are forgotten here, and this peer takes part no more; remove it from \
             its cluster (shoal cluster remove, at another peer), move the directory away, and let an empty one join by a \
             new ticket"
    )
}
