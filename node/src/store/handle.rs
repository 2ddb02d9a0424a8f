//! The handle to a store: what the rest of the program holds.

use protocol::index;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use lru::LruCache;
use protocol::limits::{
    BLOCK_BYTES_MAX, HAS_CIDS_MAX, STORE_FILES_OPEN_MAX, STORE_OWNERS_MAX, STORE_QUEUE_BYTES_MAX,
    STORE_QUEUE_COMMANDS_MAX,
};
use protocol::wire::BlockOutcome;
use protocol::{Cid, OwnerId};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::command::{Claim, Command, Put};
use super::error::StoreError;
use super::metrics::StoreMetrics;
use super::settings::{StoreSettings, Usage};
use super::task::Writer;
use crate::env::{Disk, DiskError, Env, Map};

/// What the writer and all handles share.
pub(super) struct Shared<E: Env> {
    pub(super) env: E,
    pub(super) capacity_bytes: u64,
    pub(super) used_bytes: AtomicU64,
    pub(super) blocks: AtomicU64,
    /// Segments open for reading, by number.
    pub(super) files: Mutex<LruCache<u32, <E::Disk as Disk>::File>>,
    pub(super) metrics: StoreMetrics,
    /// Where blocks that were found corrupt are told.
    found: mpsc::Sender<Cid>,
    /// The other end, until somebody takes it.
    corrupt: Mutex<Option<mpsc::Receiver<Cid>>>,
    /// Why the disk cannot be used any more.
    failure: OnceLock<String>,
    failed: CancellationToken,
    stopped: AtomicBool,
}

impl<E: Env> Shared<E> {
    /// Records that the disk failed, for good.
    pub(super) fn fail(&self, detail: String) {
        if self.failure.set(detail).is_ok() {
            tracing::error!(err = self.failure.get(), "disk failed, store stopped");
        }
        self.failed.cancel();
    }

    /// Returns why nothing can be done any more, if that is so.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if let Some(detail) = self.failure.get() {
            return Err(StoreError::Disk(DiskError::Failed { detail: detail.clone() }));
        }
        if self.stopped.load(Ordering::Acquire) { Err(StoreError::Stopped) } else { Ok(()) }
    }

    /// Counts and tells that a block was found corrupt.
    pub(super) fn found_corrupt(&self, cid: Cid) {
        self.metrics.corrupt_blocks.inc();
        tracing::warn!(%cid, "block was corrupt");
        self.tell_corrupt(cid);
    }

    /// Tells that a block is corrupt.
    pub(super) fn tell_corrupt(&self, cid: Cid) {
        // What finds no room here, or nobody who listens, is told by the next scrub: the index remembers it.
        self.found.try_send(cid).ok();
    }

    /// Records that the writer has ended.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Passes an error of the disk on, and stops everything if it was a failure.
    pub(super) fn noted(&self, error: DiskError) -> StoreError {
        if let DiskError::Failed { detail } = &error {
            self.fail(detail.clone());
        }
        error.into()
    }
}

/// A handle to a store. Clones are handles to the same one.
pub struct Store<E: Env> {
    pub(super) shared: Arc<Shared<E>>,
    commands: mpsc::Sender<Command>,
    /// Bytes that may still join the writer's queue.
    room: Arc<Semaphore>,
}

impl<E: Env> Clone for Store<E> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            commands: self.commands.clone(),
            room: Arc::clone(&self.room),
        }
    }
}

impl<E: Env> fmt::Debug for Store<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

/// Returns the store on the disk of `env`, recovered and consistent, its writer running.
///
/// Cost: reads what was written since the index was last synced; everything if there is no index.
///
/// # Errors
/// [`StoreError::Disk`]
pub async fn start<E: Env>(env: E, settings: StoreSettings) -> Result<Store<E>, StoreError> {
    let metrics = StoreMetrics::default();
    metrics.capacity_bytes.set(i64::try_from(settings.capacity_bytes).unwrap_or(i64::MAX));
    let (found, corrupt) = mpsc::channel(CORRUPT_MAX);
    let shared = Arc::new(Shared {
        env: env.clone(),
        capacity_bytes: settings.capacity_bytes,
        used_bytes: AtomicU64::new(0),
        blocks: AtomicU64::new(0),
        files: Mutex::new(LruCache::new(FILES_OPEN_MAX)),
        metrics,
        found,
        corrupt: Mutex::new(Some(corrupt)),
        failure: OnceLock::new(),
        failed: CancellationToken::new(),
        stopped: AtomicBool::new(false),
    });
    let writer = Writer::recover(Arc::clone(&shared), settings).await?;
    let (commands, queue) = mpsc::channel(STORE_QUEUE_COMMANDS_MAX);
    env.spawn("store", writer.run(queue));
    let room = Arc::new(Semaphore::new(STORE_QUEUE_BYTES_MAX as usize));
    Ok(Store { shared, commands, room })
}

