//! The disk as one process uses it: [`node::env::Disk`] over a [`Device`].
//!
//! A handle of a process that has ended answers [`DiskError::Closed`]. What was handed to the log is
//! written even if the caller stops waiting, as a driver thread would. Never: outlives its process.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use node::env::{
    Batch, Change, Disk, DiskError, DiskFile, DiskView, Durability, Home, Map, MapReader, Space,
};
use tokio::sync::oneshot;

use super::device::{Device, File, Queued};
use super::maps::{Maps, batch_bytes};
use crate::sim::lock::lock;
use crate::sim::machine::Life;

/// A process's handle to its disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    device: Arc<Device>,
    life: Arc<Life>,
}

/// A process's handle to an open file.
#[derive(Clone, Debug)]
pub struct SimFile {
    disk: SimDisk,
    name: Arc<str>,
    content: File,
}

/// A frozen state of the maps of one home: a copy of them.
#[derive(Clone, Debug)]
pub struct SimView {
    disk: SimDisk,
    maps: Arc<Maps>,
}

fn failed(detail: &str) -> DiskError {
    DiskError::Failed { detail: detail.to_owned() }
}

/// Returns what a change is, for the trace.
fn change_parts(change: &Change) -> [&[u8]; 3] {
    match change {
        Change::Put { map, key, value } => [map.name().as_bytes(), key, value],
        Change::Delete { map, key } => [map.name().as_bytes(), key, b"deleted"],
        Change::DeleteRange { map, from, until } => [map.name().as_bytes(), from, until],
    }
}

impl SimDisk {
    /// Returns the handle of the process `life` to `device`.
    pub(crate) fn new(device: Arc<Device>, life: Arc<Life>) -> Self {
        Self { device, life }
    }

    fn check(&self) -> Result<(), DiskError> {
        if !self.life.is_running() {
            return Err(DiskError::Closed);
        }
        if lock(&self.device.state).broken {
            return Err(failed("an earlier sync failed"));
        }
        Ok(())
    }

    async fn read_time(&self) -> Result<(), DiskError> {
        self.check()?;
        self.life.clock().sleep(self.device.latency(|habits| habits.read)).await;
        self.check()
    }

    async fn write_time(&self) -> Result<(), DiskError> {
        self.life.clock().sleep(self.device.latency(|habits| habits.write)).await;
        self.check()
    }

    /// Takes the time of a sync.
    async fn sync_time(&self) -> Result<(), DiskError> {
        self.life.clock().sleep(self.device.latency(|habits| habits.sync)).await;
        self.check()?;
        if self.device.sync_fails() {
            self.record("sync failed", "", &[]);
            return Err(failed("the sync failed"));
        }
        Ok(())
    }

    fn record(&self, what: &str, file: &str, payload: &[&[u8]]) {
        self.life.record(format_args!("disk {} {what} {file}", self.device.name()), payload);
    }

