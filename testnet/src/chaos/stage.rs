//! What a scenario is given, and the network it plays on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tempfile::TempDir;

use crate::harness::{NodeState, Testnet, UpOptions, log_tail};
use crate::http::Http;

/// Lines of each log that are shown when a scenario fails.
const TAIL_LINES: usize = 12;

/// What every scenario is given.
#[derive(Debug)]
pub(super) struct Ctx {
    /// Talks to peers.
    pub(super) http: Http,
    operations: u64,
    record: Arc<Mutex<Record>>,
}

/// What is told of a scenario beside its outcome.
#[derive(Debug, Default)]
struct Record {
    notes: Vec<String>,
    log_tails: Vec<String>,
    leftovers: Vec<String>,
}

fn with<T>(record: &Mutex<Record>, act: impl FnOnce(&mut Record) -> T) -> T {
    // A panic elsewhere leaves lists of lines as they are.
    act(&mut record.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Ctx {
    /// Returns what one scenario is given.
    pub(super) fn new(operations: u64) -> anyhow::Result<Self> {
        Ok(Self { http: Http::new()?, operations, record: Arc::default() })
    }

    /// Returns how many operations a history of clients should have.
    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    /// Tells something that is neither success nor failure, such as what could not be tried here.
    pub(super) fn note(&self, note: impl Into<String>) {
        with(&self.record, |record| record.notes.push(note.into()));
    }

    /// Returns what was told.
    pub(super) fn notes(&self) -> Vec<String> {
        with(&self.record, |record| record.notes.clone())
    }

    /// Returns the ends of the logs of all networks that were taken down.
    pub(super) fn log_tails(&self) -> Vec<String> {
        with(&self.record, |record| record.log_tails.clone())
    }

    /// Returns why networks could not be taken down.
    pub(super) fn leftovers(&self) -> Vec<String> {
        with(&self.record, |record| record.leftovers.clone())
    }

    /// Returns an empty folder that goes when it is dropped.
    pub(super) fn folder(&self) -> anyhow::Result<TempDir> {
        let made = tempfile::Builder::new().prefix("shoal-chaos-").tempdir();
        made.context("cannot make a temporary folder")
    }

    /// Starts a network, every node of which knows all others.
    pub(super) async fn stage(&self, options: &UpOptions) -> anyhow::Result<Stage> {
        let dir = self.folder()?;
        let net = Testnet::up(&dir.path().join("net"), options).await?;
        Ok(self.stage_of(net, dir))
    }

    /// Starts a network and returns as soon as every node is ready.
    pub(super) async fn ready_stage(&self, options: &UpOptions) -> anyhow::Result<Stage> {
        let dir = self.folder()?;
        let net = Testnet::start(&dir.path().join("net"), options).await?;
        Ok(self.stage_of(net, dir))
    }

    /// Starts a network in a folder that stays.
    pub(super) async fn stage_in(&self, dir: &Path, options: &UpOptions) -> anyhow::Result<Stage> {
        let net = Testnet::up(&dir.join("net"), options).await?;
        Ok(self.stage_of(net, self.folder()?))
    }

    fn stage_of(&self, net: Testnet, dir: TempDir) -> Stage {
        Stage { net: Some(net), dir, record: Arc::clone(&self.record) }
    }
}

/// A running network, taken down when it is dropped.
#[derive(Debug)]
pub(super) struct Stage {
    net: Option<Testnet>,
    dir: TempDir,
    record: Arc<Mutex<Record>>,
}

impl Stage {
    /// Returns the network.
    pub(super) fn net(&mut self) -> &mut Testnet {
        self.net.as_mut().expect("the network is there until the stage is dropped")
    }

    fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.net.iter().flat_map(|net| &net.state().clusters).flat_map(|cluster| &cluster.nodes)
    }

    /// Returns the names of all nodes.
    pub(super) fn names(&self) -> Vec<String> {
        self.nodes().map(|node| node.name.clone()).collect()
    }

    /// Returns a node.
    pub(super) fn node(&self, name: &str) -> anyhow::Result<&NodeState> {
        let found = self.nodes().find(|node| node.name == name);
        found.with_context(|| format!("there is no node {name}"))
    }

    /// Returns the address of a node's HTTP API.
    pub(super) fn url(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.node(name)?.http.clone())
    }

    /// Returns the addresses of all nodes' HTTP APIs.
    pub(super) fn urls(&self) -> Vec<String> {
        self.nodes().map(|node| node.http.clone()).collect()
    }

    /// Returns an empty folder beside the network, for files of the scenario.
    pub(super) fn files(&self) -> anyhow::Result<PathBuf> {
        let files = self.dir.path().join("files");
        std::fs::create_dir_all(&files)?;
        Ok(files)
    }

    /// Fails when a node's process has ended.
    pub(super) fn ensure_running(&self, name: &str) -> anyhow::Result<()> {
        let net = self.net.as_ref().context("there is no network any more")?;
        anyhow::ensure!(net.is_running(self.node(name)?), "node {name} died");
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let tails: Vec<String> = self
            .nodes()
            .map(|node| {
                let tail = log_tail(&node.log);
                let lines: Vec<&str> = tail.lines().collect();
                let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n    ");
                format!("--- log of {}\n    {last}", node.name)
            })
            .collect();
        let ended = self.net.take().map_or(Ok(()), Testnet::down);
        with(&self.record, |record| {
            record.log_tails.extend(tails);
            record.leftovers.extend(ended.err().map(|fault| format!("{fault:#}")));
        });
    }
}
