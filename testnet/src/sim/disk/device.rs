//! The device below a machine: its maps and files, its habits, and what a power cut leaves of them.
//!
//! It outlives the processes that use it. Never: knows what the bytes mean.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use node::env::{Batch, DiskError, Durability, Home, Map, Space};
use protocol::Prng;
use tokio::sync::oneshot;

use super::file::FileContent;
use super::maps::Maps;
use crate::sim::chance::Chance;
use crate::sim::lock::lock;

/// Bytes of a device unless said otherwise.
const CAPACITY_BYTES: u64 = 1 << 30;

/// How a device behaves. The default is a healthy solid-state disk.
#[derive(Clone, Copy, Debug)]
pub struct DiskHabits {
    /// Least and most time of a read.
    pub read: (Duration, Duration),
    /// Least and most time of a write into the cache.
    pub write: (Duration, Duration),
    /// Least and most time of a sync.
    pub sync: (Duration, Duration),
    /// What all of these times are multiplied with: above 1 for a slow disk.
    pub slowness: u32,
    /// Syncs that fail, in parts per million.
    pub sync_failures: u64,
}

impl Default for DiskHabits {
    fn default() -> Self {
        let us = Duration::from_micros;
        Self {
            read: (us(50), us(300)),
            write: (us(50), us(400)),
            sync: (us(200), us(4_000)),
            slowness: 1,
            sync_failures: 0,
        }
    }
}

/// A device with its content. It belongs to one machine.
#[derive(Debug)]
pub struct Device {
    name: String,
    pub(super) chance: Chance,
    pub(super) state: Mutex<State>,
}

/// A copy of what a device holds of an agreement.
#[derive(Debug)]
pub struct AgreementCopy(Maps);

impl AgreementCopy {
    /// Returns the votes and the log: what others may rely on.
    #[must_use]
    pub fn promises(&self) -> Vec<(Bytes, Bytes)> {
        let vote: &[u8] = b"vote";
        let votes = self.0.entries(Map::RaftState, vote, Some(b"votf"), usize::MAX);
        let log = self.0.entries(Map::RaftLog, &[], None, usize::MAX);
        votes.into_iter().chain(log).collect()
    }
}

/// A batch that waits for the log.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) batch: Batch,
    pub(super) durability: Durability,
    pub(super) reply: oneshot::Sender<Result<(), DiskError>>,
}

pub(super) type File = Arc<Mutex<FileContent>>;

/// The maps of one home, and the log in front of them.
#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) maps: Maps,
    pub(super) queue: Vec<Queued>,
    /// Whether a task is writing the log.
    pub(super) writing: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) habits: DiskHabits,
    pub(super) capacity_bytes: u64,
    pub(super) blocks: Database,
    pub(super) metadata: Database,
    pub(super) files: BTreeMap<String, File>,
    /// Removed, and the directory not synced since: a power cut may bring them back.
    pub(super) unlinked: BTreeMap<String, File>,
    /// Whether a sync failed: nothing works until the process is started again.
    pub(super) broken: bool,
}

impl State {
    fn empty(habits: DiskHabits, capacity_bytes: u64) -> Self {
        Self {
            habits,
            capacity_bytes,
            blocks: Database::default(),
            metadata: Database::default(),
            files: BTreeMap::new(),
            unlinked: BTreeMap::new(),
            broken: false,
        }
    }

    pub(super) fn database(&self, home: Home) -> &Database {
        match home {
            Home::Blocks => &self.blocks,
            Home::Metadata => &self.metadata,
        }
    }

    pub(super) fn database_mut(&mut self, home: Home) -> &mut Database {
        match home {
            Home::Blocks => &mut self.blocks,
            Home::Metadata => &mut self.metadata,
        }
    }

    /// Returns the room that is left.
    pub(super) fn space(&self) -> Space {
        let in_files: u64 = self.files.values().map(|file| lock(file).len()).sum();
        let used = in_files + self.blocks.maps.bytes() + self.metadata.maps.bytes();
        Space {
            free_bytes: self.capacity_bytes.saturating_sub(used),
            total_bytes: self.capacity_bytes,
        }
    }

