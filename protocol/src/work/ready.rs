//! The jobs that may be started, in the order in which they are, and the choice of those that a thief gets.
//!
//! Owned by [`super::Queue`]; holds jobs of this peer and of others alike. Never: knows leases.

use core::cmp::Reverse;
use std::collections::BTreeMap;

use super::interface::{Share, Suits};
use super::job::{Job, JobId, Priority};
use crate::limits::WORK_GRANT_JOBS_MAX;
use crate::{PeerId, WallTime};

/// Jobs that are looked at for one grant: by bytes, half of them are a full grant.
const SCAN_JOBS_MAX: usize = 2 * WORK_GRANT_JOBS_MAX;

/// Jobs that come within this time, in milliseconds, count as equally old, and the largest of them begin first: all work
/// ends when the last job does, and a small one left for the end delays that less. Clocks of peers differ by as much.
const AGE_MILLIS: u64 = 1_000;

/// Where a job stands in the order.
///
/// Source: Graham, "Bounds on multiprocessing timing anomalies", 1969 (largest first).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    is_background: bool,
    priority: Priority,
    /// When it was created, in [`AGE_MILLIS`].
    age: u64,
    bytes: Reverse<u64>,
    created: WallTime,
    id: JobId,
}

impl Place {
    /// Before every other.
    const FIRST: Self = Self {
        is_background: false,
        priority: Priority::Urgent,
        age: 0,
        bytes: Reverse(u64::MAX),
        created: WallTime::from_unix_millis(0),
        id: JobId { origin: PeerId::from_public_key([0; 32]), number: 0 },
    };

    const fn of(job: &Job) -> Self {
        Self {
            is_background: job.spec.kind.is_background(),
            priority: job.spec.priority,
            age: job.created.as_unix_millis() / AGE_MILLIS,
            bytes: Reverse(job.weight()),
            created: job.created,
            id: job.id,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Weight {
    bytes: u64,
    may_move: bool,
}

/// A part of the work, as a fraction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub numerator: u64,
    pub denominator: u64,
}

impl Part {
    pub(super) const HALF: Self = Self { numerator: 1, denominator: 2 };

    pub(super) fn of(self, bytes: u64) -> u64 {
        let wide = u128::from(bytes) * u128::from(self.numerator.min(self.denominator));
        u64::try_from(wide / u128::from(self.denominator.max(1))).unwrap_or(u64::MAX)
    }
}

/// The jobs that may be started.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Those that this peer may start, and whom they suit.
    jobs: BTreeMap<Place, Weight>,
    /// Those that only another peer may start, by it.
    elsewhere: BTreeMap<(PeerId, Place), Weight>,
    /// Those that may move: how many, and their weight.
    movable_jobs: usize,
    movable_bytes: u64,
}

impl Ready {
    pub(super) fn insert(&mut self, job: &Job) {
        let weight = Weight { bytes: job.weight(), may_move: job.spec.kind.may_move() };
        let before = self.jobs.insert(Place::of(job), weight);
        assert!(before.is_none(), "a job waits in one place");
        if weight.may_move {
            self.movable_jobs += 1;
            self.movable_bytes = self.movable_bytes.saturating_add(weight.bytes);
        }
    }

    /// Notes a job that is for `holder` alone.
    pub(super) fn insert_for(&mut self, holder: PeerId, job: &Job) {
        let weight = Weight { bytes: job.weight(), may_move: true };
        let before = self.elsewhere.insert((holder, Place::of(job)), weight);
        assert!(before.is_none(), "a job waits in one place");
    }

    /// Takes a job out. Says whether it was there.
    pub(super) fn remove(&mut self, job: &Job) -> bool {
        let place = Place::of(job);
        if let Some(weight) = self.jobs.remove(&place) {
            self.forget(weight);
            return true;
        }
        job.spec.holder.is_some_and(|holder| self.elsewhere.remove(&(holder, place)).is_some())
    }

    /// Returns the jobs that are for one peer alone, in their order: how many there are, and their weight.
    pub(super) fn for_alone(&self, peer: PeerId) -> impl Iterator<Item = (JobId, u64)> {
        let of_peer = self
            .elsewhere
            .range((peer, Place::FIRST)..)
            .take_while(move |((of, _), _)| *of == peer);
        of_peer.map(|((_, place), weight)| (place.id, weight.bytes))
    }

    /// Returns the peers that jobs are for alone.
    pub(super) fn holders(&self) -> Vec<PeerId> {
        let mut holders: Vec<PeerId> = self.elsewhere.keys().map(|(holder, _)| *holder).collect();
        holders.dedup();
        holders
    }

