//! A whole local network, and what can be done to it.

mod start;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use protocol::api::Cluster;
use rustix::process::Signal;

use super::cables::{self, Cables};
use super::daemon;
use super::ports::Ports;
use super::state::{NodeState, State};
use super::tokens;

/// How many nodes of one network there may be: as many as one machine can run.
const NODES_MAX: usize = 200;

/// What a new network looks like.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Nodes of each cluster; the last number holds for the clusters after it.
    pub nodes: Vec<usize>,
    /// Clusters.
    pub clusters: usize,
    /// Zones that the nodes of a cluster are spread over; 1 means none.
    pub zones: u16,
    /// Copies of every block.
    pub replicas: u8,
    /// First port; free ones when absent.
    pub base_port: Option<u16>,
    /// More flags for every daemon.
    pub flags: Vec<String>,
    /// Whether each node is invited by the one before it, once that is ready, instead of any.
    pub chain: bool,
    /// Whether nodes can be cut off from each other; see [`super::cables`].
    pub cables: bool,
    /// Which node of the first cluster, counted from 0, talks with its peers through a line that can be made late; needs
    /// cables. It talks with those who are there from the start only.
    pub lined: Option<u8>,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            nodes: vec![5],
            clusters: 1,
            zones: 1,
            replicas: 3,
            base_port: None,
            flags: Vec::new(),
            chain: false,
            cables: false,
            lined: None,
        }
    }
}

/// A network of real daemons in a folder.
#[derive(Debug)]
pub struct Testnet {
    dir: PathBuf,
    state: State,
    client: reqwest::Client,
    cables: Option<Cables>,
    // Two that change one network at once would each forget what the other did.
    _lock: File,
}

fn client() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()
        .context("cannot make an HTTP client")
}

impl Testnet {
    /// Starts a network in a folder that has none, and returns when every node is ready and knows all others
    /// of its cluster. Ends what it started when that fails.
    ///
    /// # Errors
    /// The folder holds a network, a port is taken, or a daemon dies: with the end of its log.
    pub async fn up(dir: &Path, options: &UpOptions) -> anyhow::Result<Self> {
        let net = Self::start(dir, options).await?;
        match net.wait_until_complete().await {
            Ok(()) => Ok(net),
            Err(fault) => {
                net.clear();
                Err(fault)
            }
        }
    }

    /// The same, but returns when every node is ready, whoever it knows by then.
    ///
    /// # Errors
    /// As [`Self::up`].
    pub async fn start(dir: &Path, options: &UpOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let lock = State::lock(&dir)?;
        if State::load(&dir).is_ok() {
            bail!("there is a network in {} already (end it with down)", dir.display());
        }
        let state = State { clusters: Vec::new() };
        let nodes =
            options.nodes.first().map_or(0, |nodes| u8::try_from(*nodes).unwrap_or(u8::MAX));
        let cables = if options.cables { Some(Cables::new(nodes, options.lined)?) } else { None };
        let mut net = Self { dir, state, client: client()?, cables, _lock: lock };
        match net.start_all(options).await {
            Ok(()) => Ok(net),
            Err(fault) => {
                net.clear();
                Err(fault)
            }
        }
    }

    /// Ends what was started, as far as possible: what failed before is what is told.
    fn clear(&self) {
        drop(self.stop_all());
        drop(self.remove_files());
    }

    /// Returns the network in a folder, once nobody else changes it.
    ///
    /// # Errors
    /// There is none.
    pub fn load(dir: &Path) -> anyhow::Result<Self> {
        // Where there is none, nothing is left behind.
        State::load(dir)?;
        let lock = State::lock(dir)?;
        let state = State::load(dir)?;
        state.clusters.iter().for_each(tokens::remember);
        Ok(Self { dir: dir.canonicalize()?, state, client: client()?, cables: None, _lock: lock })
    }

