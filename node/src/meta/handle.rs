//! The handle of a peer's part in agreement: starting it, where it stands, ending it.
//!
//! Every call into Raft goes through [`Meta::on_host`], so that its clock, chance and tasks are the machine's.
//! Never: lets a type of the library out.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use protocol::metadata::{Command, Effect, Outcome};
use protocol::raft::{Identity, decode, encode};
use protocol::{ClusterId, Fault, Instant, Kind, PeerId};
use tokio::sync::{Mutex, Semaphore};
use tracing::{info, warn};

use super::check_in::CheckIn;
use super::controller;
use super::effects::Effects;
use super::flusher::{Failure, Flusher};
use super::log::{IDENTITY, Log};
use super::machine::{Machine, MachineView};
use super::metrics::MetaMetrics;
use super::network::{Lines, Post};
use super::read::ReadIndexes;
use super::runtime::MetaHost;
use super::serve::failed;
use super::settings::{MetaSettings, Planted};
use super::snapshot::Receiver;
use super::status::{MetaStatus, RaftId, StatusWatch};
use super::touch::Question;
use super::types::{Metrics, Raft, Seat};
use crate::env::{Batch, Disk, Durability, Env, Home, Map, Net};
use crate::rpc::Rpc;
use protocol::limits::META_PROPOSALS_MAX;

/// How long a leader that stops waits for another to lead.
const TRANSFER_PATIENCE: Duration = Duration::from_millis(1_500);
/// How long the founder's first command may take: one sync on its own disk.
const FOUND_PATIENCE: Duration = Duration::from_secs(30);

/// A peer's part in its cluster's agreement. Clones are handles to the same one.
pub struct Meta<E: Env> {
    inner: Arc<Inner<E>>,
}

struct Inner<E: Env> {
    env: E,
    host: MetaHost,
    identity: Identity,
    settings: MetaSettings,
    raft: Raft<E>,
    log: Log<E>,
    machine: MachineView,
    receiver: Receiver<E>,
    post: Post<E>,
    check_in: CheckIn<E>,
    failure: Failure,
    metrics: MetaMetrics,
    proposals: Semaphore,
    read_indexes: ReadIndexes,
    /// One change of the membership at a time from this peer.
    changing: Mutex<()>,
    /// When a leader last had something appended here, or its sign of life taken, in nanoseconds of this peer's clock.
    heard_nanos: AtomicU64,
    /// Whether that was ever so; until then it is when this peer started.
    is_heard: AtomicBool,
    question: Question,
}

impl<E: Env> Clone for Meta<E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<E: Env> fmt::Debug for Meta<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meta").field("identity", &self.inner.identity).finish_non_exhaustive()
    }
}

impl<E: Env> Meta<E> {
    /// Opens this peer's part as it lies on the machine's disk, formatting the disk where it is new, and starts
    /// it. A new one knows no cluster until [`Meta::found`], or until a leader reaches it.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the disk belongs to another cluster, [`Kind::Corrupt`] or [`Kind::Internal`]
    /// when it cannot be read, [`Kind::Invalid`] when the settings do not fit each other.
    pub async fn start(env: E, settings: MetaSettings, rpc: Rpc<E>) -> Result<Self, Fault> {
        let config = settings.config()?;
        let identity = identify(&env, settings.cluster).await?;
        let failure = Failure::default();
        let metrics = MetaMetrics::default();
        let flusher = Flusher::start(&env, failure.clone());
        let planted = settings.planted;
        let log = Log::open(&env, flusher, settings.sync_before_return, planted);
        let log = log.await.map_err(unreadable)?;
        let observer = settings.observer.clone();
        let machine = Machine::open(&env, failure.clone(), metrics.clone(), observer);
        let machine = machine.await.map_err(unreadable)?;
        let view = machine.view();
        let post = Post::new(env.clone(), rpc, identity);
        let is_off = planted.copies_unnoticed;
        let check_in = CheckIn::start(env.clone(), post.clone(), failure.clone(), is_off);
        let check_in = check_in.await.map_err(unreadable)?;
        let lines = Lines::new(post.clone(), check_in.clone());
        let host = MetaHost::new(env.clone());
        let raft = Raft::new(identity.raft_id, config, lines, log.clone(), machine);
        let raft = host.scope(raft).await.map_err(unreadable)?;
        let inner = Inner {
            receiver: Receiver::new(env.clone(), view.clone()),
            host,
            identity,
            settings,
            raft,
            log,
            machine: view,
            post,
            check_in,
            failure,
            metrics,
            proposals: Semaphore::new(META_PROPOSALS_MAX),
            read_indexes: ReadIndexes::default(),
            changing: Mutex::new(()),
            heard_nanos: AtomicU64::new(env.now().as_nanos()),
            is_heard: AtomicBool::new(false),
            question: Question::default(),
            env,
        };
        let meta = Self { inner: Arc::new(inner) };
        meta.env().spawn("meta.watch", meta.clone().watch());
        // A founder waits for nobody.
        meta.take_part_if_enough();
        meta.env().spawn("meta.check_in", meta.clone().keep_checked_in());
        if meta.settings().controller {
            controller::start(&meta);
        }
        info!(raft_id = %meta.raft_id(), "agreement started");
        Ok(meta)
    }

