//! What the clients of a run were promised: every acknowledged object with its bytes, and every broken promise.
//!
//! Never: asks a node; whoever finds something reports it here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use protocol::{Cid, Kind};

use super::lock::lock;
use super::properties::{Property, Violation};
use super::world::World;

/// An acknowledged object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its name.
    pub cid: Cid,
    /// Its bytes.
    pub bytes: Bytes,
    /// Whose acknowledgement it was, by the number of the machine.
    pub gateway: usize,
}

/// What happened in a run, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Uploads acknowledged.
    pub acknowledged: u64,
    /// Deletions that ended.
    pub deleted: u64,
    /// Uploads refused or lost, by kind; `None` when the peer went away.
    pub refused: BTreeMap<Option<Kind>, u64>,
    /// Downloads that delivered everything.
    pub delivered: u64,
    /// Downloads that failed, by kind; `None` when the peer went away.
    pub failed: BTreeMap<Option<Kind>, u64>,
    /// Faults injected, by name.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        fn add_all<K: Ord + Copy>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *to.entry(*key).or_default() += count;
            }
        }
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.deleted += other.deleted;
        add_all(&mut self.refused, &other.refused);
        add_all(&mut self.failed, &other.failed);
        add_all(&mut self.faults, &other.faults);
    }
}

/// The memory of a run's clients. Clones share it.
#[derive(Clone, Debug)]
pub struct Oracle {
    world: World,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    objects: Vec<Object>,
    violations: Vec<Violation>,
    stats: Stats,
    /// Deletions under way, and those whose end nobody knows.
    deleting: BTreeMap<Cid, u64>,
    /// When the last deletion of each object ended, in virtual nanoseconds.
    deleted: BTreeMap<Cid, u64>,
}

impl Oracle {
    /// Returns the memory of a run that begins.
    #[must_use]
    pub fn new(world: &World) -> Self {
        Self { world: world.clone(), shared: Arc::default() }
    }

    /// Notes the acknowledgement of an upload that began at `began`, in virtual nanoseconds, and returns how
    /// many there were. Nothing is promised of it if the same object was being deleted meanwhile.
    pub fn acknowledged(&self, object: Object, began: u64) -> u64 {
        let Object { cid, gateway, .. } = object;
        self.world.record(format_args!("acknowledged {cid} by {gateway}"), &[]);
        let mut shared = lock(&self.shared);
        let overlaps = shared.deleting.contains_key(&cid)
            || shared.deleted.get(&cid).is_some_and(|ended| *ended >= began);
        if !overlaps {
            shared.objects.push(object);
        }
        shared.stats.acknowledged += 1;
        shared.stats.acknowledged
    }

    /// Notes an upload that came to nothing.
    pub fn refused(&self, kind: Option<Kind>) {
        *lock(&self.shared).stats.refused.entry(kind).or_default() += 1;
    }

    /// Notes that a deletion begins: from now on nothing is promised of the object.
    pub fn deleting(&self, cid: Cid) {
        self.world.record(format_args!("deleting {cid}"), &[]);
        let mut shared = lock(&self.shared);
        shared.objects.retain(|object| object.cid != cid);
        *shared.deleting.entry(cid).or_default() += 1;
    }

    /// Notes that a deletion ended for sure: what is uploaded from now on is promised again.
    pub fn deleted(&self, cid: Cid) {
        let now = self.world.clock().nanos();
        let mut shared = lock(&self.shared);
        shared.deleted.insert(cid, now);
        shared.stats.deleted += 1;
        if let Some(count) = shared.deleting.get_mut(&cid) {
            *count -= 1;
            if *count == 0 {
                shared.deleting.remove(&cid);
            }
        }
    }

    /// Notes a download that delivered everything.
    pub fn delivered(&self) {
        lock(&self.shared).stats.delivered += 1;
    }

    /// Notes a download that failed.
    pub fn failed(&self, kind: Option<Kind>) {
        *lock(&self.shared).stats.failed.entry(kind).or_default() += 1;
    }

    /// Notes an injected fault.
    pub fn fault(&self, name: &'static str) {
        *lock(&self.shared).stats.faults.entry(name).or_default() += 1;
    }

    /// Notes a broken promise.
    pub fn violated(&self, property: Property, detail: String) {
        self.world.record(format_args!("violation {} {detail}", property.name()), &[]);
        let at_millis = self.world.clock().nanos() / 1_000_000;
        lock(&self.shared).violations.push(Violation { property, at_millis, detail });
    }

    /// Returns the acknowledged objects, in the order of their acknowledgements.
    #[must_use]
    pub fn objects(&self) -> Vec<Object> {
        lock(&self.shared).objects.clone()
    }

    /// Returns the broken promises.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.shared).violations.clone()
    }

    /// Returns the counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.shared).stats.clone()
    }
}
