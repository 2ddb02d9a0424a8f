//! `testnet.json`: what a local network consists of. Its shape is a contract with other programs.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::cables::Cable;

/// The file's name in the folder of a network.
const FILE: &str = "testnet.json";

/// Whoever changes a network holds a lock on this file beside it.
const LOCK: &str = "testnet.lock";

/// A local network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its clusters.
    pub clusters: Vec<ClusterState>,
}

/// One cluster of a local network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The administrator's token; null until the cluster is founded.
    pub admin_token: Option<String>,
    /// Null: there is no S3 yet.
    pub access_key: Option<String>,
    /// Null: there is no S3 yet.
    pub secret_key: Option<String>,
    /// Copies of every block.
    pub replicas: u8,
    /// How many zones the nodes are spread over.
    pub zones: u16,
    /// Its nodes, dead ones included.
    pub nodes: Vec<NodeState>,
}

/// One node of a local network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Its name: the cluster's and a number.
    pub name: String,
    /// Its process, the last one if it was killed.
    pub pid: u32,
    /// Its peer id.
    pub peer_id: String,
    /// URL of its HTTP API.
    pub http: String,
    /// Null: there is no S3 yet.
    pub s3: Option<String>,
    /// Multiaddresses, its id included.
    pub addrs: Vec<String>,
    /// Where its data lies.
    pub data_dir: PathBuf,
    /// Where it logs.
    pub log: PathBuf,
    /// Its zone, or empty.
    pub zone: String,
    /// Its end of the network, where that can be cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cable: Option<Cable>,
    /// Flags it is started with, the same at every start.
    pub flags: Vec<String>,
    /// Peer ids that it had before its data was destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_ids: Vec<String>,
}

impl State {
    /// Returns the network in a folder.
    ///
    /// # Errors
    /// There is none, or its file cannot be read.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!("there is no network in {} (start one with up)", dir.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Writes the network's file, whole or not at all.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, dir: &Path) -> anyhow::Result<()> {
        let beside = dir.join("testnet.json.new");
        std::fs::write(&beside, serde_json::to_string_pretty(self)?)?;
        std::fs::rename(&beside, dir.join(FILE))
            .with_context(|| format!("cannot write {}", dir.join(FILE).display()))
    }

    /// Waits until nobody else changes the network in a folder, and keeps others from it until the file is closed.
    ///
    /// # Errors
    /// The folder is not there, or cannot be written.
    pub(super) fn lock(dir: &Path) -> anyhow::Result<File> {
        let path = dir.join(LOCK);
        let locked =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).and_then(
                |file| {
                    file.lock()?;
                    Ok(file)
                },
            );
        locked.with_context(|| format!("cannot lock {}", path.display()))
    }

    /// Removes the network's files.
    pub(super) fn remove(dir: &Path) -> std::io::Result<()> {
        std::fs::remove_file(dir.join(FILE))?;
        std::fs::remove_file(dir.join(LOCK))
    }

    /// Returns a node by its name.
    ///
    /// # Errors
    /// There is none of this name; the message lists those that are.
    pub fn node(&self, name: &str) -> anyhow::Result<&NodeState> {
        let nodes = || self.clusters.iter().flat_map(|cluster| &cluster.nodes);
        nodes().find(|node| node.name == name).with_context(|| {
            let names: Vec<&str> = nodes().map(|node| node.name.as_str()).collect();
            format!("there is no node {name} (there are {})", names.join(", "))
        })
    }

    /// Returns the cluster of a node.
    ///
    /// # Errors
    /// There is no such node.
    pub(super) fn cluster_of(&self, name: &str) -> anyhow::Result<&ClusterState> {
        let found = self.clusters.iter().find(|c| c.nodes.iter().any(|node| node.name == name));
        found.with_context(|| format!("there is no node {name}"))
    }

    /// Returns the cluster of a node, to be changed.
    ///
    /// # Errors
    /// There is no such node.
    pub(super) fn cluster_of_mut(&mut self, name: &str) -> anyhow::Result<&mut ClusterState> {
        let found = self.clusters.iter_mut().find(|c| c.nodes.iter().any(|node| node.name == name));
        found.with_context(|| format!("there is no node {name}"))
    }

    /// Returns a node by its name, to be changed.
    pub(super) fn node_mut(&mut self, name: &str) -> Option<&mut NodeState> {
        self.clusters
            .iter_mut()
            .flat_map(|cluster| &mut cluster.nodes)
            .find(|node| node.name == name)
    }
}
