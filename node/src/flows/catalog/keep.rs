//! The task that owns the book of clusters: it hears of heads, pulls what is new, and keeps what must outlive a start.
//!
//! Heads come by gossip, and whoever is met is asked for those it knows, since gossip may be lost and is not repeated.
//! Never: waits for another cluster; pulls are tasks of their own, a few at a time.

use std::collections::BTreeSet;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;
use protocol::catalog::{Answer, Book, BookLimits, Heard, Kept, Question};
use protocol::format::{Blob, decode, encode};
use protocol::limits::{CATALOG_CLUSTERS_TOLD_MAX, CATALOG_HEAD_BYTES_MAX, LIST_ROWS_MAX};
use protocol::{ClusterId, Fault, Instant, Kind, PeerId};
use tokio::sync::{Mutex, mpsc};
use tracing::{debug, info, warn};

use super::super::Context;
use super::Catalogs;
use super::ask::ask;
use super::pull::{End, clusters_of, pull, write};
use crate::env::{Batch, Disk, DiskError, Durability, Env, Gossip, Map, Net, Verdict};
use crate::index::{Index, IndexChange};

/// Catalogs that are pulled at a time.
const PULLS_MAX: usize = 8;

/// How often what changed is kept, and shown to others.
const SETTLE: Duration = Duration::from_millis(500);

/// Heads that one peer passes on in a second: more are not looked at.
const HEADS_OF_ONE: u32 = 100;

/// Peers of which that is counted.
const SENDERS_MAX: NonZeroUsize = NonZeroUsize::new(1_024).expect("1,024 is not zero");

/// How often somebody is asked for heads: while none are known, and else.
const GREET_FIRST: Duration = Duration::from_secs(1);
/// See [`GREET_FIRST`].
const GREET: Duration = Duration::from_secs(30);

/// Peers that are asked at a time.
const GREETINGS_MAX: usize = 5;

/// Bytes of a row: a head, and what is known of it.
const ROW_BYTES_MAX: usize = CATALOG_HEAD_BYTES_MAX + 64;

/// What a task of the keeper's brought.
enum Brought {
    Pulled(End),
    /// Entries of clusters that were forgotten are gone.
    Forgot,
    /// What somebody who was asked knows.
    Heads(Vec<Blob>),
}

/// Keeps the book for as long as the peer runs.
pub(crate) async fn keep<E: Env>(
    context: Context<E>,
    catalogs: Catalogs,
    limits: BookLimits,
    gossip: mpsc::Receiver<Gossip>,
) {
    let Some(index) = catalogs.index().cloned() else { return };
    let now = context.env.now();
    // Each task sends once.
    let (bring, mut brought) = mpsc::channel(PULLS_MAX + GREETINGS_MAX + 1);
    let mut keeper = Keeper {
        book: Book::new(limits),
        writing: Arc::new(Mutex::new(())),
        bring,
        pulls: 0,
        is_forgetting: false,
        to_forget: Vec::new(),
        greetings: 0,
        greet_at: now.after(GREET_FIRST),
        settle_at: None,
        senders: LruCache::new(SENDERS_MAX),
        context,
        catalogs,
        index,
    };
    if let Err(err) = keeper.open().await {
        warn!(%err, "what was known of other clusters cannot be read: it is learned anew");
    }
    keeper.run(gossip, &mut brought).await;
}

struct Keeper<E: Env> {
    context: Context<E>,
    catalogs: Catalogs,
    index: Index,
    book: Book,
    writing: Arc<Mutex<()>>,
    /// Where tasks say what they brought.
    bring: mpsc::Sender<Brought>,
    pulls: usize,
    is_forgetting: bool,
    to_forget: Vec<ClusterId>,
    greetings: usize,
    greet_at: Instant,
    /// When what changed is kept; `None`: nothing did.
    settle_at: Option<Instant>,
    /// Who passed on how many heads, in the second that began then.
    senders: LruCache<PeerId, (Instant, u32)>,
}

