//! What people do to a cluster: found it, invite machines, and tell it of those that never come back.
//!
//! Never: harms anything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use node::env::Env as _;
use node::{Entry, Founding};
use protocol::invite::{Ticket, secret_hash};
use protocol::metadata::voters::voter_count;
use protocol::metadata::{Actor, DisplayName, Label, Op, query};
use protocol::{Fault, Kind, PeerId, Prng};

use super::cluster::{Cluster, Host};
use super::plan::Plan;
use node::meta::Freshness;

/// Within this of virtual time a cluster forms, in peace: a second or two for each peer, and as much for voters.
const FORM_WITHIN: Duration = Duration::from_secs(60);
/// How often people look.
const PAUSE: Duration = Duration::from_millis(250);
/// How long they wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a ticket lasts: longer than clocks are wrong by.
const TICKET_MILLIS: u64 = 7 * 24 * 3_600_000;

/// Returns how the first machine founds the cluster of a plan.
pub(super) fn founding(plan: &Plan) -> Entry {
    Entry::Found(Founding {
        cluster_name: DisplayName::new("simulated").expect("it keeps the rules"),
        admin_token_hash: secret_hash(b"the administrator's token"),
        replicas: plan.replicas,
        grace_ms: plan.grace_ms,
    })
}

/// Starts the machines in peace, one after the other, and says whether they form a cluster in time.
pub(super) async fn form(cluster: &Arc<Cluster>) -> bool {
    let clock = cluster.world.clock();
    let end = clock.nanos() + u64::try_from(FORM_WITHIN.as_nanos()).unwrap_or(u64::MAX);
    while clock.nanos() < end {
        let hosts = cluster.hosts();
        match hosts.iter().find(|host| host.node().is_none()) {
            Some(next) if next.wants_invitation() => invite(cluster, &hosts[0], next).await,
            Some(next) => next.boot(),
            None if is_settled(&hosts) => return true,
            None => {}
        }
        clock.sleep(PAUSE).await;
    }
    false
}

/// Says whether the voters are complete and everybody knows where blocks belong.
fn is_settled(hosts: &[Arc<Host>]) -> bool {
    let nodes: Vec<_> = hosts.iter().filter_map(|host| host.node()).collect();
    let peers: BTreeSet<PeerId> = hosts.iter().map(|host| host.machine.peer()).collect();
    let knows_all = nodes.iter().all(|node| {
        let view = node.peers().view();
        let placed = view.placement().topology().peers().iter().map(|peer| peer.id);
        placed.collect::<BTreeSet<_>>() == peers
    });
    let votes = nodes.iter().map(|node| node.meta().status()).find(|status| status.is_leader);
    let votes = votes.is_some_and(|status| {
        !status.is_joint
            && status.is_membership_committed
            && status.voters().len() == voter_count(hosts.len())
    });
    knows_all && votes
}

/// Invites new machines and removes lost ones, for as long as the run lasts.
pub(super) async fn operate(cluster: Arc<Cluster>, mut prng: Prng) {
    loop {
        cluster.world.clock().sleep(PAUSE + Duration::from_millis(prng.below(1_000))).await;
        let hosts = cluster.hosts();
        let running: Vec<_> = hosts.iter().filter(|host| host.node().is_some()).collect();
        let Some(through) = prng.index(running.len()).map(|index| running[index]) else { continue };
        for host in &hosts {
            if host.wants_invitation() {
                invite(&cluster, through, host).await;
            }
            // Sometimes people take their time.
            if host.wants_removal() && prng.chance(1, 3) {
                remove(&cluster, through, host).await;
            }
        }
    }
}

/// Has a ticket made by one peer and gives it to another machine.
async fn invite(cluster: &Cluster, through: &Host, host: &Host) {
    let ticket = through.ask(PATIENCE, async move |node| -> Result<Ticket, Fault> {
        let expires = node.env().wall().after_millis(TICKET_MILLIS);
        let (secret, ticket) = node.new_ticket(expires)?;
        let label = Label::default();
        let op = Op::Invite { secret_hash: secret_hash(&secret), expires, label };
        node.meta().propose(op, Actor::System, PATIENCE).await?;
        Ok(ticket)
    });
    match ticket.await {
        Some(Ok(ticket)) => host.invite(Entry::Join(ticket)),
        Some(Err(fault)) => {
            cluster.world.record(format_args!("no ticket for {}: {fault}", host.number), &[]);
        }
        None => {}
    }
}

/// Tells the cluster that a machine never comes back.
async fn remove(cluster: &Cluster, through: &Host, host: &Host) {
    let peer = host.machine.peer();
    let removed = through.ask(PATIENCE, async move |node| -> Result<(), Fault> {
        let read = move |state: &dyn protocol::metadata::Source| query::member_of(state, peer);
        let Some(member) = node.meta().read(Freshness::Latest, read).await? else { return Ok(()) };
        let op = Op::RemoveMember { raft_id: member.raft_id };
        match node.meta().propose(op, Actor::System, PATIENCE).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == Kind::NotFound => Ok(()),
            Err(fault) => Err(fault),
        }
    });
    if let Some(Ok(())) = removed.await {
        cluster.world.record(format_args!("removed {}", host.number), &[]);
        host.removed();
    }
}
