//! Survival: a file uploaded through one of five peers outlives the loss of any two of them, that one among
//! them; ranges are slices; nobody needs much memory for it.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use protocol::Prng;
use serde::Serialize;

use super::client;
use super::report::Table;
use super::scratch::{Scratch, compare};
use crate::content::Content;
use crate::harness::{Testnet, UpOptions};
use crate::process;

/// Bytes of the file unless told otherwise.
pub(super) const SIZE_DEFAULT: u64 = 2 << 30;

/// Most resident memory that a daemon may ever have.
const DAEMON_PEAK_BYTES_MAX: u64 = 300 << 20;

/// Most resident memory that the client may ever have.
const CLIENT_PEAK_BYTES_MAX: u64 = 100 << 20;

/// The peer that is uploaded through.
const GATEWAY: &str = "a0";

/// Pairs that are killed, and who is asked then.
const PAIRS: [([&str; 2], &str); 4] = [
    ([GATEWAY, "a1"], "a2"),
    ([GATEWAY, "a2"], "a3"),
    ([GATEWAY, "a4"], "a1"),
    // One without the gateway: it is no better or worse than the others.
    (["a2", "a3"], "a4"),
];

/// Random ranges that are read.
const RANGES: usize = 50;

/// Longest random range, in bytes: over several chunks.
const RANGE_BYTES_MAX: u64 = 5 << 20;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Survival {
    size_bytes: u64,
    cid: String,
    survived: Vec<Survived>,
    ranges_equal: usize,
    /// By name; the largest over its lives.
    daemons_peak_bytes: BTreeMap<String, u64>,
    client_peak_bytes: BTreeMap<&'static str, u64>,
    holds: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Survived {
    killed: [&'static str; 2],
    asked: &'static str,
    mb_per_s: f64,
}

/// Uploads, kills, downloads and compares.
///
/// # Errors
/// A daemon or the client failed, or a wrong byte came back. Memory beyond a bound is no error: see
/// [`Survival::holds`].
pub(super) async fn run(scratch: &Scratch, size: u64) -> anyhow::Result<Survival> {
    let content = Content { seed: 2, size };
    let source = scratch.write("source", content)?;
    let options = UpOptions { nodes: vec![5], replicas: 3, ..UpOptions::default() };
    let mut net = Testnet::up(&scratch.path().join("net"), &options).await?;
    let mut found = Survival { size_bytes: size, ..Survival::default() };
    let survived = async {
        let (cid, run) = client::upload(url_of(&net, GATEWAY)?, &source).await?;
        found.note_client("upload", run.peak_bytes);
        found.cid = cid;
        for (killed, asked) in PAIRS {
            found.lose(scratch, &mut net, content, killed, asked).await?;
        }
        found.read_ranges(&net, content).await?;
        found.note_daemons(&net);
        anyhow::Ok(())
    }
    .await;
    // Daemons do not outlive the benchmark, whatever happened.
    net.down()?;
    std::fs::remove_file(&source)?;
    survived?;
    found.holds = found.is_within_bounds();
    Ok(found)
}

fn url_of<'a>(net: &'a Testnet, name: &str) -> anyhow::Result<&'a str> {
    Ok(&net.state().node(name)?.http)
}

