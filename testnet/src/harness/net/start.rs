//! How a network comes to be: nodes are planned, the first one of a cluster founds it, and the others are invited.
//!
//! Never: waits until all know all; whoever starts a network says how long he wants to wait.

use std::cell::RefCell;

use anyhow::{Context, bail};
use protocol::api::{CreateInvite, Invited};

use super::super::cables::{Cables, HTTP_PORT, PEER_PORT};
use super::super::daemon;
use super::super::ports::Ports;
use super::super::state::{ClusterState, NodeState};
use super::super::tokens;
use super::{NODES_MAX, Testnet, UpOptions};

impl Testnet {
    pub(super) async fn start_all(&mut self, options: &UpOptions) -> anyhow::Result<()> {
        if !(1..=26).contains(&options.clusters) {
            bail!("a network has 1 to 26 clusters, not {}", options.clusters);
        }
        let mut ports = Ports::new(options.base_port);
        let mut overlay: Option<String> = None;
        for (number, name) in ('a'..='z').take(options.clusters).enumerate() {
            let count = options.nodes.get(number).or(options.nodes.last()).copied().unwrap_or(1);
            if count == 0 || count > NODES_MAX {
                bail!("a cluster has 1 to {NODES_MAX} nodes, not {count}");
            }
            let mut cluster = ClusterState {
                name: name.to_string(),
                id: String::new(),
                admin_token: None,
                access_key: None,
                secret_key: None,
                replicas: options.replicas,
                zones: options.zones,
                nodes: Vec::new(),
            };
            for index in 0..count {
                let node =
                    self.plan(&cluster, index, overlay.as_deref(), &mut ports, &options.flags)?;
                cluster.nodes.push(node);
            }
            overlay = overlay.or_else(|| cluster.nodes.first()?.addrs.first().cloned());
            self.state.clusters.push(cluster);
        }
        drop(ports);
        for number in 0..self.state.clusters.len() {
            self.start_cluster(number, options.chain).await?;
        }
        Ok(())
    }

    /// Starts the nodes of a cluster: the first one founds it, the others are invited.
    async fn start_cluster(&mut self, number: usize, chain: bool) -> anyhow::Result<()> {
        let nodes = self.state.clusters.get(number).map(|cluster| &cluster.nodes);
        let names: Vec<String> =
            nodes.into_iter().flatten().map(|node| node.name.clone()).collect();
        let Some((founder, others)) = names.split_first() else { return Ok(()) };
        self.launch(founder).await?;
        self.state.save(&self.dir)?;
        self.learn(founder).await?;
        for name in others {
            self.launch(name).await?;
            self.state.save(&self.dir)?;
            if chain {
                // The next one is invited by this one.
                self.learn(name).await?;
            }
        }
        for name in others {
            self.learn(name).await?;
        }
        self.state.save(&self.dir)
    }

    /// Returns a node that is not started yet.
    pub(super) fn plan(
        &mut self,
        cluster: &ClusterState,
        index: usize,
        bootstrap: Option<&str>,
        ports: &mut Ports,
        flags: &[String],
    ) -> anyhow::Result<NodeState> {
        let name = format!("{}{index}", cluster.name);
        let cable = self.cables.as_mut().map(Cables::lay).transpose()?;
        let (host, peer, http) = match cable {
            Some(cable) => {
                (cable.peer_address(), PEER_PORT, format!("{}:{HTTP_PORT}", cable.client_address()))
            }
            None => {
                let http = format!("127.0.0.1:{}", ports.take()?);
                ("127.0.0.1".to_owned(), ports.take()?, http)
            }
        };
        let zone = match cluster.zones {
            0 | 1 => String::new(),
            zones => format!("z{}", index % usize::from(zones)),
        };
        let data_dir = self.dir.join(&name);
        let listen = [format!("/ip4/{host}/tcp/{peer}"), format!("/ip4/{host}/udp/{peer}/quic-v1")];
        let mut all = vec![
            "--data-dir".to_owned(),
            data_dir.to_string_lossy().into_owned(),
            "--cluster".to_owned(),
            cluster.name.clone(),
            "--name".to_owned(),
            name.clone(),
            "--http".to_owned(),
            http.clone(),
            "--replicas".to_owned(),
            cluster.replicas.to_string(),
            "--mdns".to_owned(),
            "false".to_owned(),
        ];
        if !zone.is_empty() {
            all.extend(["--zone".to_owned(), zone.clone()]);
        }
        for address in &listen {
            all.extend(["--listen".to_owned(), address.clone()]);
        }
        if let Some(address) = bootstrap {
            all.extend(["--bootstrap".to_owned(), address.to_owned()]);
        }
        all.extend(flags.iter().cloned());
        let [tcp, _] = listen;
        Ok(NodeState {
            log: self.dir.join(format!("{name}.log")),
            name,
            pid: 0,
            peer_id: String::new(),
            http: format!("http://{http}"),
            s3: None,
            addrs: vec![tcp],
            data_dir,
            zone,
            cable,
            flags: all,
            former_ids: Vec::new(),
        })
    }