    /// Ends what the process had under way.
    fn detach(&mut self) {
        for home in Home::ALL {
            let database = self.database_mut(home);
            database.queue.clear();
            database.writing = false;
        }
        self.broken = false;
    }
}

impl Device {
    /// Returns an empty device.
    pub(crate) fn new(name: String, prng: Prng) -> Self {
        let state = State::empty(DiskHabits::default(), CAPACITY_BYTES);
        Self { name, chance: Chance::new(prng), state: Mutex::new(state) }
    }

    /// Returns the name in the trace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes how the device behaves from now on.
    pub fn set_habits(&self, habits: DiskHabits) {
        lock(&self.state).habits = habits;
    }

    /// Changes the size of the device; what is stored stays, also when it is more.
    pub fn set_capacity(&self, bytes: u64) {
        lock(&self.state).capacity_bytes = bytes;
    }

    /// Returns the room on the device.
    #[must_use]
    pub fn space(&self) -> Space {
        lock(&self.state).space()
    }

    /// Cuts the power: what was not synced is lost, in part.
    pub fn cut_power(&self) {
        let mut state = lock(&self.state);
        state.detach();
        for home in Home::ALL {
            state.database_mut(home).maps.cut(&self.chance);
        }
        for (name, file) in std::mem::take(&mut state.unlinked) {
            if self.chance.happens(250_000) {
                state.files.entry(name).or_insert(file);
            }
        }
        for file in state.files.values() {
            lock(file).cut(&self.chance);
        }
    }

    /// Ends the process: what it wrote is in the kernel's cache, synced or not, and its log is recovered
    /// when it starts again.
    pub fn kill_process(&self) {
        let mut state = lock(&self.state);
        state.detach();
        for home in Home::ALL {
            state.database_mut(home).maps.recover();
        }
    }

    /// Loses everything.
    pub fn wipe(&self) {
        let mut state = lock(&self.state);
        *state = State::empty(state.habits, state.capacity_bytes);
    }

    /// Loses what was agreed on, the log and the votes, but not the ids by which the directory is known: what a
    /// daemon that used an id twice would look like to the others.
    pub fn forget_agreement(&self) {
        let mut state = lock(&self.state);
        state.detach();
        state.metadata.maps.keep_only(Map::RaftState, &[b"home", b"identity"]);
    }

    /// Returns a copy of what was agreed on, of the log and the votes.
    #[must_use]
    pub fn copy_agreement(&self) -> AgreementCopy {
        AgreementCopy(lock(&self.state).metadata.maps.frozen())
    }

    /// Puts a copy back in the place of what there is, as somebody does who restores a backup while no process runs.
    pub fn restore_agreement(&self, copy: &AgreementCopy) {
        lock(&self.state).metadata.maps = copy.0.frozen();
    }

    /// Flips one bit of synced bytes of a file, and says where; `None` when there are no bytes.
    pub fn rot(&self) -> Option<String> {
        let state = lock(&self.state);
        let total: u64 = state.files.values().map(|file| lock(file).len()).sum();
        let mut at = self.chance.below(total);
        for (name, file) in &state.files {
            let mut file = lock(file);
            if at < file.len() {
                let offset = file.rot(&self.chance)?;
                return Some(format!("{name}:{offset}"));
            }
            at -= file.len();
        }
        None
    }

    /// Makes one small block in the maps unreadable; says whether there was one.
    pub fn rot_small(&self) -> bool {
        lock(&self.state).blocks.maps.rot(&self.chance)
    }

    /// Returns how long an operation of this kind takes now.
    pub(super) fn latency(&self, of: impl FnOnce(&DiskHabits) -> (Duration, Duration)) -> Duration {
        let habits = lock(&self.state).habits;
        let (least, most) = of(&habits);
        self.chance.between(least, most) * habits.slowness
    }

    /// Returns whether a sync fails now; if so, the device is broken for this process.
    pub(super) fn sync_fails(&self) -> bool {
        let mut state = lock(&self.state);
        let fails = self.chance.happens(state.habits.sync_failures);
        state.broken |= fails;
        fails
    }
}
