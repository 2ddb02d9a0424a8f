//! Download: a range of an object, in order, from whoever holds its blocks.
//!
//! Owns one download: its requests under way. The machine [`protocol::transfer::Download`] chooses holders,
//! hedges and orders; every block is hashed before the machine sees it, now or when it came into the cache. A
//! corrupt copy that was met is written anew from a good one. Never: passes on a byte that was not checked.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{AbortHandle, Abortable};
use futures::stream::FuturesUnordered;
use protocol::dag::ByteRange;
use protocol::limits::{BLOCK_REQUEST_TIMEOUT, UNREAD_MAX};
use protocol::transfer::{
    Download as Machine, DownloadConfig, DownloadInput, DownloadOutput, window_bytes,
};
use protocol::wire::{Class, Request};
use protocol::{Cid, Codec, Fault, Instant, Kind, OwnerId, PeerId};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::{Context, Root, holder};
use crate::env::Env;
use crate::meta::Freshness;

/// Pieces waiting for the consumer, beside the one that it reads.
const PIECES_MAX: usize = 1;

/// Holders that one block's good bytes are written back to, at a time.
const REPAIRS_MAX: usize = 8;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An open download: the object's size, and its bytes in order.
#[derive(Debug)]
pub struct Download {
    size: u64,
    pieces: mpsc::Receiver<Bytes>,
    /// Why there is nothing behind the last piece, unless that was the end.
    end: oneshot::Receiver<Fault>,
}

impl Download {
    /// Returns a download of which the pieces come from elsewhere.
    pub(super) fn of(
        size: u64,
        pieces: mpsc::Receiver<Bytes>,
        end: oneshot::Receiver<Fault>,
    ) -> Self {
        Self { size, pieces, end }
    }

    /// Returns the size of the whole object, in bytes, whatever range was asked for.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the next bytes of the range, `None` at its end. After an error there is nothing more.
    /// Dropping the download ends its requests. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        match self.pieces.recv().await {
            Some(bytes) => Some(Ok(bytes)),
            None => self.end.try_recv().ok().map(Err),
        }
    }
}

/// Opens a range of an object. Returns when its size is known.
///
/// # Errors
/// [`Kind::NotFound`] when nobody holds a bare root, [`Kind::Invalid`] when it is no file or the range begins
/// behind its end, and whatever keeps its first block away.
pub async fn download<E: Env>(
    context: &Context<E>,
    root: Root,
    range: ByteRange,
) -> Result<Download, Fault> {
    context.metrics.downloads.inc();
    open(context, root.cid(), root, range).await
}

/// Returns one whole block, from here or from its holders, checked.
///
/// # Errors
/// [`Kind::NotFound`] when nobody holds a bare one, and whatever else keeps it away.
pub async fn block<E: Env>(context: &Context<E>, block: Root) -> Result<Bytes, Fault> {
    // To the machine, any block is a file of one chunk whose bytes have the same hash.
    let chunk = Cid::from_digest(Codec::Raw, *block.cid().digest());
    let mut download = open(context, chunk, block, ByteRange { start: 0, end: None }).await?;
    download.next().await.unwrap_or_else(|| Ok(Bytes::new()))
}

/// Returns when the size of an object is known. The machine knows the root as `root`, its holders as `stored`.
///
/// A peer that is behind its cluster looks for blocks where they were: before it says that nobody has them, it
/// makes sure that it looked where they belong now.
async fn open<E: Env>(
    context: &Context<E>,
    root: Cid,
    stored: Root,
    range: ByteRange,
) -> Result<Download, Fault> {
    match start(context, root, stored, range).await {
        Err(fault) if matches!(fault.kind, Kind::NotFound | Kind::Unavailable) => {
            match context.follow_topology(Freshness::Latest).await {
                Ok(true) => start(context, root, stored, range).await,
                Ok(false) => Err(fault),
                // Nobody knows whether it is there.
                Err(behind) if fault.kind == Kind::NotFound => Err(behind),
                Err(_) => Err(fault),
            }
        }
        opened => opened,
    }
}

