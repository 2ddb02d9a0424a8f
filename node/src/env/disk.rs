//! The disk as a peer sees it: ordered maps with atomic batches, and files written at an offset.
//!
//! Maps live in one of two homes, which write and sync apart from each other, so that blocks never delay
//! agreement. What a peer may rely on after a crash: everything that was synced is there; of the batches of one
//! home that were not, those queued first survive, up to some point between two of them; files may end
//! anywhere. A failed sync is never retried: the peer stops.

use std::future::Future;

use bytes::Bytes;

/// Where a map is kept: a database of its own, with a log and syncs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Home {
    /// The index of blocks, and what else may wait behind it.
    Blocks,
    /// The Raft log and what it decided. Its syncs wait for nothing else.
    Metadata,
}

impl Home {
    /// Every home.
    pub const ALL: [Self; 2] = [Self::Blocks, Self::Metadata];
}

/// A named ordered map (a column family). Its entries are ordered by the bytes of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Map {
    /// Where each block lies.
    Blocks,
    /// Who refers to each block.
    References,
    /// Bytes of small blocks.
    Small,
    /// Facts about segment files.
    Segments,
    /// Addresses of known peers and other facts about the cluster.
    Peers,
    /// What is known of other clusters: `crate::flows`, catalogs.
    Catalogs,
    /// The queue of work: `crate::work`.
    Jobs,
    /// Entries of the Raft log, by index.
    RaftLog,
    /// Vote, identity, and how far the log was applied and purged.
    RaftState,
    /// What the log decided: `protocol::metadata`, under a prefix that counts installed snapshots.
    Metadata,
}

impl Map {
    /// Every map.
    pub const ALL: [Self; 10] = [
        Self::Blocks,
        Self::References,
        Self::Small,
        Self::Segments,
        Self::Peers,
        Self::Catalogs,
        Self::Jobs,
        Self::RaftLog,
        Self::RaftState,
        Self::Metadata,
    ];

    /// Returns the name on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::References => "references",
            Self::Small => "small",
            Self::Segments => "segments",
            Self::Peers => "peers",
            Self::Catalogs => "catalogs",
            Self::Jobs => "jobs",
            Self::RaftLog => "raft_log",
            Self::RaftState => "raft_state",
            Self::Metadata => "metadata",
        }
    }

    /// Returns where it is kept.
    #[must_use]
    pub const fn home(self) -> Home {
        match self {
            Self::Blocks
            | Self::References
            | Self::Small
            | Self::Segments
            | Self::Peers
            | Self::Catalogs
            | Self::Jobs => Home::Blocks,
            Self::RaftLog | Self::RaftState | Self::Metadata => Home::Metadata,
        }
    }
}

/// Why the disk did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No room is left. Nothing was written that counts.
    #[error("no space left on the disk")]
    Full,
    /// There is no file of this name.
    #[error("file {name} does not exist")]
    Missing { name: String },
    /// The device or the file system failed, also at a sync. The peer must stop.
    #[error("disk failed: {detail}")]
    Failed { detail: String },
    /// What lies there does not read as it was written. Other entries and files are not affected.
    #[error("disk returned corrupt data: {detail}")]
    Corrupt { detail: String },
    /// The disk was closed: the peer shuts down.
    #[error("the disk is closed")]
    Closed,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets a key.
    Put { map: Map, key: Bytes, value: Bytes },
    /// Removes a key, if it is there.
    Delete { map: Map, key: Bytes },
    /// Removes every key with `from <= key < until`, at the cost of one change.
    DeleteRange { map: Map, from: Bytes, until: Bytes },
}

impl Change {
    /// Returns the map that it changes.
    #[must_use]
    pub const fn map(&self) -> Map {
        match self {
            Self::Put { map, .. } | Self::Delete { map, .. } | Self::DeleteRange { map, .. } => {
                *map
            }
        }
    }
}

