//! Upload: a stream of bytes becomes blocks, and every block its copies.
//!
//! Owns one upload: its chunks being hashed, its blocks on their way. The machine
//! [`protocol::transfer::Upload`] chooses targets and says when to acknowledge; the late copies go on after
//! that. What a failed upload stored is released again. Never: holds more of the object than its window.

mod adopt;
mod copy;
mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{AbortHandle, Abortable};
use futures::stream::{FuturesOrdered, FuturesUnordered};
use futures::{Stream, StreamExt};
use protocol::dag::{Block, Chunker, FileBuilder, Root, Splitter};
use protocol::placement::Partition;
use protocol::repair::Restore;
use protocol::topology::ReplicaCount;
use protocol::transfer::{Upload, UploadConfig, UploadInput, UploadOutput};
use protocol::wire::Class;
use protocol::work::JobKind;
use protocol::{Cid, Codec, Fault, Kind, OwnerId, PeerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{debug, info};

use super::Context;
use crate::env::Env;
pub(super) use adopt::adopt;
pub(super) use copy::{Claimed, Copy, Placed};
use spread::{Spread, Way};

/// Chunks of one upload that are hashed at a time: more than there are cores to hash them on.
const HASHING_MAX: usize = 4;

/// What an uploader may choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct UploadOptions {
    /// Copies of every block; the cluster's number when absent.
    pub replicas: Option<ReplicaCount>,
    /// How bytes are cut into chunks.
    pub chunker: Chunker,
}

/// An acknowledged upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Its name.
    pub root: Root,
    /// Distinct blocks it consists of.
    pub blocks: u64,
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A part of what is uploaded, in its order.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// The next bytes, cut as the chunker says.
    Bytes(Bytes),
    /// A leaf that the cluster holds already, cut where it was.
    Leaf {
        /// Its name.
        cid: Cid,
        /// Its bytes.
        bytes_len: u32,
    },
}

/// A leaf that has its name now: its bytes and the memory they are entitled to, or neither when the cluster
/// holds it already.
struct Named {
    cid: Cid,
    bytes_len: u32,
    bytes: Option<(Bytes, OwnedSemaphorePermit)>,
}

/// A block until all its copies are placed.
struct Held {
    bytes: Option<Bytes>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// The end of a copy's way.
struct Put {
    input: UploadInput,
    /// How many bytes the block has, where that was told.
    bytes_len: Option<u32>,
}

/// What becomes of what its owner has when an upload fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnFailure {
    /// It is released: the owner has nothing else.
    Release,
    /// It stays, with the parts that were acknowledged before, until the owner's lease ends.
    Keep,
}

/// Stores what `source` yields, on behalf of `owner`, and returns when it is acknowledged: every block durable on
/// its write quorum, and on all its holders unless some are late. A dropped call leaves the upload to end by
/// itself: with an error when its source ends so, else unacknowledged but whole.
///
/// # Errors
/// The source's own, or why a block could not be placed. What becomes of the rest says `on_failure`, as far as its
/// holders can be reached.
pub(super) async fn upload_pieces<E: Env>(
    context: &Context<E>,
    owner: OwnerId,
    source: impl Stream<Item = Result<Piece, Fault>> + Send + Unpin + 'static,
    options: UploadOptions,
    on_failure: OnFailure,
) -> Result<Uploaded, Fault> {
    let permit = context.admit()?;
    context.catch_up(owner).await?;
    let flow = Flow::new(context.clone(), owner, options, on_failure);
    let (acknowledge, acknowledged) = oneshot::channel();
    context.env.spawn("upload", async move {
        flow.run(source, acknowledge).await;
        drop(permit);
    });
    acknowledged
        .await
        .unwrap_or_else(|_| Err(Fault::new(Kind::Unavailable, "this peer is shutting down")))
}

