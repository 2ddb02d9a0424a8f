//! What the clients of a run were promised: every acknowledged object with its bytes, every name, and every
//! broken promise.
//!
//! Never: asks a node; whoever finds something reports it here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use protocol::dag::{Chunker, FileBuilder, Splitter};
use protocol::{Cid, Codec, Kind};

use super::history::{Request, Seen, Told, What};
use super::lock::lock;
use super::properties::agreed::Log;
use super::properties::{Property, Violation, named};
use super::world::World;

/// After so many virtual nanoseconds, other uploads have synced what one left behind.
const SYNCED_BY_THEN: u64 = 2_000_000_000;

/// Content that was acknowledged without a name.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its root.
    pub cid: Cid,
    /// Its bytes.
    pub bytes: Bytes,
    /// Whose acknowledgement it was, by the number of the machine.
    pub gateway: usize,
}

/// What happened in a run, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Uploads acknowledged, under a name or without one.
    pub acknowledged: u64,
    /// Requests about names that were answered: with what was asked for, or because a condition did not hold.
    pub named: u64,
    /// Content without a name that was let go of.
    pub deleted: u64,
    /// Uploads and requests about names refused or lost, by kind; `None` when the peer went away.
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
        self.named += other.named;
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
    /// Requests about names, in the order in which they began.
    history: Vec<Request>,
    /// Bytes that clients uploaded, or tried to.
    contents: BTreeMap<Cid, Bytes>,
    /// Roots that were acknowledged, with begin and end of their uploads, in virtual nanoseconds.
    uploads: Vec<(Cid, u64, u64)>,
    /// When the power of some machine failed, in virtual nanoseconds.
    power_failures: Vec<u64>,
    log: Log,
}

/// A request about a name that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestNumber(usize);

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
        drop(shared);
        self.uploaded(cid, began)
    }

    /// Notes the acknowledgement of an upload that began at `began`, and returns how many there were.
    pub fn uploaded(&self, root: Cid, began: u64) -> u64 {
        let now = self.world.clock().nanos();
        let mut shared = lock(&self.shared);
        shared.uploads.push((root, began, now));
        shared.stats.acknowledged += 1;
        shared.stats.acknowledged
    }

    /// Notes that the power of a machine failed.
    pub fn power_failed(&self) {
        let now = self.world.clock().nanos();
        lock(&self.shared).power_failures.push(now);
    }

    /// Says whether some power failed while content was uploaded, or so soon after that what was not synced then may
    /// not have been synced since.
    #[must_use]
    pub fn may_be_unsynced(&self, root: &Cid) -> bool {
        let shared = lock(&self.shared);
        let mut uploads = shared.uploads.iter().filter(|(uploaded, _, _)| uploaded == root);
        uploads.any(|(_, began, ended)| {
            let soon = *began..=ended + SYNCED_BY_THEN;
            shared.power_failures.iter().any(|at| soon.contains(at))
        })
    }

    /// Notes that a request about a name begins.
    pub fn begin(&self, key: &str, what: What) -> RequestNumber {
        let request = Request::begin(key.to_owned(), self.world.clock().nanos(), what);
        let mut shared = lock(&self.shared);
        shared.history.push(request);
        RequestNumber(shared.history.len() - 1)
    }

    /// Notes what a client was told. Nothing is no end: what it asked for may still happen.
    pub fn end(&self, RequestNumber(number): RequestNumber, told: Told) {
        let now = self.world.clock().nanos();
        self.world.record(format_args!("request {number} {told:?}"), &[]);
        let mut shared = lock(&self.shared);
        if let Some(request) = shared.history.get_mut(number)
            && told != Told::Nothing
        {
            request.ended = now;
            request.told = told;
            shared.stats.named += 1;
        }
    }

    /// Returns what is known of the newest version of a name.
    #[must_use]
    pub fn newest(&self, key: &str) -> Option<Seen> {
        let shared = lock(&self.shared);
        let told = shared.history.iter().filter(|request| request.key == key);
        let seen = told.filter_map(|request| match request.told {
            Told::Written { now, .. } | Told::Found(Some(now)) => Some(now),
            Told::Nothing | Told::Refused(_) | Told::Deleted(_) | Told::Found(None) => None,
        });
        seen.max_by_key(|seen| seen.version)
    }

    /// Returns the content of a version of a name, if some client was told of it.
    #[must_use]
    pub fn root_of(&self, key: &str, version: u64) -> Option<Cid> {
        let shared = lock(&self.shared);
        let mut told = shared.history.iter().filter(|request| request.key == key);
        told.find_map(|request| match request.told {
            Told::Written { now, .. } | Told::Found(Some(now)) => {
                (now.version == version).then_some(now.root)
            }
            Told::Nothing | Told::Refused(_) | Told::Deleted(_) | Told::Found(None) => None,
        })
    }

    /// Returns the names that clients asked about, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let shared = lock(&self.shared);
        let mut keys: Vec<_> = shared.history.iter().map(|request| request.key.clone()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Judges everything that clients were told of a name; `listed` are the versions that it has in the end,
    /// if anybody could be asked.
    pub fn judge_name(&self, key: &str, listed: Option<&[u64]>) {
        let requests: Vec<Request> = {
            let shared = lock(&self.shared);
            shared.history.iter().filter(|request| request.key == key).cloned().collect()
        };
        let mut wrong = named::judge(&requests);
        wrong
            .extend(listed.into_iter().flat_map(|listed| named::judge_versions(&requests, listed)));
        for detail in wrong {
            self.violated(Property::Named, format!("name {key}: {detail}"));
        }
    }

    /// Remembers bytes that a client is about to upload, and returns their root.
    #[must_use]
    pub fn learn(&self, bytes: &Bytes) -> Cid {
        let root = root_of(bytes);
        lock(&self.shared).contents.insert(root, bytes.clone());
        root
    }

    /// Returns the bytes of a root, if a client uploaded them.
    #[must_use]
    pub fn content(&self, root: &Cid) -> Option<Bytes> {
        lock(&self.shared).contents.get(root).cloned()
    }

    /// Notes what a peer carried out at one place of the log.
    pub fn applied(&self, index: u64, bytes: &[u8]) {
        let wrong = lock(&self.shared).log.applied(index, bytes);
        if let Some(detail) = wrong {
            self.violated(Property::Agreed, detail);
        }
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

/// Returns the root of a file of these bytes, as everybody computes it.
fn root_of(bytes: &Bytes) -> Cid {
    let mut splitter = Splitter::new(Chunker::default());
    let mut chunks = Vec::new();
    splitter.push(bytes.clone(), &mut chunks);
    splitter.finish(&mut chunks);
    let mut builder = FileBuilder::new();
    let mut nodes = Vec::new();
    for chunk in &chunks {
        let len = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        builder.leaf(Cid::of(Codec::Raw, chunk), len, &mut nodes);
    }
    builder.finish(&mut nodes).cid
}
