//! Downloads from simulated holders that are slow, lose and repeat messages, crash, rot and are busy.
//!
//! Every delivered byte is compared with the object, and every fault with what the holders really have.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::testing::{Object, Reading, ms, object, peer, random_bytes};
use super::{Candidate, DownloadConfig, DownloadInput, DownloadOutput, ZoneIndex};
use crate::dag::ByteRange;
use crate::{Cid, Instant, Kind, PeerId, Prng};

/// Virtual time after which a download that is not over counts as hanging: 8 holders may each time out in
/// each of three rounds, for every block, but blocks are fetched beside each other.
const PATIENCE: Duration = Duration::from_secs(1_500);

#[derive(Clone, Debug)]
struct Holder {
    latency_ms: u64,
    is_up: bool,
    /// Never crashes and has every block: the download can rely on it.
    is_sound: bool,
    busy_percent: u64,
    has: BTreeSet<Cid>,
    corrupt: BTreeSet<Cid>,
}

#[derive(Debug)]
enum Event {
    Ask(Cid, PeerId),
    Tell(DownloadInput),
    Take(u32),
    Crash(PeerId),
    Restart(PeerId),
}

struct World {
    prng: Prng,
    object: Object,
    holders: BTreeMap<PeerId, Holder>,
    events: BTreeMap<(Instant, u64), Event>,
    events_made: u64,
    lost_percent: u64,
    repeated_percent: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let leaf_bytes = 1 + prng.index(2_000).unwrap();
        let leaves = prng.index(60).unwrap();
        let mut bytes = random_bytes(&mut prng, leaf_bytes * leaves);
        // Some objects repeat themselves.
        if prng.chance(1, 4) {
            bytes.fill(7);
        }
        let object = object(bytes, leaf_bytes);
        let is_lossy = prng.chance(1, 2);
        let (lost_percent, repeated_percent) =
            if is_lossy { (prng.below(10), prng.below(30)) } else { (0, 0) };
        let mut world = Self {
            prng,
            object,
            holders: BTreeMap::new(),
            events: BTreeMap::new(),
            events_made: 0,
            lost_percent,
            repeated_percent,
        };
        for number in 1..=1 + world.prng.index(6).unwrap() {
            world.add_holder(peer(u8::try_from(number).unwrap()));
        }
        world
    }

    fn add_holder(&mut self, id: PeerId) {
        let is_sound = self.prng.chance(1, 4);
        let missing_percent = if is_sound { 0 } else { [0, 20, 100][self.prng.index(3).unwrap()] };
        let corrupt_percent = if is_sound { 0 } else { [0, 10, 60][self.prng.index(3).unwrap()] };
        let mut holder = Holder {
            latency_ms: 1 + self.prng.below(200),
            is_up: true,
            is_sound,
            busy_percent: if is_sound { 0 } else { [0, 0, 40][self.prng.index(3).unwrap()] },
            has: BTreeSet::new(),
            corrupt: BTreeSet::new(),
        };
        for cid in self.object.blocks.keys() {
            if !self.prng.chance(missing_percent, 100) {
                holder.has.insert(*cid);
                if self.prng.chance(corrupt_percent, 100) {
                    holder.corrupt.insert(*cid);
                }
            }
        }
        if !is_sound && self.prng.chance(1, 3) {
            let at = ms(self.prng.below(1_000));
            let up_again = at.after(Duration::from_millis(self.prng.below(10_000)));
            self.schedule(at, Event::Crash(id));
            self.schedule(up_again, Event::Restart(id));
        }
        self.holders.insert(id, holder);
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.events_made += 1;
        self.events.insert((at, self.events_made), event);
    }

    fn send(&mut self, now: Instant, latency_ms: u64, make: impl Fn() -> Event) {
        let copies = if self.prng.chance(self.lost_percent, 100) {
            0
        } else if self.prng.chance(self.repeated_percent, 100) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let jitter = self.prng.below(latency_ms + 1);
            self.schedule(now.after(Duration::from_millis(latency_ms / 2 + jitter)), make());
        }
    }

    fn ask(&mut self, now: Instant, cid: Cid, target: PeerId) {
        let holder = &self.holders[&target];
        if !holder.is_up {
            return;
        }
        let latency_ms = holder.latency_ms;
        let input = if self.prng.chance(holder.busy_percent, 100) {
            DownloadInput::Failed { cid, peer: target, kind: Kind::Busy }
        } else if !holder.has.contains(&cid) {
            DownloadInput::Missing { cid, peer: target }
        } else if holder.corrupt.contains(&cid) {
            DownloadInput::Corrupt { cid, peer: target }
        } else {
            DownloadInput::Got { cid, peer: target, bytes: self.object.blocks[&cid].clone() }
        };
        self.send(now, latency_ms, || Event::Tell(input.clone()));
    }

    fn candidates(&mut self) -> Vec<Candidate> {
        let prng = &mut self.prng;
        let candidate = |(peer, holder): (&PeerId, &Holder)| Candidate {
            peer: *peer,
            zone: ZoneIndex(0),
            usable: holder.is_up,
            // Copies lie elsewhere too, and not always where they belong.
            belongs: holder.is_sound || prng.chance(1, 2),
        };
        let mut candidates: Vec<Candidate> = self.holders.iter().map(candidate).collect();
        self.prng.shuffle(&mut candidates);
        candidates
    }

    fn has_sound_holder(&self) -> bool {
        self.lost_percent == 0 && self.holders.values().any(|holder| holder.is_sound)
    }

    /// Says whether a good copy of every block is somewhere.
    fn good_copies(&self, cid: &Cid) -> usize {
        let good = |holder: &&Holder| holder.has.contains(cid) && !holder.corrupt.contains(cid);
        self.holders.values().filter(good).count()
    }

    /// Takes the next event. Returns what it tells the download, if anything.
    fn next(&mut self, now: &mut Instant) -> Option<DownloadInput> {
        let ((at, _), event) = self.events.pop_first()?;
        *now = at.max(*now);
        match event {
            Event::Tell(input) => Some(input),
            Event::Take(bytes) => Some(DownloadInput::Taken { bytes }),
            Event::Ask(cid, target) => {
                self.ask(*now, cid, target);
                None
            }
            Event::Crash(target) => {
                self.holders.get_mut(&target).unwrap().is_up = false;
                if self.prng.chance(1, 2) {
                    let noticed = now.after(Duration::from_millis(self.prng.below(2_000)));
                    self.schedule(noticed, Event::Tell(DownloadInput::PeerLost(target)));
                }
                None
            }
            Event::Restart(target) => {
                self.holders.get_mut(&target).unwrap().is_up = true;
                None
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Failed(Kind),
}

/// What the shell and the consumer have seen of one download.
#[derive(Default)]
struct Seen {
    delivered: Vec<u8>,
    untaken: u64,
    open: BTreeSet<(Cid, PeerId)>,
    size: Option<u64>,
    corrupt: BTreeSet<(Cid, PeerId)>,
    last: Option<End>,
}

impl Seen {
    /// Checks one output, and has the world do what it says.
    fn perform(
        &mut self,
        now: Instant,
        output: DownloadOutput,
        wanted: &[u8],
        world: &mut World,
    ) -> Result<(), String> {
        if self.last.is_some() {
            return Err(format!("{output:?} after the end"));
        }
        match output {
            DownloadOutput::Locate { cid } => {
                let candidates = world.candidates();
                let delay = Duration::from_millis(world.prng.below(3));
                let input = DownloadInput::Holders { cid, candidates };
                world.schedule(now.after(delay), Event::Tell(input));
            }
            DownloadOutput::Get { cid, peer } => {
                if !self.open.insert((cid, peer)) {
                    return Err(format!("asks {peer} twice at once"));
                }
                let latency_ms = world.holders[&peer].latency_ms;
                world.send(now, latency_ms, || Event::Ask(cid, peer));
            }
            DownloadOutput::Cancel { cid, peer } => {
                if !self.open.remove(&(cid, peer)) {
                    return Err("cancels what was not asked".to_owned());
                }
            }
            DownloadOutput::Opened { size } => {
                if self.size.replace(size).is_some() || size != world.object.bytes.len() as u64 {
                    return Err("opened twice or with another size".to_owned());
                }
            }
            DownloadOutput::Deliver { bytes } => {
                self.delivered.extend_from_slice(&bytes);
                self.untaken += bytes.len() as u64;
                if self.size.is_none() || !wanted.starts_with(&self.delivered) {
                    return Err("wrong bytes delivered".to_owned());
                }
                let delay = Duration::from_millis(world.prng.below(20));
                world.schedule(now.after(delay), Event::Take(u32::try_from(bytes.len()).unwrap()));
            }
            DownloadOutput::Repair { cid, peer, bytes } => {
                if !self.corrupt.contains(&(cid, peer)) || !cid.matches(&bytes) {
                    return Err("repairs what is not corrupt".to_owned());
                }
            }
            DownloadOutput::Done => {
                if self.delivered != wanted || !self.open.is_empty() {
                    return Err("done without all bytes, or with requests open".to_owned());
                }
                self.last = Some(End::Done);
            }
            DownloadOutput::FailedDownload { fault } => {
                if world.has_sound_holder() {
                    return Err(format!("failed with a sound holder there: {fault}"));
                }
                self.last = Some(End::Failed(fault.kind));
            }
        }
        Ok(())
    }

    fn hear(&mut self, input: &DownloadInput) {
        match input {
            DownloadInput::Got { cid, peer, .. }
            | DownloadInput::Missing { cid, peer }
            | DownloadInput::Failed { cid, peer, .. } => {
                self.open.remove(&(*cid, *peer));
            }
            DownloadInput::Corrupt { cid, peer } => {
                self.open.remove(&(*cid, *peer));
                self.corrupt.insert((*cid, *peer));
            }
            DownloadInput::PeerLost(peer) => self.open.retain(|(_, other)| other != peer),
            DownloadInput::Taken { bytes } => self.untaken -= u64::from(*bytes),
            DownloadInput::Start
            | DownloadInput::Holders { .. }
            | DownloadInput::Tick
            | DownloadInput::Abandon => {}
        }
    }

    /// Returns the bytes that requests will bring and the consumer has not taken, counted from outside.
    fn bytes_outstanding(&self, object: &Object) -> u64 {
        let cids: BTreeSet<Cid> = self.open.iter().map(|(cid, _)| *cid).collect();
        let under_way: usize = cids.iter().map(|cid| object.blocks[cid].len()).sum();
        under_way as u64 + self.untaken
    }
}

/// Downloads a range in the world of `seed`. Returns how it ended, or which property broke.
fn run(seed: u64) -> Result<End, String> {
    let mut world = World::new(seed);
    let size = world.object.bytes.len() as u64;
    let start = if world.prng.chance(1, 2) { 0 } else { world.prng.below(size + 1) };
    let end = world.prng.chance(1, 2).then(|| start + world.prng.below(size + 1));
    let from = usize::try_from(start).unwrap();
    let to = usize::try_from(end.unwrap_or(size).min(size)).unwrap();
    let wanted = world.object.bytes[from..to].to_vec();
    let local = world.prng.chance(1, 2).then(|| peer(1));
    let window_bytes = 3_000 + u32::try_from(world.prng.below(40_000)).unwrap();
    let config = DownloadConfig { window_bytes, ..DownloadConfig::new(local) };
    let range = ByteRange { start, end };
    let mut download = Reading::new(config, world.object.root, range, world.prng.fork());

    let mut seen = Seen::default();
    let mut now = Instant::ZERO;
    let mut input = Some(DownloadInput::Start);
    for _ in 0..200_000 {
        if let Some(input) = input.take() {
            seen.hear(&input);
            let ticked = input == DownloadInput::Tick;
            let mut out = Vec::new();
            download.handle(now, input, &mut out);
            if ticked && download.next_deadline().is_some_and(|at| at <= now) {
                return Err(format!("a tick at {now:?} leaves a deadline in the past"));
            }
            for output in out {
                seen.perform(now, output, &wanted, &mut world)?;
            }
        }
        // The first block of a range may be larger than what is wanted of it.
        let most = u64::from(window_bytes).max(1 << 20);
        if download.download.bytes_held() > most
            || seen.bytes_outstanding(&world.object) > u64::from(window_bytes) + 2_000
        {
            return Err(format!("{} bytes held", download.download.bytes_held()));
        }
        if now.since(Instant::ZERO) > PATIENCE {
            return Err(format!("still going at {now:?}"));
        }
        if let Some(last) = seen.last {
            if last == End::Failed(Kind::NotFound)
                && world.object.blocks.keys().all(|cid| world.good_copies(cid) > 0)
            {
                return Err("not found, but there".to_owned());
            }
            return Ok(last);
        }
        let event_at = world.events.keys().next().map(|(at, _)| *at);
        input = match (event_at, download.next_deadline()) {
            (None, None) => return Err("hangs without a deadline".to_owned()),
            (event_at, Some(deadline)) if event_at.is_none_or(|at| deadline <= at) => {
                now = now.max(deadline);
                Some(DownloadInput::Tick)
            }
            (Some(_), _) | (None, Some(_)) => world.next(&mut now),
        };
    }
    Err("never ends".to_owned())
}

#[test]
fn every_download_delivers_exactly_the_range_or_says_why_not() {
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..1_000 {
        match run(seed) {
            Ok(end) => *ends.entry(format!("{end:?}")).or_default() += 1,
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
    }
    for end in ["Done", "Failed(NotFound)", "Failed(Corrupt)", "Failed(Unavailable)"] {
        assert!(ends.get(end).is_some_and(|count| *count > 10), "{ends:?}");
    }
    assert!(ends["Done"] > 500, "{ends:?}");
}

/// Downloads `leaves` leaves from three holders with these latencies, in milliseconds.
/// Returns the requests sent and the time it took.
fn read_from(latencies_ms: [u64; 3], leaves: usize, seed: u64) -> (usize, Duration) {
    let mut prng = Prng::new(seed);
    let object = object(random_bytes(&mut prng, leaves * 100), 100);
    let all: BTreeSet<Cid> = object.blocks.keys().copied().collect();
    let mut world = World {
        prng: prng.fork(),
        object,
        holders: BTreeMap::new(),
        events: BTreeMap::new(),
        events_made: 0,
        lost_percent: 0,
        repeated_percent: 0,
    };
    for (number, latency_ms) in (1..).zip(latencies_ms) {
        let holder = Holder {
            latency_ms,
            is_up: true,
            is_sound: true,
            busy_percent: 0,
            has: all.clone(),
            corrupt: BTreeSet::new(),
        };
        world.holders.insert(peer(number), holder);
    }
    let wanted = world.object.bytes.clone();
    let config = DownloadConfig { window_bytes: 16 * 100, ..DownloadConfig::new(None) };
    let mut download = Reading::new(config, world.object.root, ByteRange::default(), prng);
    let mut seen = Seen::default();
    let (mut now, mut gets) = (Instant::ZERO, 0);
    let mut input = Some(DownloadInput::Start);
    while seen.last.is_none() {
        if let Some(input) = input.take() {
            seen.hear(&input);
            let mut out = Vec::new();
            download.handle(now, input, &mut out);
            for output in out {
                gets += usize::from(matches!(output, DownloadOutput::Get { .. }));
                seen.perform(now, output, &wanted, &mut world).unwrap();
            }
        }
        let event_at = world.events.keys().next().map(|(at, _)| *at);
        let deadline = download.next_deadline();
        assert!(seen.last.is_some() || event_at.or(deadline).is_some(), "seed {seed} hangs");
        input = if let Some(deadline) = deadline
            && event_at.is_none_or(|at| deadline <= at)
        {
            now = now.max(deadline);
            Some(DownloadInput::Tick)
        } else {
            world.next(&mut now)
        };
    }
    assert_eq!(seen.last, Some(End::Done));
    (gets, now.since(Instant::ZERO))
}

#[test]
fn one_slow_holder_costs_at_most_five_per_cent_of_extra_reads_and_little_time() {
    const SLOW_MS: u64 = 1_500;
    for seed in 0..10 {
        let (leaves, blocks) = (1_000, 1_001);
        let (gets, slow) = read_from([20, 20, SLOW_MS], leaves, seed);
        let extra = gets - blocks;
        assert!(extra <= blocks / 20 + 1, "seed {seed}: {extra} extra reads of {blocks}");
        let (_, fast) = read_from([20, 20, 20], leaves, seed);
        // It is found out by its first answers, to the root and to a leaf, and avoided from then on.
        let most = fast * 5 / 4 + Duration::from_millis(3 * SLOW_MS);
        assert!(slow < most, "seed {seed}: {slow:?} with a slow holder, {fast:?} without");
    }
}