/// Blocks found corrupt of which nobody has taken notice yet: 36 bytes each, and as many as some seconds of a
/// scrub find on a disk that is all wrong.
const CORRUPT_MAX: usize = 4096;

const FILES_OPEN_MAX: std::num::NonZeroUsize =
    match std::num::NonZeroUsize::new(STORE_FILES_OPEN_MAX) {
        Some(max) => max,
        None => std::num::NonZeroUsize::MIN,
    };

impl<E: Env> Store<E> {
    /// Stores a block whose bytes the caller found to hash to `cid`, and has `owner` refer to it. Returns when
    /// both are durable. Waits while the writer's queue is full. With [`OwnerId::REPAIR`] it replaces a copy
    /// that was found corrupt, and adds no reference.
    ///
    /// Cancel-safe: a cancelled put may still happen.
    ///
    /// # Errors
    /// [`StoreError::Full`]; [`StoreError::TooLarge`]; [`StoreError::Disk`]; [`StoreError::Stopped`].
    pub async fn put(
        &self,
        cid: Cid,
        bytes: Bytes,
        owner: OwnerId,
        root: bool,
    ) -> Result<BlockOutcome, StoreError> {
        self.shared.check()?;
        let too_large = StoreError::TooLarge { bytes: bytes.len() as u64 };
        let size = u32::try_from(bytes.len()).ok().filter(|size| *size <= BLOCK_BYTES_MAX);
        let size = size.ok_or(too_large)?;
        let room = Arc::clone(&self.room).acquire_many_owned(size.max(1)).await;
        let room = room.map_err(|_| StoreError::Stopped)?;
        self.ask(|reply| Command::Put(Put { cid, bytes, owner, root, reply, room })).await
    }

