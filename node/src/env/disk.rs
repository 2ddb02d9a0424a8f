//! The disk as a peer sees it: ordered maps with atomic batches, and files written at an offset.
//!
//! What a peer may rely on after a crash: everything that was synced is there; what was not synced may be
//! there whole, in part, or not at all, and files may end anywhere. A failed sync is never retried: the peer stops.

use std::future::Future;

use bytes::Bytes;

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
}

impl Map {
    /// Every map.
    pub const ALL: [Self; 5] =
        [Self::Blocks, Self::References, Self::Small, Self::Segments, Self::Peers];

    /// Returns the name on disk.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::References => "references",
            Self::Small => "small",
            Self::Segments => "segments",
            Self::Peers => "peers",
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
}

/// Changes of maps that become visible, and durable, together or not at all.
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

/// A peer's disk. Clones are handles to the same one.
pub trait Disk: Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;

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

    /// Applies a batch. Writers that call at the same time share a sync.
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
