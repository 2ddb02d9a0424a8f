//! `/api/v1/cluster`: its peers, and the tickets by which more join.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use protocol::api;
use protocol::membership::Liveness;
use protocol::metadata::{Label, Member, MemberState, Op, Outcome, Source, TicketState, query};
use protocol::topology::Zone;
use protocol::{Fault, Kind, PeerId, WallTime};

use super::auth::{Caller, GUARDED};
use super::params::Params;
use super::problem::Failure;
use super::{Api, PAGE_MAX, documents, id_of, named, proposed};
use crate::env::Env;
use crate::flows::{all_members, removal};
use crate::meta::{Freshness, RaftId};

/// How long a ticket may be used unless its maker says.
const TICKET_VALID: Duration = Duration::from_secs(24 * 3600);

/// How long one may be valid at most: a forgotten one must not open the cluster years later.
const TICKET_VALID_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long one request waits for a peer to be drained; asking again goes on waiting.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(300);

/// How often the state of a draining peer is looked at.
const DRAIN_LOOK: Duration = Duration::from_millis(200);

/// Shows the cluster as the asked peer sees it.
#[utoipa::path(get, path = "/api/v1/cluster", responses((status = 200, body = api::Cluster)))]
pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<api::Cluster>, Failure> {
    cluster(&api).await.map(Json)
}

/// The same, for those who look for the peers.
#[utoipa::path(get, path = "/api/v1/cluster/peers", responses((status = 200, body = api::Cluster)))]
pub(super) async fn peers(State(api): State<Arc<Api>>) -> Result<Json<api::Cluster>, Failure> {
    cluster(&api).await.map(Json)
}

async fn cluster(api: &Api) -> Result<api::Cluster, Failure> {
    let read = |state: &dyn Source| Ok((query::settings(state)?, all_members(state)?));
    let (settings, members) = api.node.meta().read(Freshness::Local, read).await?;
    let view = api.node.peers().view();
    let status = api.node.meta().status();
    let voters = &status.agreed_voters;
    let peer = |member: &Member| {
        let info = view.peers().get(&member.peer);
        let state = match (member.state, info.map(|info| view.liveness(info))) {
            (MemberState::Draining | MemberState::Drained, Some(Liveness::Alive)) => "draining",
            (_, Some(Liveness::Alive)) => "alive",
            (_, Some(Liveness::Suspect)) => "suspect",
            (_, Some(Liveness::Dead | Liveness::Left) | None) => "dead",
        };
        let addresses = match info {
            Some(info) if !info.addresses.is_empty() => &info.addresses,
            Some(_) | None => &member.addresses,
        };
        api::Peer {
            peer_id: member.peer.to_string(),
            name: member.name.to_string(),
            zone: member.zone.name().to_owned(),
            capacity: member.capacity_bytes,
            used: info.map_or(0, |info| info.used_bytes),
            state: state.to_owned(),
            raft: if voters.contains(&RaftId(member.raft_id)) { "voter" } else { "learner" }
                .to_owned(),
            drained: member.state == MemberState::Drained,
            addrs: addresses.iter().map(|at| format!("{at}/p2p/{}", member.peer)).collect(),
        }
    };
    let mut peers: Vec<api::Peer> = members.iter().map(peer).collect();
    peers.sort_by(|a, b| a.peer_id.cmp(&b.peer_id));
    Ok(api::Cluster {
        id: api.node.cluster().to_string(),
        name: settings.map(|settings| settings.name.to_string()).unwrap_or_default(),
        epoch: view.placement().topology().epoch().0,
        leader: status.leader.and_then(|(_, peer)| peer).map(|peer| peer.to_string()),
        peers,
    })
}

/// Returns the member that a path names by its peer id.
async fn member(api: &Api, peer: &str) -> Result<Member, Failure> {
    let peer = named(peer.parse::<PeerId>())?;
    let read = move |state: &dyn Source| query::member_of(state, peer);
    api.node.meta().read(Freshness::Latest, read).await?.ok_or_else(|| {
        Failure(Fault::new(Kind::NotFound, format!("peer {peer} is no member of this cluster")))
    })
}

async fn shown(api: &Api, peer: PeerId) -> Result<api::Peer, Failure> {
    let id = peer.to_string();
    let found = cluster(api).await?.peers.into_iter().find(|peer| peer.peer_id == id);
    found.ok_or_else(|| Failure(Fault::new(Kind::NotFound, format!("peer {peer} was removed"))))
}

/// Changes where a peer is, or how much it offers to hold. For administrators.
#[utoipa::path(patch, path = "/api/v1/cluster/peers/{id}", request_body = api::SetPeer,
    responses((status = 200, body = api::Peer)))]
pub(super) async fn set(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(set): Json<api::SetPeer>,
) -> Result<Json<api::Peer>, Failure> {
    let member = member(&api, &id).await?;
    let zone = match set.zone {
        Some(name) => Some(
            Zone::new(&name)
                .ok_or_else(|| Failure::invalid(format!("{name:?} is no name of a zone")))?,
        ),
        None => None,
    };
    let (raft_id, capacity_bytes) = (member.raft_id, set.capacity);
    let op = Op::SetMember { raft_id, name: None, zone, capacity_bytes };
    proposed(&api, &caller, &headers, op).await?;
    shown(&api, member.peer).await.map(Json)
}

