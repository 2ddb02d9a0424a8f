//! Searching: this cluster's objects and what other clusters publish, as this peer knows both.
//!
//! Answers come from this peer's own indexes, at once, and say how old each cluster's part is. Owns what is known of the age of
//! this cluster's index. Never: asks another peer; says that something exists.

mod follow;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::catalog::{Known, Reach};
use protocol::limits::{SEARCH_DEPTH_MAX, SEARCH_HITS_MAX};
use protocol::metadata::query;
use protocol::search::{Clause, Query, Wanted};
use protocol::{ClusterId, Fault, Instant, Kind, WallTime};
use tokio::sync::Semaphore;

use super::{Catalogs, Context};
use crate::env::Env;
use crate::index::{Document, Found, Index, Page, guarded};
use crate::meta::Freshness;

pub(crate) use follow::follow;

/// Searches that run at a time: each takes a processor, which uploads and downloads need to hash.
const RUNNING_MAX: usize = 2;

/// Searches that run or wait for their turn: beyond that another peer is quicker.
const OPEN_MAX: usize = 64;

/// When to ask again after `busy`.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Searches of this peer's indexes. Clones are handles to the same ones.
#[derive(Clone, Debug)]
pub struct Search {
    index: Option<Index>,
    standing: Arc<Mutex<Standing>>,
    running: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

/// How this cluster's index stands.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Whether it ever reflected all that this peer knew.
    is_built: bool,
    /// Since when something waits that it does not reflect.
    waits_since: Option<Instant>,
}

/// Which clusters a search is about, beside what its query says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All that are known.
    #[default]
    All,
    /// This one.
    Local,
    /// Those of this name or id.
    Cluster(String),
}

/// One that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundHit {
    /// What is known of it.
    pub document: Document,
    /// How well it fits, beside others of the same search.
    pub score: f64,
    /// Its cluster's place in [`Searched::clusters`].
    pub part: usize,
}

/// A cluster whose objects were searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub cluster: ClusterId,
    /// Its name, for people.
    pub name: String,
    /// How long ago all that it has was known here; `None`: that was never so.
    pub age: Option<Duration>,
    /// How its peers can be reached; `None` for this cluster.
    pub reach: Option<Reach>,
}

impl Part {
    /// Returns the part of another cluster.
    #[must_use]
    pub fn of(known: Known, now: WallTime) -> Self {
        let since = |at: WallTime| now.as_unix_millis().saturating_sub(at.as_unix_millis());
        Self {
            cluster: known.cluster,
            name: known.name.to_string(),
            age: known.current_at.map(|at| Duration::from_millis(since(at))),
            reach: Some(known.reach),
        }
    }
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Searched {
    /// The page, best first.
    pub hits: Vec<FoundHit>,
    /// How many there are on all pages.
    pub total: u64,
    /// Whose objects were searched: this cluster first.
    pub clusters: Vec<Part>,
}

impl Search {
    /// Returns searches over an index of this cluster's objects, or ones that fail where a peer has none.
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

    /// Searches.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a page beyond [`SEARCH_DEPTH_MAX`]; [`Kind::NotFound`] for a cluster that is not known;
    /// [`Kind::Busy`] when too many are under way; [`Kind::Unavailable`] where a peer has no index; [`Kind::Internal`] when it
    /// cannot be read.
    pub(crate) async fn search<E: Env>(
        &self,
        context: &Context<E>,
        catalogs: &Catalogs,
        query: Query,
        scope: Scope,
        page: Page,
    ) -> Result<Searched, Fault> {
        let no_index = || Fault::new(Kind::Unavailable, "this peer keeps no index of names");
        let own = self.index.clone().ok_or_else(no_index)?;
        if page.after >= SEARCH_DEPTH_MAX || !(1..=SEARCH_HITS_MAX).contains(&page.limit) {
            let detail = format!(
                "a search shows its {SEARCH_DEPTH_MAX} best hits, {SEARCH_HITS_MAX} at a time: say more of what you look for"
            );
            return Err(Fault::new(Kind::Invalid, detail));
        }
        let known = catalogs.known();
        let here = self.own_part(context).await?;
        let wanted = wanted(&query, &scope, &here, &known)?;
        let others = catalogs.index().filter(|_| !wanted.others.is_empty()).cloned();
        let (now, wall) = (context.env.now(), context.env.wall());
        let _open = self.open.try_acquire().map_err(|_| {
            Fault::busy(format!("{OPEN_MAX} searches are under way at this peer"), BUSY_PAUSE)
        })?;
        let turn = Arc::clone(&self.running).acquire_owned().await;
        // Of two indexes, the page is among the best of both.
        let first = Page { after: 0, limit: page.after + page.limit };
        let is_all = wanted.others.len() == known.len();
        let ids: Vec<ClusterId> = wanted.others.iter().map(|known| known.cluster).collect();
        let own = wanted.own.then_some(own);
        // Whoever asked may go; the search goes on to its end, and so does its turn.
        let search = move || {
            let found = guarded(|| {
                let of = match (&own, &others) {
                    (Some(own), None) => return Ok(vec![own.search(&query, page, wall)?]),
                    (None, None) => return Ok(Vec::new()),
                    (own, Some(others)) => {
                        let among = (!is_all).then_some(&ids[..]);
                        let theirs = others.search_among(among, &query, first, wall)?;
                        let ours = own.as_ref().map(|own| own.search(&query, first, wall));
                        [ours.transpose()?, Some(theirs)]
                    }
                };
                Ok(vec![merge(of.into_iter().flatten(), page)])
            });
            drop(turn);
            found
        };
        let found: Vec<Found> = context.env.compute(search).await?;
        let took = context.env.now().since(now).as_micros();
        context.metrics.searches.inc();
        context.metrics.searches_micros.inc_by(u64::try_from(took).unwrap_or(u64::MAX));
        let clusters: Vec<Part> = wanted
            .own
            .then_some(here)
            .into_iter()
            .chain(wanted.others.into_iter().map(|known| Part::of(known, wall)))
            .collect();
        let total = found.iter().map(|found| found.total).sum();
        let own = context.meta.cluster();
        let hits = found.into_iter().flat_map(|found| found.hits).filter_map(|hit| {
            let cluster = hit.document.listed.as_ref().map_or(own, |(cluster, _)| *cluster);
            // One that was forgotten this moment has none.
            let part = clusters.iter().position(|part| part.cluster == cluster)?;
            Some(FoundHit { document: hit.document, score: hit.score, part })
        });
        Ok(Searched { hits: hits.collect(), total, clusters })
    }