/// Starts a machine and returns when the size of its object is known.
async fn start<E: Env>(
    context: &Context<E>,
    root: Cid,
    stored: Root,
    range: ByteRange,
) -> Result<Download, Fault> {
    let permit = context.admit()?;
    let config = DownloadConfig::new(Some(context.peers.view().own()));
    let machine = Machine::new(config, root, range, context.env.prng());
    let (opened, is_open) = oneshot::channel();
    let (out, pieces) = mpsc::channel(PIECES_MAX);
    let (failed, end) = oneshot::channel();
    let flow = Flow {
        context: context.clone(),
        machine,
        stored: (root, stored.cid()),
        is_root_known: stored.is_known(context).await,
        gets: FuturesUnordered::new(),
        repairs: FuturesUnordered::new(),
        aborts: BTreeMap::new(),
        ready: VecDeque::new(),
        opened: Some(opened),
        end: None,
        taken: 0,
        unread_since: context.env.now(),
    };
    context.env.spawn("download", async move {
        flow.run(out, failed).await;
        drop(permit);
    });
    let stopping = |_| Fault::new(Kind::Unavailable, "this peer is shutting down");
    let size = is_open.await.map_err(stopping)??;
    Ok(Download { size, pieces, end })
}

struct Flow<E: Env> {
    context: Context<E>,
    machine: Machine,
    // What the machine calls the root, and what its holders call it.
    stored: (Cid, Cid),
    /// Whether the root may come from the cache, as all other blocks may: it leads to them.
    is_root_known: bool,
    gets: FuturesUnordered<BoxFuture<Option<DownloadInput>>>,
    repairs: FuturesUnordered<BoxFuture<()>>,
    aborts: BTreeMap<(Cid, PeerId), AbortHandle>,
    ready: VecDeque<Bytes>,
    opened: Option<oneshot::Sender<Result<u64, Fault>>>,
    end: Option<Result<(), Fault>>,
    /// Bytes that the consumer was given.
    taken: u64,
    /// When there was first something for it since it last took something.
    unread_since: Instant,
}

impl<E: Env> Drop for Flow<E> {
    fn drop(&mut self) {
        // What it asked for counts as open until it says that nobody waits any more.
        let (now, mut unheard) = (self.context.env.now(), Vec::new());
        self.machine.handle(now, DownloadInput::Abandon, &mut self.context.pace(), &mut unheard);
    }
}

impl<E: Env> Flow<E> {
    async fn run(mut self, out: mpsc::Sender<Bytes>, failed: oneshot::Sender<Fault>) {
        self.step(DownloadInput::Start);
        loop {
            if self.ready.is_empty()
                && let Some(end) = self.end.take()
            {
                if let Err(fault) = end {
                    self.context.metrics.downloads_failed.inc();
                    debug!(err = %fault, "download failed");
                    // A consumer that has gone needs no error.
                    match self.opened.take() {
                        Some(opened) => drop(opened.send(Err(fault))),
                        None => drop(failed.send(fault)),
                    }
                }
                break;
            }
            let deadline = self.machine.next_deadline(&self.context.pace());
            let patience = self.unread_since.after(UNREAD_MAX);
            tokio::select! {
                biased; // a consumer that left ends everything; bytes out free memory; then what came in
                () = out.closed(), if self.opened.is_none() => return,
                slot = out.reserve(), if !self.ready.is_empty() => {
                    let Ok(slot) = slot else { return };
                    if let Some(bytes) = self.ready.pop_front() {
                        let taken = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                        self.context.metrics.download_bytes.inc_by(taken.into());
                        self.taken += u64::from(taken);
                        self.unread_since = self.context.env.now();
                        slot.send(bytes);
                        self.step(DownloadInput::Taken { bytes: taken });
                    }
                }
                Some(input) = self.gets.next(), if !self.gets.is_empty() => {
                    if let Some(input) = input {
                        self.step(input);
                    }
                }
                Some(()) = self.repairs.next(), if !self.repairs.is_empty() => {}
                () = self.context.env.sleep_until(patience), if !self.ready.is_empty() => {
                    self.context.metrics.downloads_failed.inc();
                    debug!("download ended: nothing was read of it");
                    let detail = format!("nothing was read for {} s", UNREAD_MAX.as_secs());
                    drop(failed.send(Fault::new(Kind::Unavailable, detail)));
                    return;
                }
                () = self.context.env.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {
                    self.step(DownloadInput::Tick);
                }
            }
        }
        drop(out);
        // Copies met corrupt are written anew even when the consumer has all it wanted.
        while self.repairs.next().await.is_some() {}
    }

