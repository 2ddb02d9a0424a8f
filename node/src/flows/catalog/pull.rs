//! Pulling another cluster's catalog: what differs, and then those entries.
//!
//! Every entry is checked against its cluster's key before the index has it. What was pulled before a failure stays: the next pull
//! finds less that differs. Never: more than the quota; more than one page in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::catalog::{
    Answer, CatalogError, Differs, Entry, EntryId, Head, Items, Pull, Pulled, Pulling, Question,
    SignedEntry, Standing,
};
use protocol::limits::{LIST_ROWS_MAX, OVERLAY_IDS_MAX};
use protocol::{ClusterId, Fault};
use tokio::sync::Mutex;
use tracing::{debug, info, warn};

use super::super::Context;
use super::ask::ask;
use crate::env::Env;
use crate::index::{Document, Id, Index, IndexChange, guarded};

/// How often a question is asked again that was not answered, of another contact or of the same.
const TRIES: u32 = 4;
/// How long between two of them.
const PAUSE: Duration = Duration::from_millis(400);

/// How long a pull may take: with no entry, and for each that there may be, in microseconds.
const TIME_MIN: Duration = Duration::from_secs(60);
/// See [`TIME_MIN`].
const TIME_OF_ENTRY: u32 = 2_000;

/// Entries that gather before the index takes them: a commit costs some 15 ms, and an entry 16 KiB of memory at most.
const GATHERED_MAX: usize = 512;

/// How a pull ended, with the head that it met.
pub(super) struct End {
    pub(super) cluster: ClusterId,
    pub(super) pulled: Pulled,
    /// Entries that are kept now, if that is known.
    pub(super) held: Option<u64>,
    pub(super) head: Option<Bytes>,
}

/// Why a pull goes no further.
enum Stop {
    Unreached,
    TooLarge,
    Lied(String),
    Failed(Fault),
}

