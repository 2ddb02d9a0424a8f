//! The state machine: committed entries applied to the state on the disk, one batch at a time.
//!
//! A batch reads through `protocol::metadata::apply` and becomes one write: what it changed, and how far the log was
//! applied, together. It is not synced: what a crash takes is applied again from the log, which is. Owns the map
//! [`Map::Metadata`] and the progress. An entry that cannot be applied stops the peer; it is never skipped, because
//! others may have applied it. Never: decides what a command does.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{
    ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine, SnapshotMeta,
};
use protocol::metadata::{Command, Draft, Effect, Source, apply, encode_answer};
use protocol::raft::{Configured, Content, Progress, Record, encode};

use super::convert;
use super::effects::Teller;
use super::flusher::{Failure, wait_for_room, write_when_there_is_room};
use super::log::{PROGRESS, io_error};
use super::metrics::MetaMetrics;
use super::rows::Rows;
use super::settings::Observer;
use super::snapshot::{Contents, copy_view};
use super::source::{Generation, end_of, key_in, read_progress};
use super::types::{Applied, Entry, LeaderId, LogId, Payload, Seat, StoredMembership, Types};
use super::watch::{FairReceiver, FairSender, channel};
use crate::env::{Batch, Disk, DiskError, Durability, Env, Home, Map, MapReader};

/// Entries applied in one batch, and the bytes of commands after which no further one joins: what a reader may
/// have to wait for, and what is held in memory meanwhile.
const BATCH_ENTRIES_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 2 << 20;

type Meta = SnapshotMeta<LeaderId, u64, Seat>;
type Snapshot<E> = openraft::Snapshot<LeaderId, u64, Seat, Contents<E>>;

/// What others may know of the state machine while Raft owns it. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub(super) struct MachineView {
    applied: FairReceiver<u64>,
    generations: Arc<AtomicU32>,
    teller: Teller,
}

impl MachineView {
    /// Returns once the entry of `index` is applied; false when the state machine stopped before. Cancel-safe.
    pub(super) async fn wait_applied(&self, index: u64) -> bool {
        let mut applied = self.applied.clone();
        while *applied.value() <= index {
            if applied.next().await.is_err() {
                return false;
            }
        }
        true
    }

    /// Returns how many entries are applied.
    pub(super) fn applied(&self) -> u64 {
        *self.applied.value()
    }

    /// Returns the number of a generation that nothing was ever written under in this life of the peer.
    pub(super) fn next_generation(&self) -> u32 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn teller(&self) -> &Teller {
        &self.teller
    }
}

/// The state machine of one peer.
pub(super) struct Machine<E: Env> {
    env: E,
    progress: Mutex<Progress>,
    rows: Arc<Rows>,
    applied: FairSender<u64>,
    view: MachineView,
    failure: Failure,
    metrics: MetaMetrics,
    observer: Observer,
}

impl<E: Env> fmt::Debug for Machine<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// Keys with their new values; `None` removes one.
type Changes = Vec<(Bytes, Option<Bytes>)>;

/// What applying a batch of entries gave.
struct Step {
    changes: Changes,
    /// One per entry.
    answers: Vec<Applied>,
    effects: Vec<Effect>,
}

impl<E: Env> Machine<E> {
    /// Opens the state on the machine's disk, and removes what unfinished snapshots left there.
    ///
    /// # Errors
    /// When the disk fails, or what lies there does not read.
    pub(super) async fn open(
        env: &E,
        failure: Failure,
        metrics: MetaMetrics,
        observer: Observer,
    ) -> Result<Self, DiskError> {
        let progress = env.disk().query(Home::Metadata, read_progress).await?;
        let mut batch = Batch::default();
        batch.delete_range(Map::Metadata, Bytes::new(), key_in(progress.generation, &[]));
        batch.delete_range(Map::Metadata, end_of(progress.generation), end_of(u32::MAX));
        write_when_there_is_room(env, batch, Durability::Buffered).await?;
        let count = progress.applied.map_or(0, |place| place.index + 1);
        let (sender, applied) = channel(count);
        let view = MachineView {
            applied,
            generations: Arc::new(AtomicU32::new(progress.generation.saturating_add(1))),
            teller: Teller::default(),
        };
        Ok(Self {
            env: env.clone(),
            progress: Mutex::new(progress),
            rows: Arc::new(Rows::new()),
            applied: sender,
            view,
            failure,
            metrics,
            observer,
        })
    }

