//! The client as people run it: the program `shoal` in a process of its own, timed and weighed.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use serde_json::Value;
use tokio::process::Command;

use crate::harness::tokens;
use crate::process;

/// How often the memory of a running client is looked at. The kernel forgets the peak when the process ends,
/// so what it takes in its last moments is missed; the peak is a maximum, so nothing before that is.
const POLL: Duration = Duration::from_millis(2);

/// What one run of the client took.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// From its start to its end.
    pub(super) elapsed_s: f64,
    /// Processor time, user and system.
    pub(super) cpu_s: f64,
    /// Largest resident memory, in bytes.
    pub(super) peak_bytes: u64,
    /// Its standard output.
    pub(super) stdout: Bytes,
}

/// Returns the program `shoal`: beside this program, as cargo builds them.
fn program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let beside = own.ancestors().skip(1).take(2).map(|dir| dir.join("shoal"));
    beside.into_iter().find(|path| path.is_file()).with_context(|| {
        format!(
            "there is no shoal beside {}; build it with: cargo build --release --workspace",
            own.display()
        )
    })
}

/// Runs the client against the peer at `url` to its end.
///
/// # Errors
/// It cannot be started, or fails: with what it says.
pub(super) async fn run(url: &str, arguments: &[&str]) -> anyhow::Result<Run> {
    let mut command = Command::new(program()?);
    command.args(arguments).args(["--endpoint", url]).env_remove("SHOAL_TOKEN");
    if let Some(token) = tokens::of(url) {
        command.env("SHOAL_TOKEN", token);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let begin = Instant::now();
    let mut child = command.spawn().context("cannot start shoal")?;
    let pid = child.id().context("shoal ended before it began")?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let output = async {
        let (mut told, mut why) = (Vec::new(), Vec::new());
        tokio::try_join!(read(stdout.as_mut(), &mut told), read(stderr.as_mut(), &mut why))?;
        anyhow::Ok((told, why))
    };
    let watch = async {
        let mut peak_bytes = 0;
        while !process::has_ended(pid) {
            peak_bytes = process::peak_bytes(pid).unwrap_or(0).max(peak_bytes);
            tokio::time::sleep(POLL).await;
        }
        // It is not waited for yet, so that the kernel still knows what it took.
        Ok((begin.elapsed().as_secs_f64(), process::cpu_s(pid).unwrap_or(0.0), peak_bytes))
    };
    let ((told, why), (elapsed_s, cpu_s, peak_bytes)) = tokio::try_join!(output, watch)?;
    let status = child.wait().await?;
    if !status.success() {
        bail!("shoal {}: {status}: {}", arguments.join(" "), String::from_utf8_lossy(&why).trim());
    }
    Ok(Run { elapsed_s, cpu_s, peak_bytes, stdout: told.into() })
}

async fn read(
    pipe: Option<&mut (impl tokio::io::AsyncRead + Unpin)>,
    bytes: &mut Vec<u8>,
) -> anyhow::Result<()> {
    if let Some(pipe) = pipe {
        tokio::io::AsyncReadExt::read_to_end(pipe, bytes).await?;
    }
    Ok(())
}

/// Uploads a file and returns its CID.
///
/// # Errors
/// As [`run`].
pub(super) async fn upload(url: &str, path: &Path) -> anyhow::Result<(String, Run)> {
    let run = run(url, &["upload", "--json", text(path)?]).await?;
    let rows: Value =
        serde_json::from_slice(&run.stdout).context("shoal upload printed no JSON")?;
    let cid =
        rows.pointer("/0/cid").and_then(Value::as_str).context("shoal upload printed no CID")?;
    Ok((cid.to_owned(), run))
}

/// Downloads to a file that is not there yet.
///
/// # Errors
/// As [`run`].
pub(super) async fn download(url: &str, cid: &str, path: &Path) -> anyhow::Result<Run> {
    run(url, &["download", cid, "-o", text(path)?]).await
}

/// Returns the bytes `first..=last` of a file.
///
/// # Errors
/// As [`run`].
pub(super) async fn range(url: &str, cid: &str, first: u64, last: u64) -> anyhow::Result<Run> {
    run(url, &["cat", cid, "--range", &format!("{first}-{last}")]).await
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not Unicode", path.display()))
}