/// Stores one block that a client made, as part of what `owner` uploads.
///
/// # Errors
/// [`Kind::Invalid`] when the bytes do not hash to `cid`, or why it could not be placed.
pub(super) async fn upload_block<E: Env>(
    context: &Context<E>,
    cid: Cid,
    bytes: Bytes,
    owner: OwnerId,
    options: UploadOptions,
) -> Result<(), Fault> {
    let permit = context.admit()?;
    context.catch_up(owner).await?;
    let checked = bytes.clone();
    if !context.env.compute(move || cid.matches(&checked)).await {
        return Err(Fault::new(Kind::Invalid, format!("the bytes do not hash to {cid}")));
    }
    let mut flow = Flow::new(context.clone(), owner, options, OnFailure::Keep);
    let (acknowledge, acknowledged) = oneshot::channel();
    context.env.spawn("upload.block", async move {
        let bytes_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        flow.offer(cid, bytes_len, Held { bytes: Some(bytes), _permit: None });
        let result = Root { cid, size: 0, dag_bytes: 0 };
        flow.run_to_end(result, acknowledge).await;
        drop(permit);
    });
    acknowledged
        .await
        .unwrap_or_else(|_| Err(Fault::new(Kind::Unavailable, "this peer is shutting down")))
        .map(|_| ())
}

struct Flow<E: Env> {
    context: Context<E>,
    owner: OwnerId,
    on_failure: OnFailure,
    machine: Upload,
    chunker: Chunker,
    held: BTreeMap<Cid, Held>,
    puts: FuturesUnordered<BoxFuture<Option<Put>>>,
    aborts: BTreeMap<(Cid, PeerId), AbortHandle>,
    touched: BTreeSet<PeerId>,
    spread: Spread,
    blocks: u64,
    acknowledge_now: bool,
    complete: bool,
    failed: Option<Fault>,
}

impl<E: Env> Flow<E> {
    fn new(
        context: Context<E>,
        owner: OwnerId,
        options: UploadOptions,
        on_failure: OnFailure,
    ) -> Self {
        let replicas = options
            .replicas
            .unwrap_or_else(|| context.peers.view().placement().topology().copies());
        let config = UploadConfig {
            counts_duplicates: context.planted.count_twice,
            ..UploadConfig::new(replicas)
        };
        Self {
            spread: Spread::new(context.spread),
            context,
            owner,
            on_failure,
            machine: Upload::new(config),
            chunker: options.chunker,
            held: BTreeMap::new(),
            puts: FuturesUnordered::new(),
            aborts: BTreeMap::new(),
            touched: BTreeSet::new(),
            blocks: 0,
            acknowledge_now: false,
            complete: false,
            failed: None,
        }
    }

    async fn run(
        mut self,
        mut source: impl Stream<Item = Result<Piece, Fault>> + Send + Unpin,
        acknowledge: oneshot::Sender<Result<Uploaded, Fault>>,
    ) {
        let mut splitter = Some(Splitter::new(self.chunker));
        let mut builder = FileBuilder::new();
        let mut naming: FuturesOrdered<BoxFuture<Named>> = FuturesOrdered::new();
        while self.failed.is_none() && (splitter.is_some() || !naming.is_empty()) {
            let takes = self.machine.wants_more();
            let deadline = self.deadline();
            tokio::select! {
                biased; // copies that arrived free memory; then deadlines; then chunks; new bytes last
                Some(put) = self.puts.next(), if !self.puts.is_empty() => self.placed(put),
                () = self.context.env.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {
                    self.step(UploadInput::Tick);
                }
                Some(leaf) = naming.next(), if takes && !naming.is_empty() => {
                    self.leaf(leaf, &mut builder);
                }
                piece = source.next(), if splitter.is_some() && takes && naming.len() < HASHING_MAX => {
                    let mut chunks = Vec::new();
                    let mut kept = None;
                    match piece {
                        Some(Ok(Piece::Bytes(bytes))) => {
                            if let Some(splitter) = &mut splitter {
                                splitter.push(bytes, &mut chunks);
                            }
                        }
                        Some(Ok(Piece::Leaf { cid, bytes_len })) => {
                            if let Some(splitter) = &mut splitter {
                                splitter.interrupt(&mut chunks);
                            }
                            kept = Some(Named { cid, bytes_len, bytes: None });
                        }
                        Some(Err(fault)) => self.failed = Some(fault),
                        None => {
                            if let Some(splitter) = splitter.take() {
                                splitter.finish(&mut chunks);
                            }
                        }
                    }
                    for chunk in chunks {
                        naming.push_back(self.hash(chunk));
                    }
                    if let Some(leaf) = kept {
                        naming.push_back(Box::pin(std::future::ready(leaf)));
                    }
                }
            }
        }
        drop(source);
        if let Some(fault) = self.failed.take() {
            self.abandon(fault, acknowledge).await;
            return;
        }
        let mut blocks = Vec::new();
        let root = builder.finish(&mut blocks);
        self.interior(blocks);
        self.run_to_end(root, acknowledge).await;
    }

