//! After the storm: does every peer hold what belongs there?
//!
//! Looks into the stores themselves, past everything that peers say about repair. Never: mends anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use node::Node;
use node::meta::Freshness;
use node::store::{Rows, RowsWanted};
use protocol::metadata::Source;
use protocol::metadata::query::{self, UploadState};
use protocol::placement::{Partition, Placement};
use protocol::repair::RowKey;
use protocol::{Fault, Kind, OwnerId, PeerId};

use super::cluster::Cluster;
use crate::sim::SimEnv;
use crate::sim::properties::Violation;
use crate::sim::properties::redundant::{self, REDUNDANT_WITHIN};

/// How long a peer may take to show what it holds.
const LOOK_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// Rows that are read at a time.
const ROWS: usize = 1024;

/// What peers lack, and one of it as text.
#[derive(Debug, Default)]
struct Lacking {
    references: u64,
    example: String,
}

/// Looks until nothing lacks or the stated time is over.
pub(super) async fn judge(cluster: &Arc<Cluster>) -> Option<Violation> {
    let clock = cluster.world.clock();
    let within = u64::try_from(REDUNDANT_WITHIN.as_nanos()).unwrap_or(u64::MAX);
    let deadline = clock.nanos() + within;
    loop {
        let lacking = look(cluster).await.unwrap_or_else(|fault| Lacking {
            references: 1,
            example: format!("nobody knows which ({fault})"),
        });
        if lacking.references == 0 || clock.nanos() >= deadline {
            let at_millis = clock.nanos() / 1_000_000;
            return redundant::judge(lacking.references, &lacking.example, at_millis);
        }
        clock.sleep(PAUSE).await;
    }
}

/// Returns what peers lack of all that some peer has and a name refers to.
async fn look(cluster: &Arc<Cluster>) -> Result<Lacking, Fault> {
    let mut held: BTreeMap<PeerId, BTreeSet<RowKey>> = BTreeMap::new();
    let mut latest: Option<Arc<Placement>> = None;
    let hosts = cluster.hosts();
    let mut asked = None;
    for host in hosts.iter().filter(|host| !host.is_retired()) {
        let shown = host.ask(LOOK_WITHIN, show).await.unwrap_or_else(|| Err(silent()))?;
        let (peer, keys, placement) = shown;
        held.insert(peer, keys);
        let epoch = |placement: &Arc<Placement>| placement.topology().epoch();
        if latest.as_ref().is_none_or(|latest| epoch(latest) < epoch(&placement)) {
            latest = Some(placement);
            asked = Some(host);
        }
    }
    let (Some(placement), Some(host)) = (latest, asked) else { return Err(silent()) };
    let owners: BTreeSet<OwnerId> = held.values().flatten().map(|key| key.owner).collect();
    let read = async move |node: Node<SimEnv>| referenced(&node, owners).await;
    let referenced = host.ask(LOOK_WITHIN, read).await.unwrap_or_else(|| Err(silent()))?;

    let mut lacking = Lacking::default();
    let keys: BTreeSet<RowKey> = held.values().flatten().copied().collect();
    for key in keys.iter().filter(|key| referenced.contains(&key.owner)) {
        for peer in placement.replica_set(Partition::of(&key.cid)) {
            if held.get(&peer).is_some_and(|keys| !keys.contains(key)) {
                lacking.references += 1;
                lacking.example = format!("block {} of {} at {peer}", key.cid, key.owner);
            }
        }
    }
    Ok(lacking)
}

/// Returns what a peer holds, and where it believes that blocks belong.
async fn show(node: Node<SimEnv>) -> Result<(PeerId, BTreeSet<RowKey>, Arc<Placement>), Fault> {
    let (mut keys, mut after) = (BTreeSet::new(), None);
    loop {
        let wanted = RowsWanted { partitions: None, after, limit: ROWS };
        let Rows { rows, next } = node.context().store.rows(wanted).await?;
        keys.extend(rows.iter().map(protocol::repair::Row::key));
        after = next;
        if after.is_none() {
            break;
        }
    }
    let view = node.peers().view();
    Ok((view.own(), keys, Arc::clone(view.placement())))
}

/// Returns which of these owners a name refers to.
async fn referenced(
    node: &Node<SimEnv>,
    owners: BTreeSet<OwnerId>,
) -> Result<BTreeSet<OwnerId>, Fault> {
    let read = move |state: &dyn Source| {
        let mut referenced = BTreeSet::new();
        for &owner in &owners {
            if query::upload_state(state, owner)? == UploadState::Referenced {
                referenced.insert(owner);
            }
        }
        Ok(referenced)
    };
    node.meta().read(Freshness::Latest, read).await
}

fn silent() -> Fault {
    Fault::new(Kind::Unavailable, "a peer gave no answer")
}