impl From<CatalogError> for Stop {
    fn from(error: CatalogError) -> Self {
        Self::Lied(error.to_string())
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// Pulls a catalog into the index. `writing`: one page is written at a time, whoever pulls.
pub(super) async fn pull<E: Env>(
    context: Context<E>,
    index: Index,
    writing: Arc<Mutex<()>>,
    pull: Pull,
) -> End {
    let cluster = pull.cluster;
    let mut head = None;
    // A cluster that tells slowly takes the place of others: as long as it may need, and no longer.
    let time = TIME_MIN + Duration::from_micros(pull.entries.min(pull.entries_max)) * TIME_OF_ENTRY;
    let end_at = context.env.now().after(time);
    let env = context.env.clone();
    let mut puller = Puller { context, index, writing, pull, held: None, gathered: Vec::new() };
    let ended = tokio::select! {
        biased; // what is done beats the clock
        ended = puller.run(&mut head) => ended,
        () = env.sleep_until(end_at) => Err(Stop::Unreached),
    };
    let mut held = puller.held;
    let pulled = match ended {
        Ok(standing) => Pulled::Whole { standing, entries: held.unwrap_or(0) },
        Err(Stop::Unreached) => Pulled::Unreached,
        Err(Stop::TooLarge) => {
            info!(%cluster, "a catalog is larger than what is kept of one cluster here, and is let go of");
            held = Some(0);
            match puller.write(vec![IndexChange::RemoveCluster(cluster)]).await {
                Ok(()) => Pulled::TooLarge,
                Err(_) => Pulled::Unreached,
            }
        }
        Err(Stop::Lied(why)) => {
            warn!(%cluster, why, "a cluster's catalog is not as it says");
            Pulled::Lied
        }
        Err(Stop::Failed(err)) => {
            warn!(%cluster, %err, "a cluster's catalog was not taken in");
            Pulled::Unreached
        }
    };
    End { cluster, pulled, held, head }
}

struct Puller<E: Env> {
    context: Context<E>,
    index: Index,
    writing: Arc<Mutex<()>>,
    pull: Pull,
    /// Entries in the index, once that was counted.
    held: Option<u64>,
    /// Changes that the index is to take next.
    gathered: Vec<IndexChange>,
}

impl<E: Env> Puller<E> {
    async fn run(&mut self, met: &mut Option<Bytes>) -> Result<Standing, Stop> {
        self.context.env.prng().shuffle(&mut self.pull.contacts);
        let held = self.held().await?;
        self.held = Some(held.len() as u64);
        let (standing, differs) = self.compare(&held, met).await?;
        let stays = held.len().saturating_sub(differs.surplus.len()) as u64;
        if stays + differs.missing.len() as u64 > self.pull.entries_max {
            return Err(Stop::TooLarge);
        }
        let gone = held.iter().filter(|(_, id)| differs.surplus.contains(id));
        let cluster = self.pull.cluster;
        let gone: Vec<_> = gone
            .map(|(sequence, id)| IndexChange::Remove(Id::listed(cluster, *sequence, id)))
            .collect();
        debug!(%cluster, missing = differs.missing.len(), gone = gone.len(), "catalogs were compared");
        // What was withdrawn goes first.
        self.write(gone).await?;
        self.held = Some(stays);
        let missing: Vec<EntryId> = differs.missing.into_iter().collect();
        let mut rest = &missing[..];
        while !rest.is_empty() {
            let page = rest.get(..OVERLAY_IDS_MAX).unwrap_or(rest);
            let found = self.fetch(page).await?;
            let done = found.last().map_or(page.len(), |(id, _)| {
                page.iter().position(|asked| asked == id).map_or(page.len(), |at| at + 1)
            });
            let wall = self.context.env.wall().as_unix_millis();
            let found = found.into_iter().map(|(id, entry)| put(cluster, id, entry, wall));
            self.gathered.extend(found);
            if self.gathered.len() >= GATHERED_MAX {
                self.flush().await?;
            }
            rest = rest.get(done..).unwrap_or_default();
        }
        self.flush().await?;
        Ok(standing)
    }

    /// Returns the entries of this cluster that the index has.
    async fn held(&self) -> Result<Vec<(u64, EntryId)>, Stop> {
        let (mut all, (mut after, last)) = (Vec::new(), Id::range_of(self.pull.cluster));
        loop {
            let (index, from, until) = (self.index.clone(), after.clone(), last.clone());
            let page = move || guarded(|| index.ids(Some(&from), Some(&until), LIST_ROWS_MAX));
            let page = self.context.env.compute(page).await?;
            let is_last = page.len() < LIST_ROWS_MAX;
            all.extend(page.iter().filter_map(|(id, _)| id.entry()));
            match page.into_iter().next_back() {
                Some((id, _)) if !is_last => after = id,
                Some(_) | None => return Ok(all),
            }
        }
    }

    /// Finds what differs. Returns at which standing of the catalog that is so.
    async fn compare(
        &mut self,
        held: &[(u64, EntryId)],
        met: &mut Option<Bytes>,
    ) -> Result<(Standing, Differs), Stop> {
        let items = Items::of(held.iter().copied())?;
        let (mut pulling, mut message) = Pulling::begin(items)?;
        let mut first: Option<Standing> = None;
        loop {
            let cluster = self.pull.cluster;
            let question = Question::Reconcile { cluster, message };
            let (head, now, answer) = self.compared(&question).await?;
            // Contacts may be at different ones: what was told is of the earliest at least, and of none before the one that was
            // heard of.
            let standing = first.map_or(now.standing, |first| first.min(now.standing));
            first = Some(standing);
            if now.entries > self.pull.entries_max {
                *met = Some(head);
                return Err(Stop::TooLarge);
            }
            let missing_max = usize::try_from(self.pull.entries_max).unwrap_or(usize::MAX);
            let step = move || pulling.step(&answer, missing_max).map(|next| (pulling, next));
            let (stepped, next) = self.context.env.compute(step).await?;
            pulling = stepped;
            *met = Some(head);
            match next {
                Some(next) => message = next,
                None => return Ok((standing, pulling.differs())),
            }
        }
    }

    /// Returns the answer to a message of reconciliation, of a contact that is not behind what was heard of, with its head.
    async fn compared(&mut self, question: &Question) -> Result<(Bytes, Head, Bytes), Stop> {
        for _ in 0..=self.pull.contacts.len() {
            let Answer::Reconcile { head, message } = self.asked(question).await? else {
                return Err(Stop::Unreached);
            };
            let told = Head::checked(&head)?;
            if told.cluster() != self.pull.cluster {
                return Err(Stop::Lied("it answers with another cluster's head".to_owned()));
            }
            if told.standing >= self.pull.standing {
                return Ok((head, told, message));
            }
            // It has not applied yet what others have: it would bring back what was withdrawn.
            self.pull.contacts.rotate_left(1);
            self.context.env.sleep_until(self.context.env.now().after(PAUSE)).await;
        }
        Err(Stop::Unreached)
    }

    /// Returns those of the entries that there are still, in the order in which they were asked for, checked.
    async fn fetch(&mut self, ids: &[EntryId]) -> Result<Vec<(EntryId, Entry)>, Stop> {
        let question = Question::Entries { cluster: self.pull.cluster, ids: ids.to_vec() };
        let Answer::Entries(told) = self.asked(&question).await? else {
            return Err(Stop::Unreached);
        };
        let key = self.pull.key;
        let asked: BTreeMap<EntryId, usize> = ids.iter().copied().zip(0..).collect();
        let check = move || {
            let mut last = None;
            let mut found = Vec::with_capacity(told.len());
            for entry in told {
                let (id, entry) = SignedEntry::checked(entry, &key)?;
                // Only what was asked for, and in its order: whatever is left out in between is gone.
                let at = asked.get(&id).copied();
                if at.is_none() || at <= last {
                    return Err(Stop::Lied("it tells of entries that nobody asked for".to_owned()));
                }
                last = at;
                found.push((id, entry));
            }
            Ok(found)
        };
        self.context.env.compute(check).await
    }

    /// Asks the contacts until one of them answers.
    async fn asked(&mut self, question: &Question) -> Result<Answer, Stop> {
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.context.env.sleep_until(self.context.env.now().after(PAUSE)).await;
            }
            let Some(contact) = self.pull.contacts.first().cloned() else { break };
            match ask(&self.context.env, vec![contact], question).await {
                Some((_, Answer::Busy { retry_after_ms })) => {
                    let pause = Duration::from_millis(u64::from(retry_after_ms.min(5_000)));
                    self.context.env.sleep_until(self.context.env.now().after(pause)).await;
                    self.pull.contacts.rotate_left(1);
                }
                Some((_, answer)) => return Ok(answer),
                None => self.pull.contacts.rotate_left(1),
            }
        }
        Err(Stop::Unreached)
    }