    /// Waits for the acknowledgement, gives it, and stays until the last copy is placed or given up.
    async fn run_to_end(
        mut self,
        root: Root,
        acknowledge: oneshot::Sender<Result<Uploaded, Fault>>,
    ) {
        self.step(UploadInput::End);
        let mut acknowledge = Some(acknowledge);
        loop {
            if let Some(fault) = self.failed.take()
                && let Some(acknowledge) = acknowledge.take()
            {
                self.abandon(fault, acknowledge).await;
                return;
            }
            if self.acknowledge_now
                && let Some(acknowledge) = acknowledge.take()
            {
                let metrics = &self.context.metrics;
                metrics.uploads.inc();
                metrics.upload_bytes.inc_by(root.size);
                debug!(cid = %root.cid, bytes = root.size, blocks = self.blocks, "upload acknowledged");
                // A client that has gone needs no answer; what it uploaded stays.
                drop(acknowledge.send(Ok(Uploaded { root, blocks: self.blocks })));
            }
            if self.complete {
                return;
            }
            let deadline = self.deadline();
            tokio::select! {
                biased; // copies that arrived, then deadlines
                Some(put) = self.puts.next(), if !self.puts.is_empty() => self.placed(put),
                () = self.context.env.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {
                    self.step(UploadInput::Tick);
                }
                else => {
                    // Nothing under way and nothing to wait for: the machine has ended.
                    return;
                }
            }
        }
    }

    fn deadline(&self) -> Option<protocol::Instant> {
        self.machine.next_deadline()
    }

    /// Begins the hashing of a chunk, once there is memory for it.
    fn hash(&self, bytes: Bytes) -> BoxFuture<Named> {
        let env = self.context.env.clone();
        let memory: Arc<Semaphore> = Arc::clone(&self.context.memory);
        Box::pin(async move {
            let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let permit =
                memory.acquire_many_owned(size).await.expect("the semaphore is never closed");
            let data = bytes.clone();
            let cid = env.compute(move || Cid::of(Codec::Raw, &data)).await;
            Named { cid, bytes_len: size, bytes: Some((bytes, permit)) }
        })
    }

    fn leaf(&mut self, leaf: Named, builder: &mut FileBuilder) {
        let mut blocks = Vec::new();
        builder.leaf(leaf.cid, leaf.bytes_len, &mut blocks);
        // At once: an upload that kept a chunk back, and its memory, while it waits for memory for the next one would
        // stop all others that do the same.
        let (bytes, permit) = leaf.bytes.unzip();
        self.offer(leaf.cid, leaf.bytes_len, Held { bytes, _permit: permit });
        self.interior(blocks);
    }

    fn interior(&mut self, blocks: Vec<Block>) {
        for block in blocks {
            let bytes_len = u32::try_from(block.bytes.len()).unwrap_or(u32::MAX);
            self.offer(block.cid, bytes_len, Held { bytes: Some(block.bytes), _permit: None });
        }
    }

    /// Gives the machine a block to place.
    fn offer(&mut self, cid: Cid, bytes_len: u32, held: Held) {
        let candidates = self.context.peers.view().candidates(&cid);
        self.blocks += 1;
        if held.bytes.is_some() {
            self.spread.offered(cid, bytes_len);
        }
        self.held.entry(cid).or_insert(held);
        self.step(UploadInput::Block { cid, bytes_len, candidates });
    }

    /// Takes the end of a put; a cancelled one has none.
    fn placed(&mut self, put: Option<Put>) {
        if let Some(Put { input, .. }) = put {
            if let UploadInput::Stored { cid, peer } | UploadInput::Failed { cid, peer, .. } =
                &input
            {
                self.aborts.remove(&(*cid, *peer));
                if matches!(&input, UploadInput::Failed { .. }) {
                    self.spread.failed(cid, *peer);
                } else if *peer != self.context.peers.view().own() {
                    self.spread.stored(cid, *peer);
                }
            }
            // The planted mistake is the one that a repeated answer provokes where answers are counted.
            if self.context.planted.count_twice && matches!(input, UploadInput::Stored { .. }) {
                self.step(input.clone());
            }
            self.step(input);
        }
    }

