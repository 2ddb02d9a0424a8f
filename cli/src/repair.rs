//! `shoal repair`: how lost copies come back. They do so without being told. `shoal scrub`: how everything is read again
//! to find what rotted.

use protocol::api::{RepairStatus, ScrubProgress};
use reqwest::Method;

use crate::args::{RepairCommand, ScrubCommand};
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output;
use crate::question::Question;

/// Shows how repair stands at the first peer that answers, for the part of the blocks that it sees to.
///
/// # Errors
/// The most telling of the peers' refusals.
pub(crate) async fn run(
    endpoints: &Endpoints,
    what: &RepairCommand,
    json: bool,
) -> Result<(), Failure> {
    match what {
        RepairCommand::Status => {
            let status = status(endpoints).await?;
            if json {
                return output::json(&status);
            }
            output::line(&summary(&status))?;
            output::line(&scrub_summary(&status.scrub))
        }
    }
}

/// Shows or starts the scrub of the first peer that answers.
///
/// # Errors
/// The most telling of the peers' refusals.
pub(crate) async fn scrub(
    endpoints: &Endpoints,
    what: &ScrubCommand,
    json: bool,
) -> Result<(), Failure> {
    match what {
        ScrubCommand::Start => {
            let question = Question::change(Method::POST, "repair/scrub", "start a scrub");
            question.tell(endpoints).await?;
            if json { output::json(&status(endpoints).await?.scrub) } else { Ok(()) }
        }
        ScrubCommand::Status => {
            let progress = status(endpoints).await?.scrub;
            if json { output::json(&progress) } else { output::line(&scrub_summary(&progress)) }
        }
    }
}

async fn status(endpoints: &Endpoints) -> Result<RepairStatus, Failure> {
    Ok(Question::get("repair", "read how repair stands").ask(endpoints).await?)
}

fn scrub_summary(progress: &ScrubProgress) -> String {
    let left = seconds(progress.left_ms);
    let present = if progress.rate_bytes_per_s == 0 {
        format!("next pass in {left}")
    } else {
        let tenths = progress.done_millionths / 1000;
        format!(
            "{}.{} % of this pass  rate {}/s  left {left}",
            tenths / 10,
            tenths % 10,
            output::bytes_text(progress.rate_bytes_per_s)
        )
    };
    format!(
        "scrub: {present}  passes {}  read {} blocks ({})  corrupt {}  written anew {}",
        progress.passes,
        progress.blocks,
        output::bytes_text(progress.bytes),
        progress.blocks_corrupt,
        progress.blocks_repaired,
    )
}

/// Returns a time as people read it, in whole seconds, rounded up: `90 s`.
pub(crate) fn seconds(millis: u64) -> String {
    format!("{} s", millis.div_ceil(1000))
}

fn summary(status: &RepairStatus) -> String {
    let mut more = if status.is_more { "  not all compared yet" } else { "" }.to_owned();
    if status.copies_given_up > 0 {
        more += &format!("  given up {} copies: see shoal queue", status.copies_given_up);
    }
    if status.blocks_missing_copies == 0 {
        return format!("no block is known to lack copies{more}");
    }
    let copies = status.blocks_by_missing_copies.iter().zip(1..);
    let copies = copies.filter(|(blocks, _)| **blocks > 0);
    let copies: Vec<String> =
        copies.map(|(blocks, copies)| format!("{blocks} lack {copies}")).collect();
    let left = match status.left_ms {
        Some(millis) => seconds(millis),
        None => "-".to_owned(),
    };
    format!(
        "blocks that lack copies {} ({})  to copy {}  rate {}/s  left {left}{more}",
        status.blocks_missing_copies,
        copies.join(", "),
        output::bytes_text(status.bytes_missing),
        output::bytes_text(status.rate_bytes_per_s),
    )
}

#[cfg(test)]
mod tests {
    use protocol::api::{RepairStatus, ScrubProgress};

    use super::{scrub_summary, summary};

    #[test]
    fn a_line_tells_how_far_the_scrub_is_or_when_it_begins() {
        let waiting = ScrubProgress { left_ms: 90_000, passes: 2, ..ScrubProgress::default() };
        let shown = scrub_summary(&waiting);
        assert!(shown.contains("next pass in 90 s") && shown.contains("passes 2"), "{shown}");
        let reading = ScrubProgress {
            done_millionths: 123_456,
            rate_bytes_per_s: 2048,
            blocks_corrupt: 7,
            ..waiting
        };
        let shown = scrub_summary(&reading);
        assert!(shown.contains("12.3 % of this pass") && shown.contains("corrupt 7"), "{shown}");
    }

    #[test]
    fn a_line_tells_what_lacks_and_whether_that_is_all() {
        let done = RepairStatus { left_ms: Some(0), ..RepairStatus::default() };
        assert_eq!(summary(&done), "no block is known to lack copies");
        let begun = RepairStatus { is_more: true, ..done.clone() };
        assert_eq!(summary(&begun), "no block is known to lack copies  not all compared yet");
        let lost = RepairStatus { copies_given_up: 5, is_more: false, ..begun.clone() };
        let told = "no block is known to lack copies  given up 5 copies: see shoal queue";
        assert_eq!(summary(&lost), told);
        let lacking = RepairStatus {
            blocks_missing_copies: 5,
            bytes_missing: 2048,
            rate_bytes_per_s: 1024,
            left_ms: Some(1_500),
            blocks_by_missing_copies: vec![4, 0, 1],
            ..RepairStatus::default()
        };
        let shown = summary(&lacking);
        assert!(shown.contains("5 (4 lack 1, 1 lack 3)") && shown.contains("left 2 s"), "{shown}");
    }
}
