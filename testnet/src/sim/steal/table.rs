//! The table: every start, delay, number of peers and way, over some seeds; its rows, and the rows printed.
//!
//! Never: moves a job; that is done by the queues.

use std::io::Write;
use std::time::Duration;

use protocol::work::{Input, JobKind, JobSpec, Planted, Priority, Subject};
use protocol::{Cid, Codec, Instant, PeerId, Prng, WallTime};

use super::ways::{Start, Way};
use super::world::{Event, JOB, JOB_BYTES, World, peer_id};

/// Numbers of peers.
pub(crate) const PEERS: [usize; 4] = [4, 16, 100, 1_000];
/// Most that the makespan may be over the ideal, for each of [`PEERS`], at the shorter delay.
const MAKESPAN_MAX: [f64; 4] = [1.15, 1.15, 1.20, 1.25];
/// Most messages for a job.
const MESSAGES_MAX: f64 = 1.0;

/// How long all have been idle when work comes.
const IDLE: Duration = Duration::from_secs(30);

/// Jobs for each peer there is, wherever they begin.
pub(crate) const JOBS_PER_PEER: usize = 20;
/// The longest job, in average ones, as blocks have a largest size too.
const JOB_MAX: f64 = 4.0;
/// What exponential sizes have to average for those cut off at [`JOB_MAX`] to average 1.
const JOB_SCALE: f64 = 1.0203;
/// How long a message takes, in average jobs.
pub(crate) const DELAYS: [f64; 2] = [0.1, 0.5];
/// Seeds that are averaged.
pub(crate) const SEEDS: u64 = 5;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    makespan: f64,
    messages: f64,
}

/// A row of the table: how one way fared, as means of the seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) start: Start,
    pub(crate) delay: f64,
    pub(crate) peers: usize,
    pub(crate) way: Way,
    /// Over the ideal, which is all work over all peers.
    pub(crate) makespan: f64,
    /// The longest makespan of the seeds.
    pub(crate) worst: f64,
    /// Most that the makespan may be at the shorter delay.
    pub(crate) makespan_max: f64,
    /// For each job.
    messages: f64,
}

impl Row {
    /// Returns whether the targets hold, of a row that they are for.
    fn holds(&self) -> Option<bool> {
        let counts = self.way == Way::Chosen && self.delay <= DELAYS[0];
        counts.then_some(self.makespan <= self.makespan_max && self.messages <= MESSAGES_MAX)
    }
}

/// Returns the rows of a start, a delay and a number of peers, one for each of these ways, each measured when it is asked for.
pub(crate) fn rows(
    start: Start,
    delay: f64,
    peers: usize,
    ways: &'static [Way],
) -> impl Iterator<Item = Row> {
    let bound = PEERS.iter().zip(MAKESPAN_MAX).find(|(bound, _)| **bound >= peers);
    let makespan_max = bound.map_or(f64::INFINITY, |(_, max)| max);
    ways.iter().map(move |way| {
        let (mean, worst) = measure(peers, start, delay, *way);
        let Figures { makespan, messages } = mean;
        Row { start, delay, peers, way: *way, makespan, worst, makespan_max, messages }
    })
}

/// Draws the size of a job, in average ones.
fn size(prng: &mut Prng) -> f64 {
    let unit = (prng.below(1 << 53) + 1) as f64 / (1u64 << 53) as f64;
    (-unit.ln() * JOB_SCALE).clamp(0.001, JOB_MAX)
}

