//! What one queue lends and borrows: leases, tokens across restarts, searches, grants, reports.

use core::time::Duration;
use std::collections::BTreeSet;

use super::testing::{Desk, begun, enqueue, granted, id, lent, replicate, with_one_lent};
use super::waiters::Waiters;
use super::{
    Done, Input, JobSpec, LeaseName, Load, Message, Outcome, Output, Policy, Priority, Subject,
};
use crate::limits::{
    JOB_MOVES_BYTES_MAX, WORK_ANSWERS_MAX, WORK_FADE, WORK_GRANT_JOBS_MAX, WORK_LEASE,
};
use crate::{Cid, Codec, Instant, PeerId};

// ---- Leases --------------------------------------------------------------------------------

/// Returns a queue that runs one job and has lent another to the peer 2.
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

#[test]
fn the_last_job_of_a_queue_is_reported_at_once_and_others_wait_for_more() {
    let mut desk = Desk::new();
    desk.step(Input::Peers { peers: vec![id(2)] });
    let load = Load { jobs: 2, bytes: 2, bytes_per_s: 0 };
    let ask = desk.hear(2, Message::Load { ask: 0, load }).iter().find_map(|output| {
        let Output::Send { message: Message::Steal { ask }, .. } = output else { return None };
        Some(*ask)
    });
    let jobs = vec![lent(1), lent(2)];
    let first = desk.hear(2, Message::Grant { ask: ask.unwrap(), number: 0, jobs, reach: 1 });
    let moment = Duration::from_millis(2);
    let reports = |out: &[Output]| {
        let is_report = |output: &&Output| {
            matches!(output, Output::Send { message: Message::Report { .. }, .. })
        };
        out.iter().filter(is_report).count()
    };

    let next = desk.finish(begun(&first).expect("it is idle"), Outcome::Done);
    assert_eq!(reports(&next) + reports(&desk.wait(moment)), 0, "there is another one");
    let last = desk.finish(begun(&next).expect("it is next"), Outcome::Done);
    assert_eq!(reports(&last) + reports(&desk.wait(moment)), 1, "nothing else is left");
}
