//! One queue at a time: order, bounds, attempts, and jobs that are taken out.

use super::testing::{Desk, begun, enqueue, id, replicate, spec, with_one_lent};
use super::{
    Change, Input, JobKind, JobSpec, Message, Outcome, Output, Priority, RowState, Subject,
};
use crate::limits::{
    JOB_MOVES_BYTES_MAX, JOB_PAYLOAD_BYTES_MAX, PARTITIONS, WORK_ATTEMPTS_MAX, WORK_BUSY_PAUSE,
    WORK_JOBS_MAX, WORK_REASON_BYTES_MAX, WORK_RETRY_PAUSE, WORK_RETRY_PAUSE_MAX,
};
use crate::{Kind, Prng};

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
