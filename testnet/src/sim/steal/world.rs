//! Queues on a network of virtual time, where every message takes the same time and every peer handles one after the other.
//!
//! Owns the clock and all events of a run. Never: judges what comes out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use protocol::work::{Input, LeaseName, Message, Outcome, Output, Policy, Queue, Suits};
use protocol::{Instant, PeerId, Prng};

/// What a job takes on average. Only its relation to the pauses of the policy matters.
pub(super) const JOB: Duration = Duration::from_millis(100);
/// Bytes of the average job.
pub(super) const JOB_BYTES: f64 = 1_048_576.0;
/// How long a peer is busy with one message.
const HANDLING: Duration = Duration::from_micros(100);
/// How often a pushing peer looks whether it has too much.
const PUSH_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) enum Event {
    Arrive { from: usize, to: usize, message: Message },
    Handle { from: usize, to: usize, message: Message },
    Finish { peer: usize, lease: LeaseName },
    Tick { peer: usize },
    Push { peer: usize },
}

struct Scheduled {
    at: Instant,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(super) struct World {
    now: Instant,
    delay: Duration,
    prng: Prng,
    pub(super) queues: Vec<Queue>,
    /// When each peer has handled what came so far.
    busy_until: Vec<Instant>,
    /// The tick that is scheduled for each peer.
    ticks: Vec<Option<Instant>>,
    events: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    pub(super) jobs: usize,
    finished: usize,
    pub(super) finished_at: Instant,
    pub(super) messages: u64,
}

pub(super) fn peer_id(index: usize) -> PeerId {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&(index as u64).to_be_bytes());
    PeerId::from_public_key(key)
}

fn index_of(peer: PeerId) -> usize {
    let [a, b, c, d, e, f, g, h, ..] = *peer.public_key();
    usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).unwrap_or(usize::MAX)
}

fn duration_of(bytes: u64) -> Duration {
    JOB.mul_f64(bytes as f64 / JOB_BYTES)
}

impl World {
    pub(super) fn new(seed: u64, peers: usize, delay: f64, policy: &Policy) -> Self {
        let mut prng = Prng::new(seed);
        let queues = (0..peers)
            .map(|index| Queue::new(peer_id(index), policy.clone(), prng.fork(), 0, []))
            .collect();
        Self {
            now: Instant::ZERO,
            delay: JOB.mul_f64(delay),
            prng,
            queues,
            busy_until: vec![Instant::ZERO; peers],
            ticks: vec![None; peers],
            events: BinaryHeap::new(),
            order: 0,
            jobs: 0,
            finished: 0,
            finished_at: Instant::ZERO,
            messages: 0,
        }
    }

    pub(super) fn later(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.events.push(Reverse(Scheduled { at, order: self.order, event }));
    }

    pub(super) fn input(&mut self, peer: usize, input: Input) {
        let mut out = Vec::new();
        self.queues[peer].handle(self.now, input, &|_, _| Suits::Enough, &mut out);
        for output in out {
            match output {
                Output::Run { job, token } => {
                    let at = self.now.after(duration_of(job.spec.bytes));
                    let lease = LeaseName { job: job.id, token };
                    self.later(at, Event::Finish { peer, lease });
                }
                Output::Send { to, message } => self.send(peer, index_of(to), message),
                Output::Store(_)
                | Output::Accepted { .. }
                | Output::Refused { .. }
                | Output::Abandon { .. }
                | Output::Done { .. }
                | Output::Died { .. } => {}
            }
        }
        let deadline = self.queues[peer].next_deadline();
        if let Some(at) = deadline
            && self.ticks[peer].is_none_or(|scheduled| at < scheduled)
        {
            self.ticks[peer] = Some(at);
            self.later(at.max(self.now), Event::Tick { peer });
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        // Those that idle peers exchange when all is done belong to no job.
        let belongs = match &message {
            Message::Load { .. }
            | Message::Steal { .. }
            | Message::Seek { .. }
            | Message::Wait { .. } => false,
            Message::Grant { jobs, .. } => !jobs.is_empty(),
            Message::Report { .. } | Message::Lost { .. } => true,
        };
        if belongs || self.finished < self.jobs {
            self.messages += 1;
        }
        self.later(self.now.after(self.delay), Event::Arrive { from, to, message });
    }

    /// Runs up to a time, or until all jobs are done and their queues know.
    pub(super) fn run_until(&mut self, end: Instant) {
        while self.events.peek().is_some_and(|Reverse(next)| next.at <= end)
            && let Some(Reverse(Scheduled { at, event, .. })) = self.events.pop()
        {
            self.now = at;
            match event {
                Event::Arrive { from, to, message } => {
                    let at = self.busy_until[to].max(self.now).after(HANDLING);
                    self.busy_until[to] = at;
                    self.later(at, Event::Handle { from, to, message });
                }
                Event::Handle { from, to, message } => {
                    self.input(to, Input::Message { from: peer_id(from), message });
                }
                Event::Finish { peer, lease } => {
                    self.finished += 1;
                    self.finished_at = self.now;
                    self.input(peer, Input::Finished { lease, outcome: Outcome::Done });
                }
                Event::Tick { peer } => {
                    if self.ticks[peer].is_some_and(|at| at <= self.now) {
                        self.ticks[peer] = None;
                    }
                    self.input(peer, Input::Tick);
                }
                Event::Push { peer } => self.push(peer),
            }
            if self.finished == self.jobs && self.is_reported() {
                return;
            }
        }
        self.now = self.now.max(end);
    }

    /// Says whether every queue knows that its jobs are done. Looked at seldom, because it looks at all.
    fn is_reported(&self) -> bool {
        self.order.is_multiple_of(1_024)
            && self.queues.iter().all(|queue| queue.summary().granted == 0)
    }

    /// A busy peer hands half of what waits to a random one, as if that one had asked.
    fn push(&mut self, peer: usize) {
        if self.finished == self.jobs {
            return;
        }
        let load = self.queues[peer].load();
        if load.jobs > 1
            && let Some(to) = self.prng.index(self.queues.len())
            && to != peer
        {
            self.input(
                peer,
                Input::Message { from: peer_id(to), message: Message::Steal { ask: 0 } },
            );
        }
        self.later(self.now.after(PUSH_EVERY), Event::Push { peer });
    }
}
