//! One queue at a time: order, bounds, attempts, restarts, tokens, and the bytes of what it stores and sends.
//!
//! `golden.txt` has a line for each kind of message and row. A change of a line is a change of the format: it takes a new
//! version, and a decision record. Lines are only added.

use core::time::Duration;
use std::collections::BTreeSet;

use super::testing::{Stored, enqueue, id, replicate, spec};
use super::waiters::Waiters;
use super::{
    Change, Done, Input, Job, JobId, JobKind, JobSpec, LeaseName, Lent, Load, Message, Outcome,
    Output, Policy, Priority, Queue, Row, RowState, Subject, Suits,
};
use crate::format::FormatError;
use crate::limits::{
    JOB_MOVES_BYTES_MAX, JOB_PAYLOAD_BYTES_MAX, PARTITIONS, WORK_ANSWERS_MAX, WORK_ATTEMPTS_MAX,
    WORK_BUSY_PAUSE, WORK_DEAD_MAX, WORK_FADE, WORK_GRANT_JOBS_MAX, WORK_JOBS_MAX, WORK_LEASE,
    WORK_REASON_BYTES_MAX, WORK_REPORT_JOBS_MAX, WORK_RETRY_PAUSE, WORK_RETRY_PAUSE_MAX,
    WORK_SEEK_PEERS_MAX,
};
use crate::{Cid, Codec, Instant, Kind, PeerId, Prng, WallTime};

/// A queue of the peer 1, what it stored, and the time.
struct Desk {
    queue: Queue,
    stored: Stored,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        Self::from_stored(Stored::default())
    }

    fn from_stored(stored: Stored) -> Self {
        let prng = Prng::new(1);
        let queue = Queue::new(id(1), Policy::default(), prng, stored.numbers, stored.rows());
        Self { queue, stored, now: Instant::ZERO }
    }

    /// Ends the process and starts it again from what was stored.
    fn restart(&mut self) {
        *self = Self::from_stored(core::mem::take(&mut self.stored));
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.queue.handle(self.now, input, &|_, _| Suits::Enough, &mut out);
        for output in &out {
            if let Output::Store(change) = output {
                self.stored.apply(change);
            }
        }
        out
    }

    fn hear(&mut self, from: u8, message: Message) -> Vec<Output> {
        self.step(Input::Message { from: id(from), message })
    }

    fn finish(&mut self, lease: LeaseName, outcome: Outcome) -> Vec<Output> {
        self.step(Input::Finished { lease, outcome })
    }

    fn fail(&mut self, lease: LeaseName) -> Vec<Output> {
        self.finish(lease, Outcome::Failed { reason: "no such luck".to_owned() })
    }

    fn wait(&mut self, time: Duration) -> Vec<Output> {
        self.now = self.now.after(time);
        self.step(Input::Tick)
    }

    /// Puts a job into the queue, which is to begin at once.
    fn begin(&mut self) -> LeaseName {
        begun(&self.step(enqueue(0, replicate(1)))).expect("nothing else is running")
    }
}

fn begun(out: &[Output]) -> Option<LeaseName> {
    out.iter().find_map(|output| {
        let Output::Run { job, token } = output else { return None };
        Some(LeaseName { job: job.id, token: *token })
    })
}

fn granted(out: &[Output]) -> Option<(u64, u32, Vec<Lent>)> {
    out.iter().find_map(|output| {
        let Output::Send { message, .. } = output else { return None };
        let Message::Grant { ask, number, jobs, .. } = message else { return None };
        Some((*ask, *number, jobs.clone()))
    })
}

