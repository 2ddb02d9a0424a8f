//! Searching this cluster's objects: an index that follows what the cluster agrees on, and questions to it.
//!
//! One task follows. It looks again at what changed, and at everything after it missed something; a position in the log,
//! committed with each step, says from where it goes on after a start. Owns what is known of the index's age. Never: holds up a
//! write; answers from anything but this peer's own index.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use protocol::limits::{LIST_ROWS_MAX, SEARCH_DEPTH_MAX, SEARCH_HITS_MAX};
use protocol::metadata::{
    BucketName, Effect, ListQuery, ObjectKey, ObjectName, ObjectVersion, query,
};
use protocol::search::{Backlog, Clause, Query, Wanted};
use protocol::{ClusterId, Fault, Instant, Kind};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::Context;
use crate::env::Env;
use crate::index::{Document, Found, Id, Index, IndexChange, Page};
use crate::meta::{Effects, Freshness, Told};

/// How long changes gather before the index takes them: a commit of it costs tens of milliseconds and some files.
const GATHER: Duration = Duration::from_secs(1);

/// How long after a failure the same is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Changes of an index that is made anew between two commits: what a crash has done again, and what is not found meanwhile.
const COMMIT_EVERY: usize = 50_000;

/// Searches that run at a time: each takes a processor, which uploads and downloads need to hash.
const RUNNING_MAX: usize = 2;

/// Searches that run or wait for their turn: beyond that another peer is quicker.
const OPEN_MAX: usize = 64;

/// When to ask again after `busy`.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Searches of this peer's index. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Search {
    index: Option<Index>,
    standing: Arc<Mutex<Standing>>,
    running: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

/// How the index stands.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Whether it ever reflected all that this peer knew.
    is_built: bool,
    /// Since when something waits that it does not reflect.
    waits_since: Option<Instant>,
}

/// What a search found in this cluster.
#[derive(Clone, Debug)]
pub struct Searched {
    /// The page.
    pub found: Found,
    /// The cluster's name.
    pub cluster: String,
    /// For how long changes have not been reflected; `None` while the index is being made.
    pub age: Option<Duration>,
    /// Whether the cluster was asked for at all.
    pub is_wanted: bool,
}

