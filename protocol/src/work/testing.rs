//! What the tests of work share: peers, jobs, a queue's stored rows, and a queue with a clock.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;

use super::{
    Change, Input, Job, JobId, JobKind, JobSpec, LeaseName, Lent, Message, Outcome, Output, Policy,
    Priority, Queue, Row, Subject, Suits,
};
use crate::{Cid, Codec, Instant, PeerId, Prng, WallTime};

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

/// A queue of the peer 1, what it stored, and the time.
pub(super) struct Desk {
    pub queue: Queue,
    pub stored: Stored,
    pub now: Instant,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::from_stored(Stored::default())
    }

    fn from_stored(stored: Stored) -> Self {
        let prng = Prng::new(1);
        let queue = Queue::new(id(1), Policy::default(), prng, stored.numbers, stored.rows());
        Self { queue, stored, now: Instant::ZERO }
    }

    /// Ends the process and starts it again from what was stored.
    pub(super) fn restart(&mut self) {
        *self = Self::from_stored(core::mem::take(&mut self.stored));
    }

    pub(super) fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.queue.handle(self.now, input, &|_, _| Suits::Enough, &mut out);
        for output in &out {
            if let Output::Store(change) = output {
                self.stored.apply(change);
            }
        }
        out
    }

    pub(super) fn hear(&mut self, from: u8, message: Message) -> Vec<Output> {
        self.step(Input::Message { from: id(from), message })
    }

    pub(super) fn finish(&mut self, lease: LeaseName, outcome: Outcome) -> Vec<Output> {
        self.step(Input::Finished { lease, outcome })
    }

    pub(super) fn fail(&mut self, lease: LeaseName) -> Vec<Output> {
        self.finish(lease, Outcome::Failed { reason: "no such luck".to_owned() })
    }

    pub(super) fn wait(&mut self, time: Duration) -> Vec<Output> {
        self.now = self.now.after(time);
        self.step(Input::Tick)
    }

    /// Puts a job into the queue, which is to begin at once.
    pub(super) fn begin(&mut self) -> LeaseName {
        begun(&self.step(enqueue(0, replicate(1)))).expect("nothing else is running")
    }
}

pub(super) fn begun(out: &[Output]) -> Option<LeaseName> {
    out.iter().find_map(|output| {
        let Output::Run { job, token } = output else { return None };
        Some(LeaseName { job: job.id, token: *token })
    })
}

pub(super) fn granted(out: &[Output]) -> Option<(u64, u32, Vec<Lent>)> {
    out.iter().find_map(|output| {
        let Output::Send { message, .. } = output else { return None };
        let Message::Grant { ask, number, jobs, .. } = message else { return None };
        Some((*ask, *number, jobs.clone()))
    })
}

pub(super) fn lent(number: u64) -> Lent {
    let job_id = JobId { origin: id(2), number };
    let created = WallTime::from_unix_millis(number);
    let job = Job {
        id: job_id,
        spec: spec(JobKind::Repair, Priority::Normal, 300),
        attempts: 0,
        created,
    };
    Lent { job, token: 300 + number, lease_ms: 30_000 }
}

/// Returns a queue with a job that runs, and one that peer 2 has, with its lease.
pub(super) fn with_one_lent() -> (Desk, LeaseName) {
    let mut desk = Desk::new();
    desk.begin();
    desk.step(enqueue(1, replicate(1)));
    let out = desk.hear(2, Message::Steal { ask: 9 });
    let (9, 0, jobs) = granted(&out).unwrap() else { panic!("{out:?}") };
    let [lent] = &jobs[..] else { panic!("{out:?}") };
    (desk, LeaseName { job: lent.job.id, token: lent.token })
}
