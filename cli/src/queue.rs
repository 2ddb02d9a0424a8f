//! `shoal queue`: the work that waits at a peer, who took some of it, what was given up, and what becomes of that.

use protocol::Kind;
use protocol::api::{DeadLetter, Moved, Queue};
use reqwest::Method;

use crate::args::{Letters, QueueCommand};
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output;
use crate::question::Question;
use crate::repair::seconds;

/// Shows the queue of the first peer that answers, or settles what it gave up.
///
/// # Errors
/// The most telling of the peers' refusals.
pub(crate) async fn run(
    endpoints: &Endpoints,
    what: Option<&QueueCommand>,
    json: bool,
) -> Result<(), Failure> {
    match what {
        None => {
            let queue = queue(endpoints).await?;
            if json {
                return output::json(&queue);
            }
            lines(&queue).iter().try_for_each(|line| output::line(&output::plain(line)))
        }
        Some(QueueCommand::Retry(letters)) => {
            let retry = |job| {
                let (path, doing) = (format!("queue/{job}/retry"), format!("try job {job} again"));
                Question::change(Method::POST, path, doing)
            };
            settle(endpoints, letters, retry, json).await
        }
        Some(QueueCommand::Forget(letters)) => {
            let forget = |job| {
                let (path, doing) = (format!("queue/{job}"), format!("forget job {job}"));
                Question::change(Method::DELETE, path, doing)
            };
            settle(endpoints, letters, forget, json).await
        }
    }
}

async fn queue(endpoints: &Endpoints) -> Result<Queue, Failure> {
    Ok(Question::get("queue", "read the queue").ask(endpoints).await?)
}

/// Asks for something for each of the jobs, and shows the queue after that where JSON is wanted.
async fn settle(
    endpoints: &Endpoints,
    letters: &Letters,
    question: impl Fn(u64) -> Question,
    json: bool,
) -> Result<(), Failure> {
    let jobs = if letters.all {
        let dead = queue(endpoints).await?.dead_letters;
        dead.into_iter().map(|letter| letter.number).collect()
    } else {
        letters.jobs.clone()
    };
    // One that is refused holds up none of the others.
    let mut refused = None;
    let mut settled = 0;
    for job in &jobs {
        match question(*job).tell(endpoints).await {
            Ok(()) => settled += 1,
            // All that are left: this one was settled by somebody else meanwhile.
            Err(fault) if letters.all && fault.kind == Kind::NotFound => {}
            Err(fault) => refused = refused.or(Some(fault)),
        }
    }
    if let Some(mut fault) = refused {
        if jobs.len() > 1 {
            fault.detail =
                format!("{}; {settled} of {} jobs were settled", fault.detail, jobs.len());
        }
        return Err(fault.into());
    }
    if json { output::json(&queue(endpoints).await?) } else { Ok(()) }
}

fn lines(queue: &Queue) -> Vec<String> {
    let mut lines = vec![counts(queue), amount(queue)];
    let kinds = queue.by_kind.iter().filter(|(_, jobs)| **jobs > 0);
    lines.extend(kinds.map(|(kind, jobs)| format!("{kind}: {jobs} jobs")));
    lines.extend(queue.got.iter().map(|got| format!("took from {}: {}", got.peer, moved(got))));
    lines.extend(queue.given.iter().map(|given| format!("{} took: {}", given.peer, moved(given))));
    lines.extend(queue.dead_letters.iter().map(dead_letter));
    lines
}

fn counts(queue: &Queue) -> String {
    format!(
        "{} waiting  {} running  {} taken by others  {} to be tried again  {} given up  {} of others here",
        queue.ready, queue.running, queue.granted, queue.pausing, queue.dead, queue.taken,
    )
}

fn amount(queue: &Queue) -> String {
    let oldest = match queue.oldest_ms {
        Some(millis) => format!("oldest {}", seconds(millis)),
        None => "empty".to_owned(),
    };
    let rate = match queue.rate_bytes_per_s {
        0 => "-".to_owned(),
        rate => format!("{}/s", output::bytes_text(rate)),
    };
    format!("to move {}  {oldest}  rate {rate}", output::bytes_text(queue.bytes))
}

fn moved(moved: &Moved) -> String {
    format!("{} jobs, {}", moved.jobs, output::bytes_text(moved.bytes))
}

fn dead_letter(letter: &DeadLetter) -> String {
    format!(
        "given up: job {}  {}  {}  attempts {}  {}",
        letter.number, letter.kind, letter.subject, letter.attempts, letter.reason,
    )
}

#[cfg(test)]
mod tests {
    use protocol::api::{DeadLetter, Moved, Queue};

    use super::lines;

    #[test]
    fn an_empty_queue_is_two_lines() {
        let shown = lines(&Queue::default());
        let counts = "0 waiting  0 running  0 taken by others  0 to be tried again  0 given up  0 of others here";
        assert_eq!(shown, [counts, "to move 0 B  empty  rate -"]);
    }

    #[test]
    fn a_full_queue_is_told_by_states_kinds_peers_and_what_was_given_up() {
        let moved = |peer: &str, jobs| Moved { peer: peer.to_owned(), jobs, bytes: 2048 };
        let letter = DeadLetter {
            number: 7,
            kind: "repair".to_owned(),
            subject: "partition 3".to_owned(),
            attempts: 8,
            reason: "nobody holds it".to_owned(),
        };
        let queue = Queue {
            peer: "12D3Kab".to_owned(),
            ready: 12,
            pausing: 1,
            running: 2,
            granted: 30,
            dead: 1,
            taken: 4,
            by_kind: [("repair", 5), ("replicate", 40), ("scrub", 0)]
                .map(|(kind, jobs)| (kind.to_owned(), jobs))
                .into(),
            bytes: 4096,
            oldest_ms: Some(89_001),
            rate_bytes_per_s: 1024,
            given: vec![moved("12D3Kac", 30)],
            got: vec![moved("12D3Kad", 4)],
            dead_letters: vec![letter],
        };
        let shown = lines(&queue);
        let expected = [
            "12 waiting  2 running  30 taken by others  1 to be tried again  1 given up  4 of others here",
            "to move 4.00 KiB  oldest 90 s  rate 1.00 KiB/s",
            "repair: 5 jobs",
            "replicate: 40 jobs",
            "took from 12D3Kad: 4 jobs, 2.00 KiB",
            "12D3Kac took: 30 jobs, 2.00 KiB",
            "given up: job 7  repair  partition 3  attempts 8  nobody holds it",
        ];
        assert_eq!(shown, expected);
    }
}
