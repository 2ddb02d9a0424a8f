//! `shoal cluster`: who is in the cluster, who may join, and who leaves.
//!
//! Never: decides what is safe; the cluster does.
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: it waits in real time for a peer to be drained"
)]

use std::time::Duration;

use protocol::api::{Cluster, CreateInvite, Invited, Invites, Peer, SetPeer};
use protocol::{Fault, Kind};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use crate::args::{ClusterCommand, Invite, PeerChange};
use crate::endpoint::{ANSWER_TIMEOUT, Endpoints};
use crate::failure::Failure;
use crate::output::{self, Progress};
use crate::question::Question;
use crate::target::segment;

/// How long a peer is asked to wait with its answer about a drain: well below the time after which it
/// counts as gone.
const DRAIN_POLL: Duration = Duration::from_secs(5);
const _: () = assert!(DRAIN_POLL.as_secs() * 2 < ANSWER_TIMEOUT.as_secs());

/// Does what is asked with the cluster of the first peer that answers.
///
/// # Errors
/// The most telling of the peers' refusals.
pub(crate) async fn run(
    endpoints: &Endpoints,
    what: &ClusterCommand,
    json: bool,
) -> Result<(), Failure> {
    match what {
        ClusterCommand::Status => {
            let cluster = read(endpoints).await?;
            if json {
                return output::json(&cluster);
            }
            output::line(&output::plain(&summary(&cluster)))?;
            table(cluster.peers)
        }
        ClusterCommand::Peers => {
            let peers = read(endpoints).await?.peers;
            if json { output::json(&peers) } else { table(peers) }
        }
        ClusterCommand::Invite(args) => invite(endpoints, args, json).await,
        ClusterCommand::Invites => {
            let question = Question::get("cluster/invites", "list the tickets");
            let invites: Invites = question.ask(endpoints).await?;
            if json {
                return output::json(&invites);
            }
            let rows = invites.invites.into_iter();
            let rows: Vec<_> =
                rows.map(|ticket| [ticket.id, ticket.expires, ticket.label]).collect();
            output::table(["ID", "EXPIRES", "LABEL"], &rows)
        }
        ClusterCommand::Uninvite { id } => {
            let path = format!("cluster/invites/{}", segment(id));
            let question = Question::change(Method::DELETE, path, format!("withdraw ticket {id}"));
            question.tell(endpoints).await?;
            if json {
                return output::json(&json!({ "id": id }));
            }
            output::line(&output::plain(&format!("withdrew ticket {id}")))
        }
        ClusterCommand::Drain { peer, wait } => drain(endpoints, peer, *wait, json).await,
        ClusterCommand::Remove { peer, force } => {
            let peer = find(endpoints, peer).await?;
            let doing = format!("remove peer {}", peer.peer_id);
            let question = Question::change(Method::DELETE, path_of(&peer), doing);
            question.parameter("force", force).tell(endpoints).await?;
            if json {
                return output::json(&json!({ "peer_id": peer.peer_id, "name": peer.name }));
            }
            output::line(&output::plain(&format!("removed {}  {}", peer.peer_id, peer.name)))
        }
        ClusterCommand::Set { peer, change } => set(endpoints, peer, change, json).await,
    }
}

async fn read(endpoints: &Endpoints) -> Result<Cluster, Fault> {
    Question::get("cluster", "read the cluster").ask(endpoints).await
}

async fn invite(endpoints: &Endpoints, args: &Invite, json: bool) -> Result<(), Failure> {
    let body = CreateInvite { valid_ms: args.valid_for.map(millis), label: args.label.clone() };
    let question = Question::change(Method::POST, "cluster/invites", "make a ticket");
    let invited: Invited = question.json(&body).ask(endpoints).await?;
    if json {
        return output::json(&invited);
    }
    // The ticket alone, so that a script can take it.
    output::line(&output::plain(&invited.ticket))
}

async fn set(
    endpoints: &Endpoints,
    named: &str,
    change: &PeerChange,
    json: bool,
) -> Result<(), Failure> {
    let peer = find(endpoints, named).await?;
    let body = SetPeer { zone: change.zone.clone(), capacity: change.capacity };
    let doing = format!("change peer {}", peer.peer_id);
    let question = Question::change(Method::PATCH, path_of(&peer), doing).json(&body);
    let peer = match question.ask::<Option<Peer>>(endpoints).await? {
        Some(changed) => changed,
        None => find(endpoints, &peer.peer_id).await?,
    };
    if json { output::json(&peer) } else { table(vec![peer]) }
}

/// Asks for a drain until it is done.
///
/// # Errors
/// [`Kind::Unavailable`] if it takes longer than `wait`; the peer goes on.
async fn drain(
    endpoints: &Endpoints,
    named: &str,
    wait: Option<Duration>,
    json: bool,
) -> Result<(), Failure> {
    let peer = find(endpoints, named).await?;
    let until = wait.map(|wait| Instant::now() + wait);
    let progress = Progress::start(&format!("draining {}", peer.peer_id), None);
    let mut is_accepted = false;
    let drained = loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let poll = left.map_or(DRAIN_POLL, |left| left.min(DRAIN_POLL));
        let doing = format!("drain peer {}", peer.peer_id);
        let question = Question::change(Method::POST, path_of(&peer) + "/drain", doing)
            .parameter("wait_ms", millis(poll));
        let asked = question.ask_status::<Option<Peer>>(endpoints).await;
        let (status, answer) = asked.map_err(|mut fault| {
            if is_accepted {
                fault.detail += "; the peer goes on draining: run the command again to wait on";
            }
            fault
        })?;
        is_accepted = true;
        if status != StatusCode::ACCEPTED {
            break answer.unwrap_or(peer);
        }
        if left.is_some_and(|left| left.is_zero()) {
            let detail = format!(
                "peer {} is still being drained; do not switch it off, run the command again to wait on{}",
                peer.peer_id,
                away(&read(endpoints).await?)
            );
            return Err(Fault::new(Kind::Unavailable, detail).into());
        }
    };
    progress.finish();
    if json {
        return output::json(&drained);
    }
    let line = format!("drained {}  {}: it can be switched off", drained.peer_id, drained.name);
    output::line(&output::plain(&line))
}

