//! This peer's inventory in short, and who should hold what: made when somebody needs it.
//!
//! One task owns both, so that there is one scan of the store at a time, whoever waits for it. Never: asks another peer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::limits::INVENTORY_ROWS_MAX;
use protocol::placement::Partition;
use protocol::repair::{Desired, Page, Planted, RowKey, Scope, Summary, View};
use protocol::{Fault, Instant, Kind, PeerId};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::HealMetrics;
use super::handle::stopping;
use crate::env::Env;
use crate::flows::Context;
use crate::store::{Rows, RowsWanted, Store};

/// How old a summary may be that answers others: an asker's few questions come within that time.
const AGE_MAX: Duration = Duration::from_secs(5);

/// How many times longer than its scan took a summary is good for: scans take a tenth of the time at most.
const AGE_SCANS: u32 = 10;

/// Rows added to a summary at a time.
const SCAN_ROWS: usize = 4096;

/// Answers to who should hold what that are remembered, each with some 12 MiB where many are replaced. Askers
/// see mostly the same ones away.
const DESIRED_MAX: usize = 3;

/// Those who wait for a summary.
const WAITING_MAX: usize = 64;

/// What this peer held, and who should hold what.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) own: PeerId,
    pub(super) desired: Arc<Desired>,
    pub(super) summary: Arc<Summary>,
}

impl Snapshot {
    /// Returns it as the machines want it.
    pub(super) fn view(&self) -> View<'_> {
        View { own: self.own, desired: &self.desired, summary: &self.summary }
    }
}

/// How new a summary has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Made from now on.
    Fresh,
    /// A few seconds do not matter.
    Recent,
}

#[derive(Debug)]
struct Wanted {
    scope: Scope,
    age: Age,
    reply: oneshot::Sender<Result<Snapshot, Fault>>,
}

/// A handle to the task. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub(super) struct Inventory {
    wanted: mpsc::Sender<Wanted>,
    /// How often something was let go of.
    departures: Arc<AtomicU64>,
}

impl Inventory {
    /// Starts the task.
    pub(super) fn start<E: Env>(context: &Context<E>, metrics: HealMetrics) -> Self {
        let (wanted, inbox) = mpsc::channel(WAITING_MAX);
        let departures = Arc::<AtomicU64>::default();
        let keeper = Keeper {
            context: context.clone(),
            metrics,
            latest: None,
            departures: Arc::clone(&departures),
            age_max: AGE_MAX,
            desired: VecDeque::new(),
        };
        context.env.spawn("heal.inventory", keeper.run(inbox));
        Self { wanted, departures }
    }

    /// Forgets what was seen before: this peer let go of something, and must not say that it has it.
    pub(super) fn forget(&self) {
        self.departures.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns what this peer holds, and who should hold what in that scope.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when this peer is at another epoch; whatever keeps the store from being read.
    pub(super) async fn snapshot(&self, scope: Scope, age: Age) -> Result<Snapshot, Fault> {
        let (reply, snapshot) = oneshot::channel();
        self.wanted.send(Wanted { scope, age, reply }).await.map_err(|_| stopping())?;
        snapshot.await.map_err(|_| stopping())?
    }
}

struct Keeper<E: Env> {
    context: Context<E>,
    metrics: HealMetrics,
    /// The latest summary, when its scan began, and after how many departures.
    latest: Option<(Instant, u64, Arc<Summary>)>,
    departures: Arc<AtomicU64>,
    age_max: Duration,
    /// The latest last.
    desired: VecDeque<Arc<Desired>>,
}

impl<E: Env> Keeper<E> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Wanted>) {
        while let Some(Wanted { scope, age, reply }) = inbox.recv().await {
            let snapshot = self.snapshot(scope, age).await;
            // Whoever asked may have given up.
            drop(reply.send(snapshot));
        }
    }

    async fn snapshot(&mut self, scope: Scope, age: Age) -> Result<Snapshot, Fault> {
        let desired = self.desired(scope).await?;
        let summary = self.summary(age).await?;
        Ok(Snapshot { own: self.context.peers.view().own(), desired, summary })
    }

    async fn desired(&mut self, scope: Scope) -> Result<Arc<Desired>, Fault> {
        if let Some(found) = self.desired.iter().find(|desired| *desired.scope() == scope) {
            return Ok(Arc::clone(found));
        }
        let placement = Arc::clone(self.context.peers.view().placement());
        let epoch = placement.topology().epoch();
        if epoch != scope.epoch {
            let detail = format!("this peer is at epoch {} instead of {}", epoch.0, scope.epoch.0);
            return Err(Fault::new(Kind::Conflict, detail));
        }
        let made = self.context.env.compute(move || Arc::new(Desired::new(placement, scope))).await;
        // What was of an earlier epoch is not asked for any more.
        self.desired.retain(|desired| desired.epoch() == epoch);
        if self.desired.len() >= DESIRED_MAX {
            self.desired.pop_front();
        }
        self.desired.push_back(Arc::clone(&made));
        Ok(made)
    }

    async fn summary(&mut self, age: Age) -> Result<Arc<Summary>, Fault> {
        let begun = self.context.env.now();
        let departures = self.departures.load(Ordering::Acquire);
        if let Some((at, after, summary)) = &self.latest
            && age == Age::Recent
            && *after == departures
            && begun.since(*at) <= self.age_max
        {
            return Ok(Arc::clone(summary));
        }
        let summary = Arc::new(scan(&self.context).await?);
        self.metrics.scans.inc();
        let took = self.context.env.now().since(begun);
        debug!(
            partitions = summary.partitions().count(),
            elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "inventory scanned"
        );
        self.age_max = AGE_MAX.max(took * AGE_SCANS);
        self.latest = Some((begun, departures, Arc::clone(&summary)));
        Ok(summary)
    }
}

/// Returns the summary of all that is held.
async fn scan<E: Env>(context: &Context<E>) -> Result<Summary, Fault> {
    let planted = Planted {
        drops_early: context.planted.drop_early,
        inventory_skips_a_partition: context.planted.skip_partitions,
    };
    let (mut summary, mut after) = (Summary::planted(planted), None);
    loop {
        let wanted = RowsWanted { partitions: None, after, limit: SCAN_ROWS };
        let Rows { rows, next } = context.store.rows(wanted).await?;
        let added = context.env.compute(move || {
            rows.iter().for_each(|row| summary.insert(row));
            summary
        });
        summary = added.await;
        if next.is_none() {
            return Ok(summary);
        }
        after = next;
    }
}

/// Returns a page of this peer's rows of some partitions.
pub(super) async fn page<E: Env>(
    store: &Store<E>,
    partitions: Vec<Partition>,
    mut after: Option<RowKey>,
) -> Result<Page, Fault> {
    let partitions: Arc<[Partition]> = partitions.into();
    let mut found = Vec::new();
    // One more than fit tells that there are more.
    while found.len() <= INVENTORY_ROWS_MAX {
        let limit = INVENTORY_ROWS_MAX + 1 - found.len();
        let wanted = RowsWanted { partitions: Some(Arc::clone(&partitions)), after, limit };
        let Rows { rows, next } = store.rows(wanted).await?;
        found.extend(rows);
        if next.is_none() {
            break;
        }
        after = next;
    }
    Ok(Page::of(found))
}