fn lent(number: u64) -> Lent {
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

// ---- Order and bounds ----------------------------------------------------------------------

#[test]
fn jobs_begin_by_priority_and_then_by_age() {
    for seed in 1..=100 {
        // Given jobs in any order behind one that runs.
        let (mut prng, mut desk) = (Prng::new(seed), Desk::new());
        let mut lease = desk.begin();
        for _ in 0..50 {
            let all = [Priority::Urgent, Priority::Normal, Priority::Idle];
            let priority = all[prng.index(3).unwrap()];
            desk.step(enqueue(prng.below(20), spec(JobKind::Replicate, priority, 1)));
        }
        // When one ends after the other, then they begin in their order.
        let mut places = Vec::new();
        loop {
            let out = desk.finish(lease, Outcome::Done);
            let Some(next) = begun(&out) else { break };
            let Some(Output::Run { job, .. }) =
                out.iter().find(|output| matches!(output, Output::Run { .. }))
            else {
                break;
            };
            places.push((job.spec.priority, job.created, job.id));
            lease = next;
        }
        assert_eq!(places.len(), 50, "seed {seed}");
        assert!(places.is_sorted(), "seed {seed}: {places:?}");
    }
}

#[test]
fn a_full_queue_refuses_and_drops_nothing() {
    let mut desk = Desk::new();
    let lease = desk.begin();
    for tag in 1..WORK_JOBS_MAX as u64 {
        desk.step(enqueue(tag, replicate(1)));
    }
    let rows = desk.stored.rows.clone();
    assert_eq!(rows.len(), WORK_JOBS_MAX);

    let out = desk.step(enqueue(7, replicate(1)));

    let [Output::Refused { tag: 7, fault }] = &out[..] else { panic!("{out:?}") };
    assert_eq!((fault.kind, fault.retry_after), (Kind::Busy, Some(WORK_BUSY_PAUSE)));
    assert!(desk.stored.rows == rows);
    assert_eq!(desk.queue.summary().ready + 1, WORK_JOBS_MAX);
    // One that ends makes room for one.
    desk.finish(lease, Outcome::Done);
    let is_accepted = |out: &[Output]| out.iter().any(|o| matches!(o, Output::Accepted { .. }));
    assert!(is_accepted(&desk.step(enqueue(8, replicate(1)))));
    assert!(!is_accepted(&desk.step(enqueue(9, replicate(1)))));
}

#[test]
fn a_job_beyond_its_bounds_is_invalid() {
    let mut desk = Desk::new();
    let long = JobSpec { payload: vec![0; JOB_PAYLOAD_BYTES_MAX + 1], ..replicate(1) };
    let nowhere = JobSpec { subject: Subject::Partition(PARTITIONS), ..replicate(1) };
    for spec in [long, nowhere, replicate(JOB_MOVES_BYTES_MAX + 1)] {
        let out = desk.step(enqueue(7, spec));
        let [Output::Refused { tag: 7, fault }] = &out[..] else { panic!("{out:?}") };
        assert_eq!(fault.kind, Kind::Invalid);
    }
    assert!(desk.stored.rows.is_empty());
}

#[test]
fn of_jobs_that_come_together_the_largest_begin_first() {
    let mut desk = Desk::new();
    let mut lease = desk.begin();
    // The last one is older than the others by enough to come first.
    for (created, bytes) in [(1_000, 2), (1_300, 9), (1_999, 5), (2_000, 99), (999, 1)] {
        desk.step(enqueue(created, replicate(bytes << 20)));
    }
    let mut order = Vec::new();
    loop {
        let out = desk.finish(lease, Outcome::Done);
        let Some(next) = begun(&out) else { break };
        order.extend(out.iter().find_map(|output| {
            let Output::Run { job, .. } = output else { return None };
            Some(job.spec.bytes >> 20)
        }));
        lease = next;
    }
    assert_eq!(order, [1, 9, 5, 2, 99]);
}

// ---- Attempts ------------------------------------------------------------------------------

#[test]
fn pauses_grow_until_the_last_attempt_makes_a_dead_letter() {
    let mut desk = Desk::new();
    let mut lease = desk.begin();
    for attempt in 1..WORK_ATTEMPTS_MAX {
        desk.fail(lease);
        let failed_at = desk.now;
        let next = loop {
            let until = desk.queue.next_deadline().unwrap().since(desk.now);
            if let Some(next) = begun(&desk.wait(until)) {
                break next;
            }
        };
        let pause = desk.now.since(failed_at);
        let least = (WORK_RETRY_PAUSE * 2u32.pow(attempt - 1)).min(WORK_RETRY_PAUSE_MAX);
        assert!((least..=least * 3 / 2).contains(&pause), "{attempt}: {pause:?}");
        assert!(next.job == lease.job && next.token > lease.token);
        lease = next;
    }

    let out = desk.fail(lease);

    let reason = "no such luck".to_owned();
    assert!(out.contains(&Output::Died { job: lease.job, reason }));
    let reason = || "no such luck".to_owned();
    let dead: Vec<_> = desk.queue.dead_letters().map(|dead| (dead.job.id, dead.reason)).collect();
    assert_eq!(dead, [(lease.job, reason())]);
    assert_eq!(desk.stored.rows()[0].state, RowState::Dead { reason: reason() });
    // It stays dead, over a restart too.
    desk.restart();
    assert_eq!(begun(&desk.wait(WORK_RETRY_PAUSE_MAX * 2)), None);
    assert_eq!(desk.queue.summary().dead, 1);
}

#[test]
fn a_dead_letter_that_is_revived_has_all_its_attempts_again() {
    let mut desk = Desk::new();
    let mut lease = desk.begin();
    // Nothing to revive yet.
    assert_eq!(desk.step(Input::Revive { job: lease.job }), []);
    for round in 0..2 {
        for attempt in 1..=WORK_ATTEMPTS_MAX {
            let reason = "no such luck".to_owned();
            let died = desk.fail(lease).contains(&Output::Died { job: lease.job, reason });
            assert_eq!(died, attempt == WORK_ATTEMPTS_MAX, "{round}: {attempt}");
            lease = begun(&desk.wait(WORK_RETRY_PAUSE_MAX * 2)).unwrap_or(lease);
        }
        let out = desk.step(Input::Revive { job: lease.job });
        lease = begun(&out).expect("it begins at once");
        let [row] = &desk.stored.rows()[..] else { panic!("one row") };
        assert_eq!((row.job.attempts, &row.state), (0, &RowState::Waiting));
    }
}

#[test]
fn a_long_reason_is_clipped_between_characters() {
    let mut desk = Desk::new();
    let mut lease = desk.begin();
    for _ in 0..WORK_ATTEMPTS_MAX {
        let reason = format!("x{}", "ä".repeat(WORK_REASON_BYTES_MAX));
        desk.finish(lease, Outcome::Failed { reason });
        lease = begun(&desk.wait(WORK_RETRY_PAUSE_MAX * 2)).unwrap_or(lease);
    }
    let dead = desk.queue.dead_letters().next().expect("it died");
    assert_eq!(dead.reason.len(), WORK_REASON_BYTES_MAX - 1);
}

// ---- The same job twice, and places of their own -------------------------------------------

/// Returns a job about one block.
fn about(block: &[u8], kind: JobKind, payload: u8) -> JobSpec {
    let subject = Subject::Block(Cid::of(Codec::Raw, block));
    JobSpec { subject, payload: vec![payload], ..spec(kind, Priority::Normal, 1) }
}

fn accepted(out: &[Output]) -> JobId {
    let found = out.iter().find_map(|output| {
        if let Output::Accepted { job, .. } = output { Some(*job) } else { None }
    });
    found.expect("it is accepted")
}

#[test]
fn what_is_in_the_queue_already_is_the_same_job() {
    let mut desk = Desk::new();
    let first = accepted(&desk.step(enqueue(1, about(b"x", JobKind::Repair, 1))));
    for (block, kind, payload, is_same) in [
        (b"x", JobKind::Repair, 1, true),
        (b"x", JobKind::Repair, 2, false),
        (b"x", JobKind::Rebalance, 1, false),
        (b"y", JobKind::Repair, 1, false),
    ] {
        let rows = desk.stored.rows.len();
        let job = accepted(&desk.step(enqueue(2, about(block, kind, payload))));
        assert_eq!((job == first, desk.stored.rows.len() == rows), (is_same, is_same));
    }
    // Also after a restart, and not once it is done.
    desk.restart();
    assert_eq!(accepted(&desk.step(enqueue(3, about(b"x", JobKind::Repair, 1)))), first);
    while desk.stored.rows.contains_key(&first) {
        let (job, run) = desk.queue.running.first_key_value().expect("one is running");
        let lease = LeaseName { job: *job, token: run.token };
        desk.finish(lease, Outcome::Done);
    }
    assert_ne!(accepted(&desk.step(enqueue(4, about(b"x", JobKind::Repair, 1)))), first);
}

#[test]
fn what_has_become_more_urgent_comes_before_what_has_not() {
    let mut desk = Desk::new();
    let mut lease = begun(&desk.step(enqueue(1, about(b"r", JobKind::Repair, 1)))).unwrap();
    desk.step(enqueue(2, about(b"x", JobKind::Repair, 1)));
    let second = accepted(&desk.step(enqueue(3, about(b"y", JobKind::Repair, 1))));
    let urgent = JobSpec { priority: Priority::Urgent, ..about(b"y", JobKind::Repair, 1) };
    assert_eq!(accepted(&desk.step(enqueue(4, urgent))), second);
    // Nor does it fall back.
    assert_eq!(accepted(&desk.step(enqueue(5, about(b"y", JobKind::Repair, 1)))), second);
    lease = begun(&desk.finish(lease, Outcome::Done)).unwrap();
    assert_eq!(lease.job, second);
}

/// Fails a job until it is given up, and returns what came of the last time.
fn give_up(desk: &mut Desk) -> Vec<Output> {
    loop {
        let (job, run) = desk.queue.running.first_key_value().expect("one is running");
        let lease = LeaseName { job: *job, token: run.token };
        let out = desk.fail(lease);
        if out.iter().any(|output| matches!(output, Output::Died { .. })) {
            return out;
        }
        desk.wait(WORK_RETRY_PAUSE_MAX * 2);
    }
}

#[test]
fn of_what_is_found_again_there_is_one_dead_letter_which_the_next_success_takes_away() {
    let mut desk = Desk::new();
    let letters =
        |desk: &Desk| desk.queue.dead_letters().map(|dead| dead.job.id).collect::<Vec<_>>();
    let first = accepted(&desk.step(enqueue(1, about(b"x", JobKind::Repair, 1))));
    let died = Output::Died { job: first, reason: "no such luck".to_owned() };
    assert!(give_up(&mut desk).contains(&died));
    assert_eq!(letters(&desk), [first]);
    // Another attempt at the same block takes the place of the first.
    let second = accepted(&desk.step(enqueue(2, about(b"x", JobKind::Repair, 2))));
    give_up(&mut desk);
    assert_eq!(letters(&desk), [second]);
    assert_eq!(desk.stored.rows.len(), 1);
    // The same one is tried again.
    assert_eq!(accepted(&desk.step(enqueue(3, about(b"x", JobKind::Repair, 2)))), second);
    assert_eq!(letters(&desk), []);
    give_up(&mut desk);
    let third = desk.step(enqueue(4, about(b"x", JobKind::Repair, 3)));
    desk.finish(begun(&third).expect("nothing else is running"), Outcome::Done);
    assert_eq!((letters(&desk), desk.stored.rows.len()), (Vec::new(), 0));
}

#[test]
fn a_dead_letter_of_what_nobody_finds_again_stays_and_the_work_is_another_job() {
    let mut desk = Desk::new();
    let first = accepted(&desk.step(enqueue(1, about(b"x", JobKind::Replicate, 1))));
    give_up(&mut desk);
    let again = desk.step(enqueue(2, about(b"x", JobKind::Replicate, 1)));
    assert_ne!(accepted(&again), first);
    desk.finish(begun(&again).expect("nothing else is running"), Outcome::Done);
    assert_eq!(desk.queue.dead_letters().map(|dead| dead.job.id).collect::<Vec<_>>(), [first]);
}

#[test]
fn work_that_is_found_again_ends_without_a_letter_where_there_is_no_room_for_one() {
    let mut desk = Desk::new();
    for number in 0..WORK_DEAD_MAX as u64 {
        desk.step(enqueue(1, about(&number.to_be_bytes(), JobKind::Replicate, 1)));
        give_up(&mut desk);
    }
    let job = accepted(&desk.step(enqueue(2, about(b"x", JobKind::Repair, 1))));
    assert!(give_up(&mut desk).contains(&Output::Store(Change::Remove(job))));
    assert_eq!(desk.stored.rows.len(), WORK_DEAD_MAX);
}

#[test]
fn jobs_in_the_background_and_those_that_somebody_waits_for_do_not_hold_each_other_up() {
    let mut desk = Desk::new();
    for number in 0..3 {
        desk.step(enqueue(number.into(), about(b"b", JobKind::Repair, number)));
        desk.step(enqueue(number.into(), about(b"f", JobKind::Replicate, number)));
    }
    let kinds = |desk: &Desk| {
        let running = desk.queue.running.keys().map(|id| desk.queue.job(*id).unwrap().spec.kind);
        running.collect::<BTreeSet<JobKind>>()
    };
    let both = BTreeSet::from([JobKind::Repair, JobKind::Replicate]);
    for _ in 0..3 {
        assert_eq!((desk.queue.running.len(), kinds(&desk)), (2, both.clone()));
        for lease in leases(&desk) {
            desk.finish(lease, Outcome::Done);
        }
    }
    assert!(desk.queue.running.is_empty());
}

fn leases(desk: &Desk) -> Vec<LeaseName> {
    let running = desk.queue.running.iter();
    running.map(|(job, run)| LeaseName { job: *job, token: run.token }).collect()
}

#[test]
fn a_peer_busy_in_the_background_searches_for_nothing_and_still_comes_for_what_it_is_told_of() {
    let mut desk = Desk::new();
    desk.step(Input::Peers { peers: vec![id(2)] });
    let out = desk.step(enqueue(1, about(b"x", JobKind::Repair, 1)));
    begun(&out).expect("nothing else is running");
    let asks = |out: &[Output]| {
        let is_ask = |output: &&Output| {
            let Output::Send { message, .. } = output else { return false };
            matches!(message, Message::Seek { .. } | Message::Steal { .. } | Message::Wait { .. })
        };
        out.iter().filter(is_ask).count()
    };
    assert_eq!(asks(&desk.wait(Duration::from_secs(60))), 0);
    let load = Load { jobs: 1, bytes: 1, bytes_per_s: 0 };
    assert_eq!(asks(&desk.hear(2, Message::Load { ask: 0, load })), 1);
    // Busy with both it does not.
    let mut desk = Desk::new();
    desk.step(Input::Peers { peers: vec![id(2)] });
    desk.step(enqueue(1, about(b"x", JobKind::Repair, 1)));
    desk.step(enqueue(2, about(b"y", JobKind::Replicate, 1)));
    assert_eq!(asks(&desk.hear(2, Message::Load { ask: 0, load })), 0);
}

#[test]
fn whoever_is_idle_again_has_its_jobs_back_from_one_that_is_slow() {
    let mut desk = Desk::new();
    desk.step(Input::Peers { peers: vec![id(2)] });
    desk.wait(Duration::from_secs(1));
    // Given a peer that took jobs of another one, of which it does one at a time.
    let ask = desk.wait(Duration::from_secs(60)).iter().find_map(|output| {
        let Output::Send { message: Message::Wait { ask } | Message::Seek { ask, .. }, .. } =
            output
        else {
            return None;
        };
        Some(*ask)
    });
    let jobs: Vec<Lent> = (1..=5).map(lent).collect();
    desk.hear(2, Message::Grant { ask: ask.expect("it is idle"), number: 0, jobs, reach: 1 });
    assert_eq!(desk.queue.taken.len(), 5);
    // When that other one asks for work, then it is told at once of what it has back: more each time.
    let mut left = 5;
    for ask in [7, 8, 9] {
        let out = desk.hear(2, Message::Steal { ask });
        let returned = out.iter().find_map(|output| {
            let Output::Send { message: Message::Report { done, .. }, .. } = output else {
                return None;
            };
            done.iter().all(|done| done.outcome == Outcome::Returned).then_some(done.len())
        });
        left -= returned.unwrap_or(0);
        assert_eq!(desk.queue.taken.len(), left);
    }
    assert_eq!(left, 1, "the one that runs");
}

// ---- Cancelled -----------------------------------------------------------------------------

#[test]
fn a_cancelled_job_is_gone_whatever_it_was_doing() {
    let mut desk = Desk::new();
    let running = desk.begin();
    desk.step(enqueue(1, replicate(1)));
    let waiting = *desk.stored.rows.keys().next_back().unwrap();

    assert_eq!(desk.step(Input::Cancel { job: waiting }), [Output::Store(Change::Remove(waiting))]);
    let out = desk.step(Input::Cancel { job: running.job });
    let removed = Output::Store(Change::Remove(running.job));
    assert_eq!(out, [removed, Output::Abandon { lease: running }]);

    assert!(desk.stored.rows.is_empty());
    // What it still comes to changes nothing, nor does a second word.
    assert_eq!(desk.finish(running, Outcome::Done), []);
    assert_eq!(desk.step(Input::Cancel { job: running.job }), []);
    assert_eq!(desk.stored.rows.len(), 0);
}

#[test]
fn a_thief_hears_that_its_job_was_cancelled() {
    let (mut desk, lease) = with_one_lent();
    desk.step(Input::Cancel { job: lease.job });
    let held = Message::Report { done: Vec::new(), held: vec![lease] };
    let lost = Message::Lost { leases: vec![lease] };
    assert_eq!(desk.hear(2, held), [Output::Send { to: id(2), message: lost }]);
}

// ---- Leases --------------------------------------------------------------------------------

/// Returns a queue that runs one job and has lent another to the peer 2.
fn with_one_lent() -> (Desk, LeaseName) {
    let mut desk = Desk::new();
    desk.begin();
    desk.step(enqueue(1, replicate(1)));
    let out = desk.hear(2, Message::Steal { ask: 9 });
    let (9, 0, jobs) = granted(&out).unwrap() else { panic!("{out:?}") };
    let [lent] = &jobs[..] else { panic!("{out:?}") };
    (desk, LeaseName { job: lent.job.id, token: lent.token })
}

fn done(lease: LeaseName) -> Message {
    Message::Report { done: vec![Done { lease, outcome: Outcome::Done }], held: Vec::new() }
}

#[test]
fn what_ran_or_was_lent_before_a_crash_is_done_again_under_higher_tokens() {
    let (mut desk, lease) = with_one_lent();
    let rows = desk.stored.rows.clone();

    desk.restart();
    let first = begun(&desk.wait(Duration::ZERO)).expect("what ran begins again");
    // The word of whoever had it before the crash counts for nothing.
    desk.hear(2, done(lease));
    assert_eq!(desk.stored.rows, rows);
    let second = begun(&desk.finish(first, Outcome::Done)).expect("so does what was lent");

    assert_eq!(second.job, lease.job);
    assert!(first.token > lease.token && second.token > lease.token);
    desk.hear(2, done(lease));
    desk.finish(lease, Outcome::Done);
    assert_eq!(desk.stored.rows.len(), 1);
    desk.finish(second, Outcome::Done);
    assert!(desk.stored.rows.is_empty());
}

#[test]
fn a_word_under_an_old_token_changes_nothing() {
    let (mut desk, lease) = with_one_lent();
    let running = LeaseName { job: *desk.stored.rows.keys().next().unwrap(), token: 1 };
    // The lease ends, and the job runs here.
    desk.wait(WORK_LEASE);
    let again = begun(&desk.finish(running, Outcome::Done)).expect("it is next");
    assert!(again.job == lease.job && again.token > lease.token);
    let rows = desk.stored.rows.clone();

    for outcome in [Outcome::Done, Outcome::Returned, Outcome::Failed { reason: String::new() }] {
        let done = vec![Done { lease, outcome: outcome.clone() }];
        assert_eq!(desk.hear(2, Message::Report { done, held: Vec::new() }), []);
        assert_eq!(desk.finish(lease, outcome), []);
        assert_eq!(desk.stored.rows, rows);
    }
    desk.finish(again, Outcome::Done);
    assert!(desk.stored.rows.is_empty());
}

#[test]
fn a_renewed_lease_goes_on() {
    let (mut desk, lease) = with_one_lent();
    let half = WORK_LEASE / 2;
    desk.wait(half);
    assert_eq!(desk.hear(2, Message::Report { done: Vec::new(), held: vec![lease] }), []);
    desk.wait(half);
    assert_eq!(desk.queue.summary().granted, 1);
    desk.wait(half);
    assert_eq!(desk.queue.summary().granted, 0);
}

// ---- Waiting for work ----------------------------------------------------------------------

#[test]
fn piles_that_come_within_a_moment_are_all_shared_with_whoever_waited() {
    let mut desk = Desk::new();
    desk.step(Input::Peers { peers: vec![id(2), id(3)] });
    desk.hear(2, Message::Wait { ask: 9 });
    for (number, pause) in [(Some(0), WORK_FADE / 2), (Some(1), WORK_FADE), (None, WORK_FADE)] {
        (0..40).for_each(|tag| drop(desk.step(enqueue(tag, replicate(1)))));
        let given = granted(&desk.wait(Duration::from_millis(5)));
        assert_eq!(given.as_ref().map(|(_, number, _)| *number), number);
        assert!(given.is_none_or(|(ask, _, jobs)| ask == 9 && jobs.len() > 8));
        desk.now = desk.now.after(pause);
    }
}

#[test]
fn each_answer_counts_once() {
    let mut desk = Desk::new();
    desk.step(Input::Peers { peers: vec![id(2)] });
    // It finds nothing, until it says that it waits.
    let ask = (0..20).find_map(|_| {
        let pause = desk.queue.next_deadline().unwrap().since(desk.now);
        desk.wait(pause).iter().find_map(|output| {
            let Output::Send { message: Message::Wait { ask }, .. } = output else { return None };
            Some(*ask)
        })
    });
    let ask = ask.expect("it waits after a few searches");
    let grant = |number, job| Message::Grant { ask, number, jobs: vec![lent(job)], reach: 1 };
    for (number, job, taken) in [(1, 1, 1), (0, 2, 2), (1, 3, 2), (0, 4, 2), (31, 5, 3)] {
        desk.hear(2, grant(number, job));
        assert_eq!(desk.queue.summary().taken, taken, "{number}");
    }
    // Nor does anybody else's answer.
    desk.hear(3, grant(2, 6));
    assert_eq!(desk.queue.summary().taken, 3);
}

fn sent(out: Vec<Output>) -> Vec<Message> {
    let message = |output| {
        let Output::Send { message, .. } = output else { return None };
        Some(message)
    };
    out.into_iter().filter_map(message).collect()
}

#[test]
fn a_peer_that_waits_searches_no_more() {
    let mut desk = Desk::new();
    let mut rounds =
        vec![sent(desk.step(Input::Peers { peers: vec![id(2), id(3), id(4), id(5)] }))];
    for _ in 0..8 {
        let pause = desk.queue.next_deadline().expect("it goes on").since(desk.now);
        rounds.push(sent(desk.wait(pause)));
    }
    let is_search = |sent: &[Message]| matches!(sent, [Message::Seek { .. }]);
    let searches = rounds.iter().take_while(|sent| is_search(sent)).count();
    assert_eq!(u32::try_from(searches), Ok(Policy::default().wait_after), "{rounds:?}");
    // One, two and four places before it.
    let is_wait = |sent: &[Message]| {
        sent.len() == 3 && sent.iter().all(|message| matches!(message, Message::Wait { .. }))
    };
    assert!(rounds[searches..].iter().all(|sent| is_wait(sent)), "{rounds:?}");
}

#[test]
fn a_question_goes_on_until_somebody_has_something() {
    let thief = id(2);
    let seek = |more| Message::Seek { ask: 9, thief, more };
    let mut desk = Desk::new();
    desk.step(Input::Peers { peers: vec![thief, id(3), id(4)] });
    // With nothing it is passed on as often as it says, and never to whoever asks.
    let mut reached = BTreeSet::new();
    for _ in 0..40 {
        let out = desk.hear(4, seek(2));
        let [Output::Send { to, message }] = &out[..] else { panic!("{out:?}") };
        assert_eq!(*message, seek(1));
        reached.insert(*to);
    }
    assert_eq!(reached, BTreeSet::from([id(3), id(4)]));
    assert_eq!(desk.hear(4, seek(0)), []);
    // With something it is answered, to whoever asks.
    desk.begin();
    desk.step(enqueue(1, replicate(1)));
    let stranger = Message::Seek { ask: 9, thief: id(7), more: 2 };
    assert_eq!(desk.hear(4, stranger), [], "nobody knows that peer");
    let out = desk.hear(4, seek(0));
    assert_eq!(granted(&out).map(|(ask, number, jobs)| (ask, number, jobs.len())), Some((9, 0, 1)));
    assert!(out.iter().all(|o| !matches!(o, Output::Send { to, .. } if *to != thief)), "{out:?}");
}

#[test]
fn a_search_is_answered_once_by_anybody_who_is_known() {
    let mut desk = Desk::new();
    let out = desk.step(Input::Peers { peers: vec![id(2), id(3), id(4)] });
    let Some(Output::Send { message: Message::Seek { ask, thief, .. }, .. }) = out.last() else {
        panic!("{out:?}")
    };
    assert_eq!(*thief, id(1));
    let ask = *ask;
    let grant = |job| Message::Grant { ask, number: 0, jobs: vec![lent(job)], reach: 1 };
    for (from, job, taken) in [(9, 1, 0), (4, 2, 1), (4, 3, 1), (3, 4, 1)] {
        desk.hear(from, grant(job));
        assert_eq!(desk.queue.summary().taken, taken, "{from}");
    }
}

#[test]
fn what_is_given_is_of_all_priorities_and_of_few_queues() {
    // Given eight jobs of each of four queues, half of them urgent.
    let mut desk = Desk::new();
    let out = desk.step(Input::Peers { peers: vec![id(2)] });
    let Some(Output::Send { message: Message::Seek { ask, .. }, .. }) = out.last() else {
        panic!("{out:?}")
    };
    let jobs = (0..32u64).map(|number| {
        let mut lent = lent(number);
        lent.job.id.origin = id(11 + u8::try_from(number / 2 % 4).unwrap());
        lent.job.spec.bytes = 1 << 20;
        let is_urgent = number < 16;
        lent.job.spec.priority = if is_urgent { Priority::Urgent } else { Priority::Idle };
        lent
    });
    let grant = Message::Grant { ask: *ask, number: 0, jobs: jobs.collect(), reach: 1 };
    assert!(begun(&desk.hear(2, grant)).is_some());

    let out = desk.hear(2, Message::Steal { ask: 9 });

    let (_, _, given) = granted(&out).expect("there is enough");
    let urgent = given.iter().filter(|lent| lent.job.spec.priority == Priority::Urgent).count();
    // One of the urgent ones runs.
    assert!((15..=16).contains(&given.len()) && (7..=8).contains(&urgent), "{urgent} of {given:?}");
    let queues: BTreeSet<PeerId> = given.iter().map(|lent| lent.job.id.origin).collect();
    assert!(queues.len() <= 3, "{queues:?}");
}

#[test]
fn answers_are_counted_on_when_a_question_arrives_again() {
    let mut waiters = Waiters::default();
    waiters.insert(Instant::ZERO, id(2), 9);
    for answers in 0..WORK_ANSWERS_MAX {
        let taken = waiters.take(Instant::ZERO);
        assert_eq!(taken.iter().map(|waiter| waiter.answers).collect::<Vec<_>>(), [answers]);
        waiters.put_back_served(Instant::ZERO, taken[0]);
        waiters.insert(Instant::ZERO, id(2), 9);
    }
}

#[test]
fn a_job_for_its_holder_waits_for_it_and_is_done_by_others_once_it_is_gone() {
    let mut desk = Desk::new();
    desk.step(Input::Peers { peers: vec![id(2), id(3)] });
    let spec = JobSpec { holder: Some(id(2)), ..replicate(1) };
    assert_eq!(begun(&desk.step(enqueue(1, spec))), None, "the peer itself has time");
    // Whom it is for is told, once it had time to gather more, and nobody else is.
    let told = desk.wait(Duration::from_millis(5));
    let is_hint = |output: &Output| matches!(output, Output::Send { to, message: Message::Load { load, .. } } if *to == id(2) && load.jobs == 1);
    assert_eq!(told.iter().filter(|output| is_hint(output)).count(), 1, "{told:?}");
    let jobs = |out: &[Output]| {
        out.iter().find_map(|output| {
            let Output::Send { message: Message::Grant { jobs, .. }, .. } = output else {
                return None;
            };
            Some(jobs.len())
        })
    };
    assert_eq!(jobs(&desk.hear(3, Message::Steal { ask: 1 })), Some(0));
    assert_eq!(jobs(&desk.hear(2, Message::Steal { ask: 1 })), Some(1));
    // The holder does not come back, and its lease ends.
    desk.step(Input::Gone { peer: id(2) });
    assert_eq!(jobs(&desk.hear(3, Message::Steal { ask: 2 })), Some(0), "it may come back");
    assert!(begun(&desk.step(Input::Peers { peers: vec![id(3)] })).is_some());
}

#[test]
fn the_largest_grant_fits_a_frame() {
    for holder in [None, Some(id(2))] {
        let mut desk = Desk::new();
        desk.step(Input::Peers { peers: vec![id(2)] });
        let subject = |tag: u64| Subject::Block(Cid::of(Codec::Raw, &tag.to_be_bytes()));
        let payload = vec![7; if holder.is_some() { 48 } else { 0 }];
        let bytes = JOB_MOVES_BYTES_MAX;
        let spec = JobSpec { holder, payload, bytes, ..replicate(1) };
        for tag in 0..3 * WORK_GRANT_JOBS_MAX as u64 {
            let spec = JobSpec { subject: subject(tag), ..spec.clone() };
            desk.step(enqueue(u64::MAX - tag, spec));
        }
        let out = desk.hear(2, Message::Steal { ask: u64::MAX });
        let grant = out.iter().find_map(|output| {
            let Output::Send { message: message @ Message::Grant { jobs, .. }, .. } = output else {
                return None;
            };
            Some((jobs.len(), message.encode().expect("it fits").len()))
        });
        let (jobs, bytes) = grant.expect("an answer");
        assert!(jobs > WORK_GRANT_JOBS_MAX / 2, "{jobs} jobs in {bytes} bytes");
    }
}

#[test]
fn whoever_waits_searches_anew_when_there_is_another_peer() {
    let mut desk = Desk::new();
    let asked = |out: &[Output], peer: u8| {
        out.iter().any(|output| matches!(output, Output::Send { to, .. } if *to == id(peer)))
    };
    desk.step(Input::Peers { peers: vec![id(2)] });
    (0..100).for_each(|_| drop(desk.wait(Duration::from_millis(100))));
    // The same again, or one less, is no reason.
    assert!(!asked(&desk.step(Input::Peers { peers: vec![id(2)] }), 2));
    assert!(!asked(&desk.step(Input::Peers { peers: vec![] }), 2));
    assert!(asked(&desk.step(Input::Peers { peers: vec![id(3)] }), 3));
}

#[test]
fn whoever_is_told_of_work_comes_for_it_when_it_has_time() {
    let mut desk = Desk::new();
    desk.step(Input::Peers { peers: vec![id(2), id(3)] });
    let lease = desk.begin();
    let load = Load { jobs: 1, bytes: 1, bytes_per_s: 0 };
    let steals = |out: &[Output]| {
        out.iter().any(|output| matches!(output, Output::Send { to, message: Message::Steal { .. } } if *to == id(2)))
    };
    assert!(!steals(&desk.hear(2, Message::Load { ask: 0, load })), "it is busy");
    assert!(!steals(&desk.hear(9, Message::Load { ask: 0, load })), "nobody knows that peer");
    assert!(steals(&desk.finish(lease, Outcome::Done)));
}

// ---- Bytes ---------------------------------------------------------------------------------

fn messages() -> Vec<(&'static str, Message)> {
    let load = Load { jobs: 300, bytes: 301, bytes_per_s: 302 };
    let lease = LeaseName { job: lent(300).job.id, token: 301 };
    let failed = Outcome::Failed { reason: "no such luck".to_owned() };
    let ends = [Outcome::Done, failed, Outcome::Returned];
    let done = ends.map(|outcome| Done { lease, outcome }).to_vec();
    vec![
        ("Load", Message::Load { ask: 300, load }),
        ("Steal", Message::Steal { ask: 300 }),
        ("Wait", Message::Wait { ask: 300 }),
        ("Grant", Message::Grant { ask: 300, number: 3, jobs: vec![lent(300)], reach: 301 }),
        ("Report", Message::Report { done, held: vec![lease] }),
        ("Lost", Message::Lost { leases: vec![lease] }),
        ("Seek", Message::Seek { ask: 300, thief: id(2), more: 3 }),
    ]
}

fn rows() -> Vec<Row> {
    let kinds = JobKind::ALL.into_iter().enumerate();
    let row = |(number, kind): (usize, JobKind)| {
        let block = Subject::Block(Cid::of(Codec::Raw, b"x"));
        let subject = [block, Subject::Partition(300), Subject::Everything][number % 3];
        let priority = [Priority::Urgent, Priority::Normal, Priority::Idle][number % 3];
        let holder = (number % 2 == 1).then(|| id(9));
        let payload = vec![7; number];
        let spec = JobSpec { kind, priority, subject, holder, bytes: 300, payload };
        let dead = RowState::Dead { reason: "no such luck".to_owned() };
        let state = if number % 2 == 0 { RowState::Waiting } else { dead };
        Row { job: Job { spec, attempts: 3, ..lent(300).job }, state }
    };
    kinds.map(row).collect()
}

#[test]
fn golden_bytes_are_as_they_were() {
    use core::fmt::Write as _;
    let mut found = String::new();
    let mut line = |kind: &str, name: &str, bytes: &[u8]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(found, "{kind} {name} {hex}").unwrap();
    };
    for (name, message) in messages() {
        let bytes = message.encode().unwrap();
        assert_eq!(Message::decode(&bytes), Ok(message));
        line("work_message", name, &bytes);
    }
    for row in rows() {
        let bytes = row.encode().unwrap();
        line("work_row", row.job.spec.kind.name(), &bytes);
        assert_eq!(Row::decode(&bytes), Ok(row));
    }
    assert!(found == include_str!("golden.txt"), "\n{found}");
}

