//! The task that writes what the log queues: in order, many writes sharing a sync.
//!
//! Owns the order. A full disk is waited out, because nothing was written that counts; any other failure is final:
//! everybody who waits hears of it, nothing is written after it, and the peer stops.
//! Never: reorders; drops; retries a failed sync.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use openraft::storage::IOFlushed;
use protocol::{Fault, Kind};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::types::Types;
use crate::env::{Batch, Change, Disk, DiskError, Durability, Env};

/// Writes that wait. Raft has a few thousand commands under way at most, many in one write.
const JOBS_MAX: usize = 1024;
/// Writes that share a sync, and the bytes after which no further one joins.
const GROUP_JOBS_MAX: usize = 256;
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Pause before a full disk is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// Tries of a full disk for each line in the log.
const TRIES_PER_LINE: u32 = 120;

/// Who is told when a write is done.
pub(super) enum Told {
    /// Nobody.
    Nobody,
    /// Whoever waits.
    Signal(oneshot::Sender<io::Result<()>>),
    /// Raft, after `flushed` ran.
    Raft { callback: IOFlushed<Types>, flushed: Box<dyn FnOnce() + Send> },
}

/// One write.
pub(super) struct Job {
    pub(super) changes: Vec<Change>,
    /// Whether it counts as done only when it is durable.
    pub(super) synced: bool,
    pub(super) told: Told,
}

impl Job {
    fn bytes(&self) -> usize {
        let of = |change: &Change| match change {
            Change::Put { key, value, .. } => key.len() + value.len(),
            Change::Delete { .. } | Change::DeleteRange { .. } => 0,
        };
        self.changes.iter().map(of).sum()
    }
}

/// Why the metadata cannot go on, once that is so. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure {
    reason: Arc<OnceLock<Fault>>,
    waiting: Arc<tokio::sync::Notify>,
}

impl Failure {
    /// Records the first reason, for good.
    pub(super) fn set(&self, reason: String) {
        self.record(Fault::new(Kind::Internal, reason));
    }

    /// Records that this peer's directory is an older copy of what it had, for good.
    pub(super) fn set_outdated(&self, reason: String) {
        self.record(Fault::new(Kind::Conflict, reason));
    }

    fn record(&self, reason: Fault) {
        if self.reason.set(reason).is_ok() {
            self.waiting.notify_waiters();
        }
    }

    /// Returns the reason, if there is one.
    pub(super) fn get(&self) -> Option<&str> {
        self.reason.get().map(|reason| reason.detail.as_str())
    }

    /// Returns once there is a reason. Cancel-safe.
    pub(super) async fn wait(&self) -> Fault {
        loop {
            let notified = self.waiting.notified();
            if let Some(reason) = self.reason.get() {
                return reason.clone();
            }
            notified.await;
        }
    }
}

/// The queue in front of the task. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub(super) struct Flusher {
    jobs: mpsc::Sender<Job>,
    hint: Arc<Mutex<Option<Change>>>,
    failure: Failure,
}

impl Flusher {
    /// Starts the task, which ends with its last handle.
    pub(super) fn start<E: Env>(env: &E, failure: Failure) -> Self {
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let flusher = Self { jobs, hint: Arc::default(), failure: failure.clone() };
        let hint = Arc::clone(&flusher.hint);
        env.spawn("meta.log", run(env.clone(), queue, hint, failure));
        flusher
    }

    /// Queues a write; the order of these calls is the order on the disk.
    ///
    /// # Errors
    /// When an earlier write failed, or the machine stops.
    pub(super) async fn queue(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).await.map_err(|_| {
            io::Error::other(self.failure.get().unwrap_or("the peer is stopping").to_owned())
        })
    }

    /// Has `change` written with the next write, instead of an earlier hint. It may never be.
    pub(super) fn hint(&self, change: Change) {
        *self.hint.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
    }
}

async fn run<E: Env>(
    env: E,
    mut queue: mpsc::Receiver<Job>,
    hint: Arc<Mutex<Option<Change>>>,
    failure: Failure,
) {
    while let Some(first) = queue.recv().await {
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while group.len() < GROUP_JOBS_MAX && bytes < GROUP_BYTES_MAX {
            let Ok(job) = queue.try_recv() else { break };
            bytes += job.bytes();
            group.push(job);
        }
        let synced = group.iter().any(|job| job.synced);
        let mut batch = Batch::default();
        for job in &mut group {
            batch.changes.append(&mut job.changes);
        }
        batch.changes.extend(hint.lock().unwrap_or_else(PoisonError::into_inner).take());
        let durability = if synced { Durability::Synced } else { Durability::Buffered };
        let outcome = write_when_there_is_room(&env, batch, durability).await;
        if let Err(error) = &outcome
            && !matches!(error, DiskError::Closed)
        {
            failure.set(format!("the Raft log cannot be written: {error}"));
        }
        for job in group {
            let result = match &outcome {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::other(error.to_string())),
            };
            match job.told {
                Told::Nobody => {}
                // Whoever asked may have gone.
                Told::Signal(done) => drop(done.send(result)),
                Told::Raft { callback, flushed } => {
                    if result.is_ok() {
                        flushed();
                    }
                    callback.io_completed(result);
                }
            }
        }
        if outcome.is_err() {
            return;
        }
    }
}

/// Writes a batch, waiting for room where there is none.
///
/// # Errors
/// Any [`DiskError`] but [`DiskError::Full`].
pub(super) async fn write_when_there_is_room<E: Env>(
    env: &E,
    batch: Batch,
    durability: Durability,
) -> Result<(), DiskError> {
    let mut tries = 0;
    loop {
        match env.disk().write(batch.clone(), durability).await {
            Err(DiskError::Full) => wait_for_room(env, &mut tries).await,
            outcome => return outcome,
        }
    }
}

/// Waits until a full disk is worth another try. Says so at the first, and every minute: the log may be on that disk.
pub(super) async fn wait_for_room<E: Env>(env: &E, tries: &mut u32) {
    if tries.is_multiple_of(TRIES_PER_LINE) {
        warn!("disk is full: metadata waits for room");
    }
    *tries = tries.wrapping_add(1);
    env.sleep_until(env.now().after(FULL_PAUSE)).await;
}
