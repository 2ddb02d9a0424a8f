//! Queues under faults: messages lost, repeated, late and out of order; peers that crash at any moment and start again from
//! what was synced, or never.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use super::testing::{Stored, enqueue, id, replicate};
use super::{
    Change, Input, JobId, JobSpec, LeaseName, Message, Outcome, Output, Planted, Policy, Queue,
    Suits,
};
use crate::limits::WORK_LEASE;
use crate::{Instant, PeerId, Prng};

const SEEDS: u64 = 1_500;
/// Until when there are faults and new jobs.
const STORM: Duration = Duration::from_secs(60);
/// By when all must be done: leases and pauses end, whoever lives works.
const END: Duration = Duration::from_secs(1_200);

#[derive(Debug)]
enum Event {
    Message {
        from: usize,
        to: usize,
        message: Message,
    },
    Finish {
        peer: usize,
        life: u32,
        lease: LeaseName,
    },
    Tick {
        peer: usize,
    },
    Enqueue,
    Crash {
        peer: usize,
    },
    Start {
        peer: usize,
    },
    /// All hear who is left.
    Notice,
}

/// What the origin of a job last said who may do it.
#[derive(Clone, Copy, Debug)]
struct LiveLease {
    token: u64,
    /// Until when it holds at least, without a word of whoever has it.
    until: Option<Instant>,
    life: u32,
}

struct Peer {
    queue: Option<Queue>,
    /// Counts the starts, so that what a former life began ends with it.
    life: u32,
    stored: Stored,
    /// Changes that are written and not synced: a crash keeps some of the first.
    unsynced: Vec<Change>,
    is_gone: bool,
}

struct World {
    now: Instant,
    prng: Prng,
    planted: Planted,
    peers: Vec<Peer>,
    events: BTreeMap<(Instant, u64), Event>,
    order: u64,
    /// Jobs that were accepted, by peers that come back.
    accepted: BTreeSet<JobId>,
    effects: BTreeMap<JobId, u32>,
    /// The highest token seen at the place of each effect.
    fences: BTreeMap<JobId, u64>,
    leases: BTreeMap<JobId, LiveLease>,
    /// Who began a job under which token: nobody else may.
    begun: BTreeMap<LeaseName, (usize, u32)>,
    violations: Vec<String>,
    stolen: u64,
}

fn index_of(peer: PeerId) -> usize {
    usize::from(peer.public_key()[0])
}

