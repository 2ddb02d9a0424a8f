//! How a peer comes to be a member when it starts: by founding, by its ticket, or because it is one already.
//!
//! Each step is durable before the next, and all can be repeated. Never: runs once the peer is a member.

use std::time::Duration;

use bytes::Bytes;
use protocol::catalog::ClusterKey;
use protocol::invite::{JoinRequest, Ticket};
use protocol::metadata::{Actor, Command, DisplayName, Member, MemberState, Op, RequestId, query};
use protocol::topology::{ReplicaCount, Zone};
use protocol::{Fault, Kind, PeerId};
use tracing::info;

use crate::env::{Disk, DiskError, Env, Map};
use crate::flows;
use crate::home::{Home, Stage};
use crate::meta::{self, Freshness, Meta};

/// How long the founder may take to agree with itself on the cluster's key.
const KEY_PATIENCE: Duration = Duration::from_secs(30);

/// What a peer may do when its directory belongs to no cluster yet.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Found one.
    Found(Founding),
    /// Join the ticket's.
    Join(Ticket),
    /// Nothing: it belongs to one already.
    Stay,
}

/// What a new cluster begins with.
#[derive(Clone, Debug)]
pub struct Founding {
    /// Its name for people.
    pub cluster_name: DisplayName,
    /// SHA-256 of its administrator's token.
    pub admin_token_hash: [u8; 32],
    /// Copies of a block.
    pub replicas: ReplicaCount,
    /// How long deleted content can be had back, in milliseconds.
    pub grace_ms: u64,
}

/// What a peer says of itself when it enters.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) peer: PeerId,
    pub(crate) name: DisplayName,
    pub(crate) zone: Zone,
    pub(crate) capacity_bytes: u64,
}

/// Says whether this disk belongs to a cluster that it did not found just now.
///
/// # Errors
/// The disk fails.
pub async fn is_settled<E: Env>(env: &E) -> Result<bool, Fault> {
    Ok(Home::load(env).await?.is_some_and(|home| home.stage != Stage::Founding))
}

/// Returns the directory's record, made now if it has none.
///
/// # Errors
/// [`Kind::Conflict`] when it belongs to another cluster than the ticket's.
pub(crate) async fn home<E: Env>(env: &E, entry: &Entry) -> Result<Home, Fault> {
    let found = Home::load(env).await?;
    match (found, entry) {
        (Some(home), Entry::Join(ticket))
            if home.cluster != ticket.cluster && home.stage == Stage::Joining =>
        {
            // It was refused there, or never heard. Should it have been let in all the same, then under an id
            // that nobody bears any more: it enters this cluster under a new one.
            let home = Home { cluster: ticket.cluster, stage: Stage::Joining };
            home.save_with(env, meta::forget_identity()).await?;
            Ok(home)
        }
        (Some(home), Entry::Join(ticket)) if home.cluster != ticket.cluster => Err(Fault::new(
            Kind::Conflict,
            format!(
                "the ticket is for cluster {}, and this data directory belongs to cluster {}; give the new peer \
                 an empty directory",
                ticket.cluster, home.cluster
            ),
        )),
        (Some(home), Entry::Found(_) | Entry::Stay) if home.stage == Stage::Joining => {
            Err(Fault::new(
                Kind::Conflict,
                format!(
                    "this data directory was about to join cluster {}; start again with the ticket (--join TICKET), or \
                 give it an empty directory",
                    home.cluster
                ),
            ))
        }
        (Some(home), _) => Ok(home),
        (None, Entry::Found(_)) if was_member(env).await? => Err(Fault::new(
            Kind::Conflict,
            "this data directory holds blocks or knows other peers, and knows of no cluster: what lay in its metadata/ is \
             lost; remove this peer from its cluster and let an empty directory join in its place (--join TICKET), or \
             found another cluster in an empty one",
        )),
        (None, Entry::Found(_)) => {
            let mut seed = [0; 32];
            env.fill_secret(&mut seed);
            let cluster = ClusterKey::from_seed(seed).public().cluster();
            let home = Home { cluster, stage: Stage::Founding };
            home.save_with(env, Home::with_seed(&seed)).await?;
            Ok(home)
        }
        (None, Entry::Stay) => {
            Err(Fault::new(Kind::Internal, "this data directory belongs to no cluster"))
        }
        (None, Entry::Join(ticket)) => {
            let home = Home { cluster: ticket.cluster, stage: Stage::Joining };
            home.save(env).await?;
            Ok(home)
        }
    }
}

/// Says whether a member lived here: before it is one, a peer stores no block and takes note of no other peer.
async fn was_member<E: Env>(env: &E) -> Result<bool, Fault> {
    let failed = |error: DiskError| Fault::new(Kind::Internal, error.to_string());
    for map in [Map::Blocks, Map::Peers] {
        if !env.disk().scan(map, Bytes::new(), None, 1).await.map_err(failed)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(!env.disk().list().await.map_err(failed)?.is_empty())
}

/// Makes this peer a member, and returns its record as one.
///
/// # Errors
/// The cluster's refusal, with its reason.
pub(crate) async fn enter<E: Env>(
    env: &E,
    meta: &Meta<E>,
    home: Home,
    entry: &Entry,
    newcomer: Newcomer,
) -> Result<Home, Fault> {
    let Newcomer { peer, name, zone, capacity_bytes } = newcomer;
    // It says where it listens once it knows.
    let addresses = Vec::new();
    let raft_id = meta.raft_id().0;
    match (&home.stage, entry) {
        (Stage::Member(_), _) => Ok(home),
        (Stage::Founding, Entry::Found(founding)) => {
            if meta.read(Freshness::Local, query::settings).await?.is_none() {
                let joined = env.wall();
                let state = MemberState::Active;
                let first =
                    Member { raft_id, peer, name, zone, capacity_bytes, addresses, state, joined };
                let op = Op::Found {
                    cluster: home.cluster,
                    name: founding.cluster_name.clone(),
                    first,
                    admin_token_hash: founding.admin_token_hash,
                    replicas: founding.replicas,
                    grace_ms: founding.grace_ms,
                };
                let mut request = [0; 16];
                env.fill_secret(&mut request);
                let (request, at, actor) = (RequestId(request), env.wall(), Actor::System);
                meta.found(Command { request, at, actor, op }).await?;
                info!(cluster = %founding.cluster_name, "cluster founded");
            }
            // Before the founding is over, so that the secret is nowhere else when it is forgotten here.
            if let Some(seed) = Home::seed(env).await? {
                meta.propose(Op::SetCatalogKey { seed }, Actor::System, KEY_PATIENCE).await?;
            }
            let home = Home { cluster: home.cluster, stage: Stage::Member(Vec::new()) };
            home.save_with(env, Home::without_seed()).await?;
            Ok(home)
        }
        (Stage::Joining, Entry::Join(ticket)) => {
            let request = JoinRequest {
                cluster: ticket.cluster,
                secret: ticket.secret,
                raft_id,
                name: name.to_string(),
                zone,
                capacity_bytes,
                addresses,
            };
            let welcome = flows::ask_to_join(env, ticket, &request).await?;
            let home = Home::joined(home.cluster, &welcome);
            home.save(env).await?;
            info!(cluster = %welcome.cluster_name, "joined");
            Ok(home)
        }
        (Stage::Founding, Entry::Join(_) | Entry::Stay)
        | (Stage::Joining, Entry::Found(_) | Entry::Stay) => {
            Err(Fault::new(Kind::Conflict, "this data directory was about to enter in another way"))
        }
    }
}