impl<E: Env> Keeper<E> {
    /// Takes in what was known before the start, and removes entries of clusters that are not known any more.
    async fn open(&mut self) -> Result<(), Fault> {
        let now = self.context.env.now();
        let there = clusters_of(&self.context, &self.index).await?;
        let mut unwanted = Batch::default();
        let mut known = BTreeSet::new();
        let mut from = Bytes::new();
        loop {
            let disk = self.context.env.disk();
            let page = disk.scan(Map::Catalogs, from, None, LIST_ROWS_MAX).await.map_err(failed)?;
            let Some((last, _)) = page.last() else { break };
            from = [&last[..], &[0]].concat().into();
            for (key, row) in page {
                let cluster = key[..].try_into().ok().map(ClusterId::from_bytes);
                let kept = decode::<Kept>("a cluster's row", &row, ROW_BYTES_MAX).ok();
                let is_there = cluster.is_some_and(|cluster| there.contains(&cluster));
                if let Some((cluster, kept)) = cluster.zip(kept)
                    && self.book.take_in(now, kept, is_there)
                {
                    known.insert(cluster);
                } else {
                    unwanted.delete(Map::Catalogs, key);
                }
            }
        }
        self.context.env.disk().write(unwanted, Durability::Buffered).await.map_err(failed)?;
        self.to_forget = there.difference(&known).copied().collect();
        self.publish();
        Ok(())
    }

    async fn run(
        &mut self,
        mut gossip: mpsc::Receiver<Gossip>,
        brought: &mut mpsc::Receiver<Brought>,
    ) {
        loop {
            let now = self.context.env.now();
            self.start_forgetting();
            // An entry that comes must not go with those that were forgotten.
            while self.pulls < PULLS_MAX
                && !self.is_forgetting
                && let Some(next) = self.book.next_pull(now)
            {
                self.pulls += 1;
                let (context, index) = (self.context.clone(), self.index.clone());
                let pulling = pull(context, index, Arc::clone(&self.writing), next);
                self.spawn("catalog.pull", async move { Brought::Pulled(pulling.await) });
            }
            let can_pull = self.pulls < PULLS_MAX && !self.is_forgetting;
            let pull_at = self.book.next_deadline().filter(|_| can_pull);
            let settle_at = self.settle_at;
            let deadlines = [Some(self.greet_at), pull_at, settle_at].into_iter().flatten();
            let deadline = deadlines.min().unwrap_or(self.greet_at);
            tokio::select! {
                biased; // what ends makes room; then the clock, which a flood must not starve; then what others say
                Some(brought) = brought.recv() => self.on_brought(brought),
                () = self.context.env.sleep_until(deadline) => {
                    self.greet();
                    if self.settle_at.is_some_and(|at| at <= self.context.env.now()) {
                        self.settle_at = None;
                        if let Err(err) = self.settle().await {
                            warn!(%err, "what is known of other clusters was not written");
                        }
                    }
                }
                heard = gossip.recv() => {
                    let Some(gossip) = heard else { return };
                    self.on_gossip(gossip);
                }
            }
        }
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = Brought> + Send + 'static) {
        let bring = self.bring.clone();
        self.context.env.spawn(name, async move {
            // The keeper may have ended.
            let _has_gone = bring.send(task.await).await.is_err();
        });
    }

    fn on_brought(&mut self, brought: Brought) {
        match brought {
            Brought::Pulled(end) => {
                self.pulls = self.pulls.saturating_sub(1);
                self.ended(end);
            }
            Brought::Forgot => self.is_forgetting = false,
            Brought::Heads(heads) => {
                self.greetings = self.greetings.saturating_sub(1);
                heads.iter().for_each(|head| drop(self.hear(&head.0)));
            }
        }
    }

    fn on_gossip(&mut self, Gossip { from, bytes, verdict }: Gossip) {
        let judged = if self.is_too_often(from) {
            Verdict::Keep
        } else {
            match self.hear(&bytes) {
                Heard::New(_) => Verdict::Pass,
                Heard::Soon | Heard::Old => Verdict::Keep,
                Heard::Refused(err) => {
                    debug!(peer = %from, %err, "gossip that is no head");
                    self.context.metrics.heads_refused.inc();
                    Verdict::Blame
                }
            }
        };
        // The mesh may have forgotten it.
        let _has_gone = verdict.send(judged).is_err();
    }