    /// Returns the id of this peer's data directory.
    #[must_use]
    pub fn raft_id(&self) -> RaftId {
        RaftId(self.inner.identity.raft_id)
    }

    /// Returns the cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.inner.settings.cluster
    }

    /// Says whether this peer has ever been part of an agreement: founded one, or heard from a leader.
    #[must_use]
    pub fn is_initialised(&self) -> bool {
        !self.inner.log.is_pristine()
    }

    /// Makes this peer the first and only voter of a new agreement, and commits its first command. When an
    /// earlier attempt was cut short, this one finishes it.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when this peer is part of an agreement with others, or the command was refused.
    pub async fn found(&self, first: Command) -> Result<Outcome, Fault> {
        if self.is_initialised() {
            let voters = self.status().voters();
            if voters.len() != 1 || !voters.contains(&self.raft_id()) {
                let detail = "this data directory is part of a cluster already";
                return Err(Fault::new(Kind::Conflict, detail));
            }
        } else {
            let seat = Seat { peer: self.env().net().local_peer() };
            let members = std::collections::BTreeMap::from([(self.raft_id().0, seat)]);
            self.on_host(self.raft().initialize(members)).await.map_err(failed)?;
        }
        self.submit(first, FOUND_PATIENCE).await
    }

    /// Returns where the agreement stands, as this peer sees it.
    #[must_use]
    pub fn status(&self) -> MetaStatus {
        let metrics = self.raft().metrics().borrow_watched().clone();
        MetaStatus::of(&metrics, self.env().now())
    }

    /// Returns for how long no leader was heard of: nothing where this peer leads. A peer may remember a leader that has
    /// long been another's follower.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        if self.status().is_leader {
            return Duration::ZERO;
        }
        self.since_heard()
    }

    fn since_heard(&self) -> Duration {
        let heard = Instant::from_nanos(self.inner.heard_nanos.load(Ordering::Relaxed));
        self.env().now().since(heard)
    }

    /// Returns how long ago a leader was heard of; `None` when none was since this peer started.
    pub(super) fn leader_silence(&self) -> Option<Duration> {
        self.inner.is_heard.load(Ordering::Relaxed).then(|| self.since_heard())
    }

    /// Says whether this peer leads, or has heard of a leader since it started.
    #[must_use]
    pub fn is_in_touch(&self) -> bool {
        self.status().is_leader || self.leader_silence().is_some()
    }

    /// Notes that a leader was heard of just now.
    pub(super) fn note_heard(&self) {
        self.inner.heard_nanos.store(self.env().now().as_nanos(), Ordering::Relaxed);
        self.inner.is_heard.store(true, Ordering::Relaxed);
    }

    /// Returns a way to wait for changes of [`Meta::status`].
    #[must_use]
    pub fn watch_status(&self) -> StatusWatch {
        StatusWatch::new(self.raft().metrics())
    }

    /// Returns what commands change from now on of what a follower wants to hear, as they are applied on this peer.
    #[must_use]
    pub fn effects(&self, wants: fn(&Effect) -> bool) -> Effects {
        self.inner.machine.teller().follow(wants)
    }

    /// Returns how many entries of the log this peer has applied: all that these changed has been told by then.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.inner.machine.applied()
    }

    /// Returns the counters.
    #[must_use]
    pub fn metrics(&self) -> &MetaMetrics {
        &self.inner.metrics
    }

    /// Returns once this peer's agreement has failed, with the reason: the peer must stop then. [`Kind::Conflict`]
    /// when its data directory is an older copy of what it had. Cancel-safe.
    pub async fn failed(&self) -> Fault {
        self.inner.failure.wait().await
    }

    /// Hands leadership over where this peer has it, and stops. What was acknowledged is durable either way.
    pub async fn stop(&self) {
        let status = self.status();
        if status.is_leader {
            self.hand_over(&status).await;
        }
        if let Err(error) = self.on_host(self.raft().shutdown()).await {
            warn!(err = %error, "agreement ended badly");
        }
    }

    /// Has the voter with the fullest log lead, if there is another one.
    async fn hand_over(&self, status: &MetaStatus) {
        let others = status
            .members
            .iter()
            .filter(|seat| seat.is_voter && seat.raft_id != status.raft_id && seat.lag.is_some());
        let Some(heir) = others.min_by_key(|seat| (seat.lag, seat.raft_id)) else { return };
        let transfer = self.on_host(self.raft().trigger().transfer_leader(heir.raft_id.0)).await;
        if transfer.is_err() {
            return;
        }
        let mut watch = self.watch_status();
        let end = self.env().now().after(TRANSFER_PATIENCE);
        while self.status().is_leader {
            tokio::select! {
                biased; // a new leader matters more than the time
                changed = watch.changed() => if !changed { return },
                () = self.env().sleep_until(end) => return,
            }
        }
    }

    /// Keeps the metrics, and notices when Raft itself has stopped.
    async fn watch(self) {
        let mut watch = self.watch_status();
        let mut leader = None;
        loop {
            let metrics: Metrics = watch.metrics();
            let counts = self.metrics();
            counts.term.set(metrics.current_term);
            counts.applied.set(metrics.last_applied.map_or(0, |at| at.index + 1));
            counts.is_leader.set(u64::from(metrics.state.is_leader()));
            if metrics.current_leader.is_some() && metrics.current_leader != leader {
                leader = metrics.current_leader;
                counts.leader_changes.inc();
            }
            if let Err(fatal) = &metrics.running_state
                && !matches!(fatal, openraft::errors::Fatal::Stopped)
            {
                self.inner.failure.set(format!("Raft has stopped: {fatal}"));
            }
            if !watch.changed().await {
                return;
            }
        }
    }

    /// Returns the machine below.
    #[must_use]
    pub fn env(&self) -> &E {
        &self.inner.env
    }

    pub(super) fn raft(&self) -> &Raft<E> {
        &self.inner.raft
    }

    pub(super) fn identity(&self) -> Identity {
        self.inner.identity
    }

    pub(super) fn settings(&self) -> &MetaSettings {
        &self.inner.settings
    }

    pub(super) fn planted(&self) -> Planted {
        self.inner.settings.planted
    }

    pub(super) fn machine(&self) -> &MachineView {
        &self.inner.machine
    }

    pub(super) fn receiver(&self) -> &Receiver<E> {
        &self.inner.receiver
    }

    pub(super) fn post(&self) -> &Post<E> {
        &self.inner.post
    }

    pub(super) fn log(&self) -> &Log<E> {
        &self.inner.log
    }

    pub(super) fn check_in(&self) -> &CheckIn<E> {
        &self.inner.check_in
    }

    pub(super) fn failure(&self) -> &Failure {
        &self.inner.failure
    }

    pub(super) fn proposals(&self) -> &Semaphore {
        &self.inner.proposals
    }

    pub(super) fn read_indexes(&self) -> &ReadIndexes {
        &self.inner.read_indexes
    }

    pub(super) fn question(&self) -> &Question {
        &self.inner.question
    }

    pub(super) fn changing(&self) -> &Mutex<()> {
        &self.inner.changing
    }

    /// Returns at whom a member answers, as far as this peer knows.
    pub(super) fn seat_of(&self, raft_id: u64) -> Option<PeerId> {
        let metrics = self.raft().metrics();
        let membership = Arc::clone(&metrics.borrow_watched().membership_config);
        membership.membership().get_node(&raft_id).map(|seat| seat.peer)
    }

    /// Runs a call into Raft on the machine. Cancel-safe as the call is.
    pub(super) async fn on_host<T>(&self, call: impl Future<Output = T>) -> T {
        self.inner.host.scope(call).await
    }
}

