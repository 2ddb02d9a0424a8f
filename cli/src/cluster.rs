//! `shoal cluster`: what a peer knows of its cluster.
//!
//! Never: repairs or changes anything.

use protocol::{Fault, Kind};
use reqwest::Method;
use serde::Deserialize;

use crate::args::Cluster;
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output;

/// The cluster, as far as it is shown. JSON is passed on as the peer wrote it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct View {
    id: String,
    name: Option<String>,
    epoch: u64,
    leader: Option<String>,
    peers: Vec<PeerView>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PeerView {
    peer_id: String,
    name: Option<String>,
    zone: Option<String>,
    capacity: u64,
    used: u64,
    state: String,
    addrs: Vec<String>,
}

/// Shows the cluster of the first peer that answers.
///
/// # Errors
/// The most telling of the peers' refusals; [`Kind::Internal`] if an answer has another form.
pub(crate) async fn run(endpoints: &Endpoints, what: Cluster, json: bool) -> Result<(), Failure> {
    let answer = endpoints.json(Method::GET, "cluster", "read the cluster").await?;
    if json {
        return match what {
            Cluster::Status => output::json(&answer),
            Cluster::Peers => {
                output::json(answer.get("peers").ok_or_else(|| unreadable(&"no peers"))?)
            }
        };
    }
    let view = View::deserialize(&answer).map_err(|error| unreadable(&error))?;
    if what == Cluster::Status {
        let name = view.name.as_deref().unwrap_or("-");
        let alive = view.peers.iter().filter(|peer| peer.state == "alive").count();
        let line = format!(
            "cluster {name}  id {}  epoch {}  leader {}  peers alive {alive} of {}",
            view.id,
            view.epoch,
            view.leader.as_deref().unwrap_or("-"),
            view.peers.len()
        );
        output::line(&output::plain(&line))?;
    }
    let rows: Vec<_> = view.peers.into_iter().map(row).collect();
    output::table(["PEER", "NAME", "STATE", "ZONE", "USED", "CAPACITY", "ADDRESSES"], &rows)
}

fn row(peer: PeerView) -> [String; 7] {
    let text =
        |value: Option<String>| value.filter(|text| !text.is_empty()).unwrap_or("-".to_owned());
    [
        peer.peer_id,
        text(peer.name),
        peer.state,
        text(peer.zone),
        output::bytes_text(peer.used),
        output::bytes_text(peer.capacity),
        peer.addrs.join(" "),
    ]
}

fn unreadable(why: &dyn std::fmt::Display) -> Fault {
    let hint = "is this the address of a shoald of this version?";
    Fault::new(Kind::Internal, format!("cannot read the answer about the cluster: {why}; {hint}"))
}
