//! The disk: opening it, handing calls to its threads, closing it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use protocol::limits::{
    DISK_LANE_CALLS_MAX, DISK_METADATA_READ_THREADS, DISK_READ_THREADS, DISK_VIEWS_MAX,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::file::{RealFile, space_at};
use super::index::Index;
use super::lane::{Health, Lane};
use super::view::RealView;
use super::writer::{self, Queued, Write, Writer};
use crate::env::{Batch, Disk, DiskError, Durability, Home, Map, MapReader, Space};

/// A peer's disk: a directory with an index and segment files. Clones are handles to the same one.
#[derive(Clone)]
pub struct RealDisk {
    opened: Opened,
}

impl std::fmt::Debug for RealDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealDisk").field("opened", &self.opened).finish()
    }
}

/// The threads of an open disk. Clones are handles to the same ones.
#[derive(Clone)]
pub(super) struct Opened {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("dir", &self.inner.files_dir).finish_non_exhaustive()
    }
}

struct Inner {
    files_dir: PathBuf,
    health: Health,
    /// Records, at least, that were cut off with the damaged log of the index.
    cut_records: Counter,
    /// `None` once closed.
    lanes: RwLock<Option<Lanes>>,
}

/// What is let go of when the disk is closed: the threads end when their senders are gone.
struct Lanes {
    senders: Senders,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Senders {
    blocks: Database,
    metadata: Database,
    changes: Lane,
    views: Arc<Semaphore>,
}

/// The index of one home with its threads.
#[derive(Clone)]
struct Database {
    index: Arc<Index>,
    dir: PathBuf,
    writes: mpsc::Sender<Write>,
    queued: Queued,
    reads: Lane,
}

impl Senders {
    fn database(self, home: Home) -> Database {
        match home {
            Home::Blocks => self.blocks,
            Home::Metadata => self.metadata,
        }
    }
}

impl Database {
    /// Starts the threads that write and read an index, which lies in `dir`.
    fn start(
        home: Home,
        index: Index,
        dir: PathBuf,
        health: &Health,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> Result<Self, DiskError> {
        let index = Arc::new(index);
        let (reader, writer, readers) = match home {
            Home::Blocks => ("disk-read", "disk-index", DISK_READ_THREADS),
            Home::Metadata => ("meta-read", "meta-index", DISK_METADATA_READ_THREADS),
        };
        let reads = Lane::start(reader, readers, threads)?;
        let (writes, queue) = mpsc::channel(DISK_LANE_CALLS_MAX);
        let shared = Arc::new(Writer {
            home,
            index: Arc::clone(&index),
            health: health.clone(),
            dir: dir.clone(),
            queue: Mutex::new(queue),
            syncing: Mutex::new(()),
        });
        // One writes while the other syncs.
        for number in 0..2 {
            let shared = Arc::clone(&shared);
            let name = format!("{writer}-{number}");
            let thread = thread::Builder::new().name(name).spawn(move || shared.run());
            threads.push(thread.map_err(|error| health.of_write("thread", &error))?);
        }
        Ok(Self { index, dir, writes, queued: Queued::default(), reads })
    }
}

impl RealDisk {
    /// Opens the disk in `dir`, creating it where it is missing. Blocks: call it before anything is served.
    ///
    /// # Errors
    /// [`DiskError::Full`]; [`DiskError::Failed`] also when another process has it open.
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        let health = Health::default();
        let (index_dir, files_dir) = (dir.join("index"), dir.join("segments"));
        let metadata_dir = dir.join("metadata");
        for dir in [&index_dir, &metadata_dir, &files_dir] {
            fs::create_dir_all(dir).map_err(|error| health.of_write("create", &error))?;
        }
        sync_dir(dir).map_err(|error| health.of_write("sync", &error))?;
        let metadata = Index::open(Home::Metadata, &metadata_dir, health.clone())?;
        let blocks = Index::open(Home::Blocks, &index_dir, health.clone())?;
        let mut threads = Vec::new();
        let blocks = Database::start(Home::Blocks, blocks, index_dir, &health, &mut threads)?;
        let metadata =
            Database::start(Home::Metadata, metadata, metadata_dir, &health, &mut threads)?;
        let changes = Lane::start("disk-write", 1, &mut threads)?;
        let views = Arc::new(Semaphore::new(DISK_VIEWS_MAX));
        let cut_records = Counter::default();
        cut_records.inc_by(blocks.index.cut_records());
        let senders = Senders { blocks, metadata, changes, views };
        let lanes = RwLock::new(Some(Lanes { senders, threads }));
        let inner = Inner { files_dir, health, cut_records, lanes };
        Ok(Self { opened: Opened { inner: Arc::new(inner) } })
    }

