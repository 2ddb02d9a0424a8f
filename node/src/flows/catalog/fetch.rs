//! Fetching another cluster's public content: a range of it, in order, from several of its peers, each block checked.
//!
//! Who lists the content is asked, and nobody else: what is looked for here is not everybody's business. A peer that gives wrong bytes is not asked again for this
//! content. Owns one fetch. Never: passes on a byte that was not checked; holds more than its window.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use protocol::catalog::{Answer, Known, Question, Reach};
use protocol::dag::{ByteRange, Reader, Ways};
use protocol::limits::{CHUNK_BYTES, UNREAD_MAX};
use protocol::metadata::Actor;
use protocol::transfer::fault_of;
use protocol::{Cid, ClusterId, Fault, Kind, OwnerId};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::super::download::Download;
use super::super::parts::put_block;
use super::super::{Context, UploadOptions};
use super::Catalogs;
use super::ask::ask;
use crate::env::Env;
use crate::index::{Document, guarded};

/// Blocks that are asked for at a time.
const UNDER_WAY_MAX: usize = 4;

/// Bytes that wait for the consumer or are on their way.
const WINDOW_BYTES: u64 = 16 << 20;

/// How often a block is asked for, of one peer or another, and the pause after one that did not answer.
const TRIES: u32 = 16;
/// See [`TRIES`].
const PAUSE: Duration = Duration::from_millis(250);

/// Entries of a root that are looked at for who lists it.
const LISTED_MAX: usize = 64;

/// What counts against a peer that gave wrong bytes, that has not what it should, and that did not answer.
const WRONG: u32 = 1_000;
/// See [`WRONG`].
const MISSING: u32 = 5;
/// See [`WRONG`].
const SILENT: u32 = 1;

/// Peers that may have the content, and what counts against each.
#[derive(Clone, Debug)]
pub(super) struct Sources(Arc<Mutex<Vec<(String, u32)>>>);

impl Sources {
    fn of(contacts: Vec<String>) -> Self {
        Self(Arc::new(Mutex::new(contacts.into_iter().map(|contact| (contact, 0)).collect())))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, u32)>> {
        // A panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the one that least counts against; it is the last of its kind from then on.
    fn next(&self) -> Option<String> {
        let mut all = self.lock();
        let (at, _) = all.iter().enumerate().min_by_key(|(_, (_, against))| *against)?;
        let one = all.remove(at);
        let contact = one.0.clone();
        let usable = one.1 < WRONG;
        all.push(one);
        usable.then_some(contact)
    }

    fn blame(&self, contact: &str, weight: u32) {
        let mut all = self.lock();
        if let Some((_, against)) = all.iter_mut().find(|(one, _)| one == contact) {
            *against = against.saturating_add(weight);
        }
    }
}

/// Opens a range of content of another cluster. Returns when its size is known.
///
/// # Errors
/// [`Kind::NotFound`] when no cluster that is known has made it public; [`Kind::Invalid`] when it is no file or the range begins
/// behind its end; [`Kind::Unavailable`] when its peers do not answer.
pub(crate) async fn fetch<E: Env>(
    context: &Context<E>,
    catalogs: &Catalogs,
    root: Cid,
    range: ByteRange,
) -> Result<Download, Fault> {
    open(context, catalogs, root, range, None).await
}

/// Brings all of another cluster's content into an upload of this one, block by block. Returns its size, and what its cluster says
/// of it where that is known. What was brought is named by whoever began the upload, or freed when that is over.
///
/// # Errors
/// As [`fetch`], and as [`put_block`].
pub(crate) async fn import<E: Env>(
    context: &Context<E>,
    catalogs: &Catalogs,
    root: Cid,
    keep: Keep,
) -> Result<(u64, Option<Document>), Fault> {
    let all = ByteRange { start: 0, end: None };
    let mut pieces = open(context, catalogs, root, all, Some(keep)).await?;
    while let Some(piece) = pieces.next().await {
        piece?;
    }
    Ok((pieces.size(), listed(context, catalogs, root).await?.into_iter().next()))
}

/// Returns what clusters say of content.
async fn listed<E: Env>(
    context: &Context<E>,
    catalogs: &Catalogs,
    root: Cid,
) -> Result<Vec<Document>, Fault> {
    let Some(index) = catalogs.index().cloned() else { return Ok(Vec::new()) };
    context.env.compute(move || guarded(|| index.listed(&root, LISTED_MAX))).await
}

/// The upload that keeps what is fetched, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Keep {
    pub(crate) actor: Actor,
    pub(crate) upload: OwnerId,
    pub(crate) options: UploadOptions,
}

