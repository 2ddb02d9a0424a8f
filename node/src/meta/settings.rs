//! What a peer's part in agreement is started with, and the bounds it keeps.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy, StepDownPolicy};
use protocol::limits::META_ENTRIES_MAX;
use protocol::metadata::{Command, Op};
use protocol::raft::{Content, Record, encode};
use protocol::{ClusterId, Fault, Kind};

/// How often the leader tells that it lives.
const HEARTBEAT: Duration = Duration::from_millis(150);
/// What a peer waits before it stands for election, drawn anew each time, after the leader's lease is over: openraft
/// makes the lease as long as the most of it, and nobody votes before. So the first one stands after 1.5 s to 2 s of
/// silence. Ten heartbeats, so that lost messages elect nobody; and early enough that writes go on in three seconds.
const ELECTION_MIN: Duration = Duration::from_millis(500);
const ELECTION_MAX: Duration = Duration::from_millis(1_000);

/// How often a running peer draws a mark: each costs a sync here and at every voter.
const MARK_PAUSE: Duration = Duration::from_secs(60);

/// Entries applied after which the log before them may go, once a snapshot can stand for them.
const SNAPSHOT_ENTRIES: u64 = 20_000;
/// Entries kept for followers that were away briefly: some ten seconds of a busy cluster, or minutes of most.
const LOG_ENTRIES_KEPT: u64 = 10_000;

/// Defects on purpose, to see that the checks find them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// Votes count before they are synced.
    pub vote_not_synced: bool,
    /// A leader that starts again leads on in its old term.
    pub leader_restore_on: bool,
    /// The latest state is read where somebody believes that he leads, without asking a quorum.
    pub stale_read: bool,
    /// A new leader ends leases at once that it knows nothing of.
    pub lease_cut_short: bool,
    /// A directory that was replaced by an older copy is taken for one that only started again.
    pub copies_unnoticed: bool,
}

/// Who looks on while entries are applied: the checks of the simulator.
#[derive(Clone, Default)]
pub struct Observer(Option<Watcher>);

type Watcher = Arc<dyn Fn(Observed<'_>) + Send + Sync>;

/// What an [`Observer`] sees.
#[derive(Clone, Copy, Debug)]
pub enum Observed<'a> {
    /// The entry of an index was applied: its bytes, the same on every peer.
    Applied {
        /// The entry's place in the log.
        index: u64,
        /// All of it.
        bytes: &'a [u8],
        /// What its command does, if it is one.
        op: Option<&'a Op>,
    },
    /// A snapshot was taken over that has so many entries of the log applied.
    Installed {
        /// The index of the last entry it has, plus one.
        applied: u64,
    },
}

impl Observer {
    /// Returns the observer that calls `watch`.
    pub fn new(watch: impl Fn(Observed<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(watch)))
    }

    pub(super) fn wants(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn applied(&self, index: u64, record: &Record) {
        let command = match &record.content {
            Content::Command(bytes) => Command::decode(bytes).ok(),
            Content::Blank | Content::Configuration(_) => None,
        };
        if let (Some(watch), Ok(bytes)) = (&self.0, encode("log entry", record)) {
            let op = command.as_ref().map(|command| &command.op);
            watch(Observed::Applied { index, bytes: &bytes, op });
        }
    }

    pub(super) fn installed(&self, applied: u64) {
        if let Some(watch) = &self.0 {
            watch(Observed::Installed { applied });
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.wants()).finish()
    }
}

/// What a peer's part in agreement is started with.
#[derive(Clone, Debug)]
pub struct MetaSettings {
    /// Its cluster. A directory of another one is refused.
    pub cluster: ClusterId,
    /// Time between two signs of life of the leader.
    pub heartbeat: Duration,
    /// Least and most silence before an election. The least is at least three heartbeats.
    pub election: (Duration, Duration),
    /// Entries applied between two snapshots.
    pub snapshot_entries: u64,
    /// Entries kept in the log although a snapshot has them.
    pub log_entries_kept: u64,
    /// Whether an append returns only when it is durable: slower, and safe under every setting of the library.
    pub sync_before_return: bool,
    /// Time between two marks: how old a copy of a running peer's directory must be to be noticed when it is put back.
    pub mark_pause: Duration,
    /// Whether the leader keeps voters, leases and due work by itself. Off in tests of single steps.
    pub controller: bool,
    /// Test-only defects.
    #[doc(hidden)]
    pub planted: Planted,
    /// Test-only eyes.
    #[doc(hidden)]
    pub observer: Observer,
}

impl MetaSettings {
    /// Returns the settings of a daemon in a cluster.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            heartbeat: HEARTBEAT,
            election: (ELECTION_MIN, ELECTION_MAX),
            snapshot_entries: SNAPSHOT_ENTRIES,
            log_entries_kept: LOG_ENTRIES_KEPT,
            sync_before_return: false,
            mark_pause: MARK_PAUSE,
            controller: true,
            planted: Planted::default(),
            observer: Observer::default(),
        }
    }

    /// Returns the library's settings. Why each is as it is: `protocol/decisions/0010-raft-settings.md`.
    pub(super) fn config(&self) -> Result<Arc<Config>, Fault> {
        let config = Config {
            cluster_name: self.cluster.to_string(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election.0),
            election_timeout_max: millis(self.election.1),
            // Also the deadline of a whole snapshot, whose pages have deadlines of their own.
            install_snapshot_timeout: millis(super::snapshot::SEND_PATIENCE),
            max_payload_entries: META_ENTRIES_MAX,
            max_append_entries: Some(META_ENTRIES_MAX),
            api_batch_capacity: META_ENTRIES_MAX,
            api_channel_size: Some(1_024),
            notification_channel_size: Some(4_096),
            state_machine_channel_size: Some(256),
            replication_lag_threshold: self.snapshot_entries + self.log_entries_kept,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.log_entries_kept,
            purge_batch_size: (self.log_entries_kept / 4).max(1),
            backoff: "100ms 200ms ...1s".to_owned(),
            removed_leader_step_down: StepDownPolicy::After(150),
            enable_pre_vote: Some(true),
            // Until this peer has checked in.
            enable_elect: false,
            enable_leader_restore: Some(self.planted.leader_restore_on),
            allow_log_reversion: None,
            ..Config::default()
        };
        let config = config.validate().map_err(|error| {
            Fault::new(Kind::Invalid, format!("the times of elections do not fit: {error}"))
        })?;
        Ok(Arc::new(config))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