    fn step(&mut self, input: UploadInput) {
        let mut outputs = Vec::new();
        self.machine.handle(self.context.env.now(), input, &mut outputs);
        for output in outputs {
            match output {
                UploadOutput::Put { cid, peer } => self.put(cid, peer),
                UploadOutput::CopiesLack { cid, bytes_len, stored } => {
                    self.bring_later(cid, bytes_len, stored);
                }
                UploadOutput::BlockDone { cid, copies: _ } => {
                    self.spread.done(&cid);
                    self.held.remove(&cid);
                }
                UploadOutput::Cancel { cid, peer } => {
                    if let Some(abort) = self.aborts.remove(&(cid, peer)) {
                        abort.abort();
                    }
                }
                UploadOutput::Durable => {}
                UploadOutput::Acknowledge => self.acknowledge_now = true,
                UploadOutput::Complete => self.complete = true,
                UploadOutput::FailedUpload { fault } => self.failed = Some(fault),
            }
        }
    }

    /// Leaves the copies that a block lacks to the queue of work, where those who should have them are there but too busy. Who
    /// is away gets its own once it is back, by comparison; so does one for which there is no room in the queue.
    fn bring_later(&self, cid: Cid, bytes_len: u32, stored: Vec<PeerId>) {
        let view = self.context.peers.view();
        let holders = view.placement().replica_set(Partition::of(&cid));
        let lacking = holders.filter(|peer| view.is_there(*peer) && !stored.contains(peer));
        let copies = u8::try_from(stored.len()).unwrap_or(u8::MAX);
        for target in lacking {
            let restore = Restore { owner: self.owner, target, sources: stored.clone() };
            self.context.work.leave(restore.job(JobKind::Repair, cid, bytes_len, copies));
        }
    }

    /// Begins to place a copy.
    fn put(&mut self, cid: Cid, peer: PeerId) {
        let Some(held) = self.held.get(&cid) else { return };
        self.touched.insert(peer);
        let copy = Copy {
            context: self.context.clone(),
            cid,
            bytes: held.bytes.clone(),
            owner: self.owner,
            class: Class::Bulk,
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.aborts.insert((cid, peer), abort);
        let is_own = peer == self.context.peers.view().own();
        let way = if is_own { Way::Sent } else { self.spread.way(&cid, peer) };
        let terms = self.spread.terms();
        let place = async move {
            match way {
                Way::Sent => copy.place(peer).await,
                Way::Brought { bytes_len, first, holder } => {
                    spread::bring(copy, peer, bytes_len, (first, holder), terms).await
                }
            }
        };
        let work = Abortable::new(place, registration);
        self.puts.push(Box::pin(async move {
            match work.await {
                Ok(Ok(Placed { bytes_len, .. })) => {
                    Some(Put { input: UploadInput::Stored { cid, peer }, bytes_len })
                }
                Ok(Err(fault)) => {
                    debug!(%peer, %cid, err = %fault, "copy not placed");
                    let input = UploadInput::Failed { cid, peer, kind: fault.kind };
                    Some(Put { input, bytes_len: None })
                }
                Err(_cancelled) => None,
            }
        }));
    }

    /// Takes back what was stored so far, where it is nobody else's, and says why.
    async fn abandon(self, fault: Fault, acknowledge: oneshot::Sender<Result<Uploaded, Fault>>) {
        if fault.kind == Kind::Invalid {
            // The client's doing: whoever sends nonsense must not fill the log.
            debug!(owner = %self.owner, err = %fault, "upload failed");
        } else {
            info!(owner = %self.owner, err = %fault, "upload failed");
        }
        self.context.metrics.uploads_failed.inc();
        // Puts under way must end before the release, or their blocks would outlive it.
        let mut puts = self.puts;
        while puts.next().await.is_some() {}
        if self.on_failure == OnFailure::Release {
            super::release::release(&self.context, self.owner, &self.touched).await;
        }
        drop(acknowledge.send(Err(fault)));
    }
}