impl World {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut prng = Prng::new(seed);
        let count = 2 + prng.index(5).unwrap();
        let peer = || Peer {
            queue: None,
            life: 0,
            stored: Stored::default(),
            unsynced: Vec::new(),
            is_gone: false,
        };
        let mut world = Self {
            now: Instant::ZERO,
            planted,
            peers: (0..count).map(|_| peer()).collect(),
            events: BTreeMap::new(),
            order: 0,
            accepted: BTreeSet::new(),
            effects: BTreeMap::new(),
            fences: BTreeMap::new(),
            leases: BTreeMap::new(),
            begun: BTreeMap::new(),
            violations: Vec::new(),
            stolen: 0,
            prng,
        };
        for peer in 0..count {
            world.start(peer);
        }
        for _ in 0..20 + world.prng.below(100) {
            let at = world.prng.below(40_000);
            world.later(Duration::from_millis(at), Event::Enqueue);
        }
        for _ in 0..world.prng.below(8) {
            let (peer, at) = (world.prng.index(count).unwrap(), world.prng.below(50_000));
            world.later(Duration::from_millis(at), Event::Crash { peer });
        }
        world
    }

    fn is_stormy(&self) -> bool {
        self.now < Instant::ZERO.after(STORM)
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.order += 1;
        self.events.insert((self.now.after(delay), self.order), event);
    }

    fn start(&mut self, peer: usize) {
        let prng = self.prng.fork();
        let own = id(peer.try_into().unwrap());
        let state = &mut self.peers[peer];
        if state.is_gone || state.queue.is_some() {
            return;
        }
        state.life += 1;
        let policy = Policy { slots: 2, ..Policy::default() };
        let mut queue = Queue::new(own, policy, prng, state.stored.numbers, state.stored.rows());
        queue.plant(self.planted);
        state.queue = Some(queue);
        self.tell_peers(peer);
    }

    /// Tells a peer who is not gone.
    fn tell_peers(&mut self, peer: usize) {
        let others = (0..self.peers.len()).filter(|other| *other != peer);
        let left = others.filter(|other| !self.peers[*other].is_gone);
        let peers = left.map(|other| id(other.try_into().unwrap())).collect();
        self.input(peer, Input::Peers { peers });
    }

    /// A crash: of what is not synced some of the first changes reached the disk.
    fn crash(&mut self, peer: usize) {
        let is_last = self.peers.iter().filter(|peer| !peer.is_gone).count() <= 1;
        let forever = !is_last && self.prng.chance(1, 4);
        let kept = self.prng.index(self.peers[peer].unsynced.len() + 1).unwrap_or(0);
        let state = &mut self.peers[peer];
        if state.queue.take().is_none() {
            return;
        }
        let unsynced = core::mem::take(&mut state.unsynced);
        unsynced.iter().take(kept).for_each(|change| state.stored.apply(change));
        let own = id(peer.try_into().unwrap());
        // Leases end with the process that gave them.
        self.leases.retain(|job, _| job.origin != own);
        if forever {
            state.is_gone = true;
            self.accepted.retain(|job| job.origin != own);
            let delay = Duration::from_millis(self.prng.below(60_000));
            self.later(delay, Event::Notice);
            for other in 0..self.peers.len() {
                if self.prng.chance(1, 2) {
                    self.input(other, Input::Gone { peer: own });
                }
            }
        } else {
            let delay = Duration::from_millis(self.prng.below(5_000));
            self.later(delay, Event::Start { peer });
        }
    }

    fn input(&mut self, peer: usize, input: Input) {
        let is_gone = matches!(input, Input::Gone { .. });
        let (mut ended, mut renewed) = (Vec::new(), Vec::new());
        if let Input::Message { message: Message::Report { done, held }, .. } = &input {
            ended.extend(done.iter().map(|done| done.lease));
            renewed.clone_from(held);
        }
        if let Input::Finished { lease, .. } = &input {
            ended.push(*lease);
        }
        let Some(queue) = self.peers[peer].queue.as_mut() else { return };
        let mut out = Vec::new();
        queue.handle(self.now, input, &|_, _| Suits::Enough, &mut out);
        if let Some(at) = queue.next_deadline() {
            let delay = at.since(self.now);
            self.later(delay, Event::Tick { peer });
        }
        if is_gone {
            // Whoever was lent something may have passed it on; the lease is over all the same.
            let own = id(peer.try_into().unwrap());
            self.leases.iter_mut().filter(|(job, _)| job.origin == own).for_each(|(_, lease)| {
                lease.until = lease.until.map(|_| Instant::ZERO);
            });
        }
        let own = id(peer.try_into().unwrap());
        for lease in &ended {
            // Only a word under the live token ends a lease.
            let live = self.leases.get(&lease.job).is_some_and(|live| live.token == lease.token);
            if lease.job.origin == own && live {
                self.leases.remove(&lease.job);
            }
        }
        for lease in renewed {
            if let Some(live) = self.leases.get_mut(&lease.job)
                && lease.job.origin == own
                && live.token == lease.token
            {
                live.until = Some(self.now.after(WORK_LEASE));
            }
        }
        self.outputs(peer, &ended, out);
    }

    fn outputs(&mut self, peer: usize, ended: &[LeaseName], out: Vec<Output>) {
        let own = id(peer.try_into().unwrap());
        for output in out {
            match output {
                Output::Store(change) => {
                    if let Change::Remove(job) = &change
                        && !ended.iter().any(|lease| lease.job == *job)
                    {
                        self.violations.push(format!("{job:?} left its queue without a word"));
                    }
                    if let Change::Remove(job) = &change
                        && self.leases.contains_key(job)
                    {
                        self.violations.push(format!("{job:?} left its queue under a live lease"));
                    }
                    let state = &mut self.peers[peer];
                    let sync = change.needs_sync();
                    state.unsynced.push(change);
                    if sync {
                        let unsynced = core::mem::take(&mut state.unsynced);
                        unsynced.iter().for_each(|change| state.stored.apply(change));
                    }
                }
                Output::Accepted { job, .. } => {
                    if !self.accepted.insert(job) {
                        self.violations.push(format!("{job:?} was accepted twice"));
                    }
                }
                Output::Run { job, token } => {
                    if let Some(holder) = job.spec.holder.filter(|holder| *holder != own)
                        && !self.peers[index_of(holder)].is_gone
                    {
                        self.violations.push(format!("{job:?} is not for {peer}"));
                    }
                    self.run(peer, own, LeaseName { job: job.id, token });
                }
                Output::Send { to, message } => self.send(peer, own, to, message),
                Output::Died { job, .. } => self.violations.push(format!("{job:?} died")),
                Output::Refused { .. } | Output::Abandon { .. } | Output::Done { .. } => {}
            }
        }
    }

    fn run(&mut self, peer: usize, own: PeerId, lease: LeaseName) {
        let life = self.peers[peer].life;
        if lease.job.origin == own {
            self.lease(peer, lease, None);
        }
        let begun = self.begun.insert(lease, (peer, life));
        if begun.is_some() {
            self.violations.push(format!("{lease:?} began twice: {begun:?} and {peer}"));
        }
        let delay = Duration::from_millis(50 + self.prng.below(2_000));
        self.later(delay, Event::Finish { peer, life, lease });
    }

    /// A queue gave a lease: the one before must be over, and the token is higher than any before.
    fn lease(&mut self, peer: usize, lease: LeaseName, until: Option<Instant>) {
        if let Some(before) = self.leases.get(&lease.job) {
            let is_live = before.until.is_none_or(|until| until > self.now);
            let is_same = before.life == self.peers[peer].life;
            if is_live && is_same {
                self.violations.push(format!("{lease:?} beside the live {before:?}"));
            }
            if before.token >= lease.token {
                self.violations.push(format!("{lease:?} is not above {before:?}"));
            }
        }
        let life = self.peers[peer].life;
        self.leases.insert(lease.job, LiveLease { token: lease.token, until, life });
    }

    fn send(&mut self, from: usize, own: PeerId, to: PeerId, message: Message) {
        let bytes = message.encode().unwrap();
        let message = Message::decode(&bytes).unwrap();
        if let Message::Grant { jobs, .. } = &message {
            for lent in jobs.iter().filter(|lent| lent.job.id.origin == own) {
                self.stolen += 1;
                let lease = LeaseName { job: lent.job.id, token: lent.token };
                self.lease(from, lease, Some(self.now.after(WORK_LEASE)));
            }
        }
        let copies = if !self.is_stormy() {
            1
        } else if self.prng.chance(1, 8) {
            0
        } else {
            1 + u64::from(self.prng.chance(1, 8))
        };
        for _ in 0..copies {
            let late = self.is_stormy() && self.prng.chance(1, 20);
            let delay = self.prng.below(if late { 45_000 } else { 100 });
            let message = message.clone();
            let event = Event::Message { from, to: index_of(to), message };
            self.later(Duration::from_millis(delay), event);
        }
    }

    fn finish(&mut self, peer: usize, life: u32, lease: LeaseName) {
        if self.peers[peer].queue.is_none() || self.peers[peer].life != life {
            return;
        }
        let fails = self.is_stormy() && self.prng.chance(1, 10);
        if !fails {
            // Where the effect is, a lower token than was seen before is refused.
            let fence = self.fences.entry(lease.job).or_default();
            if lease.token >= *fence {
                *fence = lease.token;
                *self.effects.entry(lease.job).or_default() += 1;
            }
        }
        let reason = "it was stormy".to_owned();
        let outcome = if fails { Outcome::Failed { reason } } else { Outcome::Done };
        self.input(peer, Input::Finished { lease, outcome });
    }

    fn run_all(&mut self) {
        let mut tag = 0;
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > Instant::ZERO.after(END) {
                break;
            }
            self.now = at;
            match event {
                Event::Message { from, to, message } => {
                    let from = id(from.try_into().unwrap());
                    self.input(to, Input::Message { from, message });
                }
                Event::Finish { peer, life, lease } => self.finish(peer, life, lease),
                Event::Tick { peer } => {
                    let due = self.peers[peer].queue.as_ref().and_then(Queue::next_deadline);
                    if due.is_some_and(|due| due <= self.now) {
                        self.input(peer, Input::Tick);
                    }
                }
                Event::Enqueue => {
                    tag += 1;
                    // Most come to one peer.
                    let pick = self.prng.index(self.peers.len()).unwrap();
                    let peer = if self.prng.chance(3, 4) { 0 } else { pick };
                    let holder = self.prng.index(self.peers.len()).unwrap();
                    let holder = self.prng.chance(1, 3).then(|| id(holder.try_into().unwrap()));
                    let spec = JobSpec { holder, ..replicate(self.prng.below(1 << 20)) };
                    self.input(peer, enqueue(tag, spec));
                }
                Event::Crash { peer } => self.crash(peer),
                Event::Start { peer } => self.start(peer),
                Event::Notice => (0..self.peers.len()).for_each(|peer| self.tell_peers(peer)),
            }
        }
        for job in &self.accepted {
            if !self.effects.contains_key(job) {
                self.violations.push(format!("{job:?} was accepted and never done"));
            }
        }
        for peer in self.peers.iter().filter_map(|peer| peer.queue.as_ref()) {
            let summary = peer.summary();
            let left = (summary.ready, summary.pausing, summary.running, summary.granted);
            if left != (0, 0, 0, 0) || summary.taken > 0 {
                self.violations.push(format!("left behind: {summary:?}"));
            }
        }
    }
}

