//! `shoal repair`: how lost copies come back. They do so without being told.

use protocol::api::RepairStatus;

use crate::args::RepairCommand;
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
            let status: RepairStatus =
                Question::get("repair", "read how repair stands").ask(endpoints).await?;
            if json { output::json(&status) } else { output::line(&summary(&status)) }
        }
    }
}

fn summary(status: &RepairStatus) -> String {
    let more = if status.is_more { "  not all compared yet" } else { "" };
    if status.blocks_missing_copies == 0 {
        return format!("no block is known to lack copies{more}");
    }
    let copies = status.blocks_by_missing_copies.iter().zip(1..);
    let copies = copies.filter(|(blocks, _)| **blocks > 0);
    let copies: Vec<String> =
        copies.map(|(blocks, copies)| format!("{blocks} lack {copies}")).collect();
    let left = match status.left_ms {
        Some(millis) => format!("{} s", millis.div_ceil(1000)),
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
    use protocol::api::RepairStatus;

    use super::summary;

    #[test]
    fn a_line_tells_what_lacks_and_whether_that_is_all() {
        let done = RepairStatus { left_ms: Some(0), ..RepairStatus::default() };
        assert_eq!(summary(&done), "no block is known to lack copies");
        let begun = RepairStatus { is_more: true, ..done };
        assert_eq!(summary(&begun), "no block is known to lack copies  not all compared yet");
        let lacking = RepairStatus {
            blocks_missing_copies: 5,
            bytes_missing: 2048,
            rate_bytes_per_s: 1024,
            left_ms: Some(1_500),
            blocks_by_missing_copies: vec![4, 0, 1],
            is_more: false,
        };
        let shown = summary(&lacking);
        assert!(shown.contains("5 (4 lack 1, 1 lack 3)") && shown.contains("left 2 s"), "{shown}");
    }
}
