//! Throughput: one file up and down again through the real client, beside the raw speed of the machine.
//!
//! Whatever is moved, hashed or written for one byte of the file is counted; a raw speed divided by that count
//! bounds the transfer, and the lowest bound is what it is compared with. Files are in the page cache when
//! they are read, in every case, and what is dirty is written out before the clock starts.
//! Never: reuses a daemon or a file, since a block that is there already is not sent again.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::client::{self, Run};
use super::raw::{self, Raw};
use super::report::{Table, median};
use super::scratch::{Scratch, compare};
use crate::content::Content;
use crate::harness::{NodeState, Testnet, UpOptions};
use crate::process;

/// Bytes of the file unless told otherwise.
pub(super) const SIZE_DEFAULT: u64 = 1 << 30;

/// How long daemons may go on with what a transfer left to do, before their time is taken.
const SETTLE: Duration = Duration::from_millis(300);

const GIB: f64 = (1_u64 << 30) as f64;
const MB: f64 = 1e6;

/// Peers and copies that are measured.
const SETUPS: [Setup; 2] = [Setup { peers: 1, replicas: 1 }, Setup { peers: 3, replicas: 3 }];

/// A cluster in which every peer holds everything: as many peers as copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Setup {
    peers: u8,
    replicas: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Upload,
    Download,
}

/// Bytes per byte of the file, over all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Moved {
    /// Through sockets: HTTP, and copies between peers.
    network: u8,
    /// Through SHA-256, by whoever relies on the bytes.
    hashed: u8,
    /// To files.
    written: u8,
}

/// What one transfer took.
#[derive(Clone, Debug)]
struct Sample {
    bytes_per_s: f64,
    client_cpu_s: f64,
    client_peak_bytes: u64,
    daemons_cpu_s: Vec<f64>,
}