    /// Returns what the network consists of.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.state.clusters.iter().flat_map(|cluster| &cluster.nodes)
    }

    /// Returns the cluster as a node sees it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn cluster_at(&self, node: &NodeState) -> anyhow::Result<Cluster> {
        let url = format!("{}/api/v1/cluster", node.http);
        let request = tokens::authorised(self.client.get(&url), &url);
        let answer = request.send().await?.error_for_status()?;
        let text = answer.text().await?;
        serde_json::from_str(&text).with_context(|| format!("node {} gave no cluster", node.name))
    }

    /// Returns when every running node knows every running node of its cluster as alive.
    ///
    /// # Errors
    /// That takes too long, or a node dies meanwhile.
    pub async fn wait_until_complete(&self) -> anyhow::Result<()> {
        for cluster in &self.state.clusters {
            let running: Vec<&NodeState> =
                cluster.nodes.iter().filter(|node| daemon::is_running(node)).collect();
            for node in &running {
                daemon::wait_until(node, "find all others", || async {
                    self.cluster_at(node).await.is_ok_and(|seen| {
                        running.iter().all(|other| {
                            seen.peers
                                .iter()
                                .any(|peer| peer.peer_id == other.peer_id && peer.state == "alive")
                        })
                    })
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Kills a node (SIGKILL) and returns when it is gone.
    ///
    /// # Errors
    /// There is no such node, or it does not run.
    pub fn kill(&self, name: &str) -> anyhow::Result<()> {
        daemon::kill(self.state.node(name)?)
    }

    /// Kills several nodes at once (SIGKILL) and returns when all are gone.
    ///
    /// # Errors
    /// As [`Self::kill`].
    pub fn kill_all(&self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            daemon::signal(self.state.node(name)?, Signal::KILL)?;
        }
        names.iter().try_for_each(|name| daemon::wait_for_end(self.state.node(name)?))
    }

    /// Ends a node cleanly (SIGTERM) and returns when it is gone.
    ///
    /// # Errors
    /// There is no such node, or it does not end.
    pub fn stop(&self, name: &str) -> anyhow::Result<()> {
        daemon::stop(self.state.node(name)?)
    }

    /// Takes away the addresses that a node is given at its next starts: it has to remember the others.
    ///
    /// # Errors
    /// There is no such node, or its state cannot be saved.
    pub fn forget_bootstrap(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.state.node_mut(name).with_context(|| format!("there is no node {name}"))?;
        let mut flags = Vec::new();
        let mut given = std::mem::take(&mut node.flags).into_iter();
        while let Some(flag) = given.next() {
            if flag == "--bootstrap" {
                given.next();
            } else {
                flags.push(flag);
            }
        }
        node.flags = flags;
        self.state.save(&self.dir)
    }

    /// Gives a node another value of a flag from its next start on.
    ///
    /// # Errors
    /// There is no such node, or its state cannot be saved.
    pub fn set_flag(&mut self, name: &str, flag: &str, value: &str) -> anyhow::Result<()> {
        let node = self.state.node_mut(name).with_context(|| format!("there is no node {name}"))?;
        match node.flags.iter().position(|given| given == flag) {
            Some(at) => {
                node.flags.splice(at..=at + 1, [flag.to_owned(), value.to_owned()]).for_each(drop)
            }
            None => node.flags.extend([flag.to_owned(), value.to_owned()]),
        }
        self.state.save(&self.dir)
    }

    /// Gives a node another port for peers from its next start on: whoever looks for it where it was finds
    /// nobody.
    ///
    /// # Errors
    /// There is no such node, no port is free, or its state cannot be saved.
    pub fn move_peer_port(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.state.node_mut(name).with_context(|| format!("there is no node {name}"))?;
        let address = node.addrs.first().with_context(|| format!("node {name} has no address"))?;
        let port = address.split('/').nth(4).context("an address has a port")?.to_owned();
        let free = Ports::new(None).take()?;
        let moved = |text: &str| {
            let parts = text
                .split('/')
                .map(|part| if part == port { free.to_string() } else { part.to_owned() });
            parts.collect::<Vec<_>>().join("/")
        };
        let mut is_listen = false;
        for flag in &mut node.flags {
            if std::mem::replace(&mut is_listen, flag == "--listen") {
                *flag = moved(flag);
            }
        }
        node.addrs = node.addrs.iter().map(|address| moved(address)).collect();
        self.state.save(&self.dir)
    }

    /// Cuts nodes off from all others but each other, or joins them with the others again. Clients reach them
    /// all the same.
    ///
    /// # Errors
    /// There is no such node, or its network cannot be cut.
    pub fn cut_off(&self, names: &[&str], is_cut: bool) -> anyhow::Result<()> {
        names.iter().try_for_each(|name| {
            let cable = self.state.node(name)?.cable;
            cables::plug(cable.with_context(|| format!("node {name} has no cable"))?, is_cut)
        })
    }

    /// Has everything that a node sends to its peers reach them so much later, from now on.
    ///
    /// # Errors
    /// There is no such node, or it has no line.
    pub fn delay(&self, name: &str, delay: Duration) -> anyhow::Result<()> {
        let cables = self.cables.as_ref().context("there are no cables")?;
        cables.line(self.state.node(name)?.cable.context("it has no cable")?)?.delay(delay);
        Ok(())
    }

    /// Limits what a node sends to its peers to so many bytes per second, or no more.
    ///
    /// # Errors
    /// There is no such node, or its cable cannot be limited.
    pub fn limit(&self, name: &str, bytes_per_s: Option<u64>) -> anyhow::Result<()> {
        let cable = self.state.node(name)?.cable;
        cables::limit(cable.with_context(|| format!("node {name} has no cable"))?, bytes_per_s)
    }

    /// Pauses a node (SIGSTOP).
    ///
    /// # Errors
    /// As [`Self::kill`].
    pub fn pause(&self, name: &str) -> anyhow::Result<()> {
        daemon::signal(self.state.node(name)?, Signal::STOP)
    }

    /// Lets a paused node go on (SIGCONT).
    ///
    /// # Errors
    /// As [`Self::kill`].
    pub fn resume(&self, name: &str) -> anyhow::Result<()> {
        daemon::signal(self.state.node(name)?, Signal::CONT)
    }

    /// Starts a node again, after a clean end if it runs, and returns when it is ready and known.
    ///
    /// # Errors
    /// It dies or takes too long: with the end of its log.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        daemon::stop(self.state.node(name)?)?;
        self.launch(name).await?;
        self.state.save(&self.dir)?;
        self.learn(name).await?;
        self.state.save(&self.dir)?;
        self.wait_until_complete().await
    }

    /// Starts several nodes again at the same time.
    ///
    /// # Errors
    /// As [`Self::restart`].
    pub async fn restart_all(&mut self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            daemon::stop(self.state.node(name)?)?;
            self.launch(name).await?;
        }
        self.state.save(&self.dir)?;
        for name in names {
            self.learn(name).await?;
        }
        self.wait_until_complete().await
    }

    /// Kills a node, if it runs, and destroys its data. Started again, it is a new peer.
    ///
    /// # Errors
    /// There is no such node, or its data cannot be removed.
    pub fn wipe(&self, name: &str) -> anyhow::Result<()> {
        let node = self.state.node(name)?;
        if daemon::is_running(node) {
            daemon::kill(node)?;
        }
        match std::fs::remove_dir_all(&node.data_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", node.data_dir.display()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Adds one node to a cluster (the first, unless named) and returns its name when it is ready and known.
    ///
    /// # Errors
    /// There is no such cluster, nobody of it runs, or the node does not start.
    pub async fn add(&mut self, cluster: Option<&str>, flags: &[String]) -> anyhow::Result<String> {
        let name = self.begin_add(cluster, flags).await?;
        self.finish_add(&name).await?;
        Ok(name)
    }

    /// Adds one node to a cluster and returns its name as soon as its process runs.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn begin_add(
        &mut self,
        cluster: Option<&str>,
        flags: &[String],
    ) -> anyhow::Result<String> {
        let position = match cluster {
            Some(name) => self.state.clusters.iter().position(|cluster| cluster.name == name),
            None => (!self.state.clusters.is_empty()).then_some(0),
        };
        let position = position.context("there is no such cluster")?;
        let found = self.state.clusters.get(position).context("there is no such cluster")?.clone();
        if !found.nodes.iter().any(daemon::is_running) {
            bail!("no node of it runs");
        }
        let mut ports = Ports::new(None);
        let node = self.plan(&found, found.nodes.len(), None, &mut ports, flags)?;
        drop(ports);
        let name = node.name.clone();
        if let Some(cluster) = self.state.clusters.get_mut(position) {
            cluster.nodes.push(node);
            tokens::remember(cluster);
        }
        self.launch(&name).await?;
        self.state.save(&self.dir)?;
        Ok(name)
    }

    /// Returns when a node that was added is ready and known.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn finish_add(&mut self, name: &str) -> anyhow::Result<()> {
        self.learn(name).await?;
        self.state.save(&self.dir)?;
        self.wait_until_complete().await
    }

    /// Says whether a node's process runs.
    #[must_use]
    pub fn is_running(&self, node: &NodeState) -> bool {
        daemon::is_running(node)
    }

    /// Ends every daemon and removes everything that `up` made.
    ///
    /// # Errors
    /// A process does not end, or a file cannot be removed.
    pub fn down(self) -> anyhow::Result<()> {
        self.stop_all()?;
        self.remove_files().context("cannot remove what is left of the network")
    }

    fn remove_files(&self) -> std::io::Result<()> {
        let missing_is_fine = |outcome: std::io::Result<()>| match outcome {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
        for node in self.nodes() {
            missing_is_fine(std::fs::remove_dir_all(&node.data_dir))?;
            missing_is_fine(std::fs::remove_file(&node.log))?;
        }
        missing_is_fine(State::remove(&self.dir))?;
        // The folder was there before, perhaps with other things in it.
        drop(std::fs::remove_dir(&self.dir));
        Ok(())
    }

    fn stop_all(&self) -> anyhow::Result<()> {
        // All at once first: each takes its time to end.
        self.nodes().try_for_each(daemon::ask_to_end)?;
        self.nodes().try_for_each(daemon::stop)
    }
}