    /// Adds what the disk counts to `registry`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let help = "Records, at least, cut off with the damaged log of the index at the last start: a small block each, or a part of one";
        registry.register("disk_cut_records", help, self.opened.inner.cut_records.clone());
    }

    /// Finishes what was asked before and closes the index. Later calls fail with [`DiskError::Closed`].
    pub async fn close(&self) {
        let Some(lanes) = self.opened.inner.take_lanes() else { return };
        let (reply, closed) = oneshot::channel();
        let close = move || {
            lanes.close();
            // Whoever asked may have gone.
            reply.send(()).ok();
        };
        match thread::Builder::new().name("disk-close".into()).spawn(close) {
            Ok(_) => closed.await.unwrap_or_default(),
            Err(error) => tracing::warn!(err = %error, "disk was not closed cleanly"),
        }
    }
}

impl Opened {
    /// Runs a call that changes files.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Health) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let health = self.inner.health.clone();
        let lane = self.senders()?.changes;
        lane.run(move || health.check().and_then(|()| call(&health))).await
    }

    /// Runs a call that reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Health) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let health = self.inner.health.clone();
        let lane = self.senders()?.blocks.reads;
        lane.run(move || health.check().and_then(|()| call(&health))).await
    }

    /// Runs a call that reads an index.
    async fn look<T: Send + 'static>(
        &self,
        home: Home,
        call: impl FnOnce(&Index) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let health = self.inner.health.clone();
        let Database { index, reads, .. } = self.senders()?.database(home);
        reads.run(move || health.check().and_then(|()| call(&index))).await
    }

    fn senders(&self) -> Result<Senders, DiskError> {
        self.inner.health.check()?;
        let lanes = self.inner.lanes.read().unwrap_or_else(PoisonError::into_inner);
        lanes.as_ref().map(|lanes| lanes.senders.clone()).ok_or(DiskError::Closed)
    }
}

impl Inner {
    fn take_lanes(&self) -> Option<Lanes> {
        self.lanes.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Threads that outlive the program's end with an open index abort it.
        if let Some(lanes) = self.take_lanes() {
            lanes.close();
        }
    }
}

impl Lanes {
    /// Waits until the threads have done what was asked, then closes the index.
    fn close(self) {
        let Senders { blocks, metadata, changes, views } = self.senders;
        let indexes = [blocks, metadata].map(|database| database.index);
        // Whoever waits for a view hears that there will be none.
        views.close();
        drop(changes);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("disk thread panicked");
            }
        }
        for index in indexes {
            index.wind_down();
        }
    }
}

impl Disk for RealDisk {
    type File = RealFile;
    type View = RealView;

    async fn get(&self, map: Map, key: Bytes) -> Result<Option<Bytes>, DiskError> {
        self.opened.look(map.home(), move |index| index.get(map, &key)).await
    }