impl Survival {
    /// Says whether everybody stayed within the bounds of memory.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// Kills a pair, downloads from another and compares, and starts the pair again.
    async fn lose(
        &mut self,
        scratch: &Scratch,
        net: &mut Testnet,
        content: Content,
        killed: [&'static str; 2],
        asked: &'static str,
    ) -> anyhow::Result<()> {
        // The kernel forgets the peak of a process with the process.
        self.note_daemons(net);
        for name in killed {
            net.kill(name)?;
        }
        let target = scratch.path().join("target");
        let run = client::download(url_of(net, asked)?, &self.cid, &target)
            .await
            .with_context(|| format!("{killed:?} were killed, {asked} was asked"))?;
        compare(&target, content)?;
        std::fs::remove_file(&target)?;
        self.note_client("download", run.peak_bytes);
        let mb_per_s = content.size as f64 / run.elapsed_s / 1e6;
        self.survived.push(Survived { killed, asked, mb_per_s });
        net.restart_all(&killed).await
    }

    async fn read_ranges(&mut self, net: &Testnet, content: Content) -> anyhow::Result<()> {
        let mut prng = Prng::new(content.size);
        let names = ["a0", "a1", "a2", "a3", "a4"];
        for name in names.iter().cycle().take(RANGES) {
            let first = prng.below(content.size);
            let end = content.size.min(first + 1 + prng.below(RANGE_BYTES_MAX));
            let run = client::range(url_of(net, name)?, &self.cid, first, end - 1).await?;
            if run.stdout != content.slice(first, end) {
                bail!("bytes {first} to {} from {name} are wrong", end - 1);
            }
            self.note_client("range", run.peak_bytes);
            self.ranges_equal += 1;
        }
        Ok(())
    }

    fn note_daemons(&mut self, net: &Testnet) {
        for node in net.state().clusters.iter().flat_map(|cluster| &cluster.nodes) {
            let peak = self.daemons_peak_bytes.entry(node.name.clone()).or_insert(0);
            *peak = process::peak_bytes(node.pid).unwrap_or(0).max(*peak);
        }
    }

    fn note_client(&mut self, what: &'static str, peak_bytes: u64) {
        let peak = self.client_peak_bytes.entry(what).or_insert(0);
        *peak = peak_bytes.max(*peak);
    }

    fn is_within_bounds(&self) -> bool {
        let within = |peak: &u64, max| (1..max).contains(peak);
        self.daemons_peak_bytes.values().all(|peak| within(peak, DAEMON_PEAK_BYTES_MAX))
            && self.client_peak_bytes.values().all(|peak| within(peak, CLIENT_PEAK_BYTES_MAX))
    }

    /// Returns the results as tables.
    pub(super) fn tables(&self) -> Vec<Table> {
        let title = format!("survival: {} bytes through {GATEWAY}, 5 peers, R=3", self.size_bytes);
        let mut lost = Table::new(title, &["killed", "downloaded from", "MB/s", "bytes"]);
        for Survived { killed, asked, mb_per_s } in &self.survived {
            let [one, other] = killed;
            lost.row([
                format!("{one}, {other}"),
                (*asked).to_owned(),
                format!("{mb_per_s:.0}"),
                "identical".to_owned(),
            ]);
        }
        lost.remark(format!(
            "{} random ranges equal the same slices of the file",
            self.ranges_equal
        ));
        let mut memory = Table::new("peak resident memory", &["", "MiB", "bound", ""]);
        let mut add = |name: String, peak: u64, max: u64| {
            let verdict = if (1..max).contains(&peak) { "pass" } else { "FAIL" };
            let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
            memory.row([name, mib(peak), mib(max), verdict.to_owned()]);
        };
        for (name, peak) in &self.daemons_peak_bytes {
            add(format!("daemon {name}"), *peak, DAEMON_PEAK_BYTES_MAX);
        }
        for (what, peak) in &self.client_peak_bytes {
            add(format!("client, {what}"), *peak, CLIENT_PEAK_BYTES_MAX);
        }
        vec![lost, memory]
    }
}

#[cfg(test)]
mod tests {
    use super::{CLIENT_PEAK_BYTES_MAX, DAEMON_PEAK_BYTES_MAX, Survival};

    #[test]
    fn memory_beyond_a_bound_or_not_measured_fails() {
        let found = |daemon: u64, client: u64| Survival {
            daemons_peak_bytes: [("a0".to_owned(), daemon)].into(),
            client_peak_bytes: [("upload", client)].into(),
            ..Survival::default()
        };
        assert!(found(1, 1).is_within_bounds());
        for wrong in [
            found(DAEMON_PEAK_BYTES_MAX, 1),
            found(1, CLIENT_PEAK_BYTES_MAX),
            found(0, 1),
            found(1, 0),
        ] {
            assert!(!wrong.is_within_bounds(), "{wrong:?}");
            assert!(wrong.tables().iter().any(|table| table.to_string().contains("FAIL")));
        }
    }
}