/// Runs one seed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are positive, and no job has so many bytes"
)]
fn simulate(seed: u64, peers: usize, start: Start, delay: f64, way: Way) -> Figures {
    let mut world = World::new(seed, peers, delay, &way.policy());
    let ids: Vec<PeerId> = (0..peers).map(peer_id).collect();
    for index in 0..peers {
        let others = ids.iter().copied().filter(|id| *id != ids[index]).collect();
        if way == Way::Push {
            world.queues[index].plant(Planted { ask_not_checked: true, ..Planted::default() });
            world.later(Instant::ZERO, Event::Push { peer: index });
        }
        world.input(index, Input::Peers { peers: others });
    }
    world.jobs = peers * JOBS_PER_PEER;
    world.run_until(Instant::ZERO.after(IDLE));
    world.messages = 0;
    let mut sizes = Prng::new(seed ^ 0x5EED);
    let (mut total, mut longest) = (0.0f64, 0.0f64);
    let few = peers.div_ceil(10);
    for number in 0..world.jobs {
        let size = size(&mut sizes);
        total += size;
        longest = longest.max(size);
        let at = match start {
            Start::One => 0,
            // In the order of ids the loaded ones lie apart, as ids say nothing of load.
            Start::Skewed if number % 10 < 9 => number % few * peers / few,
            Start::Skewed => number / 10 % peers,
        };
        let spec = JobSpec {
            kind: JobKind::Repair,
            priority: Priority::Normal,
            subject: Subject::Block(Cid::of(Codec::Raw, &(number as u64).to_be_bytes())),
            holder: None,
            bytes: (size * JOB_BYTES) as u64,
            payload: Vec::new(),
        };
        let created = WallTime::from_unix_millis(0);
        world.input(at, Input::Enqueue { tag: 0, spec, created });
    }
    world.run_until(Instant::from_nanos(u64::MAX));
    let ideal = (total / peers as f64).max(longest);
    let makespan =
        world.finished_at.since(Instant::ZERO.after(IDLE)).as_secs_f64() / JOB.as_secs_f64();
    let messages = world.messages as f64 / world.jobs as f64;
    Figures { makespan: makespan / ideal, messages }
}

/// Prints the tables and says whether all targets hold.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(out: &mut dyn Write) -> anyhow::Result<bool> {
    writeln!(out, "steal: {JOBS_PER_PEER} jobs a peer, means of {SEEDS} seeds; all idle before")?;
    writeln!(
        out,
        "targets at a delay of {}: makespan <= {MAKESPAN_MAX:?} for {PEERS:?} peers, messages <= {MESSAGES_MAX}",
        DELAYS[0]
    )?;
    writeln!(
        out,
        "{:>6} {:>5} {:>5} | {:>14} | {:>8} {:>8} | {:>8} |",
        "start", "delay", "peers", "policy", "makespan", "worst", "messages"
    )?;
    let mut all_hold = true;
    for start in Start::ALL {
        for delay in DELAYS {
            for row in PEERS.into_iter().flat_map(|peers| rows(start, delay, peers, &Way::ALL)) {
                let holds = row.holds();
                all_hold &= holds.unwrap_or(true);
                let verdict = holds.map_or("", |holds| if holds { "ok" } else { "MISSED" });
                writeln!(
                    out,
                    "{:>6} {delay:>5} {:>5} | {:>14} | {:>8.3} {:>8.3} | {:>8.3} | {verdict}",
                    start.name(),
                    row.peers,
                    row.way.name(),
                    row.makespan,
                    row.worst,
                    row.messages
                )?;
                out.flush()?;
            }
        }
    }
    writeln!(out, "start: all work on one peer, or nine tenths of it on a tenth of the peers")?;
    writeln!(
        out,
        "makespan: over the ideal, which is all work over all peers; worst: of the seeds"
    )?;
    writeln!(out, "messages: of any kind for each job, from when the work comes until it is done")?;
    writeln!(out, "{}", if all_hold { "all targets hold" } else { "a target is missed" })?;
    Ok(all_hold)
}

/// Returns the means of the seeds, and the longest makespan.
fn measure(peers: usize, start: Start, delay: f64, way: Way) -> (Figures, f64) {
    let (mut mean, mut worst) = (Figures::default(), 0.0f64);
    for seed in 1..=SEEDS {
        let figures = simulate(seed, peers, start, delay, way);
        mean.makespan += figures.makespan / SEEDS as f64;
        mean.messages += figures.messages / SEEDS as f64;
        worst = worst.max(figures.makespan);
    }
    (mean, worst)
}
