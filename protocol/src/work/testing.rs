//! What the tests of work share: peers, jobs, and a queue's stored rows.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::BTreeMap;

use super::{Change, Input, JobId, JobKind, JobSpec, Priority, Row, Subject};
use crate::{Cid, Codec, PeerId, WallTime};

pub(super) fn id(number: u8) -> PeerId {
    PeerId::from_public_key([number; 32])
}

pub(super) fn spec(kind: JobKind, priority: Priority, bytes: u64) -> JobSpec {
    let subject = Subject::Everything;
    JobSpec { kind, priority, subject, holder: None, bytes, payload: Vec::new() }
}

pub(super) fn replicate(bytes: u64) -> JobSpec {
    spec(JobKind::Replicate, Priority::Normal, bytes)
}

/// Returns the input that puts a job into a queue. One about everything is about a block of its own instead: there are no
/// two jobs that are the same.
pub(super) fn enqueue(tag: u64, mut spec: JobSpec) -> Input {
    static BLOCKS: AtomicU64 = AtomicU64::new(0);
    if spec.subject == Subject::Everything {
        let number = BLOCKS.fetch_add(1, Ordering::Relaxed);
        spec.subject = Subject::Block(Cid::of(Codec::Raw, &number.to_be_bytes()));
    }
    Input::Enqueue { tag, spec, created: WallTime::from_unix_millis(tag) }
}

/// What a peer has stored, in its encoded form.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub rows: BTreeMap<JobId, Vec<u8>>,
    pub numbers: u64,
}

impl Stored {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Add(row) | Change::Update(row) => {
                self.rows.insert(row.job.id, row.encode().unwrap().to_vec());
            }
            Change::Remove(id) => {
                self.rows.remove(id);
            }
            Change::Numbers(numbers) => self.numbers = *numbers,
        }
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.rows.values().map(|bytes| Row::decode(bytes).unwrap()).collect()
    }
}