    /// Has `owner` refer to those of `cids` that are held, durably. Returns how many bytes those have, in order.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn claim(
        &self,
        cids: Vec<Cid>,
        owner: OwnerId,
        root: bool,
    ) -> Result<Vec<Option<u32>>, StoreError> {
        let mut held = Vec::with_capacity(cids.len());
        for part in cids.chunks(HAS_CIDS_MAX) {
            let cids = part.to_vec();
            // New content is held nowhere, and to say so needs no turn behind a group that is being synced.
            // A block that comes between is found by the put that follows.
            let seen = self.has(cids.clone()).await?;
            held.extend(if seen.contains(&true) {
                self.ask(|reply| Command::Claim(Claim { cids, owner, root, reply })).await?
            } else {
                vec![None; seen.len()]
            });
        }
        Ok(held)
    }

    /// Says which of `cids` are held, in order. Cost: one look into the index for each.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn has(&self, cids: Vec<Cid>) -> Result<Vec<bool>, StoreError> {
        Ok(self.lengths(cids).await?.iter().map(Option::is_some).collect())
    }

    /// Returns how many bytes those of `cids` have that are held, in order. Cost: one look into the index for each.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn lengths(&self, cids: Vec<Cid>) -> Result<Vec<Option<u32>>, StoreError> {
        self.shared.check()?;
        let keys = cids.iter().map(index::block_key).collect();
        let entries = self.shared.env.disk().get_many(Map::Blocks, keys).await;
        let entries = entries.map_err(|error| self.shared.noted(error))?;
        let length = |entry: Option<Bytes>| {
            let place = entry.and_then(|value| index::Place::decode(&value))?;
            place.is_held().then(|| u32::try_from(place.block_bytes()).unwrap_or(u32::MAX))
        };
        Ok(entries.into_iter().map(length).collect())
    }

    /// Tells that the bytes of a block were found not to hash to its CID. The store looks for itself, and if
    /// that is so, the block counts as not held from then on.
    pub async fn mark_corrupt(&self, cid: Cid) {
        // A stopped store serves nothing any more, so that there is nothing to keep it from.
        let marked = self.ask(|reply| Command::MarkCorrupt { cid, seen: None, reply }).await;
        if let Err(error) = marked {
            tracing::debug!(%cid, err = %error, "corrupt block was not marked");
        }
    }

    /// Returns where the blocks are told that are found corrupt from now on, by whoever reads them; `None` when
    /// somebody has it already.
    #[must_use]
    pub fn take_corrupt(&self) -> Option<mpsc::Receiver<Cid>> {
        // A panic elsewhere leaves a receiver as it is.
        self.shared.corrupt.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// Returns how many blocks were found corrupt since the start. Cost: none.
    #[must_use]
    pub fn corrupt_found(&self) -> u64 {
        self.shared.metrics.corrupt_blocks.get()
    }

    /// Drops all references of `owner`, and frees the blocks that nobody refers to then. Returns how many
    /// and their bytes. Done in bounded steps: after an error some may be dropped; ask again.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn release(&self, owner: OwnerId) -> Result<(u64, u64), StoreError> {
        let (mut blocks, mut bytes) = (0, 0);
        loop {
            let step = self.ask(|reply| Command::Release { owner, reply }).await?;
            blocks += step.blocks;
            bytes += step.bytes;
            if !step.more {
                return Ok((blocks, bytes));
            }
        }
    }

    /// Returns the owners that refer to `cid` as their root, at most [`STORE_OWNERS_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn owners(&self, cid: Cid) -> Result<Vec<OwnerId>, StoreError> {
        self.shared.check()?;
        let (from, until) = index::range_of(&index::roots_of(&cid));
        let found =
            self.shared.env.disk().scan(Map::References, from, until, STORE_OWNERS_MAX).await;
        let found = found.map_err(|error| self.shared.noted(error))?;
        Ok(found.iter().filter_map(|(key, _)| index::owner_in(key)).collect())
    }

    /// Returns the owners of blocks that come after `after` in the order of their ids, at most `limit`: all of
    /// them, page by page. Cost: one seek in the index for each.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn owners_after(
        &self,
        after: Option<OwnerId>,
        limit: usize,
    ) -> Result<Vec<OwnerId>, StoreError> {
        self.shared.check()?;
        let (mut from, until) = index::range_of(index::OWNERS);
        let mut owners = Vec::new();
        let mut last = after;
        while owners.len() < limit {
            if let Some(last) = last {
                let (_, behind) = index::range_of(&index::owned_by(&last));
                let Some(behind) = behind else { break };
                from = behind;
            }
            let disk = self.shared.env.disk();
            let found = disk.scan(Map::References, from.clone(), until.clone(), 1).await;
            let found = found.map_err(|error| self.shared.noted(error))?;
            let Some(owner) = found.first().and_then(|(key, _)| index::owner_before_block(key))
            else {
                break;
            };
            owners.push(owner);
            last = Some(owner);
        }
        Ok(owners)
    }

    /// Returns the blocks that an owner refers to and that come after `after`, at most `limit`: all of them, page by
    /// page.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Stopped`]
    pub async fn owned_after(
        &self,
        owner: OwnerId,
        after: Option<Cid>,
        limit: usize,
    ) -> Result<Vec<Cid>, StoreError> {
        self.shared.check()?;
        let (mut from, until) = index::range_of(&index::owned_by(&owner));
        if let Some(after) = after {
            let [_, key] = index::reference_keys(&after, &owner);
            from = index::behind(&key);
        }
        let found = self.shared.env.disk().scan(Map::References, from, until, limit).await;
        let found = found.map_err(|error| self.shared.noted(error))?;
        Ok(found.iter().filter_map(|(key, _)| index::block_in(key)).collect())
    }

    /// Returns how full the store is. Cost: none.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            capacity_bytes: self.shared.capacity_bytes,
            used_bytes: self.shared.used_bytes.load(Ordering::Relaxed),
            blocks: self.shared.blocks.load(Ordering::Relaxed),
        }
    }

    /// Returns what the store counts, to be registered.
    #[must_use]
    pub fn metrics(&self) -> &StoreMetrics {
        &self.shared.metrics
    }

    /// Returns once the disk has failed, with the reason: the peer must stop then. Cancel-safe.
    pub async fn failed(&self) -> String {
        self.shared.failed.cancelled().await;
        self.shared.failure.get().cloned().unwrap_or_default()
    }

    /// Finishes what was asked before, makes the index durable and ends the writer. Later calls fail.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Stop { reply }).await.is_ok() {
            // An error says that the writer has ended already.
            done.await.ok();
        }
    }

    /// Hands a command to the writer and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        self.shared.check()?;
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| self.gone())?;
        answer.await.map_err(|_| self.gone())?
    }

    /// Returns why the writer does not answer.
    fn gone(&self) -> StoreError {
        self.shared.check().err().unwrap_or(StoreError::Stopped)
    }
}
