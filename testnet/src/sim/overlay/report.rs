//! The table: one row for each number of peers, what its columns mean, and what the model leaves out.
//!
//! Never: looks anything up; [`super::row`] does.

use std::io::Write;

use super::row::{FOUND_MIN, PATIENCE_MS, Plan, Row, STALE_MIN, Spread, measure};

/// Numbers of peers that are left after some went.
const PEERS: [u32; 3] = [1_000, 10_000, 100_000];

/// Lookups in each network: enough that a share of 1 % that fails is known to a seventh of it.
const LOOKUPS: u32 = 5_000;

/// Decides all chance.
const SEED: u64 = 1;

/// What the columns mean, and what is not in them.
const NOTES: &[&str] = &[
    "entries: of a table, on average; stale: the share of them whose peers are gone",
    "hops: requests in a row to the farthest answer, for each lookup; requests: all of a lookup; gone: those to peers that are gone",
    "seconds: until a lookup ends, with 0.1 s for an answer and 10 s for a peer that is gone and silent",
    "closest: lookups that ended with the closest living peer; all 20: with all 20 that are",
    "record: lookups that asked one of the peers that the publisher's lookup had found before peers went",
    "in 10 s: those that had found the closest, and a record, when the daemon gives up",
    "left out, which makes it look worse than it is:",
    "  nobody notices who is gone: a daemon refreshes its table each minute, and one that came later takes the place of a silent peer",
    "  all that are gone are silent: where only the daemon stopped, the dial is refused at once",
    "left out, which makes it look better than it is:",
    "  peers go at once, all equally likely; nobody comes, goes or changes tables during lookups",
    "  nobody lies, no message is lost, everybody reaches everybody; all round trips are equal",
    "  a refresh finds the closest peers of all without the way to them; each peer refreshed once, after all had joined",
    "  everybody answers at once, whatever the limits of its connections; addresses are known",
    "left out besides: ids have 64 bits and are drawn, where those of peers are hashes of 256",
    "a record is a model of a provider's: the daemon keeps none for others so far",
];

/// Prints the figures of every size and says whether all targets hold.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(out: &mut dyn Write) -> anyhow::Result<bool> {
    print(&PEERS, LOOKUPS, out)
}

fn print(sizes: &[u32], lookups: u32, out: &mut dyn Write) -> anyhow::Result<bool> {
    writeln!(
        out,
        "overlay: {lookups} lookups at each size, after 26 of 100 peers went; median/p99/max"
    )?;
    writeln!(
        out,
        "targets: closest >= {0} %, record >= {0} %, with stale >= {1} %",
        FOUND_MIN * 100.0,
        STALE_MIN * 100.0
    )?;
    writeln!(
        out,
        "{:>7} {:>7} {:>6} | {:>8} {:>8} | {:>12} {:>10} {:>16} | {:>8} {:>8} {:>8} | {:>15} |",
        "peers",
        "entries",
        "stale",
        "hops",
        "log2",
        "requests",
        "gone",
        "seconds",
        "closest",
        "all 20",
        "record",
        format!("in {} s", PATIENCE_MS / 1_000)
    )?;
    let mut all_hold = true;
    for living in sizes {
        let row = measure(&Plan::a_quarter_gone(*living, lookups, SEED));
        all_hold &= row.holds();
        print_row(&row, out)?;
        out.flush()?;
    }
    for note in NOTES {
        writeln!(out, "{note}")?;
    }
    writeln!(out, "{}", if all_hold { "all targets hold" } else { "a target is missed" })?;
    Ok(all_hold)
}

fn print_row(row: &Row, out: &mut dyn Write) -> anyhow::Result<()> {
    let counts = |spread: Spread| format!("{}/{}/{}", spread.median, spread.p99, spread.max);
    let seconds = |millis: u64| millis as f64 / 1e3;
    let took = row.took_ms;
    let took = format!("{}/{}/{}", seconds(took.median), seconds(took.p99), seconds(took.max));
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    writeln!(
        out,
        "{:>7} {:>7.1} {:>4.1} % | {:>8} {:>8.1} | {:>12} {:>10} {:>16} | {:>8} {:>8} {:>8} | {:>15} | {}",
        row.living,
        row.entries,
        row.stale * 100.0,
        counts(row.hops),
        f64::from(row.living).log2(),
        counts(row.requests),
        counts(row.timeouts),
        took,
        percent(row.closest),
        percent(row.all),
        percent(row.record),
        format!("{} {}", percent(row.closest_in_time), percent(row.record_in_time)),
        if row.holds() { "ok" } else { "MISSED" }
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::print;

    #[test]
    fn the_same_is_printed_twice_with_a_row_for_each_size() {
        let run = || {
            let mut out = Vec::new();
            let holds = print(&[100, 300], 200, &mut out).unwrap();
            (holds, String::from_utf8(out).unwrap())
        };
        let (holds, text) = run();
        assert!(holds, "{text}");
        assert_eq!(text.lines().filter(|line| line.ends_with("| ok")).count(), 2, "{text}");
        assert_eq!(run(), (holds, text));
    }

    #[test]
    fn networks_too_small_to_look_things_up_in_are_no_error() {
        let mut out = Vec::new();
        assert!(print(&[1, 2], 10, &mut out).is_ok());
    }
}
