//! Work that is found again: the same job twice, its dead letters, and places of its own in the background.

use core::time::Duration;
use std::collections::BTreeSet;

use super::testing::{Desk, begun, enqueue, id, lent, spec};
use super::{
    Change, Input, JobId, JobKind, JobSpec, LeaseName, Lent, Load, Message, Outcome, Output,
    Priority, Subject,
};
use crate::limits::{WORK_DEAD_MAX, WORK_RETRY_PAUSE_MAX};
use crate::{Cid, Codec};

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
