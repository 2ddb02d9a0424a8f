//! What happened in a run, and what of it must not have.
//!
//! The log decides the order: what one peer applied at an index, all must have. A write takes effect at its index; a
//! read takes effect somewhere between two. So a read must have returned a value that lies no earlier in the log than
//! every write that was acknowledged, and everything that was read, before it began.
//! Never: asks a peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use node::meta::Observed;
use protocol::metadata::Op;
use sha2::{Digest, Sha256};

use crate::sim::lock::lock;
use crate::sim::properties::{Property, Violation};
use crate::sim::world::World;

/// The value of a register that nobody wrote yet.
pub(super) const INITIAL: u64 = 1;

/// What was counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) writes: (u64, u64),
    pub(super) reads: (u64, u64),
    pub(super) entries: u64,
    pub(super) snapshots: u64,
}

/// The memory of a run. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct History {
    world: World,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// What the first peer that applied it had at each index.
    log: BTreeMap<u64, [u8; 32]>,
    /// Where each value of the register lies in the log. The same one may lie there again, where a write was
    /// proposed twice; the first counts, the second does nothing.
    values: BTreeMap<u64, u64>,
    /// Index in the log that everybody who asks from now on must see, at least.
    floor: u64,
    counts: Counts,
    violations: Vec<Violation>,
}

impl History {
    pub(super) fn new(world: &World) -> Self {
        Self { world: world.clone(), shared: Arc::default() }
    }

    /// Notes that a promise was broken.
    pub(super) fn violated(&self, property: Property, detail: String) {
        self.world.record(format_args!("violation {detail}"), &[]);
        let at_millis = self.world.clock().nanos() / 1_000_000;
        lock(&self.shared).violations.push(Violation { property, at_millis, detail });
    }

    /// Notes what a peer applied.
    pub(super) fn observed(&self, peer: usize, observed: Observed<'_>) {
        match observed {
            Observed::Applied { index, bytes, op } => {
                self.world.record(format_args!("applied {peer} {index}"), &[bytes]);
                let digest: [u8; 32] = Sha256::digest(bytes).into();
                let mut shared = lock(&self.shared);
                let first = *shared.log.entry(index).or_insert(digest);
                shared.counts.entries = shared.log.len() as u64;
                if let Some(Op::SetCluster { grace_ms: Some(value), .. }) = op {
                    shared.values.entry(*value).or_insert(index);
                }
                drop(shared);
                if first != digest {
                    let detail = format!("n{peer} applied another entry at {index} than others");
                    self.violated(Property::Agreed, detail);
                }
            }
            Observed::Installed { applied } => {
                self.world.record(format_args!("installed {peer} {applied}"), &[]);
                lock(&self.shared).counts.snapshots += 1;
            }
        }
    }

    /// Returns what a read that begins now must see.
    pub(super) fn floor(&self) -> u64 {
        lock(&self.shared).floor
    }

    /// Notes an acknowledged write that began when the floor was `floor`.
    pub(super) fn written(&self, value: u64, floor: u64) {
        self.world.record(format_args!("written {value}"), &[]);
        let broken = {
            let mut shared = lock(&self.shared);
            shared.counts.writes.0 += 1;
            match shared.values.get(&value).copied() {
                None => Some(format!("write of {value} was acknowledged and never applied")),
                Some(index) if index <= floor => Some(format!(
                    "write of {value} took effect at {index}, before it was asked for, at {floor}"
                )),
                Some(index) => {
                    shared.floor = shared.floor.max(index);
                    None
                }
            }
        };
        broken.into_iter().for_each(|detail| self.violated(Property::Named, detail));
    }

    /// Notes a read of the latest state that began when the floor was `floor`.
    pub(super) fn read(&self, value: u64, floor: u64) {
        self.world.record(format_args!("read {value}"), &[]);
        let broken = {
            let mut shared = lock(&self.shared);
            shared.counts.reads.0 += 1;
            let index = shared.values.get(&value).copied();
            let index = index.or((value == INITIAL).then_some(0));
            match index {
                None => Some(format!("{value} was read and never written")),
                Some(index) if index < floor => Some(format!(
                    "{value} of index {index} was read, although {floor} was acknowledged before"
                )),
                Some(index) => {
                    shared.floor = shared.floor.max(index);
                    None
                }
            }
        };
        broken.into_iter().for_each(|detail| self.violated(Property::Named, detail));
    }

    /// Notes a write whose outcome nobody knows, and a read that failed.
    pub(super) fn write_failed(&self) {
        lock(&self.shared).counts.writes.1 += 1;
    }

    pub(super) fn read_failed(&self) {
        lock(&self.shared).counts.reads.1 += 1;
    }

    pub(super) fn counts(&self) -> Counts {
        lock(&self.shared).counts
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        lock(&self.shared).violations.clone()
    }
}
