//! The bytes of what a queue stores and sends, and what is refused of them.
//!
//! `golden.txt` has a line for each kind of message and row. A change of a line is a change of the format: it takes a new
//! version, and a decision record. Lines are only added.

use super::testing::{Desk, id, lent};
use super::{
    Done, Job, JobKind, JobSpec, LeaseName, Lent, Load, Message, Outcome, Priority, Row, RowState,
    Subject,
};
use crate::format::FormatError;
use crate::limits::{
    JOB_MOVES_BYTES_MAX, WORK_ANSWERS_MAX, WORK_REASON_BYTES_MAX, WORK_REPORT_JOBS_MAX,
    WORK_SEEK_PEERS_MAX,
};
use crate::{Cid, Codec};

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
