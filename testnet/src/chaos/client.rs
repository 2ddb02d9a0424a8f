//! Our programs as a user runs them: arguments in; exit status, output and errors out.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};

use super::wait::within;
use crate::harness::{program, tokens};

/// How long one command may take: the largest vector on a slow disk.
const COMMAND_PATIENCE: Duration = Duration::from_secs(300);

/// How a command ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// Its exit status, `None` when a signal ended it.
    pub(super) status: Option<i32>,
    /// What it wrote to standard output.
    pub(super) out: String,
    /// What it wrote to standard error.
    pub(super) err: String,
}

impl Ended {
    /// Fails unless the command ended with this status.
    pub(super) fn expect(self, status: i32) -> anyhow::Result<Self> {
        let found = self.status;
        ensure!(
            found == Some(status),
            "exit status {found:?} instead of {status}: {}",
            self.err.trim()
        );
        Ok(self)
    }

    /// Fails unless standard error is one line that holds each of these words.
    pub(super) fn expect_one_line(self, words: &[&str]) -> anyhow::Result<Self> {
        let err = self.err.trim();
        ensure!(err.lines().count() == 1, "standard error is not one line: {err:?}");
        for word in words {
            ensure!(err.contains(word), "standard error does not say {word:?}: {err}");
        }
        Ok(self)
    }

    /// Returns the first word of standard output: the CID that an upload prints.
    pub(super) fn cid(&self) -> anyhow::Result<&str> {
        self.out.split_whitespace().next().context("nothing was printed")
    }
}

/// Starts one of our programs in the folder `dir`, with all of its standard streams open.
///
/// # Errors
/// It is not there or does not start.
pub(super) fn start(name: &str, dir: &Path, arguments: &[&str]) -> anyhow::Result<Child> {
    let mut command = Command::new(program(name)?);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("SHOAL_") {
            command.env_remove(variable);
        }
    }
    // Whoever is asked knows the administrator; the command line stays what a user types.
    if let Some(token) = arguments.iter().find_map(|argument| tokens::of(argument)) {
        command.env("SHOAL_TOKEN", token);
    }
    command
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))
}

/// Returns how a program ended, with its standard input closed.
///
/// # Errors
/// It does not end.
pub(super) async fn end(child: Child) -> anyhow::Result<Ended> {
    let output = within(COMMAND_PATIENCE, "a command", child.wait_with_output()).await??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ended { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) })
}

/// Runs `shoal` in the folder `dir` against the peers at `urls`.
///
/// # Errors
/// It cannot be run, or does not end.
pub(super) async fn shoal(dir: &Path, urls: &[&str], arguments: &[&str]) -> anyhow::Result<Ended> {
    let mut all = Vec::new();
    for url in urls {
        all.extend(["--endpoint", url]);
    }
    all.extend(arguments);
    end(start("shoal", dir, &all)?).await
}

/// Runs `shoald` until it ends by itself.
///
/// # Errors
/// It cannot be run, or does not end.
pub(super) async fn shoald(dir: &Path, arguments: &[&str]) -> anyhow::Result<Ended> {
    end(start("shoald", dir, arguments)?).await
}
