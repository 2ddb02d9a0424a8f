//! What the peers of a network say about it: who leads, who votes.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use protocol::api::Cluster;

use super::wait::{PATIENCE, until};
use crate::harness::{NodeState, Testnet};

fn running(net: &Testnet) -> Vec<&NodeState> {
    let nodes = net.state().clusters.iter().flat_map(|cluster| &cluster.nodes);
    nodes.filter(|node| net.is_running(node)).collect()
}

/// Returns what every running node says of the cluster.
async fn views(net: &Testnet) -> anyhow::Result<Vec<Cluster>> {
    let nodes = running(net);
    ensure!(!nodes.is_empty(), "no node runs");
    let mut views = Vec::new();
    for node in nodes {
        views.push(net.cluster_at(node).await?);
    }
    Ok(views)
}

/// Returns the names of the nodes that run.
pub(super) fn running_names(net: &Testnet) -> Vec<String> {
    running(net).into_iter().map(|node| node.name.clone()).collect()
}

/// Returns the name of the node that leads, once all that run agree on it and it runs.
pub(super) async fn leader(net: &Testnet) -> anyhow::Result<String> {
    let mut name = String::new();
    until(PATIENCE, async || {
        let views = views(net).await?;
        let leaders: BTreeSet<&Option<String>> = views.iter().map(|view| &view.leader).collect();
        ensure!(leaders.len() == 1, "not all name one leader: {leaders:?}");
        let leader = views.first().and_then(|view| view.leader.clone()).context("nobody leads")?;
        let found = running(net).into_iter().find(|node| node.peer_id == leader);
        name = found.context("the leader does not run")?.name.clone();
        Ok(())
    })
    .await?;
    Ok(name)
}

/// Fails unless every running node says that exactly `count` peers vote, and that all of them run.
pub(super) async fn ensure_voters(net: &Testnet, count: usize) -> anyhow::Result<()> {
    let alive: BTreeSet<String> = running(net).into_iter().map(|n| n.peer_id.clone()).collect();
    for view in views(net).await? {
        let voters: BTreeSet<String> = view
            .peers
            .into_iter()
            .filter(|peer| peer.raft == "voter")
            .map(|peer| peer.peer_id)
            .collect();
        ensure!(voters.len() == count, "{} vote instead of {count}", voters.len());
        let gone = voters.difference(&alive).count();
        ensure!(gone == 0, "{gone} of {count} voters do not run");
    }
    Ok(())
}