/// Changes of maps of one home that become visible, and durable, together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they apply.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Adds the setting of a key.
    pub fn put(&mut self, map: Map, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change::Put { map, key: key.into(), value: value.into() });
    }

    /// Adds the removal of a key.
    pub fn delete(&mut self, map: Map, key: impl Into<Bytes>) {
        self.changes.push(Change::Delete { map, key: key.into() });
    }

    /// Adds the removal of every key with `from <= key < until`.
    pub fn delete_range(&mut self, map: Map, from: impl Into<Bytes>, until: impl Into<Bytes>) {
        self.changes.push(Change::DeleteRange { map, from: from.into(), until: until.into() });
    }

    /// Returns the home of its maps; that of blocks when it is empty.
    ///
    /// # Errors
    /// [`DiskError::Failed`] when its maps have different homes: no write could keep it whole.
    pub fn home(&self) -> Result<Home, DiskError> {
        let home = self.changes.first().map_or(Home::Blocks, |change| change.map().home());
        match self.changes.iter().find(|change| change.map().home() != home) {
            None => Ok(home),
            Some(other) => Err(DiskError::Failed {
                detail: format!("a batch reaches into another home, to map {}", other.map().name()),
            }),
        }
    }
}

/// Whether a write outlives a power cut once its call has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It does.
    Synced,
    /// It may be lost, with everything unsynced before and after it; order is kept.
    Buffered,
}

/// Room on the device below the data directory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Free for this peer.
    pub free_bytes: u64,
    /// In all.
    pub total_bytes: u64,
}

/// One unchanging state of the maps of one home, for as long as a [`Disk::query`] runs. Its calls block.
pub trait MapReader {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`DiskError`]; [`DiskError::Failed`] also for a map of another home.
    fn get(&self, map: Map, key: &[u8]) -> Result<Option<Bytes>, DiskError>;

    /// Returns at most `limit` entries with `from <= key < until`, in order; no `until` means to the end.
    ///
    /// # Errors
    /// As [`MapReader::get`].
    fn scan(
        &self,
        map: Map,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError>;
}

/// One unchanging state of the maps of one home that outlives a call, while writes go on. It costs the disk room
/// for as long as a handle is left, so hold it briefly. Clones are handles to the same one.
pub trait DiskView: Clone + Send + Sync + 'static {
    /// Returns at most `limit` entries with `from <= key < until`, in order, and stops early once keys and
    /// values make up `bytes` or more.
    ///
    /// # Errors
    /// [`DiskError`]
    fn scan(
        &self,
        map: Map,
        from: Bytes,
        until: Option<Bytes>,
        limit: usize,
        bytes: usize,
    ) -> impl Future<Output = Result<Vec<(Bytes, Bytes)>, DiskError>> + Send;
}

