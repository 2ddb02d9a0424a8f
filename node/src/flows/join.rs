//! How a peer comes into a cluster: asking with a ticket, and answering those who ask.
//!
//! Never: decides whether a ticket is good; the cluster's metadata does, once for all peers.

use std::time::Duration;

use protocol::invite::{
    JoinRequest, Ticket, WELCOME_PEERS_MAX, Welcome, decode_answer, encode_answer, secret_hash,
};
use protocol::metadata::{Actor, DisplayName, Member, MemberState, Op, Outcome, query};
use protocol::{ClusterId, Fault, Kind, PeerId};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::env::{Env, GuestProtocol, GuestQuestion, Net};
use crate::log_limiter::LogLimiter;
use crate::meta::{Freshness, Meta};

/// How long a newcomer's admission may take to be agreed on.
const ADMIT_PATIENCE: Duration = Duration::from_secs(8);

/// How often a newcomer asks, and the pause between: a cluster may be between two leaders.
const ASK_TRIES: u32 = 5;
/// See [`ASK_TRIES`].
const ASK_PAUSE: Duration = Duration::from_secs(2);

/// Asks the peers of a ticket to be let in, and returns what they tell.
///
/// # Errors
/// The cluster's refusal, with its reason; or [`Kind::Unavailable`] when none of the ticket's peers answers.
pub(crate) async fn ask<E: Env>(
    env: &E,
    ticket: &Ticket,
    request: &JoinRequest,
) -> Result<Welcome, Fault> {
    let question = request.encode();
    let mut last = Fault::new(Kind::Unavailable, "no peer of the ticket was asked");
    for attempt in 0..ASK_TRIES {
        if attempt > 0 {
            env.sleep_until(env.now().after(ASK_PAUSE)).await;
        }
        match env
            .net()
            .ask_guest(GuestProtocol::Join, ticket.addresses.clone(), question.clone())
            .await
        {
            Ok((_, answer)) => match decode_answer(&answer) {
                Err(fault) if matches!(fault.kind, Kind::Unavailable | Kind::Busy) => last = fault,
                decided => return decided,
            },
            Err(error) => {
                let at = ticket.addresses.join(", ");
                let detail = format!("no peer of the ticket answers ({at}): {error}");
                last = Fault::new(Kind::Unavailable, detail);
            }
        }
    }
    Err(last)
}

/// Answers newcomers, one at a time, until the network stops.
pub(crate) async fn answer_guests<E: Env>(
    env: E,
    meta: Meta<E>,
    cluster: ClusterId,
    mut guests: mpsc::Receiver<GuestQuestion>,
) {
    let mut limiter = LogLimiter::new();
    while let Some(GuestQuestion { from, question, answer }) = guests.recv().await {
        let outcome = admit(&meta, cluster, from, &question).await;
        match &outcome {
            Ok(_) => info!(peer = %from, "peer joined"),
            // Anybody may ask, as often as the gate lets them.
            Err(fault) if limiter.may_log(from, env.now()) => {
                warn!(peer = %from, err = %fault, "peer not let in");
            }
            Err(_) => {}
        }
        // Whoever asked may have gone; it asks again, and is told the same.
        drop(answer.send(encode_answer(&outcome)));
    }
}

async fn admit<E: Env>(
    meta: &Meta<E>,
    cluster: ClusterId,
    from: PeerId,
    question: &[u8],
) -> Result<Welcome, Fault> {
    let request = JoinRequest::decode(question)?;
    if request.cluster != cluster {
        return Err(Fault::new(
            Kind::Denied,
            format!(
                "the ticket is meant for cluster {}, and this peer is of cluster {cluster}",
                request.cluster
            ),
        ));
    }
    let name = DisplayName::new(&request.name)
        .map_err(|error| Fault::new(Kind::Invalid, error.to_string()))?;
    let member = Member {
        raft_id: request.raft_id,
        peer: from,
        name,
        zone: request.zone,
        capacity_bytes: request.capacity_bytes,
        addresses: request.addresses,
        state: MemberState::Active,
        joined: protocol::WallTime::default(),
    };
    let op = Op::Join { secret_hash: secret_hash(&request.secret), member };
    let outcome = meta.propose(op, Actor::System, ADMIT_PATIENCE).await?;
    if !matches!(outcome, Outcome::Joined { .. }) {
        return Err(Fault::new(Kind::Internal, "the cluster gave an answer of another kind"));
    }
    let (settings, members) = meta
        .read(Freshness::Local, |state| {
            Ok((query::settings(state)?, query::members(state, None, WELCOME_PEERS_MAX + 1)?))
        })
        .await?;
    let peers = members.into_iter().filter(|member| member.peer != from);
    let peers =
        peers.map(|member| (member.peer, member.addresses)).take(WELCOME_PEERS_MAX).collect();
    let cluster_name = settings.map(|settings| settings.name.to_string()).unwrap_or_default();
    Ok(Welcome { cluster_name, peers })
}