/// Returns what a drain may be waiting for: copies need peers to hold them.
fn away(cluster: &Cluster) -> String {
    let away =
        cluster.peers.iter().filter(|peer| peer.state != "alive" && peer.state != "draining");
    let names: Vec<&str> = away.map(|peer| peer.name.as_str()).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!(" (its blocks need enough others, and {} are away)", names.join(", ")),
    }
}

/// Returns the peer that is meant: by its id, its name, or the beginning of its id.
///
/// # Errors
/// [`Kind::NotFound`] if there is none, [`Kind::Conflict`] if there are several.
async fn find(endpoints: &Endpoints, named: &str) -> Result<Peer, Fault> {
    choose(read(endpoints).await?.peers, named)
}

fn choose(peers: Vec<Peer>, named: &str) -> Result<Peer, Fault> {
    let is_meant: [fn(&Peer, &str) -> bool; 3] = [
        |peer, named| peer.peer_id == named,
        |peer, named| peer.name == named,
        |peer, named| peer.peer_id.starts_with(named),
    ];
    if named.is_empty() {
        return Err(Fault::new(Kind::Invalid, "the name of the peer is empty"));
    }
    for is_meant in is_meant {
        let mut found = peers.iter().filter(|peer| is_meant(peer, named));
        let Some(peer) = found.next() else { continue };
        let others: Vec<_> = found.map(|peer| peer.peer_id.as_str()).collect();
        if others.is_empty() {
            return Ok(peer.clone());
        }
        let detail = format!(
            "{named:?} can be peer {} or {}; name it by its id",
            peer.peer_id,
            others.join(" or ")
        );
        return Err(Fault::new(Kind::Conflict, detail));
    }
    let detail =
        format!("no peer {named:?} in the cluster; `shoal cluster peers` lists those there are");
    Err(Fault::new(Kind::NotFound, detail))
}

fn path_of(peer: &Peer) -> String {
    format!("cluster/peers/{}", segment(&peer.peer_id))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn summary(cluster: &Cluster) -> String {
    let alive = cluster.peers.iter().filter(|peer| peer.state == "alive").count();
    format!(
        "cluster {}  id {}  epoch {}  leader {}  peers alive {alive} of {}",
        cluster.name,
        cluster.id,
        cluster.epoch,
        cluster.leader.as_deref().unwrap_or("-"),
        cluster.peers.len()
    )
}

fn table(peers: Vec<Peer>) -> Result<(), Failure> {
    let rows: Vec<_> = peers.into_iter().map(row).collect();
    output::table(["PEER", "NAME", "STATE", "RAFT", "ZONE", "USED", "CAPACITY", "ADDRESSES"], &rows)
}

fn row(peer: Peer) -> [String; 8] {
    let text = |value: String| if value.is_empty() { "-".to_owned() } else { value };
    [
        peer.peer_id,
        text(peer.name),
        peer.state,
        text(peer.raft),
        text(peer.zone),
        output::bytes_text(peer.used),
        output::bytes_text(peer.capacity),
        peer.addrs.join(" "),
    ]
}

#[cfg(test)]
mod tests {
    use protocol::Kind;
    use protocol::api::Peer;

    use super::choose;

    fn peers() -> Vec<Peer> {
        let peer = |id: &str, name: &str| Peer {
            peer_id: id.to_owned(),
            name: name.to_owned(),
            zone: String::new(),
            capacity: 0,
            used: 0,
            state: "alive".to_owned(),
            raft: "voter".to_owned(),
            drained: false,
            addrs: Vec::new(),
        };
        vec![
            peer("12D3Kab", "attic"),
            peer("12D3Kac", "house"),
            peer("12D3Kac9", "12D3Kab"),
            peer("9", "house"),
        ]
    }

    #[test]
    fn a_peer_is_meant_by_id_then_by_name_then_by_the_beginning_of_an_id() {
        let chosen = |named: &str| choose(peers(), named).map(|peer| peer.name);
        assert_eq!(chosen("12D3Kab").as_deref(), Ok("attic"), "an id before a name");
        assert_eq!(chosen("12D3Kac").as_deref(), Ok("house"), "an id before what begins like it");
        assert_eq!(chosen("attic").as_deref(), Ok("attic"));
        assert_eq!(chosen("12D3Kac9").as_deref(), Ok("12D3Kab"));
        assert_eq!(chosen("12D3Ka").unwrap_err().kind, Kind::Conflict);
        assert_eq!(chosen("house").unwrap_err().kind, Kind::Conflict, "one name for two");
        assert_eq!(chosen("cellar").unwrap_err().kind, Kind::NotFound);
        assert_eq!(chosen("").unwrap_err().kind, Kind::Invalid);
    }
}