/// A peer's disk. Clones are handles to the same one.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// A frozen state.
    type View: DiskView;

    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`DiskError`], as all methods.
    fn get(
        &self,
        map: Map,
        key: Bytes,
    ) -> impl Future<Output = Result<Option<Bytes>, DiskError>> + Send;

    /// Returns the values of many keys, in their order: one trip for a list.
    ///
    /// # Errors
    /// [`DiskError`]
    fn get_many(
        &self,
        map: Map,
        keys: Vec<Bytes>,
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>, DiskError>> + Send;

    /// Returns at most `limit` entries with `from <= key < until`, in order; no `until` means to the end.
    ///
    /// # Errors
    /// [`DiskError`]
    fn scan(
        &self,
        map: Map,
        from: Bytes,
        until: Option<Bytes>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Bytes, Bytes)>, DiskError>> + Send;

    /// Runs `question` over one state of a home, where it may take its time: on a thread that reads. That
    /// state has every write that returned before. A disk may ask more than once, and throw answers away: it asks what
    /// lies in memory first.
    ///
    /// # Errors
    /// [`DiskError`], those of `question` among them.
    fn query<T: Send + 'static>(
        &self,
        home: Home,
        question: impl Fn(&dyn MapReader) -> Result<T, DiskError> + Send + 'static,
    ) -> impl Future<Output = Result<T, DiskError>> + Send;

    /// Runs `change` over one state of a home, as [`Self::query`] does, and applies the batch that it returns, buffered,
    /// behind everything that was queued before. For the one task that changes the keys which `change` reads:
    /// what others write meanwhile is not in the state that it sees.
    ///
    /// # Errors
    /// [`DiskError`], those of `change` among them; after any other but `Full` the state is unknown and the peer must
    /// stop.
    fn transact<T: Send + 'static>(
        &self,
        home: Home,
        change: impl Fn(&dyn MapReader) -> Result<(Batch, T), DiskError> + Send + 'static,
    ) -> impl Future<Output = Result<T, DiskError>> + Send {
        async move {
            let (batch, value) = self.query(home, change).await?;
            self.write(batch, Durability::Buffered).await?;
            Ok(value)
        }
    }

    /// Freezes the state of a home: every write that returned before is in it, none that begins later. Waits
    /// while [`protocol::limits::DISK_VIEWS_MAX`] are in use.
    ///
    /// # Errors
    /// [`DiskError`]
    fn freeze(&self, home: Home) -> impl Future<Output = Result<Self::View, DiskError>> + Send;

    /// Applies a batch, all of whose maps have one home. Writers that call at the same time share a sync.
    ///
    /// Batches of one home apply, and become durable, in the order in which they were queued, which is the
    /// order of the first polls of these calls; a batch that was queued is written even if its caller goes.
    ///
    /// # Errors
    /// [`DiskError`]; after any but `Full` the state is unknown and the peer must stop.
    fn write(
        &self,
        batch: Batch,
        durability: Durability,
    ) -> impl Future<Output = Result<(), DiskError>> + Send;

    /// Opens a file, creating it (durably, its name included) when `create` is set and it is missing.
    ///
    /// # Errors
    /// [`DiskError`]
    fn open(
        &self,
        name: &str,
        create: bool,
    ) -> impl Future<Output = Result<Self::File, DiskError>> + Send;

    /// Returns the names and lengths of all files, in order of their names.
    ///
    /// # Errors
    /// [`DiskError`]
    fn list(&self) -> impl Future<Output = Result<Vec<(String, u64)>, DiskError>> + Send;

    /// Removes a file, durably. Handles that are still open keep reading it.
    ///
    /// # Errors
    /// [`DiskError`]
    fn remove(&self, name: &str) -> impl Future<Output = Result<(), DiskError>> + Send;

    /// Has what was deleted from the maps of a home take no more room than it must. Changes nothing that can be
    /// read.
    ///
    /// # Errors
    /// [`DiskError`]; after any but `Full` the state is unknown and the peer must stop.
    fn settle(&self, home: Home) -> impl Future<Output = Result<(), DiskError>> + Send;

    /// Returns the room on the device.
    ///
    /// # Errors
    /// [`DiskError`]
    fn space(&self) -> impl Future<Output = Result<Space, DiskError>> + Send;
}

/// An open file. Clones are handles to the same one.
#[expect(clippy::len_without_is_empty, reason = "nobody asks a device whether a file is empty")]
pub trait DiskFile: Clone + Send + Sync + 'static {
    /// Writes `parts`, one after the other, from `offset` on. Not durable before [`DiskFile::sync`].
    ///
    /// # Errors
    /// [`DiskError`], as all methods.
    fn write_at(
        &self,
        offset: u64,
        parts: Vec<Bytes>,
    ) -> impl Future<Output = Result<(), DiskError>> + Send;

    /// Returns `len` bytes from `offset` on, fewer where the file ends.
    ///
    /// # Errors
    /// [`DiskError`]
    fn read_at(
        &self,
        offset: u64,
        len: usize,
    ) -> impl Future<Output = Result<Bytes, DiskError>> + Send;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`DiskError`]: the peer must stop, what was written is in doubt for ever.
    fn sync(&self) -> impl Future<Output = Result<(), DiskError>> + Send;

    /// Returns the length.
    ///
    /// # Errors
    /// [`DiskError`]
    fn len(&self) -> impl Future<Output = Result<u64, DiskError>> + Send;

    /// Cuts the file to `len` bytes, durably.
    ///
    /// # Errors
    /// [`DiskError`]
    fn truncate(&self, len: u64) -> impl Future<Output = Result<(), DiskError>> + Send;
}