/// Medians of what was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Throughput {
    size_bytes: u64,
    repetitions: u32,
    raw: RawRow,
    transfers: Vec<Transfer>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct RawRow {
    loopback_mb_per_s: f64,
    sha256_mb_per_s: f64,
    disk_mb_per_s: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Transfer {
    direction: Direction,
    #[serde(flatten)]
    setup: Setup,
    mb_per_s: f64,
    moved: Moved,
    /// The raw figure that bounds it most.
    slowest: &'static str,
    bound_mb_per_s: f64,
    ratio: f64,
    client_cpu_s_per_gib: f64,
    client_peak_bytes: u64,
    /// The peer that the client talks to first.
    daemons_cpu_s_per_gib: Vec<f64>,
}

/// Measures every setup `repetitions` times, and the raw figures as often.
///
/// # Errors
/// A daemon or the client failed, or a wrong byte came back.
pub(super) async fn run(
    scratch: &Scratch,
    size: u64,
    repetitions: u32,
) -> anyhow::Result<Throughput> {
    let mut raws = Vec::new();
    let mut samples: Vec<(Setup, [Sample; 2])> = Vec::new();
    for repetition in 0..repetitions {
        raws.push(raw::measure(scratch.path(), size).await?);
        for setup in SETUPS {
            let content = Content { seed: repetition, size };
            samples.push((setup, measure(scratch, setup, content).await?));
        }
    }
    let of_raw = |figure: fn(&Raw) -> f64| median(raws.iter().map(figure)) / MB;
    let raw = RawRow {
        loopback_mb_per_s: of_raw(|raw| raw.loopback),
        sha256_mb_per_s: of_raw(|raw| raw.sha256),
        disk_mb_per_s: of_raw(|raw| raw.disk),
    };
    let mut transfers = Vec::new();
    for (direction, position) in [(Direction::Upload, 0), (Direction::Download, 1)] {
        for setup in SETUPS {
            let of_setup = samples.iter().filter(|(other, _)| *other == setup);
            let samples: Vec<&Sample> = of_setup.map(|(_, both)| &both[position]).collect();
            transfers.push(Transfer::of(direction, setup, size, &samples, raw));
        }
    }
    Ok(Throughput { size_bytes: size, repetitions, raw, transfers })
}

/// Uploads and downloads once, over fresh daemons.
async fn measure(scratch: &Scratch, setup: Setup, content: Content) -> anyhow::Result<[Sample; 2]> {
    let source = scratch.write("source", content)?;
    let options = UpOptions {
        nodes: vec![setup.peers.into()],
        replicas: setup.replicas,
        ..UpOptions::default()
    };
    let net = Testnet::up(&scratch.path().join("net"), &options).await?;
    let target = scratch.path().join("target");
    let both = async {
        let nodes = &net.state().clusters.first().context("there is no cluster")?.nodes;
        let url = &nodes.first().context("there is no node")?.http;
        let (cid, upload) = timed(nodes, content.size, async {
            client::upload(url, &source).await.map(|(cid, run)| (Some(cid), run))
        })
        .await?;
        let cid = cid.context("there is no CID")?;
        let (_, download) = timed(nodes, content.size, async {
            client::download(url, &cid, &target).await.map(|run| (None::<String>, run))
        })
        .await?;
        compare(&target, content)?;
        Ok([upload, download])
    }
    .await;
    // Daemons do not outlive the benchmark, whatever happened.
    net.down()?;
    std::fs::remove_file(&source)?;
    drop(std::fs::remove_file(&target));
    both
}

/// Takes the time of a transfer, and the processor time of all that have a part in it.
async fn timed<T>(
    nodes: &[NodeState],
    size: u64,
    transfer: impl Future<Output = anyhow::Result<(T, Run)>>,
) -> anyhow::Result<(T, Sample)> {
    // Writing out what came before is not part of what is measured.
    rustix::fs::sync();
    let cpu_s = || nodes.iter().map(|node| process::cpu_s(node.pid).unwrap_or(0.0));
    let before: Vec<f64> = cpu_s().collect();
    let (result, run) = transfer.await?;
    settle().await;
    let sample = Sample {
        bytes_per_s: size as f64 / run.elapsed_s,
        client_cpu_s: run.cpu_s,
        client_peak_bytes: run.peak_bytes,
        daemons_cpu_s: cpu_s().zip(before).map(|(after, before)| after - before).collect(),
    };
    Ok((result, sample))
}

#[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
async fn settle() {
    tokio::time::sleep(SETTLE).await;
}

impl Moved {
    /// Returns what a transfer moves when every peer holds everything.
    fn by(direction: Direction, setup: Setup) -> Self {
        let others = setup.replicas - 1;
        match direction {
            // HTTP, then a copy to every other peer; hashed by the client, by the peer it talks to, and by
            // every other peer before it keeps the copy.
            Direction::Upload => {
                Self { network: 1 + others, hashed: 2 + others, written: setup.replicas }
            }
            // The peer that is asked holds everything: HTTP only; hashed by it and by the client, which
            // writes the file.
            Direction::Download => Self { network: 1, hashed: 2, written: 1 },
        }
    }

    /// Returns the speed that the raw figures allow, and the one that allows least.
    fn bound(self, raw: RawRow) -> (f64, &'static str) {
        let bounds = [
            (raw.loopback_mb_per_s / f64::from(self.network), "loopback"),
            (raw.sha256_mb_per_s / f64::from(self.hashed), "sha256"),
            (raw.disk_mb_per_s / f64::from(self.written), "disk"),
        ];
        bounds.into_iter().fold(
            (f64::INFINITY, ""),
            |least, bound| {
                if bound.0 < least.0 { bound } else { least }
            },
        )
    }
}

impl Transfer {
    fn of(direction: Direction, setup: Setup, size: u64, samples: &[&Sample], raw: RawRow) -> Self {
        let of = |figure: &dyn Fn(&Sample) -> f64| median(samples.iter().map(|s| figure(s)));
        let gib = size as f64 / GIB;
        let moved = Moved::by(direction, setup);
        let (bound_mb_per_s, slowest) = moved.bound(raw);
        let mb_per_s = of(&|sample| sample.bytes_per_s) / MB;
        let daemon = |index: usize| {
            of(&|sample| sample.daemons_cpu_s.get(index).copied().unwrap_or(0.0)) / gib
        };
        Self {
            direction,
            setup,
            mb_per_s,
            moved,
            slowest,
            bound_mb_per_s,
            ratio: mb_per_s / bound_mb_per_s,
            client_cpu_s_per_gib: of(&|sample| sample.client_cpu_s) / gib,
            client_peak_bytes: samples.iter().map(|s| s.client_peak_bytes).max().unwrap_or(0),
            daemons_cpu_s_per_gib: (0..setup.peers.into()).map(daemon).collect(),
        }
    }
}

impl Throughput {
    /// Returns the results as tables.
    pub(super) fn tables(&self) -> Vec<Table> {
        let what = format!("{} bytes, medians of {}", self.size_bytes, self.repetitions);
        let mut raw = Table::new(format!("raw speed of this machine: {what}"), &["", "MB/s"]);
        raw.row(["loopback TCP, one stream".into(), format!("{:.0}", self.raw.loopback_mb_per_s)]);
        raw.row(["SHA-256, one core".into(), format!("{:.0}", self.raw.sha256_mb_per_s)]);
        raw.row(["disk, sequential, synced".into(), format!("{:.0}", self.raw.disk_mb_per_s)]);
        let mut speed = Table::new(
            format!("throughput: {what}"),
            &["", "MB/s", "net", "hash", "disk", "bound", "MB/s", "ratio", "client", "peers"],
        );
        for transfer in &self.transfers {
            let Setup { peers, replicas } = transfer.setup;
            let name = match transfer.direction {
                Direction::Upload => "upload",
                Direction::Download => "download",
            };
            let daemons = transfer.daemons_cpu_s_per_gib.iter().map(|cpu_s| format!("{cpu_s:.2}"));
            speed.row([
                format!("{name}, {peers} peers, R={replicas}"),
                format!("{:.0}", transfer.mb_per_s),
                transfer.moved.network.to_string(),
                transfer.moved.hashed.to_string(),
                transfer.moved.written.to_string(),
                transfer.slowest.to_owned(),
                format!("{:.0}", transfer.bound_mb_per_s),
                format!("{:.2}", transfer.ratio),
                format!("{:.2}", transfer.client_cpu_s_per_gib),
                daemons.collect::<Vec<_>>().join(" + "),
            ]);
        }
        speed.remark(
            "net, hash, disk: bytes through sockets, SHA-256 and files per byte of the file",
        );
        speed.remark("bound: the least of raw speed / bytes; ratio: MB/s of the transfer / bound");
        speed.remark("client, peers: processor seconds per GiB of the file");
        vec![raw, speed]
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, Moved, RawRow, Setup};

    #[test]
    fn the_bound_is_the_slowest_resource_per_byte_moved() {
        let raw =
            RawRow { loopback_mb_per_s: 3000.0, sha256_mb_per_s: 2000.0, disk_mb_per_s: 1800.0 };
        let three = Setup { peers: 3, replicas: 3 };
        let upload = Moved::by(Direction::Upload, three);
        assert_eq!(upload, Moved { network: 3, hashed: 4, written: 3 });
        assert_eq!(upload.bound(raw), (500.0, "sha256"));
        assert_eq!(upload.bound(RawRow { disk_mb_per_s: 300.0, ..raw }), (100.0, "disk"));
        let one = Moved::by(Direction::Upload, Setup { peers: 1, replicas: 1 });
        assert_eq!(one, Moved { network: 1, hashed: 2, written: 1 });
        assert_eq!(Moved::by(Direction::Download, three), one);
    }
}