    /// Takes the first job out that is in the background, or the first that is not.
    pub(super) fn pop(&mut self, is_background: bool) -> Option<JobId> {
        let place = self.first(is_background)?;
        let weight = self.jobs.remove(&place)?;
        self.forget(weight);
        Some(place.id)
    }

    fn first(&self, is_background: bool) -> Option<Place> {
        let (place, _) = self.jobs.range(Place { is_background, ..Place::FIRST }..).next()?;
        (place.is_background == is_background).then_some(*place)
    }

    /// Says whether somebody waits for a job that may be started.
    pub(super) fn has_foreground(&self) -> bool {
        self.first(false).is_some()
    }

    fn forget(&mut self, weight: Weight) {
        if weight.may_move {
            self.movable_jobs -= 1;
            self.movable_bytes = self.movable_bytes.saturating_sub(weight.bytes);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) const fn movable_jobs(&self) -> usize {
        self.movable_jobs
    }

    pub(super) const fn movable_bytes(&self) -> u64 {
        self.movable_bytes
    }

    /// Returns the jobs that somebody gets who is to have `part` of the bytes: those that suit
    /// him well before others, of either evenly from the urgent to the idle ones, so that both sides begin
    /// with what is urgent, and those of few queues, since each of them wants a report. At least one, if any suits.
    /// Cost: O(jobs looked at · log queues).
    pub(super) fn choose(
        &self,
        share: Share,
        part: Part,
        suits: impl Fn(JobId) -> Suits,
    ) -> Vec<JobId> {
        let mut classes: [Vec<Candidate>; 2] = [Vec::new(), Vec::new()];
        let movable = self.jobs.iter().filter(|(_, weight)| weight.may_move);
        let mut seen_bytes = 0u64;
        for (place, weight) in movable.take(SCAN_JOBS_MAX) {
            seen_bytes = seen_bytes.saturating_add(weight.bytes);
            let rank = (place.is_background, place.priority);
            let candidate = Candidate { id: place.id, rank, bytes: weight.bytes };
            match suits(place.id) {
                Suits::Well => classes[0].push(candidate),
                Suits::Enough => classes[1].push(candidate),
                Suits::Not => {}
            }
        }
        let first = classes.iter().flatten().map(|candidate| candidate.id).next();
        let mut chosen = Vec::new();
        if share == Share::Half {
            let mut quota = part.of(seen_bytes);
            for class in &classes {
                quota = divide(class, quota, &mut chosen);
            }
            chosen.truncate(WORK_GRANT_JOBS_MAX);
        }
        if chosen.is_empty() {
            chosen.extend(first);
        }
        chosen
    }
}

/// A job that somebody may get.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: JobId,
    /// What begins before others, whatever their age.
    rank: (bool, Priority),
    bytes: u64,
}

fn total_of(candidates: &[Candidate]) -> i128 {
    candidates.iter().map(|candidate| i128::from(candidate.bytes)).sum()
}

/// Chooses jobs worth about `quota` bytes of a class: as much of each priority, and of that all jobs of one queue before
/// any of the next. Returns what is left of the quota.
fn divide(class: &[Candidate], quota: u64, chosen: &mut Vec<JobId>) -> u64 {
    let total = total_of(class);
    if total == 0 {
        return quota;
    }
    let wanted = i128::from(quota).min(total);
    // What the thief is owed so far, and what it got.
    let (mut owed, mut given) = (0i128, 0i128);
    for equals in class.chunk_by(|one, next| one.rank == next.rank) {
        owed += total_of(equals) * wanted / total;
        let mut queues: BTreeMap<PeerId, Vec<Candidate>> = BTreeMap::new();
        for candidate in equals {
            queues.entry(candidate.id.origin).or_default().push(*candidate);
        }
        for of_queue in queues.into_values() {
            let bytes = spread(&of_queue, owed, chosen);
            owed -= bytes;
            given += bytes;
        }
    }
    quota.saturating_sub(u64::try_from(given).unwrap_or(u64::MAX))
}

/// Chooses jobs worth about `wanted` bytes, evenly from all, in their order. Returns what they come to.
fn spread(candidates: &[Candidate], wanted: i128, chosen: &mut Vec<JobId>) -> i128 {
    let total = total_of(candidates);
    let wanted = wanted.clamp(0, total);
    // What the thief is owed so far, times `total`. A job goes to whom that brings closer to even.
    let (mut owed, mut given) = (0i128, 0i128);
    for candidate in candidates {
        let bytes = i128::from(candidate.bytes);
        owed += bytes * wanted;
        if 2 * owed >= bytes * total {
            owed -= bytes * total;
            given += bytes;
            chosen.push(candidate.id);
        }
    }
    given
}