async fn open<E: Env>(
    context: &Context<E>,
    catalogs: &Catalogs,
    root: Cid,
    range: ByteRange,
    keep: Option<Keep>,
) -> Result<Download, Fault> {
    let sources = sources(context, catalogs, root).await?;
    let permit = context.admit()?;
    context.metrics.fetches.inc();
    let (opened, is_open) = oneshot::channel();
    let (out, pieces) = mpsc::channel(1);
    let (failed, end) = oneshot::channel();
    let flow = Flow {
        context: context.clone(),
        root,
        sources,
        reader: Reader::new(root, range),
        ways: Ways::new(root),
        under_way: FuturesUnordered::new(),
        keep,
        ready: None,
    };
    context.env.spawn("fetch", async move {
        flow.run(opened, out, failed).await;
        drop(permit);
    });
    let stopping = |_| Fault::new(Kind::Unavailable, "this peer is shutting down");
    let size = is_open.await.map_err(stopping)??;
    Ok(Download::of(size, pieces, end))
}

/// Returns one block of another cluster's public content, checked. `way`: the blocks from the root, which is the first, to the one
/// that is wanted, each linked to by the one before.
///
/// # Errors
/// As [`fetch`].
pub(crate) async fn fetch_block<E: Env>(
    context: &Context<E>,
    catalogs: &Catalogs,
    way: &[Cid],
) -> Result<Bytes, Fault> {
    let Some((root, path)) = way.split_first() else {
        return Err(Fault::new(Kind::Invalid, "a way begins with its root"));
    };
    let sources = match catalogs.met(root) {
        Some(sources) => sources,
        None => sources(context, catalogs, *root).await?,
    };
    let _permit = context.admit()?;
    let bytes = get(context.clone(), sources.clone(), *root, path.to_vec()).await;
    // Where it was in vain, whoever lists it now is asked the next time.
    catalogs.meet(*root, bytes.is_ok().then_some(sources));
    let bytes = bytes?;
    context.metrics.fetched_bytes.inc_by(bytes.len() as u64);
    Ok(bytes)
}

/// Returns the peers that may have content.
async fn sources<E: Env>(
    context: &Context<E>,
    catalogs: &Catalogs,
    root: Cid,
) -> Result<Sources, Fault> {
    let not_found = || {
        let detail =
            format!("nobody here holds {root}, and no cluster that is known has made it public");
        Fault::new(Kind::NotFound, detail)
    };
    let listed = listed(context, catalogs, root).await?;
    let listed: Vec<ClusterId> =
        listed.into_iter().filter_map(|entry| Some(entry.listed?.0)).collect();
    let known = catalogs.known();
    let may_ask = |known: &&Known| known.reach != Reach::CutOff;
    let lists = known.iter().filter(may_ask).filter(|known| listed.contains(&known.cluster));
    let contacts: Vec<String> = lists.flat_map(|known| known.contacts.iter().cloned()).collect();
    if !contacts.is_empty() {
        return Ok(Sources::of(contacts));
    }
    Err(not_found())
}

type Brought = (Cid, Result<Bytes, Fault>);

struct Flow<E: Env> {
    context: Context<E>,
    root: Cid,
    sources: Sources,
    reader: Reader,
    ways: Ways,
    under_way: FuturesUnordered<BoxFuture<'static, Brought>>,
    keep: Option<Keep>,
    /// What is next for the consumer.
    ready: Option<Bytes>,
}

impl<E: Env> Flow<E> {
    async fn run(
        mut self,
        opened: oneshot::Sender<Result<u64, Fault>>,
        out: mpsc::Sender<Bytes>,
        failed: oneshot::Sender<Fault>,
    ) {
        let mut opened = Some(opened);
        let end = self.go_on(&mut opened, &out).await;
        let Err(fault) = end else { return };
        self.context.metrics.fetches_failed.inc();
        debug!(root = %self.root, err = %fault, "fetch failed");
        // A consumer that has gone needs no error.
        match opened.take() {
            Some(opened) => drop(opened.send(Err(fault))),
            None => drop(failed.send(fault)),
        }
    }