    /// Has the index take what was gathered.
    async fn flush(&mut self) -> Result<(), Stop> {
        let gathered = std::mem::take(&mut self.gathered);
        let more = gathered.len() as u64;
        self.write(gathered).await?;
        self.held = self.held.map(|held| held + more);
        Ok(())
    }

    /// Has the index take a page of changes, durably.
    async fn write(&self, changes: Vec<IndexChange>) -> Result<(), Stop> {
        if changes.is_empty() {
            return Ok(());
        }
        self.context.metrics.listed.inc_by(changes.len() as u64);
        write(&self.context, &self.index, &self.writing, changes).await.map_err(Stop::Failed)
    }
}

/// Has the index of catalogs take changes, durably, when it is its turn.
pub(super) async fn write<E: Env>(
    context: &Context<E>,
    index: &Index,
    writing: &Mutex<()>,
    changes: Vec<IndexChange>,
) -> Result<(), Fault> {
    let _turn = writing.lock().await;
    let index = index.clone();
    let commit = move || guarded(|| index.change(changes).and_then(|()| index.commit(0)));
    context.env.compute(commit).await
}

/// `wall`: nothing was written later than now, whatever its cluster says to come first.
fn put(cluster: ClusterId, id: EntryId, entry: Entry, wall: u64) -> IndexChange {
    let tags: BTreeMap<String, String> = entry.tags.into();
    IndexChange::Put(Box::new(Document {
        listed: Some((cluster, id)),
        bucket: entry.bucket.into(),
        key: entry.key.into(),
        owner: String::new(),
        cid: entry.root.to_string(),
        size: entry.size,
        content_type: entry.content_type.into(),
        tags,
        modified_ms: entry.modified.as_unix_millis().min(wall),
        version: entry.sequence,
    }))
}

/// Returns the clusters of which the index has entries, so that those of clusters that are forgotten can be removed.
pub(super) async fn clusters_of<E: Env>(
    context: &Context<E>,
    index: &Index,
) -> Result<BTreeSet<ClusterId>, Fault> {
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let (index, from) = (index.clone(), after.clone());
        let page = move || guarded(|| index.ids(from.as_ref(), None, 1));
        let Some((id, _)) = context.env.compute(page).await?.pop() else { return Ok(found) };
        let Ok(cluster) = id.parts().0.parse::<ClusterId>() else { return Ok(found) };
        found.insert(cluster);
        after = Some(Id::range_of(cluster).1);
    }
}