    /// Writes the log of a home, group by group, until nobody waits.
    async fn write_log(self, home: Home) {
        loop {
            let group = {
                let mut state = lock(&self.device.state);
                let database = state.database_mut(home);
                let group = std::mem::take(&mut database.queue);
                database.writing = !group.is_empty();
                database.maps.submit(group.iter().map(|queued| queued.batch.clone()).collect());
                group
            };
            if group.is_empty() {
                return;
            }
            let synced = group.iter().any(|queued| queued.durability == Durability::Synced);
            let mut outcome = self.write_time().await;
            if synced && outcome.is_ok() {
                outcome = self.sync_time().await;
            }
            if outcome.is_ok() {
                lock(&self.device.state).database_mut(home).maps.finish(synced);
            }
            for queued in group {
                for change in &queued.batch.changes {
                    self.record("log", "", &change_parts(change));
                }
                let answer = if outcome.is_ok() { Ok(()) } else { Err(failed("log write failed")) };
                // Whoever no longer waits has its batch written all the same.
                drop(queued.reply.send(answer));
            }
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type View = SimView;

    /// Nothing that was deleted takes room here.
    async fn settle(&self, _home: Home) -> Result<(), DiskError> {
        self.read_time().await
    }

    async fn get(&self, map: Map, key: Bytes) -> Result<Option<Bytes>, DiskError> {
        self.read_time().await?;
        lock(&self.device.state).database(map.home()).maps.get(map, &key)
    }

    async fn get_many(&self, map: Map, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, DiskError> {
        self.read_time().await?;
        let state = lock(&self.device.state);
        let maps = &state.database(map.home()).maps;
        keys.iter().map(|key| maps.get(map, key)).collect()
    }

    async fn scan(
        &self,
        map: Map,
        from: Bytes,
        until: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        self.read_time().await?;
        let state = lock(&self.device.state);
        Ok(state.database(map.home()).maps.entries(map, &from, until.as_deref(), limit))
    }

    async fn query<T: Send + 'static>(
        &self,
        home: Home,
        question: impl Fn(&dyn MapReader) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        self.read_time().await?;
        question(&lock(&self.device.state).database(home).maps)
    }

    async fn freeze(&self, home: Home) -> Result<SimView, DiskError> {
        self.read_time().await?;
        let maps = lock(&self.device.state).database(home).maps.frozen();
        Ok(SimView { disk: self.clone(), maps: Arc::new(maps) })
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), DiskError> {
        self.check()?;
        let home = batch.home()?;
        let (reply, done) = oneshot::channel();
        let idle = {
            let mut state = lock(&self.device.state);
            let free_bytes = state.space().free_bytes;
            let database = state.database_mut(home);
            let waiting: u64 = database.queue.iter().map(|queued| batch_bytes(&queued.batch)).sum();
            let bytes = batch_bytes(&batch);
            if bytes > 0 && waiting + bytes > free_bytes {
                return Err(DiskError::Full);
            }
            database.queue.push(Queued { batch, durability, reply });
            !std::mem::replace(&mut database.writing, true)
        };
        if idle {
            self.life.spawn("disk", self.clone().write_log(home));
        }
        done.await.unwrap_or(Err(DiskError::Closed))
    }

    async fn open(&self, name: &str, create: bool) -> Result<SimFile, DiskError> {
        self.check()?;
        let content = {
            let mut state = lock(&self.device.state);
            match state.files.get(name) {
                Some(content) => Arc::clone(content),
                None if create => {
                    let content = File::default();
                    state.files.insert(name.to_owned(), Arc::clone(&content));
                    // Creating syncs the directory, and with it earlier removals.
                    state.unlinked.clear();
                    content
                }
                None => return Err(DiskError::Missing { name: name.to_owned() }),
            }
        };
        self.write_time().await?;
        self.record("open", name, &[]);
        Ok(SimFile { disk: self.clone(), name: name.into(), content })
    }

    async fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        self.read_time().await?;
        let state = lock(&self.device.state);
        Ok(state.files.iter().map(|(name, file)| (name.clone(), lock(file).len())).collect())
    }

    async fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.check()?;
        {
            let mut state = lock(&self.device.state);
            let Some(content) = state.files.remove(name) else {
                return Err(DiskError::Missing { name: name.to_owned() });
            };
            state.unlinked.insert(name.to_owned(), content);
        }
        self.record("remove", name, &[]);
        self.write_time().await
    }

    async fn space(&self) -> Result<Space, DiskError> {
        self.check()?;
        Ok(self.device.space())
    }
}

impl DiskView for SimView {
    async fn scan(
        &self,
        map: Map,
        from: Bytes,
        until: Option<Bytes>,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        self.disk.read_time().await?;
        let mut page = self.maps.entries(map, &from, until.as_deref(), limit);
        let mut size = 0;
        let fits = page.iter().take_while(|(key, value)| {
            let has_room = size < bytes;
            size += key.len() + value.len();
            has_room
        });
        page.truncate(fits.count());
        Ok(page)
    }
}

impl DiskFile for SimFile {
    async fn write_at(&self, offset: u64, parts: Vec<Bytes>) -> Result<(), DiskError> {
        self.disk.check()?;
        let mut bytes = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let mut bytes = bytes.freeze();
        let full = {
            let free_bytes = self.disk.device.space().free_bytes;
            let mut content = lock(&self.content);
            let growth = content.growth(offset, bytes.len() as u64);
            let missing = usize::try_from(growth.saturating_sub(free_bytes)).unwrap_or(usize::MAX);
            bytes.truncate(bytes.len().saturating_sub(missing));
            let offset = usize::try_from(offset).map_err(|_| failed("offset beyond memory"))?;
            content.write(offset, bytes.clone());
            missing > 0
        };
        self.disk.record("write", &self.name, &[&offset.to_le_bytes(), &bytes]);
        self.disk.write_time().await?;
        if full { Err(DiskError::Full) } else { Ok(()) }
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        self.disk.read_time().await?;
        Ok(lock(&self.content).read(offset, len))
    }

    async fn sync(&self) -> Result<(), DiskError> {
        self.disk.check()?;
        let mark = lock(&self.content).mark();
        if let Err(error) = self.disk.sync_time().await {
            lock(&self.content).forget();
            return Err(error);
        }
        lock(&self.content).sync(mark);
        self.disk.record("sync", &self.name, &[&mark.to_le_bytes()]);
        Ok(())
    }

    async fn len(&self) -> Result<u64, DiskError> {
        self.disk.check()?;
        Ok(lock(&self.content).len())
    }

    async fn truncate(&self, len: u64) -> Result<(), DiskError> {
        self.disk.check()?;
        let len = usize::try_from(len).map_err(|_| failed("length beyond memory"))?;
        self.disk.sync_time().await?;
        lock(&self.content).truncate(len);
        self.disk.record("truncate", &self.name, &[&len.to_le_bytes()]);
        Ok(())
    }
}
