//! The task that owns the book of clusters: it hears of heads, pulls what is new, and keeps what must outlive a start.
//!
//! Heads come by gossip, and whoever is met is asked for those it knows, since gossip may be lost and is not repeated.
//! Never: waits for another cluster; pulls are tasks of their own, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use protocol::catalog::{Answer, Book, BookLimits, Heard, Kept, Question};
use protocol::format::{Blob, decode, encode};
use protocol::limits::{CATALOG_CLUSTERS_TOLD_MAX, CATALOG_HEAD_BYTES_MAX, LIST_ROWS_MAX};
use protocol::{ClusterId, Fault, Instant, Kind};
use tokio::sync::{Mutex, mpsc};
use tracing::{debug, info, warn};

use super::super::Context;
use super::Catalogs;
use super::ask::ask;
use super::pull::{End, clusters_of, pull, write};
use crate::env::{Batch, Disk, DiskError, Durability, Env, Gossip, Map, Net, Verdict};
use crate::index::{Index, IndexChange};

/// Catalogs that are pulled at a time.
const PULLS_MAX: usize = 4;

/// How often somebody is asked for heads: while none are known, and else.
const GREET_FIRST: Duration = Duration::from_secs(2);
/// See [`GREET_FIRST`].
const GREET: Duration = Duration::from_secs(30);

/// Bytes of a row: a head, and what is known of it.
const ROW_BYTES_MAX: usize = CATALOG_HEAD_BYTES_MAX + 64;

type Pulls = FuturesUnordered<BoxFuture<'static, End>>;
type Greetings = FuturesUnordered<BoxFuture<'static, Vec<Blob>>>;

/// Keeps the book for as long as the peer runs.
pub(crate) async fn keep<E: Env>(
    context: Context<E>,
    catalogs: Catalogs,
    limits: BookLimits,
    gossip: mpsc::Receiver<Gossip>,
) {
    let Some(index) = catalogs.index().cloned() else { return };
    let greet_at = context.env.now().after(GREET_FIRST);
    let mut keeper = Keeper {
        book: Book::new(limits),
        writing: Arc::new(Mutex::new(())),
        pulls: FuturesUnordered::new(),
        greetings: FuturesUnordered::new(),
        greet_at,
        context,
        catalogs,
        index,
    };
    if let Err(err) = keeper.open().await {
        warn!(%err, "what was known of other clusters cannot be read: it is learned anew");
    }
    keeper.run(gossip).await;
}

struct Keeper<E: Env> {
    context: Context<E>,
    catalogs: Catalogs,
    index: Index,
    book: Book,
    writing: Arc<Mutex<()>>,
    pulls: Pulls,
    greetings: Greetings,
    greet_at: Instant,
}

impl<E: Env> Keeper<E> {
    /// Takes in what was known before the start, and removes entries of clusters that are not known any more.
    async fn open(&mut self) -> Result<(), Fault> {
        let now = self.context.env.now();
        let mut from = Bytes::new();
        loop {
            let disk = self.context.env.disk();
            let page = disk.scan(Map::Catalogs, from, None, LIST_ROWS_MAX).await.map_err(failed)?;
            let Some((last, _)) = page.last() else { break };
            from = [&last[..], &[0]].concat().into();
            for (_, row) in page {
                if let Ok(kept) = decode::<Kept>("a cluster's row", &row, ROW_BYTES_MAX) {
                    self.book.take_in(now, kept);
                }
            }
        }
        let known: Vec<ClusterId> =
            self.book.known(now).iter().map(|known| known.cluster).collect();
        for cluster in clusters_of(&self.context, &self.index).await? {
            if !known.contains(&cluster) {
                self.forget(cluster).await?;
            }
        }
        self.publish();
        Ok(())
    }

    async fn run(&mut self, mut gossip: mpsc::Receiver<Gossip>) {
        loop {
            let now = self.context.env.now();
            while self.pulls.len() < PULLS_MAX
                && let Some(next) = self.book.next_pull(now)
            {
                let (context, index) = (self.context.clone(), self.index.clone());
                self.pulls.push(Box::pin(pull(context, index, Arc::clone(&self.writing), next)));
            }
            let pull_at = self.book.next_deadline().filter(|_| self.pulls.len() < PULLS_MAX);
            let deadline = pull_at.map_or(self.greet_at, |at| at.min(self.greet_at));
            tokio::select! {
                biased; // what ends makes room; then the clock, which a flood must not starve; then what others say
                Some(end) = self.pulls.next(), if !self.pulls.is_empty() => self.ended(end),
                Some(heads) = self.greetings.next(), if !self.greetings.is_empty() => {
                    heads.iter().for_each(|head| drop(self.hear(&head.0)));
                }
                () = self.context.env.sleep_until(deadline) => self.greet(),
                heard = gossip.recv() => {
                    let Some(Gossip { from, bytes, verdict }) = heard else { return };
                    let judged = match self.hear(&bytes) {
                        Heard::New(_) => Verdict::Pass,
                        Heard::Old => Verdict::Keep,
                        Heard::Refused(err) => {
                            debug!(peer = %from, %err, "gossip that is no head");
                            self.context.metrics.heads_refused.inc();
                            Verdict::Blame
                        }
                    };
                    // The mesh may have forgotten it.
                    let _has_gone = verdict.send(judged).is_err();
                }
            }
            if let Err(err) = self.settle().await {
                warn!(%err, "what is known of other clusters was not written");
            }
        }
    }

    fn hear(&mut self, head: &Bytes) -> Heard {
        let heard = self.book.hear(self.context.env.now(), self.context.env.wall(), head);
        if let Heard::New(cluster) = &heard {
            debug!(%cluster, "a cluster was heard of");
        }
        heard
    }

    fn ended(&mut self, End { cluster, pulled, head }: End) {
        if let Some(head) = head {
            drop(self.hear(&head));
        }
        debug!(%cluster, ?pulled, "a catalog was pulled");
        self.book.pulled(self.context.env.now(), self.context.env.wall(), cluster, pulled);
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
        let env = self.context.env.clone();
        if self.greetings.is_empty() {
            self.greetings.push(Box::pin(async move {
                match ask(&env, vec![one], &Question::Heads).await {
                    Some((_, Answer::Heads(heads))) => heads,
                    Some(_) | None => Vec::new(),
                }
            }));
        }
    }

    /// Keeps what changed, and lets others see it.
    async fn settle(&mut self) -> Result<(), Fault> {
        let changed = self.book.take_changed();
        if changed.is_empty() {
            return Ok(());
        }
        self.publish();
        let mut batch = Batch::default();
        let mut gone = Vec::new();
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
                    gone.push(cluster);
                }
            }
        }
        // What a crash loses is heard again.
        self.context.env.disk().write(batch, Durability::Buffered).await.map_err(failed)?;
        for cluster in gone {
            info!(%cluster, "a cluster is forgotten for others");
            self.forget(cluster).await?;
        }
        Ok(())
    }

    async fn forget(&mut self, cluster: ClusterId) -> Result<(), Fault> {
        let changes = vec![IndexChange::RemoveCluster(cluster)];
        write(&self.context, &self.index, &self.writing, changes).await
    }

    fn publish(&self) {
        let known = self.book.known(self.context.env.now());
        self.catalogs.publish(known, self.book.heads(CATALOG_CLUSTERS_TOLD_MAX - 1));
    }
}

fn failed(error: DiskError) -> Fault {
    Fault::new(Kind::Internal, error.to_string())
}