    async fn get_many(&self, map: Map, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, DiskError> {
        self.opened.look(map.home(), move |index| index.get_many(map, &keys)).await
    }

    async fn scan(
        &self,
        map: Map,
        from: Bytes,
        until: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        let scan = move |index: &Index| index.scan(map, &from, until.as_deref(), limit);
        self.opened.look(map.home(), scan).await
    }

    async fn query<T: Send + 'static>(
        &self,
        home: Home,
        question: impl Fn(&dyn MapReader) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let Database { index, reads, .. } = self.opened.senders()?.database(home);
        // Most of what is asked for lies in memory, and waking a thread takes longer than reading it there.
        if let Some(answer) = index.glance(&question) {
            return answer;
        }
        let health = self.opened.inner.health.clone();
        reads.run(move || health.check().and_then(|()| question(&index.freeze()))).await
    }

    async fn transact<T: Send + 'static>(
        &self,
        home: Home,
        change: impl Fn(&dyn MapReader) -> Result<(Batch, T), DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let Database { index, dir, queued, reads, .. } = self.opened.senders()?.database(home);
        let health = self.opened.inner.health.clone();
        let changed = reads.run(move || {
            health.check()?;
            let (batch, value) = change(&index.freeze())?;
            // Two threads less have to be woken for it.
            if queued.is_empty() {
                writer::write_now(home, &index, &health, &dir, &batch)?;
                return Ok((None, value));
            }
            Ok((Some(batch), value))
        });
        let (batch, value) = changed.await?;
        if let Some(batch) = batch {
            self.write(batch, Durability::Buffered).await?;
        }
        Ok(value)
    }

    async fn freeze(&self, home: Home) -> Result<RealView, DiskError> {
        let senders = self.opened.senders()?;
        let place = Arc::clone(&senders.views).acquire_owned().await;
        let place = place.map_err(|_| DiskError::Closed)?;
        RealView::open(senders.database(home).index, place).await
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), DiskError> {
        let (reply, written) = oneshot::channel();
        let Database { writes, queued, .. } = self.opened.senders()?.database(batch.home()?);
        let sent = writes.send(Write { batch, durability, reply, place: queued.enter() }).await;
        sent.map_err(|_| DiskError::Closed)?;
        written.await.map_err(|_| DiskError::Closed)?
    }

    async fn open(&self, name: &str, create: bool) -> Result<RealFile, DiskError> {
        let dir = self.opened.inner.files_dir.clone();
        let name = name.to_owned();
        let open = move |health: &Health| open_file(health, &dir, name, create);
        let file =
            if create { self.opened.change(open).await } else { self.opened.read(open).await };
        Ok(RealFile::new(file?, self.opened.clone()))
    }

    async fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        let dir = self.opened.inner.files_dir.clone();
        let list = move |health: &Health| {
            list_files(&dir).map_err(|error| health.fail(format!("list: {error}")))
        };
        self.opened.read(list).await
    }

    async fn remove(&self, name: &str) -> Result<(), DiskError> {
        let dir = self.opened.inner.files_dir.clone();
        let name = name.to_owned();
        let remove = move |health: &Health| match fs::remove_file(dir.join(&name)) {
            Ok(()) => sync_dir(&dir).map_err(|error| health.fail(format!("sync: {error}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(DiskError::Missing { name })
            }
            Err(error) => Err(health.of_write("remove", &error)),
        };
        self.opened.change(remove).await
    }

    async fn settle(&self, home: Home) -> Result<(), DiskError> {
        self.opened.look(home, Index::settle).await
    }

    async fn space(&self) -> Result<Space, DiskError> {
        let dir = self.opened.inner.files_dir.clone();
        self.opened.read(move |health| space_at(&dir, health)).await
    }
}

fn open_file(health: &Health, dir: &Path, name: String, create: bool) -> Result<File, DiskError> {
    let path = dir.join(&name);
    match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => return Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DiskError::Missing { name });
        }
        Err(error) => return Err(health.of_write("open", &error)),
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let file = file.map_err(|error| health.of_write("create", &error))?;
    // The name too must outlive a power cut, or the synced bytes have none.
    sync_dir(dir).map_err(|error| health.fail(format!("sync: {error}")))?;
    Ok(file)
}

fn list_files(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
            files.push((name, metadata.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
