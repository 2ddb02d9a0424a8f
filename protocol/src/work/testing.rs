//! What the tests of work share: peers, jobs, and a queue's stored rows.

use std::collections::BTreeMap;

use super::{Change, Input, JobId, JobKind, JobSpec, Priority, Row, Subject};
use crate::{PeerId, WallTime};

pub(super) fn id(number: u8) -> PeerId {
    PeerId::from_public_key([number; 32])
}

pub(super) fn spec(kind: JobKind, priority: Priority, bytes: u64) -> JobSpec {
    let subject = Subject::Everything;
    JobSpec { kind, priority, subject, holder: None, bytes, payload: Vec::new() }
}

pub(super) fn repair(bytes: u64) -> JobSpec {
    spec(JobKind::Repair, Priority::Normal, bytes)
}

pub(super) fn enqueue(tag: u64, spec: JobSpec) -> Input {
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