    /// Counts what a peer passes on, and says whether it is more than is looked at.
    fn is_too_often(&mut self, from: PeerId) -> bool {
        let now = self.context.env.now();
        let (since, count) = self.senders.get_or_insert_mut(from, || (now, 0));
        if now.since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count > HEADS_OF_ONE
    }

    /// Has entries of clusters that were forgotten removed, beside everything else.
    fn start_forgetting(&mut self) {
        // A pull under way might bring back what is removed.
        if self.is_forgetting || self.pulls > 0 || self.to_forget.is_empty() {
            return;
        }
        self.is_forgetting = true;
        let gone = std::mem::take(&mut self.to_forget);
        let (context, index) = (self.context.clone(), self.index.clone());
        let writing = Arc::clone(&self.writing);
        self.spawn("catalog.forget", async move {
            let changes = gone.into_iter().map(IndexChange::RemoveCluster).collect();
            if let Err(err) = write(&context, &index, &writing, changes).await {
                warn!(%err, "entries of forgotten clusters stay until the next start");
            }
            Brought::Forgot
        });
    }

    fn hear(&mut self, head: &Bytes) -> Heard {
        let heard = self.book.hear(self.context.env.now(), self.context.env.wall(), head);
        if let Heard::New(cluster) = &heard {
            debug!(%cluster, "a cluster was heard of");
        }
        self.settle_soon();
        heard
    }

    fn settle_soon(&mut self) {
        self.settle_at = self.settle_at.or_else(|| Some(self.context.env.now().after(SETTLE)));
    }

    fn ended(&mut self, End { cluster, pulled, held, head }: End) {
        if let Some(head) = head {
            drop(self.hear(&head));
        }
        debug!(%cluster, ?pulled, "a catalog was pulled");
        let now = (self.context.env.now(), self.context.env.wall());
        self.book.pulled(now, cluster, pulled, held);
        // At once: what the index has is of this standing now.
        self.settle_at = Some(self.context.env.now());
    }

    /// Asks somebody for the heads it knows, when it is time.
    fn greet(&mut self) {
        let now = self.context.env.now();
        if now < self.greet_at {
            return;
        }
        let known = self.book.known(now);
        let pause = if known.is_empty() { GREET_FIRST } else { GREET };
        self.greet_at = now.after(pause);
        let mut whom = self.context.env.net().strangers();
        whom.extend(known.into_iter().flat_map(|known| known.contacts));
        let mut prng = self.context.env.prng();
        let Some(one) = prng.index(whom.len()).and_then(|at| whom.into_iter().nth(at)) else {
            return;
        };
        // Whoever is gone keeps others from being asked for no longer than there are others.
        if self.greetings >= GREETINGS_MAX {
            return;
        }
        self.greetings += 1;
        let env = self.context.env.clone();
        self.spawn("catalog.greet", async move {
            match ask(&env, vec![one], &Question::Heads).await {
                Some((_, Answer::Heads(heads))) => Brought::Heads(heads),
                Some(_) | None => Brought::Heads(Vec::new()),
            }
        });
    }

    /// Keeps what changed, and lets others see it.
    async fn settle(&mut self) -> Result<(), Fault> {
        let changed = self.book.take_changed();
        if changed.is_empty() {
            return Ok(());
        }
        self.publish();
        let mut batch = Batch::default();
        for (cluster, kept) in changed {
            let key = Bytes::copy_from_slice(cluster.as_bytes());
            match kept {
                Some(kept) => {
                    let row = encode("a cluster's row", &kept, ROW_BYTES_MAX);
                    let row = row.map_err(|err| Fault::new(Kind::Internal, err.to_string()))?;
                    batch.put(Map::Catalogs, key, row);
                }
                None => {
                    batch.delete(Map::Catalogs, key);
                    info!(%cluster, "a cluster is forgotten for others");
                    self.to_forget.push(cluster);
                }
            }
        }
        // What a crash loses is heard again.
        self.context.env.disk().write(batch, Durability::Buffered).await.map_err(failed)
    }

    fn publish(&self) {
        let known = self.book.known(self.context.env.now());
        self.catalogs.publish(known, self.book.heads(CATALOG_CLUSTERS_TOLD_MAX - 1));
    }
}

fn failed(error: DiskError) -> Fault {
    Fault::new(Kind::Internal, error.to_string())
}