impl Search {
    /// Returns searches over an index, or ones that fail where a peer has none.
    pub(crate) fn over(index: Option<Index>) -> Self {
        Self {
            index,
            standing: Arc::default(),
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            open: Arc::new(Semaphore::new(OPEN_MAX)),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // A panic elsewhere leaves it whole.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Searches this cluster.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a page beyond [`SEARCH_DEPTH_MAX`]; [`Kind::NotFound`] for a cluster that is not known;
    /// [`Kind::Busy`] when too many are under way; [`Kind::Unavailable`] where a peer has no index; [`Kind::Internal`] when it
    /// cannot be read.
    pub(crate) async fn search<E: Env>(
        &self,
        context: &Context<E>,
        query: Query,
        page: Page,
    ) -> Result<Searched, Fault> {
        let no_index = || Fault::new(Kind::Unavailable, "this peer keeps no index of names");
        let index = self.index.clone().ok_or_else(no_index)?;
        if page.after >= SEARCH_DEPTH_MAX || !(1..=SEARCH_HITS_MAX).contains(&page.limit) {
            let detail = format!(
                "a search shows its {SEARCH_DEPTH_MAX} best hits, {SEARCH_HITS_MAX} at a time: say more of what you look for"
            );
            return Err(Fault::new(Kind::Invalid, detail));
        }
        let settings = context.meta.read(Freshness::Local, |state| query::settings(state)).await?;
        let cluster = settings.map(|settings| settings.name.to_string()).unwrap_or_default();
        let is_wanted = is_wanted(&query, &cluster, context.meta.cluster())?;
        let Standing { is_built, waits_since } = *self.standing();
        let silent = context.meta.silent_for();
        let age = waits_since.map_or(Duration::ZERO, |since| context.env.now().since(since));
        let found = if is_wanted {
            let _open = self.open.try_acquire().map_err(|_| {
                Fault::busy(format!("{OPEN_MAX} searches are under way at this peer"), BUSY_PAUSE)
            })?;
            let turn = Arc::clone(&self.running).acquire_owned().await;
            let now = context.env.wall();
            // Whoever asked may go; the search goes on to its end, and so does its turn.
            let search = move || {
                let found = index.search(&query, page, now);
                drop(turn);
                found
            };
            let begun = context.env.now();
            let found = context.env.compute(search).await?;
            let took = context.env.now().since(begun).as_micros();
            context.metrics.searches.inc();
            context.metrics.searches_micros.inc_by(u64::try_from(took).unwrap_or(u64::MAX));
            found
        } else {
            Found::default()
        };
        let age = is_built.then(|| age.max(silent));
        Ok(Searched { found, cluster, age, is_wanted })
    }
}

/// Says whether a query is about this cluster too.
fn is_wanted(query: &Query, name: &str, id: ClusterId) -> Result<bool, Fault> {
    let mut is_wanted = true;
    for Clause { excludes, wanted } in &query.clauses {
        let Wanted::Cluster(text) = wanted else { continue };
        let is_own = text == name || *text == id.to_string();
        if !is_own && !excludes {
            let detail = format!("no cluster {text:?} is known here; this one is {name:?}");
            return Err(Fault::new(Kind::NotFound, detail));
        }
        is_wanted &= is_own != *excludes;
    }
    Ok(is_wanted)
}

/// Has the index follow for as long as the peer runs.
pub(crate) async fn follow<E: Env>(context: Context<E>, search: Search) {
    let Some(index) = search.index.clone() else { return };
    let concerns = |effect: &Effect| matches!(effect, Effect::ObjectChanged { .. });
    let effects = context.meta.effects(concerns);
    let mut follower = Follower { context, index, search, effects, backlog: Backlog::All };
    follower.search.standing().waits_since = Some(follower.context.env.now());
    while follower.step().await.is_continue() {}
    let index = follower.index.clone();
    follower.context.env.compute(move || index.close()).await;
}

struct Follower<E: Env> {
    context: Context<E>,
    index: Index,
    search: Search,
    effects: Effects,
    backlog: Backlog,
}

impl<E: Env> Follower<E> {
    /// Waits for changes, and has the index reflect them.
    async fn step(&mut self) -> ControlFlow<()> {
        if self.backlog.is_empty() {
            let told = self.effects.next().await;
            self.note(told)?;
            self.gather(GATHER).await?;
        }
        // In this order: all that is below this place has been told by now.
        let position = self.context.meta.applied();
        while let Some(told) = self.effects.next().now_or_never() {
            self.note(told)?;
        }
        let taken = self.backlog.take();
        let began = self.context.env.now();
        let outcome = {
            let write = write(self.context.clone(), self.index.clone(), taken.clone(), position);
            let mut write = pin!(write);
            loop {
                tokio::select! {
                    biased; // what changes meanwhile waits in a queue that others fill
                    told = self.effects.next() => self.note(told)?,
                    outcome = &mut write => break outcome,
                }
            }
        };
        match outcome {
            Ok(()) => {
                let mut standing = self.search.standing();
                standing.is_built = true;
                standing.waits_since = (!self.backlog.is_empty()).then_some(began);
                drop(standing);
                ControlFlow::Continue(())
            }
            Err(fault) => {
                warn!(err = %fault, "the index of names does not follow");
                self.backlog.put_back(taken);
                self.gather(RETRY).await
            }
        }
    }

    /// Listens for a while.
    async fn gather(&mut self, time: Duration) -> ControlFlow<()> {
        let end = self.context.env.now().after(time);
        loop {
            tokio::select! {
                biased; // as above
                told = self.effects.next() => self.note(told)?,
                () = self.context.env.sleep_until(end) => return ControlFlow::Continue(()),
            }
        }
    }

    fn note(&mut self, told: Option<Told>) -> ControlFlow<()> {
        match told {
            Some(Told::Effect(Effect::ObjectChanged { name })) => self.backlog.note(name),
            Some(Told::Effect(_)) => {}
            Some(Told::Missed) => self.backlog = Backlog::All,
            None => return ControlFlow::Break(()),
        }
        let mut standing = self.search.standing();
        standing.waits_since = standing.waits_since.or_else(|| Some(self.context.env.now()));
        ControlFlow::Continue(())
    }
}

/// Has the index reflect how these objects are now, and all that lies below a place of the log.
async fn write<E: Env>(
    context: Context<E>,
    index: Index,
    backlog: Backlog,
    position: u64,
) -> Result<(), Fault> {
    let writer = Writer { context, index };
    match backlog {
        Backlog::Some(names) => {
            let names: Vec<ObjectName> = names.into_iter().collect();
            for names in names.chunks(LIST_ROWS_MAX) {
                writer.look_at(names.to_vec()).await?;
            }
        }
        Backlog::All => writer.look_at_all().await?,
    }
    writer.commit(position).await
}

struct Writer<E: Env> {
    context: Context<E>,
    index: Index,
}

impl<E: Env> Writer<E> {
    async fn on_index<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Index) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let index = self.index.clone();
        self.context.env.compute(move || what(&index)).await
    }