/// Removes a peer: it is cut off at once and can come back only empty, with a new ticket. Refused while the others
/// could not agree without it, and unless `force` while it is there and was not drained. For administrators.
#[utoipa::path(delete, path = "/api/v1/cluster/peers/{id}", params(("force" = Option<bool>, Query)),
    responses((status = 204)))]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let mut params = Params::new(query);
    let force = params.flag("force")?.unwrap_or(false);
    params.end("force")?;
    caller.must_be_admin()?;
    let member = member(&api, &id).await?;
    let op = removal(api.node.context(), &member, force).await?;
    proposed(&api, &caller, &headers, op).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a peer give its blocks to others; answers 200 once it can be switched off. For administrators.
#[utoipa::path(post, path = "/api/v1/cluster/peers/{id}/drain", params(("wait_ms" = Option<u64>, Query)),
    responses((status = 200, body = api::Peer), (status = 202, body = api::Peer)))]
pub(super) async fn drain(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<api::Peer>), Failure> {
    let mut params = Params::new(query);
    let wait = params.parse("wait_ms", "a number of milliseconds")?.map(Duration::from_millis);
    params.end("wait_ms")?;
    let member = member(&api, &id).await?;
    if member.state == MemberState::Active {
        proposed(&api, &caller, &headers, Op::Drain { raft_id: member.raft_id }).await?;
    }
    let env = api.node.env();
    let until = env.now().after(wait.unwrap_or_default().min(DRAIN_WAIT_MAX));
    loop {
        let peer = shown(&api, member.peer).await?;
        if peer.drained {
            return Ok((StatusCode::OK, Json(peer)));
        }
        if env.now() >= until {
            return Ok((StatusCode::ACCEPTED, Json(peer)));
        }
        env.sleep_until(env.now().after(DRAIN_LOOK)).await;
    }
}

/// Makes a ticket. For administrators.
#[utoipa::path(post, path = "/api/v1/cluster/invites", request_body = api::CreateInvite,
    responses((status = 201, body = api::Invited)))]
pub(super) async fn invite(
    State(api): State<Arc<Api>>,
    caller: Caller,
    body: Option<Json<api::CreateInvite>>,
) -> Result<(StatusCode, Json<api::Invited>), Failure> {
    let Json(create) = body.unwrap_or_default();
    let valid = create.valid_ms.map_or(TICKET_VALID, Duration::from_millis);
    if valid.is_zero() || valid > TICKET_VALID_MAX {
        let days = TICKET_VALID_MAX.as_secs() / 86_400;
        return Err(Failure::invalid(format!(
            "valid_ms is outside 1 to {days} days in milliseconds"
        )));
    }
    let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
    let expires = WallTime::from_unix_millis(api.node.env().wall().as_unix_millis() + valid_ms);
    let (secret, ticket) = api.node.new_ticket(expires)?;
    let label = named(Label::new(&create.label))?;
    let op = Op::Invite { secret_hash: protocol::invite::secret_hash(&secret), expires, label };
    let Outcome::Invited { id } = proposed(&api, &caller, &HeaderMap::new(), op).await? else {
        return Err(documents::other_answer().into());
    };
    let expires = documents::time_text(expires);
    let invited = api::Invited { id: id.to_string(), ticket: ticket.to_text(), expires };
    Ok((StatusCode::CREATED, Json(invited)))
}

/// Invites a peer: the same as making a ticket, under the name of what comes of it. For administrators.
#[utoipa::path(post, path = "/api/v1/cluster/peers", request_body = api::CreateInvite,
    responses((status = 201, body = api::Invited)))]
pub(super) async fn add(
    api: State<Arc<Api>>,
    caller: Caller,
    body: Option<Json<api::CreateInvite>>,
) -> Result<(StatusCode, Json<api::Invited>), Failure> {
    invite(api, caller, body).await
}

/// Lists the tickets that can still be used. For administrators.
#[utoipa::path(get, path = "/api/v1/cluster/invites", responses((status = 200, body = api::Invites)))]
pub(super) async fn invites(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<api::Invites>, Failure> {
    caller.must_be_admin()?;
    let found =
        api.node.meta().read(GUARDED, |state| query::tickets(state, None, PAGE_MAX)).await?;
    let now = api.node.env().wall();
    let open =
        found.iter().filter(|ticket| ticket.state == TicketState::Open && ticket.expires > now);
    Ok(Json(api::Invites { invites: open.map(documents::invite).collect() }))
}

/// Takes a ticket back. For administrators.
#[utoipa::path(delete, path = "/api/v1/cluster/invites/{id}", responses((status = 204)))]
pub(super) async fn withdraw(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let op = Op::RevokeTicket { id: id_of(&id, "a ticket")? };
    proposed(&api, &caller, &headers, op).await?;
    Ok(StatusCode::NO_CONTENT)
}
