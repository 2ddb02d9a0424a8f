//! A machine for tests of the store: any disk, and one in memory that forgets what was not synced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use protocol::limits::OUTBOX_FRAMES_MAX;
use protocol::wire::{Class, Frame};
use protocol::{Instant, PeerId, Prng, WallTime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::env::{
    Batch, Change, Disk, DiskError, DiskFile, DiskView, Durability, Env, Gossip, GuestProtocol,
    GuestQuestion, Home, Inbound, Map, MapReader, Membership, Net, NetError, NetEvent, Space,
};

/// A machine with nothing but a disk. Clones are handles to the same one.
#[derive(Clone)]
pub(crate) struct TestEnv<D: Disk> {
    disk: D,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl<D: Disk> TestEnv<D> {
    pub(crate) fn new(disk: D) -> Self {
        Self { disk, tasks: Arc::default() }
    }

    /// Ends all tasks where they stand.
    pub(crate) async fn kill(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap());
        for task in tasks {
            task.abort();
            task.await.ok();
        }
    }
}

impl<D: Disk> Env for TestEnv<D> {
    type Net = NoNet;
    type Disk = D;

    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn wall(&self) -> WallTime {
        WallTime::default()
    }

    async fn sleep_until(&self, _at: Instant) {
        tokio::task::yield_now().await;
    }

    fn prng(&self) -> Prng {
        Prng::new(0)
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn spawn(&self, _name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        #[expect(clippy::disallowed_methods, reason = "this is the machine below the test")]
        let task = tokio::spawn(task);
        self.tasks.lock().unwrap().push(task);
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }

    fn net(&self) -> &NoNet {
        &NoNet
    }

    fn disk(&self) -> &D {
        &self.disk
    }
}

/// A network without peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoNet;

impl Net for NoNet {
    fn local_peer(&self) -> PeerId {
        PeerId::from_public_key([0; 32])
    }

    async fn send(&self, to: PeerId, _class: Class, _frame: Frame) -> Result<(), NetError> {
        Err(NetError::Unreachable { peer: to })
    }

    fn dial(&self, _peer: PeerId, _addresses: Vec<String>) {}

    fn take_inbox(&self, _class: Class) -> Option<mpsc::Receiver<Inbound>> {
        Some(mpsc::channel(OUTBOX_FRAMES_MAX).1)
    }

    fn take_events(&self) -> Option<mpsc::Receiver<NetEvent>> {
        Some(mpsc::channel(OUTBOX_FRAMES_MAX).1)
    }

    fn set_membership(&self, _membership: Option<Membership>) {}

    async fn ask_guest(
        &self,
        _protocol: GuestProtocol,
        addresses: Vec<String>,
        _question: Bytes,
    ) -> Result<(PeerId, Bytes), NetError> {
        Err(NetError::Unanswered { addresses: addresses.len() })
    }

    fn take_guests(&self, _protocol: GuestProtocol) -> Option<mpsc::Receiver<GuestQuestion>> {
        None
    }

    fn gossip(&self, _bytes: Bytes) {}

    fn take_gossip(&self) -> Option<mpsc::Receiver<Gossip>> {
        None
    }

    fn strangers(&self) -> Vec<String> {
        Vec::new()
    }
}

type Entries = BTreeMap<(Map, Bytes), Bytes>;

#[derive(Default)]
struct FileState {
    durable: Vec<u8>,
    now: Vec<u8>,
    /// What was written since the last sync.
    unsynced: Vec<(u64, Vec<u8>)>,
}

#[derive(Default)]
struct DiskState {
    durable: Entries,
    now: Entries,
    /// In the order of their writes; each home keeps that order, and none between them.
    unsynced: Vec<(Home, Batch)>,
    files: BTreeMap<String, u64>,
    contents: BTreeMap<u64, FileState>,
    device_bytes: u64,
    sync_fails: bool,
    settled: usize,
}

/// A disk in memory. Clones are handles to the same one.
#[derive(Clone)]
pub(crate) struct MemoryDisk {
    state: Arc<Mutex<DiskState>>,
}

#[derive(Clone)]
pub(crate) struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
}

impl MemoryDisk {
    pub(crate) fn new(device_bytes: u64) -> Self {
        let state = DiskState { device_bytes, ..DiskState::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Returns how often the maps were cleared of what was deleted.
    pub(crate) fn settled(&self) -> usize {
        self.lock().settled
    }

    fn lock(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock().unwrap()
    }

    /// Cuts the power: of what was not synced, chance decides what is left.
    pub(crate) fn crash(&self, prng: &mut Prng) {
        let state = &mut *self.lock();
        let unsynced = std::mem::take(&mut state.unsynced);
        for home in Home::ALL {
            let of_home = unsynced.iter().filter(|(of, _)| *of == home);
            let kept = prng.index(of_home.clone().count() + 1).unwrap();
            for (_, batch) in of_home.take(kept) {
                apply(&mut state.durable, batch);
            }
        }
        state.now = state.durable.clone();
        for file in state.contents.values_mut() {
            for (offset, bytes) in std::mem::take(&mut file.unsynced) {
                let kept = match prng.below(3) {
                    0 => 0,
                    1 => prng.index(bytes.len()).unwrap_or(0),
                    _ => bytes.len(),
                };
                // The end may come before the middle does.
                let skipped = if prng.chance(1, 4) { prng.index(kept + 1).unwrap() } else { 0 };
                put_at(&mut file.durable, offset + skipped as u64, &bytes[skipped..kept]);
            }
            file.now = file.durable.clone();
        }
    }

    /// Cuts the power: nothing that was not synced is left.
    pub(crate) fn crash_losing_all(&self) {
        let state = &mut *self.lock();
        state.unsynced.clear();
        state.now = state.durable.clone();
        for file in state.contents.values_mut() {
            file.unsynced.clear();
            file.now = file.durable.clone();
        }
    }

    /// Sets how much the device holds.
    pub(crate) fn set_device_bytes(&self, bytes: u64) {
        self.lock().device_bytes = bytes;
    }

    /// Has syncs of files fail.
    pub(crate) fn fail_syncs(&self) {
        self.lock().sync_fails = true;
    }

    /// Loses the index.
    pub(crate) fn lose_index(&self) {
        let state = &mut *self.lock();
        state.durable.clear();
        state.now.clear();
        state.unsynced.clear();
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(crate) fn rot(&self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        let state = &mut *self.lock();
        let id = state.files[name];
        let file = state.contents.get_mut(&id).unwrap();
        change(&mut file.durable);
        change(&mut file.now);
    }
}

impl DiskState {
    fn free_bytes(&self) -> u64 {
        let files: usize = self.files.values().map(|id| self.contents[id].now.len()).sum();
        let entries: usize = self.now.iter().map(|((_, key), value)| key.len() + value.len()).sum();
        self.device_bytes.saturating_sub((files + entries) as u64)
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type View = MemoryView;

    async fn settle(&self, _home: Home) -> Result<(), DiskError> {
        tokio::task::yield_now().await;
        self.lock().settled += 1;
        Ok(())
    }

    async fn get(&self, map: Map, key: Bytes) -> Result<Option<Bytes>, DiskError> {
        tokio::task::yield_now().await;
        Ok(self.lock().now.get(&(map, key)).cloned())
    }

    async fn get_many(&self, map: Map, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, DiskError> {
        tokio::task::yield_now().await;
        let state = self.lock();
        Ok(keys.into_iter().map(|key| state.now.get(&(map, key)).cloned()).collect())
    }

    async fn scan(
        &self,
        map: Map,
        from: Bytes,
        until: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        tokio::task::yield_now().await;
        let state = self.lock();
        let entries = state.now.range((map, from)..);
        let inside = entries.take_while(|((of, key), _)| {
            *of == map && until.as_ref().is_none_or(|until| key < until)
        });
        Ok(inside.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    async fn query<T: Send + 'static>(
        &self,
        home: Home,
        question: impl Fn(&dyn MapReader) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let frozen = self.freeze(home).await?;
        question(&frozen)
    }

    async fn freeze(&self, home: Home) -> Result<MemoryView, DiskError> {
        tokio::task::yield_now().await;
        let mut entries = self.lock().now.clone();
        entries.retain(|(map, _), _| map.home() == home);
        Ok(MemoryView(Arc::new(entries)))
    }

    async fn write(&self, batch: Batch, durability: Durability) -> Result<(), DiskError> {
        let home = batch.home()?;
        tokio::task::yield_now().await;
        let state = &mut *self.lock();
        if batch.changes.iter().any(|change| matches!(change, Change::Put { .. }))
            && state.free_bytes() < 100
        {
            return Err(DiskError::Full);
        }
        apply(&mut state.now, &batch);
        state.unsynced.push((home, batch));
        if durability == Durability::Synced {
            for (_, batch) in state.unsynced.extract_if(.., |(of, _)| *of == home) {
                apply(&mut state.durable, &batch);
            }
        }
        Ok(())
    }

    async fn open(&self, name: &str, create: bool) -> Result<MemoryFile, DiskError> {
        tokio::task::yield_now().await;
        let state = &mut *self.lock();
        let id = match state.files.get(name) {
            Some(id) => *id,
            None if create => {
                let id = state.contents.len() as u64;
                state.files.insert(name.to_owned(), id);
                state.contents.insert(id, FileState::default());
                id
            }
            None => return Err(DiskError::Missing { name: name.to_owned() }),
        };
        Ok(MemoryFile { disk: self.clone(), id })
    }

    async fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        let state = self.lock();
        let length = |id: &u64| state.contents[id].now.len() as u64;
        Ok(state.files.iter().map(|(name, id)| (name.clone(), length(id))).collect())
    }

    async fn remove(&self, name: &str) -> Result<(), DiskError> {
        tokio::task::yield_now().await;
        let removed = self.lock().files.remove(name);
        removed.map(|_| ()).ok_or_else(|| DiskError::Missing { name: name.to_owned() })
    }

    async fn space(&self) -> Result<Space, DiskError> {
        let state = self.lock();
        Ok(Space { free_bytes: state.free_bytes(), total_bytes: state.device_bytes })
    }
}

/// A copy of the entries of one home.
#[derive(Clone)]
pub(crate) struct MemoryView(Arc<Entries>);

impl MapReader for MemoryView {
    fn get(&self, map: Map, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        Ok(self.0.get(&(map, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(
        &self,
        map: Map,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        let entries = self.0.range((map, Bytes::copy_from_slice(from))..);
        let inside = entries
            .take_while(|((of, key), _)| *of == map && until.is_none_or(|until| &key[..] < until));
        Ok(inside.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}

impl DiskView for MemoryView {
    async fn scan(
        &self,
        map: Map,
        from: Bytes,
        until: Option<Bytes>,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        let mut page = MapReader::scan(self, map, &from, until.as_deref(), limit)?;
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

impl DiskFile for MemoryFile {
    async fn write_at(&self, offset: u64, parts: Vec<Bytes>) -> Result<(), DiskError> {
        tokio::task::yield_now().await;
        let state = &mut *self.disk.lock();
        let mut at = offset;
        for part in parts {
            let full = state.free_bytes() < part.len() as u64;
            let file = state.contents.get_mut(&self.id).unwrap();
            // A device that fills up leaves half of it behind.
            let part = if full { part.slice(..part.len() / 2) } else { part };
            put_at(&mut file.now, at, &part);
            at += part.len() as u64;
            file.unsynced.push((at - part.len() as u64, part.to_vec()));
            if full {
                return Err(DiskError::Full);
            }
        }
        Ok(())
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        tokio::task::yield_now().await;
        let state = self.disk.lock();
        let bytes = &state.contents[&self.id].now;
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let until = from.saturating_add(len).min(bytes.len());
        Ok(Bytes::copy_from_slice(&bytes[from..until]))
    }

    async fn sync(&self) -> Result<(), DiskError> {
        tokio::task::yield_now().await;
        let state = &mut *self.disk.lock();
        if state.sync_fails {
            return Err(DiskError::Failed { detail: "sync: input/output error".into() });
        }
        let file = state.contents.get_mut(&self.id).unwrap();
        file.durable = file.now.clone();
        file.unsynced.clear();
        Ok(())
    }

    async fn len(&self) -> Result<u64, DiskError> {
        Ok(self.disk.lock().contents[&self.id].now.len() as u64)
    }

    async fn truncate(&self, len: u64) -> Result<(), DiskError> {
        let state = &mut *self.disk.lock();
        let file = state.contents.get_mut(&self.id).unwrap();
        file.now.resize(usize::try_from(len).unwrap(), 0);
        file.durable = file.now.clone();
        file.unsynced.clear();
        Ok(())
    }
}

fn apply(entries: &mut Entries, batch: &Batch) {
    for change in &batch.changes {
        match change {
            Change::Put { map, key, value } => {
                entries.insert((*map, key.clone()), value.clone());
            }
            Change::Delete { map, key } => {
                entries.remove(&(*map, key.clone()));
            }
            Change::DeleteRange { map, from, until } => {
                entries.retain(|(of, key), _| of != map || key < from || key >= until);
            }
        }
    }
}

fn put_at(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let from = usize::try_from(offset).unwrap();
    let until = from + bytes.len();
    if file.len() < until {
        file.resize(until, 0);
    }
    file[from..until].copy_from_slice(bytes);
}