    async fn own_part<E: Env>(&self, context: &Context<E>) -> Result<Part, Fault> {
        let settings = context.meta.read(Freshness::Local, |state| query::settings(state)).await?;
        let name = settings.map(|settings| settings.name.to_string()).unwrap_or_default();
        let Standing { is_built, waits_since } = *self.standing();
        let silent = context.meta.silent_for();
        let age = waits_since.map_or(Duration::ZERO, |since| context.env.now().since(since));
        // Who has heard of no leader since it started does not know what it missed before.
        let age = (is_built && context.meta.is_in_touch()).then(|| age.max(silent));
        Ok(Part { cluster: context.meta.cluster(), name, age, reach: None })
    }
}

/// Returns one page of the best of all.
fn merge(found: impl Iterator<Item = Found>, page: Page) -> Found {
    let mut all = Found::default();
    for found in found {
        all.total += found.total;
        all.hits.extend(found.hits);
    }
    all.hits.sort_by(|a, b| {
        let rank = b.score.total_cmp(&a.score);
        rank.then(b.document.modified_ms.cmp(&a.document.modified_ms))
    });
    all.hits = all.hits.into_iter().skip(page.after).take(page.limit).collect();
    all
}

/// The clusters that a search is about.
struct Clusters {
    own: bool,
    others: Vec<Known>,
}

/// Returns which clusters a search is about: by its scope, and by what its query says of clusters.
fn wanted(query: &Query, scope: &Scope, here: &Part, known: &[Known]) -> Result<Clusters, Fault> {
    let named = |text: &str| -> Result<BTreeSet<ClusterId>, Fault> {
        let all = known.iter().map(|known| (known.cluster, known.name.as_str()));
        let all = all.chain([(here.cluster, here.name.as_str())]);
        let is_named =
            |(cluster, name): &(ClusterId, &str)| *name == text || cluster.to_string() == text;
        let named: BTreeSet<ClusterId> = all.filter(is_named).map(|(cluster, _)| cluster).collect();
        if named.is_empty() {
            let detail = format!(
                "no cluster {text:?} is known here; `shoal catalog clusters` lists those that are, and this one is {:?}",
                here.name
            );
            return Err(Fault::new(Kind::NotFound, detail));
        }
        Ok(named)
    };
    let mut all: BTreeSet<ClusterId> = known.iter().map(|known| known.cluster).collect();
    all.insert(here.cluster);
    match scope {
        Scope::All => {}
        Scope::Local => all.retain(|cluster| *cluster == here.cluster),
        Scope::Cluster(text) => all = named(text)?,
    }
    for Clause { excludes, wanted } in &query.clauses {
        let Wanted::Cluster(text) = wanted else { continue };
        match (named(text), excludes) {
            (Ok(named), excludes) => all.retain(|cluster| named.contains(cluster) != *excludes),
            // There is nothing of it to leave out.
            (Err(_), true) => {}
            (Err(unknown), false) => return Err(unknown),
        }
    }
    let others = known.iter().filter(|known| all.contains(&known.cluster));
    Ok(Clusters { own: all.contains(&here.cluster), others: others.cloned().collect() })
}