    async fn go_on(
        &mut self,
        opened: &mut Option<oneshot::Sender<Result<u64, Fault>>>,
        out: &mpsc::Sender<Bytes>,
    ) -> Result<(), Fault> {
        let mut unread_since = self.context.env.now();
        loop {
            if let (Some(size), Some(_)) = (self.reader.size(), opened.as_ref())
                && let Some(opened) = opened.take()
            {
                drop(opened.send(Ok(size)));
            }
            if self.ready.is_none() {
                self.ready = self.reader.next_bytes();
                unread_since = self.context.env.now();
            }
            if self.ready.is_none() && self.reader.is_finished() {
                return Ok(());
            }
            self.ask_ahead()?;
            let patience = unread_since.after(UNREAD_MAX);
            tokio::select! {
                biased; // a consumer that left ends everything; bytes out free memory; then what came in
                () = out.closed(), if opened.is_none() => return Ok(()),
                slot = out.reserve(), if self.ready.is_some() => {
                    let Ok(slot) = slot else { return Ok(()) };
                    if let Some(bytes) = self.ready.take() {
                        self.context.metrics.fetched_bytes.inc_by(bytes.len() as u64);
                        slot.send(bytes);
                    }
                }
                Some((cid, bytes)) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.supply(cid, bytes?)?;
                }
                () = self.context.env.sleep_until(patience), if self.ready.is_some() => {
                    let detail = format!("nothing was read for {} s", UNREAD_MAX.as_secs());
                    return Err(Fault::new(Kind::Unavailable, detail));
                }
                else => return Err(Fault::new(Kind::Corrupt, "the content has no end")),
            }
        }
    }

    /// Asks for the blocks that are due next.
    fn ask_ahead(&mut self) -> Result<(), Fault> {
        while self.under_way.len() < UNDER_WAY_MAX {
            let ahead =
                self.reader.bytes_ready() + self.under_way.len() as u64 * u64::from(CHUNK_BYTES);
            if ahead >= WINDOW_BYTES && !self.under_way.is_empty() {
                break;
            }
            let Some(wanted) = self.reader.next_wanted() else { break };
            let path = self.ways.to(wanted.cid).map_err(|error| fault_of(self.root, &error))?;
            let get = get(self.context.clone(), self.sources.clone(), self.root, path);
            let (context, keep) = (self.context.clone(), self.keep.clone());
            self.under_way.push(Box::pin(async move {
                let brought = get.await;
                let (Ok(bytes), Some(Keep { actor, upload, options })) = (&brought, keep) else {
                    return (wanted.cid, brought);
                };
                let block = (wanted.cid, bytes.clone());
                let kept = put_block(&context, &actor, upload, block, options).await;
                (wanted.cid, kept.and(brought))
            }));
        }
        Ok(())
    }

    fn supply(&mut self, cid: Cid, bytes: Bytes) -> Result<(), Fault> {
        self.ways.learn(cid, &bytes).map_err(|error| fault_of(self.root, &error))?;
        self.reader.supply(cid, bytes).map_err(|error| fault_of(self.root, &error))
    }
}

/// Brings one block, checked.
async fn get<E: Env>(
    context: Context<E>,
    sources: Sources,
    root: Cid,
    path: Vec<Cid>,
) -> Result<Bytes, Fault> {
    let cid = path.last().copied().unwrap_or(root);
    let question = Question::Block { root, path };
    let mut is_missing = false;
    for attempt in 1..=TRIES {
        let Some(contact) = sources.next() else { break };
        let asked = ask(&context.env, vec![contact.clone()], &question).await;
        let pause = match asked {
            Some((peer, Answer::Block(bytes))) => {
                let checked = bytes.clone();
                if context.env.compute(move || cid.matches(&checked)).await {
                    return Ok(bytes);
                }
                context.metrics.corrupt_blocks.inc();
                debug!(%peer, %cid, "a peer of another cluster gave other bytes");
                sources.blame(&contact, WRONG);
                Duration::ZERO
            }
            Some((_, Answer::NotFound)) => {
                is_missing = true;
                sources.blame(&contact, MISSING);
                Duration::ZERO
            }
            Some((_, Answer::Busy { retry_after_ms })) => {
                Duration::from_millis(u64::from(retry_after_ms.min(2_000)))
            }
            Some((_, Answer::Heads(_) | Answer::Reconcile { .. } | Answer::Entries(_))) => {
                sources.blame(&contact, WRONG);
                Duration::ZERO
            }
            None => {
                sources.blame(&contact, SILENT);
                PAUSE * attempt.min(4)
            }
        };
        context.env.sleep_until(context.env.now().after(pause)).await;
    }
    let (kind, why) = if is_missing {
        (Kind::NotFound, "it was withdrawn, or never public")
    } else {
        (Kind::Unavailable, "none of its cluster's peers answers")
    };
    Err(Fault::new(kind, format!("block {cid} of {root}: {why}")))
}