/// Reads the identity of the disk, or gives it one.
async fn identify<E: Env>(env: &E, cluster: ClusterId) -> Result<Identity, Fault> {
    let found = env
        .disk()
        .query(Home::Metadata, |reader| reader.get(Map::RaftState, IDENTITY))
        .await
        .map_err(unreadable)?;
    if let Some(bytes) = found {
        let identity: Identity = decode("identity", &bytes).map_err(unreadable)?;
        if identity.cluster != *cluster.as_bytes() {
            let theirs = ClusterId::from_bytes(identity.cluster);
            return Err(Fault::new(
                Kind::Conflict,
                format!("this data directory belongs to cluster {theirs}, not to {cluster}"),
            ));
        }
        return Ok(identity);
    }
    let mut random = [0; 8];
    env.fill_secret(&mut random);
    // Zero is nobody's, so that an empty field is never taken for a member.
    let raft_id = u64::from_le_bytes(random).max(1);
    let identity = Identity { raft_id, cluster: *cluster.as_bytes() };
    let mut batch = Batch::default();
    batch.put(Map::RaftState, IDENTITY, encode("identity", &identity).map_err(unreadable)?);
    env.disk().write(batch, Durability::Synced).await.map_err(unreadable)?;
    Ok(identity)
}

/// Returns the change that takes a disk's identity away: one that never heard of its cluster gets another one.
pub(crate) fn forget_identity() -> Batch {
    let mut batch = Batch::default();
    batch.delete(Map::RaftState, IDENTITY);
    batch
}

fn unreadable(error: impl ToString) -> Fault {
    Fault::new(Kind::Internal, format!("the metadata cannot be opened: {}", error.to_string()))
}