fn outcome(seed: u64, planted: Planted) -> World {
    let mut world = World::new(seed, planted);
    world.run_all();
    world
}

#[test]
fn each_job_is_done_once_in_effect_whoever_crashes() {
    let (mut stolen, mut jobs) = (0, 0);
    for seed in 1..=SEEDS {
        let world = outcome(seed, Planted::default());
        assert!(world.violations.is_empty(), "seed {seed}: {:#?}", world.violations);
        stolen += world.stolen;
        jobs += world.accepted.len();
    }
    // The faults did not stop what they are to disturb.
    assert!(stolen > SEEDS * 5 && jobs as u64 > 30 * SEEDS, "{stolen} of {jobs} moved");
}

fn is_found(planted: Planted) -> bool {
    // A panic is a find too: the ledger takes no number twice.
    let is_clean = |seed| outcome(seed, planted).violations.is_empty();
    (1..=300).any(|seed| !std::panic::catch_unwind(|| is_clean(seed)).unwrap_or(false))
}

#[test]
fn planted_defects_are_found() {
    let none = Planted::default();
    assert!(is_found(Planted { lease_not_checked: true, ..none }));
    assert!(is_found(Planted { job_dropped_on_steal: true, ..none }));
    assert!(is_found(Planted { ask_not_checked: true, ..none }));
    assert!(is_found(Planted { numbers_reused: true, ..none }));
}