    fn step(&mut self, input: DownloadInput) {
        self.machine.set_window(window_bytes(self.context.transfers_under_way(), self.taken));
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            let now = self.context.env.now();
            self.machine.handle(now, input, &mut self.context.pace(), &mut outputs);
            for output in outputs {
                match output {
                    DownloadOutput::Locate { cid } => inputs.push_back(self.locate(cid)),
                    DownloadOutput::Get { cid, peer } => self.get(cid, peer),
                    DownloadOutput::Cancel { cid, peer } => {
                        if let Some(abort) = self.aborts.remove(&(cid, peer)) {
                            abort.abort();
                        }
                    }
                    DownloadOutput::Opened { size } => {
                        if let Some(opened) = self.opened.take() {
                            // A caller that has gone closes `out` too, which ends the loop.
                            drop(opened.send(Ok(size)));
                        }
                    }
                    DownloadOutput::Deliver { bytes } => {
                        if self.ready.is_empty() {
                            self.unread_since = self.context.env.now();
                        }
                        self.ready.push_back(bytes);
                    }
                    DownloadOutput::Repair { cid, peer, bytes } => self.repair(cid, peer, bytes),
                    DownloadOutput::Done => self.end = Some(Ok(())),
                    DownloadOutput::FailedDownload { mut fault } => {
                        let (root, stored) = self.stored;
                        // Told by the name under which it was asked for.
                        fault.detail = fault.detail.replace(&root.to_string(), &stored.to_string());
                        self.end = Some(Err(fault));
                    }
                }
            }
        }
    }

    /// Returns a block, if this peer keeps it in memory, or else who may hold it.
    fn locate(&self, cid: Cid) -> DownloadInput {
        let view = self.context.peers.view();
        let may_be_cached = self.is_root_known || cid != self.stored.0;
        let cached = || self.context.cache.get(&self.stored_as(cid));
        match may_be_cached.then(cached).flatten() {
            Some(bytes) => DownloadInput::Got { cid, peer: view.own(), bytes },
            None => DownloadInput::Holders { cid, candidates: view.holders(&cid) },
        }
    }

    fn get(&mut self, cid: Cid, peer: PeerId) {
        let (abort, registration) = AbortHandle::new_pair();
        self.aborts.insert((cid, peer), abort);
        self.context.metrics.block_requests.inc();
        let work = holder::ask(self.context.clone(), cid, self.stored_as(cid), peer);
        self.gets.push(Box::pin(async move { Abortable::new(work, registration).await.ok() }));
    }

    fn stored_as(&self, cid: Cid) -> Cid {
        if cid == self.stored.0 { self.stored.1 } else { cid }
    }

    fn repair(&mut self, cid: Cid, peer: PeerId, bytes: Bytes) {
        let cid = self.stored_as(cid);
        if self.repairs.len() >= REPAIRS_MAX {
            // The scrub finds what is left out here.
            return;
        }
        let context = self.context.clone();
        self.repairs.push(Box::pin(async move {
            let outcome = if peer == context.peers.view().own() {
                context.store.put(cid, bytes, OwnerId::REPAIR, false).await.map_err(Fault::from)
            } else {
                let put = Request::PutBlock { cid, owner: OwnerId::REPAIR, root: false, bytes };
                let call = context.rpc.call(peer, Class::Background, put, BLOCK_REQUEST_TIMEOUT);
                call.await.map(|_| protocol::wire::BlockOutcome::Stored)
            };
            match outcome {
                Ok(_) => {
                    context.metrics.repaired_blocks.inc();
                }
                Err(fault) => debug!(%peer, %cid, err = %fault, "corrupt copy not repaired"),
            }
        }));
    }
}