    /// Starts a node's daemon: one that never ran joins its cluster, or founds it if nobody else of it runs.
    pub(super) async fn launch(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.state.node(name)?;
        let mut flags = node.flags.clone();
        if !node.data_dir.join("key").exists()
            && let Some(ticket) = self.invite(name).await?
        {
            flags.extend(["--join".to_owned(), ticket]);
        }
        let is_new = !node.data_dir.join("key").exists();
        let pid = daemon::start(node, &flags)?;
        if let Some(node) = self.state.node_mut(name) {
            node.pid = pid;
            if is_new && !node.peer_id.is_empty() {
                // Its data was destroyed: it is another peer now, of the same name as the one that stays away.
                node.former_ids.push(std::mem::take(&mut node.peer_id));
            }
        }
        Ok(())
    }

    /// Returns a ticket for a node, made by the last one of its cluster that runs; `None` when none does.
    async fn invite(&self, name: &str) -> anyhow::Result<Option<String>> {
        let cluster = self.state.cluster_of(name)?;
        let others = cluster.nodes.iter().rev().filter(|node| node.name != name);
        let Some(host) =
            others.filter(|node| daemon::is_running(node)).find(|node| !node.peer_id.is_empty())
        else {
            return Ok(None);
        };
        let url = format!("{}/api/v1/cluster/invites", host.http);
        let answered = RefCell::new(None);
        // One that founded its cluster a moment ago may not know yet where others reach it.
        daemon::wait_until(host, "invite", || async {
            let request = tokens::authorised(self.client.post(&url), &url);
            let answer = request.json(&CreateInvite::default()).send().await;
            let is_too_early = matches!(&answer, Ok(answer) if answer.status().as_u16() == 503);
            answered.replace(Some(answer));
            !is_too_early
        })
        .await?;
        let answer = answered.take().context("nobody was asked")??;
        let answer =
            answer.error_for_status().with_context(|| format!("{} does not invite", host.name))?;
        let invited: Invited = serde_json::from_str(&answer.text().await?)?;
        Ok(Some(invited.ticket))
    }

    /// Waits until a node is ready and takes note of who it is.
    pub(super) async fn learn(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.state.node(name)?;
        let cluster = self.state.cluster_of(name)?;
        let running = cluster.nodes.iter().filter(|node| daemon::is_running(node)).count();
        // Without a majority nobody is ready: who starts the others waits for those that are there to answer.
        if 2 * running > cluster.nodes.len() || node.peer_id.is_empty() {
            daemon::wait_until_ready(&self.client, node).await?;
        } else {
            daemon::wait_until_answering(&self.client, node).await?;
        }
        self.learn_token(name)?;
        let node = self.state.node(name)?;
        let cluster = self.cluster_at(node).await?;
        let own = cluster
            .peers
            .iter()
            .find(|peer| peer.name == name && !node.former_ids.contains(&peer.peer_id))
            .with_context(|| format!("node {name} does not know itself"))?;
        let (peer_id, id) = (own.peer_id.clone(), cluster.id.clone());
        if let Some(node) = self.state.node_mut(name) {
            let address = node.addrs.first().cloned().unwrap_or_default();
            let bare = address.split("/p2p/").next().unwrap_or_default();
            node.addrs = vec![format!("{bare}/p2p/{peer_id}")];
            node.peer_id = peer_id;
        }
        let owner = self.state.clusters.iter_mut().find(|c| c.nodes.iter().any(|n| n.name == name));
        if let Some(owner) = owner {
            owner.id = id;
        }
        Ok(())
    }

    /// Takes note of the administrator's token, which lies with the node that founded the cluster.
    fn learn_token(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.state.node(name)?;
        let found = std::fs::read_to_string(node.data_dir.join("admin-token")).ok();
        let cluster = self.state.cluster_of_mut(name)?;
        if let Some(token) = found {
            cluster.admin_token = Some(token.trim().to_owned());
        }
        tokens::remember(cluster);
        Ok(())
    }
}
