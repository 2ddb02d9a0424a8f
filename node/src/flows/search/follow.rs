//! The index that follows what the cluster agrees on.
//!
//! One task follows. It looks again at what changed, and at everything after a start and after it missed something; each commit
//! says up to which place of the log all is reflected. Owns what waits for the index. Never: holds up a write.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use protocol::Fault;
use protocol::limits::LIST_ROWS_MAX;
use protocol::metadata::{
    BucketName, Effect, ListQuery, NamedObject, ObjectKey, ObjectName, ObjectVersion, query,
};
use protocol::search::Backlog;
use tracing::{debug, warn};

use super::super::Context;
use super::Search;
use crate::env::Env;
use crate::index::{Document, Id, Index, IndexChange, guarded};
use crate::meta::{Effects, Freshness, Told};

/// How long changes gather before the index takes them: a commit of it costs some 15 ms and a few files.
const GATHER: Duration = Duration::from_secs(1);

/// How long after a failure the same is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Changes of an index that is made anew between two commits: what a crash has done again, and what is not found meanwhile.
const COMMIT_EVERY: usize = 50_000;

/// Has the index follow for as long as the peer runs.
pub(crate) async fn follow<E: Env>(context: Context<E>, search: Search) {
    let Some(index) = search.index.clone() else { return };
    let concerns = |effect: &Effect| matches!(effect, Effect::ObjectChanged { .. });
    let effects = context.meta.effects(concerns);
    let backlog = Backlog::All;
    let mut follower = Follower { context, index, search, effects, backlog, has_begun: false };
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
    /// Whether it wrote before: the first time there is nothing to wait for.
    has_begun: bool,
}

impl<E: Env> Follower<E> {
    /// Waits for changes, and has the index reflect them.
    async fn step(&mut self) -> ControlFlow<()> {
        if self.backlog.is_empty() {
            let told = self.effects.next().await;
            self.note(told)?;
        }
        if self.has_begun {
            self.gather(GATHER).await?;
        }
        self.has_begun = true;
        // In this order: all that is below this place has been told by now.
        let position = self.context.meta.applied();
        while let Some(told) = self.effects.try_next() {
            self.note(Some(told))?;
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
        self.context.env.compute(move || guarded(|| what(&index))).await
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
        if names.is_empty() {
            return Ok(());
        }
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

    /// Has the index reflect how everything is now: what it has in another version or not at all is put, and what only it has is
    /// looked at again. Cost: a read of all names, and of all ids of the index.
    async fn look_at_all(&self) -> Result<(), Fault> {
        let position = self.on_index(Index::position).await?;
        let mut written = 0;
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
                let id = |name: &ObjectName| Id::of(name.bucket.as_str(), name.key.as_str());
                let there: BTreeMap<Id, NamedObject> =
                    page.objects.into_iter().map(|named| (id(&named.name), named)).collect();
                if let Some(last) = there.keys().next_back().cloned() {
                    written += self.compare(before.take(), Some(last.clone()), there).await?;
                    before = Some(last);
                }
                if written >= COMMIT_EVERY {
                    written = 0;
                    self.commit(position).await?;
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            bucket = Some(name);
        }
        self.compare(before, None, BTreeMap::new()).await.map(drop)
    }

    /// Has the index reflect what there is behind one id and up to another. Returns how many of its documents were touched.
    async fn compare(
        &self,
        mut after: Option<Id>,
        last: Option<Id>,
        mut there: BTreeMap<Id, NamedObject>,
    ) -> Result<usize, Fault> {
        let mut touched = 0;
        loop {
            let (from, until) = (after.clone(), last.clone());
            let held =
                self.on_index(move |index| index.ids(from.as_ref(), until.as_ref(), LIST_ROWS_MAX));
            let held = held.await?;
            let is_last = held.len() < LIST_ROWS_MAX;
            after = held.last().map(|(id, _)| id.clone());
            let (mut changes, mut names) = (Vec::new(), Vec::new());
            for (id, version) in held {
                match there.remove(&id) {
                    Some(NamedObject { object, .. }) if object.version == version => {}
                    Some(NamedObject { name, object }) => changes.push(put(&name, &object)),
                    None => {
                        let (bucket, key) = id.parts();
                        match (BucketName::new(bucket), ObjectKey::new(key)) {
                            (Ok(bucket), Ok(key)) => names.push(ObjectName { bucket, key }),
                            // Not ours.
                            (Err(_), _) | (_, Err(_)) => changes.push(IndexChange::Remove(id)),
                        }
                    }
                }
            }
            touched += changes.len() + names.len();
            self.change(changes).await?;
            self.look_at(names).await?;
            if is_last {
                break;
            }
        }
        let missing: Vec<IndexChange> =
            there.into_values().map(|NamedObject { name, object }| put(&name, &object)).collect();
        touched += missing.len();
        debug!(objects = touched, "objects that the index did not have as they are");
        self.change(missing).await?;
        Ok(touched)
    }
}

fn put(name: &ObjectName, version: &ObjectVersion) -> IndexChange {
    let content = version.content.as_ref();
    IndexChange::Put(Box::new(Document {
        listed: None,
        bucket: name.bucket.as_str().to_owned(),
        key: name.key.as_str().to_owned(),
        owner: version.owner.to_string(),
        cid: content.map(|content| content.root.to_string()).unwrap_or_default(),
        size: version.size(),
        content_type: content.map(|content| content.content_type.to_string()).unwrap_or_default(),
        tags: version.tags.as_map().clone(),
        modified_ms: version.modified.as_unix_millis(),
        version: version.version,
    }))
}