    async fn change(&self, changes: Vec<IndexChange>) -> Result<(), Fault> {
        if changes.is_empty() {
            return Ok(());
        }
        self.context.metrics.indexed.inc_by(changes.len() as u64);
        self.on_index(move |index| index.change(changes)).await
    }

    async fn commit(&self, position: u64) -> Result<(), Fault> {
        self.on_index(move |index| index.commit(position)).await
    }

    /// Has the index reflect how these objects are now.
    async fn look_at(&self, names: Vec<ObjectName>) -> Result<(), Fault> {
        let read = self.context.meta.read(Freshness::Local, move |state| {
            let change = |name: &ObjectName| {
                let now = query::object(state, &name.bucket, &name.key)?;
                let id = Id::of(name.bucket.as_str(), name.key.as_str());
                Ok(now.map_or(IndexChange::Remove(id), |version| put(name, &version)))
            };
            names.iter().map(change).collect::<Result<Vec<IndexChange>, _>>()
        });
        let changes = read.await?;
        self.change(changes).await
    }

    /// Has the index reflect how everything is now: looks at what was written since it was committed, and at what it has and
    /// nobody else. Cost: a read of all names.
    async fn look_at_all(&self) -> Result<(), Fault> {
        let since = self.on_index(Index::position).await?;
        let (mut changes, mut written) = (Vec::new(), 0);
        let (mut bucket, mut before): (Option<BucketName>, Option<Id>) = (None, None);
        loop {
            let after = bucket.clone();
            let next = self
                .context
                .meta
                .read(Freshness::Local, move |state| query::buckets(state, after.as_ref(), 1));
            let Some(next) = next.await?.pop() else { break };
            let name = next.name;
            let mut after = None;
            loop {
                let listed = ListQuery { after, limit: LIST_ROWS_MAX, ..ListQuery::default() };
                let of = name.clone();
                let page = self
                    .context
                    .meta
                    .read(Freshness::Local, move |state| query::list(state, &of, &listed));
                let page = page.await?;
                let ids: Vec<Id> = page
                    .objects
                    .iter()
                    .map(|named| Id::of(named.name.bucket.as_str(), named.name.key.as_str()))
                    .collect();
                if let Some(last) = ids.last().cloned() {
                    self.look_between(before.take(), Some(last.clone()), ids.into_iter().collect())
                        .await?;
                    before = Some(last);
                }
                let is_new = |version: &ObjectVersion| version.version >= since;
                let new = page.objects.iter().filter(|named| is_new(&named.object));
                changes.extend(new.map(|named| put(&named.name, &named.object)));
                written += changes.len();
                self.change(std::mem::take(&mut changes)).await?;
                if written >= COMMIT_EVERY {
                    written = 0;
                    self.commit(since).await?;
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            bucket = Some(name);
        }
        self.look_between(before, None, BTreeSet::new()).await
    }

    /// Looks at what the index has behind one id and up to another, and is not among what there is.
    async fn look_between(
        &self,
        mut after: Option<Id>,
        last: Option<Id>,
        there: BTreeSet<Id>,
    ) -> Result<(), Fault> {
        loop {
            let (from, until) = (after.clone(), last.clone());
            let ids =
                self.on_index(move |index| index.ids(from.as_ref(), until.as_ref(), LIST_ROWS_MAX));
            let ids = ids.await?;
            let is_last = ids.len() < LIST_ROWS_MAX;
            after = ids.last().cloned();
            let mut names = Vec::new();
            let mut gone = Vec::new();
            for id in ids.into_iter().filter(|id| !there.contains(id)) {
                let (bucket, key) = id.parts();
                match (BucketName::new(bucket), ObjectKey::new(key)) {
                    (Ok(bucket), Ok(key)) => names.push(ObjectName { bucket, key }),
                    // Not ours.
                    _ => gone.push(IndexChange::Remove(id)),
                }
            }
            debug!(objects = names.len(), "objects that the index has and the cluster may not");
            self.change(gone).await?;
            self.look_at(names).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

fn put(name: &ObjectName, version: &ObjectVersion) -> IndexChange {
    let content = version.content.as_ref();
    IndexChange::Put(Box::new(Document {
        bucket: name.bucket.as_str().to_owned(),
        key: name.key.as_str().to_owned(),
        owner: version.owner.to_string(),
        cid: content.map(|content| content.root.to_string()).unwrap_or_default(),
        size: version.size(),
        content_type: content.map(|content| content.content_type.to_string()).unwrap_or_default(),
        tags: version.tags.as_map().clone(),
        modified_ms: version.modified.as_unix_millis(),
    }))
}