#[test]
fn what_is_beyond_a_bound_or_of_another_version_is_refused() {
    let lease = LeaseName { job: lent(1).job.id, token: 1 };
    let grant = |number, lent| Message::Grant { ask: 1, number, jobs: vec![lent], reach: 1 };
    let long_lease = Lent { lease_ms: 30_001, ..lent(1) };
    let mut huge = lent(1);
    huge.job.spec.bytes = JOB_MOVES_BYTES_MAX + 1;
    let reason = "x".repeat(WORK_REASON_BYTES_MAX + 1);
    let failed = Done { lease, outcome: Outcome::Failed { reason } };
    let beyond = [
        grant(WORK_ANSWERS_MAX, lent(1)),
        grant(0, long_lease),
        grant(0, huge),
        Message::Seek { ask: 1, thief: id(3), more: WORK_SEEK_PEERS_MAX },
        Message::Report { done: vec![failed], held: Vec::new() },
        Message::Lost { leases: vec![lease; WORK_REPORT_JOBS_MAX + 1] },
    ];
    let mut desk = Desk::new();
    for message in beyond {
        let decoded = Message::decode(&message.encode().unwrap());
        assert!(matches!(decoded, Err(FormatError::Malformed { .. })), "{message:?}");
        assert_eq!(desk.hear(2, message), []);
    }
    let mut later = Message::Steal { ask: 1 }.encode().unwrap().to_vec();
    later[0] = 2;
    let refused = FormatError::Version { what: "message about work", found: 2 };
    assert_eq!(Message::decode(&later), Err(refused));
}
