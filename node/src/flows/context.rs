//! What every flow needs: the services of this peer, and what bounds all flows together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use protocol::limits::{TRANSFER_BYTES_MAX, TRANSFERS_MAX};
use protocol::metadata::{query, session_of};
use protocol::repair::{Foreground, Tally};
use protocol::transfer::{Pace, SpreadRule};
use protocol::{Fault, Kind, OwnerId};
use tokio::sync::Semaphore;

use super::edit::Turns;
use super::parts::Renewed;
use super::propose::COMMIT_PATIENCE;
use super::{FlowMetrics, LockWaits};
use crate::cache::BlockCache;
use crate::env::Env;
use crate::meta::{Freshness, Meta};
use crate::peers::Peers;
use crate::rpc::Rpc;
use crate::sessions::Sessions;
use crate::store::Store;
use crate::work::Work;

/// How often a peer looks whether it has caught up.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(10);

/// Defects that tests switch on, to see that the checks find them. All off in any real daemon.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// The store acknowledges a block before its sync.
    pub ack_before_sync: bool,
    /// A download passes on bytes without hashing them.
    pub skip_hash_check: bool,
    /// An upload counts one holder twice.
    pub count_twice: bool,
    /// Blocks of uploads that go on are freed.
    pub collect_uploads: bool,
    /// What others should hold is dropped before they confirmed that they do.
    pub drop_early: bool,
    /// Inventories pass over some partitions.
    pub skip_partitions: bool,
}

/// The services of one peer, as flows use them. Clones are handles to the same ones.
#[derive(Clone, Debug)]
pub struct Context<E: Env> {
    /// The machine.
    pub env: E,
    /// Blocks of this peer.
    pub store: Store<E>,
    /// The other peers.
    pub peers: Peers,
    /// Asking them.
    pub rpc: Rpc<E>,
    /// Blocks that were read before.
    pub cache: BlockCache,
    /// What the cluster agrees on.
    pub meta: Meta<E>,
    /// Under whose name uploads store blocks.
    pub sessions: Sessions,
    /// Clients that wait for locks.
    pub locks: LockWaits,
    /// Jobs for whoever has time.
    pub work: Work,
    /// How copies of a long upload spread.
    pub spread: SpreadRule,
    /// Counters.
    pub metrics: FlowMetrics,
    /// See [`Planted`].
    pub planted: Planted,
    pub(super) renewed: Renewed,
    pub(super) turns: Turns,
    /// How fast other peers answer, for all downloads.
    pace: Arc<Mutex<Pace>>,
    /// The latest session of uploads that this peer has caught up with; none before the first.
    settled: Arc<AtomicU64>,
    pub(super) memory: Arc<Semaphore>,
    pub(super) transfers: Arc<Semaphore>,
}

impl<E: Env> Context<E> {
    /// Returns the context of these services, without a cache.
    #[must_use]
    pub fn new(
        env: E,
        store: Store<E>,
        peers: Peers,
        rpc: Rpc<E>,
        meta: Meta<E>,
        sessions: Sessions,
        work: Work,
    ) -> Self {
        Self {
            env,
            store,
            peers,
            rpc,
            cache: BlockCache::new(0),
            meta,
            sessions,
            locks: LockWaits::default(),
            work,
            spread: SpreadRule::default(),
            metrics: FlowMetrics::default(),
            planted: Planted::default(),
            renewed: Renewed::default(),
            turns: Turns::default(),
            pace: Arc::default(),
            settled: Arc::default(),
            memory: Arc::new(Semaphore::new(TRANSFER_BYTES_MAX as usize)),
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX as usize)),
        }
    }

    /// Returns the same, which keeps blocks that are read in `cache`.
    #[must_use]
    pub fn with_cache(self, cache: BlockCache) -> Self {
        Self { cache, ..self }
    }

    /// Returns the same with defects.
    #[must_use]
    pub fn with_planted(self, planted: Planted) -> Self {
        Self { planted, ..self }
    }

    /// Returns the same, where copies spread by another rule.
    #[must_use]
    pub fn with_spread(self, spread: SpreadRule) -> Self {
        Self { spread, ..self }
    }

    /// Returns once this peer places blocks by a topology that is no older than its own start and the session of
    /// `upload`. One that just joined reads through all the topologies that the cluster ever had, and the first of
    /// them had one peer, so that one copy was enough. Cost: nothing but once per session.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when it does not catch up in time.
    pub(super) async fn catch_up(&self, upload: OwnerId) -> Result<(), Fault> {
        let session = session_of(upload);
        let settled = self.settled.load(Ordering::Relaxed);
        if settled > 0 && settled >= session {
            return Ok(());
        }
        let freshness = if settled > 0 { Freshness::Since(session) } else { Freshness::Latest };
        self.follow_topology(freshness).await?;
        self.settled.fetch_max(session, Ordering::Relaxed);
        Ok(())
    }

    /// Returns once this peer places blocks by the topology that the cluster agreed on, as fresh as asked. Says
    /// whether it did by another one before. Cost: a read of the metadata.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when it does not get there in time.
    pub(super) async fn follow_topology(&self, freshness: Freshness) -> Result<bool, Fault> {
        let before = self.peers.view().placement().topology().epoch();
        let end = self.env.now().after(COMMIT_PATIENCE);
        let mut freshness = freshness;
        loop {
            let agreed = self.meta.read(freshness, |state| query::topologies(state)).await?;
            let placed = self.peers.view().placement().topology().epoch();
            if agreed.first().is_some_and(|topology| topology.epoch() == placed) {
                return Ok(placed != before);
            }
            if self.env.now() >= end {
                let detail = "this peer has not caught up with its cluster yet: ask another one, or again soon";
                return Err(Fault::new(Kind::Unavailable, detail));
            }
            // What was read before is still there.
            freshness = Freshness::Local;
            self.env.sleep_until(self.env.now().after(CATCH_UP_PAUSE)).await;
        }
    }

    /// Returns what is known of how fast others answer.
    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        // A panic elsewhere leaves counts that are a little off: they fade.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what clients have seen of this peer.
    pub(super) fn foreground(&self) -> Foreground {
        let tally = |requests: &Counter, micros: &Counter| Tally {
            requests: requests.get(),
            micros: micros.get(),
        };
        let (flows, rpc) = (&self.metrics, self.rpc.metrics());
        Foreground {
            fetched: tally(&flows.block_answers, &flows.block_answers_micros),
            read: tally(&rpc.reads_served, &rpc.reads_served_micros),
            written: tally(&rpc.writes_served, &rpc.writes_served_micros),
        }
    }

    /// Returns how many transfers are under way for clients.
    pub(super) fn transfers_under_way(&self) -> u32 {
        let free = u32::try_from(self.transfers.available_permits()).unwrap_or(TRANSFERS_MAX);
        TRANSFERS_MAX.saturating_sub(free)
    }

    /// Returns a place among the transfers under way.
    pub(super) fn admit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Fault> {
        Arc::clone(&self.transfers).try_acquire_owned().map_err(|_| {
            Fault::busy(
                format!("{TRANSFERS_MAX} transfers are under way through this peer"),
                Duration::from_secs(1),
            )
        })
    }
}