    pub(super) fn view(&self) -> MachineView {
        self.view.clone()
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies entries that follow each other, and tells whoever waits for them.
    async fn step(
        &self,
        entries: Vec<Entry>,
        responders: Vec<Option<ApplyResponder<Types>>>,
    ) -> Result<(), String> {
        let mut progress = self.progress().clone();
        let generation = progress.generation;
        for entry in &entries {
            progress.applied = Some(convert::place(entry.log_id));
            if let Payload::Membership(membership) = &entry.payload {
                let at = Some(convert::place(entry.log_id));
                progress.configured =
                    Configured { at, configuration: convert::configuration(membership) };
            }
        }
        let entries: Arc<[Entry]> = entries.into();
        let encoded = encode("progress", &progress).map_err(|error| error.to_string())?;
        let mut tries = 0;
        let step = loop {
            let (entries, encoded) = (Arc::clone(&entries), encoded.clone());
            let rows = Arc::clone(&self.rows);
            let change = move |reader: &dyn MapReader| {
                let disk = Generation::new(reader, generation);
                Ok(match apply_all(&rows.over(&disk), &entries) {
                    Ok(step) => (batch_of(generation, &step.changes, encoded.clone()), Ok(step)),
                    Err(reason) => (Batch::default(), Err(reason)),
                })
            };
            match self.env.disk().transact(Home::Metadata, change).await {
                // The state is as it was: what comes of the entries is the same the next time.
                Err(DiskError::Full) => wait_for_room(&self.env, &mut tries).await,
                Err(error) => return Err(error.to_string()),
                Ok(step) => break step?,
            }
        };
        for entry in entries.iter().filter(|_| self.observer.wants()) {
            self.observer.applied(entry.log_id.index, &convert::record(entry));
        }
        self.rows.changed(step.changes);
        let applied = progress.applied.map_or(0, |place| place.index + 1);
        *self.progress() = progress;
        self.metrics.entries_applied.inc_by(entries.len() as u64);
        // Whoever sees how far this is finds all effects up to there in the queue.
        self.view.teller.tell(&step.effects);
        self.applied.modify(|slot| {
            *slot = applied;
            true
        });
        for (responder, answer) in responders.into_iter().zip(step.answers) {
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    fn meta(&self) -> Result<Meta, io::Error> {
        let progress = self.progress();
        Ok(Meta {
            last_log_id: progress.applied.map(convert::log_id),
            last_membership: convert::stored_membership(progress.configured.clone())
                .map_err(convert::invalid_data)?,
        })
    }

    /// Makes a generation the state, and removes all before it, in one write.
    async fn take_over(&self, meta: &Meta, generation: u32) -> Result<(), DiskError> {
        let progress = Progress {
            generation,
            applied: meta.last_log_id.map(convert::place),
            configured: convert::configured(&meta.last_membership),
        };
        let bytes = encode("progress", &progress)
            .map_err(|error| DiskError::Failed { detail: error.to_string() })?;
        let mut batch = Batch::default();
        batch.put(Map::RaftState, PROGRESS, bytes);
        batch.delete_range(Map::Metadata, Bytes::new(), key_in(generation, &[]));
        // The log up to here is purged next: the state must outlive it.
        write_when_there_is_room(&self.env, batch, Durability::Synced).await?;
        let applied = progress.applied.map_or(0, |place| place.index + 1);
        self.observer.installed(applied);
        *self.progress() = progress;
        self.metrics.snapshots_installed.inc();
        self.view.teller.tell_missed();
        self.applied.modify(|slot| {
            *slot = applied;
            true
        });
        Ok(())
    }
}

/// Returns the batch of what entries changed in a generation, and how far they were applied.
fn batch_of(generation: u32, changes: &Changes, progress: Bytes) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in changes {
        let key = key_in(generation, key);
        match value {
            Some(value) => batch.put(Map::Metadata, key, value.clone()),
            None => batch.delete(Map::Metadata, key),
        }
    }
    batch.put(Map::RaftState, PROGRESS, progress);
    batch
}

/// Applies entries to a draft over a state.
fn apply_all(source: &dyn Source, entries: &[Entry]) -> Result<Step, String> {
    let mut draft = Draft::new(source);
    let mut answers = Vec::with_capacity(entries.len());
    let mut effects = Vec::new();
    for entry in entries {
        let Record { at, content } = convert::record(entry);
        let answer = match content {
            Content::Blank | Content::Configuration(_) => Bytes::new(),
            Content::Command(bytes) => {
                let stop = |error: String| format!("entry {} cannot be applied: {error}", at.index);
                let command = Command::decode(&bytes).map_err(|error| stop(error.to_string()))?;
                let outcome = apply(&mut draft, at.index, &command);
                let answer = outcome.map_err(|error| stop(error.to_string()))?;
                effects.append(&mut draft.take_effects());
                encode_answer(&answer).map_err(|error| stop(error.to_string()))?
            }
        };
        answers.push(Applied(answer));
    }
    Ok(Step { changes: draft.into_changes(), answers, effects })
}

impl<E: Env> RaftStateMachine<Types> for Machine<E> {
    type SnapshotData = Contents<E>;
    type SnapshotBuilder = Built<E>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let meta = self.meta()?;
        Ok((meta.last_log_id, meta.last_membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        loop {
            let (mut batch, mut responders, mut bytes) = (Vec::new(), Vec::new(), 0);
            while batch.len() < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
                let Some(item) = entries.next().await else { break };
                let (entry, responder) = item?;
                bytes += convert::entry_bytes(&entry);
                batch.push(entry);
                responders.push(responder);
            }
            if batch.is_empty() {
                return Ok(());
            }
            if let Err(reason) = self.step(batch, responders).await {
                self.failure.set(reason.clone());
                return Err(io::Error::other(reason));
            }
        }
    }

    async fn get_snapshot_builder(&mut self) -> Built<E> {
        Built { meta: self.meta(), _env: std::marker::PhantomData }
    }

    async fn install_snapshot(
        &mut self,
        meta: &Meta,
        contents: Contents<E>,
    ) -> Result<(), io::Error> {
        let installed = async {
            let generation = match contents {
                Contents::Received { generation } => generation,
                Contents::Frozen { view, generation: theirs } => {
                    let generation = self.view.next_generation();
                    copy_view(&self.env, &view, theirs, generation).await?;
                    generation
                }
                Contents::Elsewhere => {
                    let detail = "a snapshot without contents cannot be installed".to_owned();
                    return Err(DiskError::Failed { detail });
                }
            };
            self.take_over(meta, generation).await
        };
        installed.await.map_err(|error| {
            self.failure.set(format!("a snapshot cannot be installed: {error}"));
            io_error(error)
        })
    }

    /// Freezes the state as it is now, which is at least as new as the snapshot that was built last: nothing is
    /// held on the disk between building and sending.
    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<E>>, io::Error> {
        let meta = self.meta()?;
        if meta.last_log_id.is_none() {
            return Ok(None);
        }
        let view = self.env.disk().freeze(Home::Metadata).await.map_err(io_error)?;
        let generation = self.progress().generation;
        Ok(Some(Snapshot { meta, snapshot: Contents::Frozen { view, generation } }))
    }
}

/// A snapshot that needs no building: the state on the disk is one.
pub(super) struct Built<E> {
    meta: Result<Meta, io::Error>,
    _env: std::marker::PhantomData<fn() -> E>,
}

impl<E: Env> RaftSnapshotBuilder<Types> for Built<E> {
    type SnapshotData = Contents<E>;

    async fn build_snapshot(&mut self) -> Result<Snapshot<E>, io::Error> {
        let taken = Err(io::Error::other("a snapshot is built once"));
        let meta = std::mem::replace(&mut self.meta, taken)?;
        Ok(Snapshot { meta, snapshot: Contents::Elsewhere })
    }
}
