//! One real daemon: started, signalled, watched. Never: shares a process with the test.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::state::NodeState;

/// How long a daemon may take to be ready. Recovery of a test's data takes far less.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a daemon may take to end after SIGTERM, before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(45);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Bytes of a log that are shown when its daemon died.
const LOG_TAIL_BYTES: u64 = 4096;

/// Returns one of our programs: beside this program, as cargo builds them.
///
/// # Errors
/// It is not there.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let beside = own.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    beside.into_iter().find(|path| path.is_file()).with_context(|| {
        format!(
            "there is no {name} beside {}; build it with: cargo build --release --workspace",
            own.display()
        )
    })
}

/// Starts a node's daemon with these flags and returns its process id. Does not wait until it is ready.
pub(super) fn start(node: &NodeState, flags: &[String]) -> anyhow::Result<u32> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&node.log)
        .with_context(|| format!("cannot write {}", node.log.display()))?;
    let shoald = program("shoald")?;
    let mut command = match node.cable {
        Some(cable) => cable.command(&shoald),
        None => Command::new(shoald),
    };
    command
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // In a group of its own, so that an interrupt of the test does not reach it.
        .process_group(0);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SHOAL_") {
            command.env_remove(name);
        }
    }
    let child = command.spawn().context("cannot start shoald")?;
    Ok(child.id())
}

/// Says whether a node's process is running (stopped counts, a zombie does not).
pub(super) fn is_running(node: &NodeState) -> bool {
    let proc = Path::new("/proc").join(node.pid.to_string());
    let Ok(stat) = std::fs::read_to_string(proc.join("stat")) else { return false };
    // The state follows the command's name, which is in parentheses and may hold anything.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    if matches!(state, None | Some('Z' | 'X')) {
        // Its first thread has ended; until the last one has, its files and locks are held.
        let threads = std::fs::read_dir(proc.join("task")).map_or(0, Iterator::count);
        return threads > 1;
    }
    // The id may belong to another process by now.
    let Ok(arguments) = std::fs::read(proc.join("cmdline")) else { return false };
    // One that is being started has none for a moment.
    if arguments.is_empty() {
        return true;
    }
    let data_dir = node.data_dir.to_string_lossy();
    arguments.split(|byte| *byte == 0).any(|argument| argument == data_dir.as_bytes())
}

/// Sends a signal to a node's process, if it runs.
pub(super) fn signal(node: &NodeState, signal: Signal) -> anyhow::Result<()> {
    if !is_running(node) {
        bail!("node {} does not run", node.name);
    }
    let pid = i32::try_from(node.pid).ok().and_then(Pid::from_raw).context("no process id")?;
    kill_process(pid, signal).with_context(|| format!("cannot signal node {}", node.name))
}

/// Kills a node's process and returns when it is gone.
pub(super) fn kill(node: &NodeState) -> anyhow::Result<()> {
    signal(node, Signal::KILL)?;
    wait_for_end(node)
}

/// Ends a node's process cleanly, by force if it takes too long. Nothing happens if it does not run.
pub(super) fn stop(node: &NodeState) -> anyhow::Result<()> {
    ask_to_end(node)?;
    if wait_for_end(node).is_ok() {
        return Ok(());
    }
    kill(node)
}

/// Tells a node's process to end cleanly, if it runs. It may end by itself at any moment meanwhile.
pub(super) fn ask_to_end(node: &NodeState) -> anyhow::Result<()> {
    // A paused process takes no signal but the first.
    for wanted in [Signal::CONT, Signal::TERM] {
        if is_running(node)
            && let Err(fault) = signal(node, wanted)
            && is_running(node)
        {
            return Err(fault);
        }
    }
    Ok(())
}

/// Returns when a node's process is gone.
pub(super) fn wait_for_end(node: &NodeState) -> anyhow::Result<()> {
    let begin = Instant::now();
    while is_running(node) {
        if begin.elapsed() > END_TIMEOUT {
            bail!("node {} did not end within {} s", node.name, END_TIMEOUT.as_secs());
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Returns when the node answers that it is ready.
///
/// # Errors
/// Its process ended, or it takes too long: with the end of its log.
pub(super) async fn wait_until_ready(
    client: &reqwest::Client,
    node: &NodeState,
) -> anyhow::Result<()> {
    let url = format!("{}/readyz", node.http);
    wait_until(node, "be ready", || async {
        client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await
}

/// Returns when the node answers, ready or not.
///
/// # Errors
/// As [`wait_until_ready`].
pub(super) async fn wait_until_answering(
    client: &reqwest::Client,
    node: &NodeState,
) -> anyhow::Result<()> {
    let url = format!("{}/healthz", node.http);
    wait_until(node, "answer", || async {
        client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await
}

/// Returns when `condition` holds of a node.
///
/// # Errors
/// As [`wait_until_ready`].
pub(super) async fn wait_until<F: Future<Output = bool>>(
    node: &NodeState,
    what: &str,
    condition: impl Fn() -> F,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !condition().await {
        if !is_running(node) {
            bail!("node {} died; the end of its log:\n{}", node.name, log_tail(&node.log));
        }
        if begin.elapsed() > READY_TIMEOUT {
            bail!(
                "node {} did not {what} within {} s; the end of its log:\n{}",
                node.name,
                READY_TIMEOUT.as_secs(),
                log_tail(&node.log)
            );
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Returns the last lines of a log.
#[must_use]
pub fn log_tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("({}: {error})", path.display()))
}
