//! Raft's questions to one other peer, over the peers' own requests.
//!
//! All go in the class `control`, which bulk bytes do not delay, and to those only that know of this run. Owns nothing. Every failure backs off, because each
//! has taken its time already. Never: retries; Raft does.

use std::future::Future;
use std::time::Duration;

use futures::future::{Either, select};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, Snapshot};
use protocol::format::Blob;
use protocol::format::FormatError;
use protocol::raft::{Answer, Appended, Ask, Candidacy, Identity, Letter, Voted, open, seal};
use protocol::wire::{Class, Reply, Request};
use protocol::{Fault, Kind, PeerId};

use super::check_in::CheckIn;
use super::convert;
use super::snapshot::{Contents, Pages};
use super::types::{LeaderId, Seat, Types, Vote};
use crate::env::Env;
use crate::rpc::Rpc;

/// How long entries may be on their way to a follower and its disk. Signs of life have a deadline of their own.
const APPEND_PATIENCE: Duration = Duration::from_millis(800);
/// How long one page of a snapshot may be.
const PAGE_PATIENCE: Duration = Duration::from_secs(5);
/// How long taking over a whole snapshot may take: one synced write.
const FINISH_PATIENCE: Duration = Duration::from_secs(20);

/// How this peer reaches others of its agreement. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub(super) struct Post<E: Env> {
    env: E,
    rpc: Rpc<E>,
    identity: Identity,
}

impl<E: Env> Post<E> {
    pub(super) fn new(env: E, rpc: Rpc<E>, identity: Identity) -> Self {
        Self { env, rpc, identity }
    }

    /// Asks a peer and returns its answer.
    pub(super) async fn ask(
        &self,
        to: u64,
        peer: PeerId,
        ask: Ask,
        patience: Duration,
    ) -> Result<Answer, Fault> {
        let Identity { raft_id: from, cluster } = self.identity;
        let internal = |error: FormatError| {
            Fault::new(Kind::Internal, format!("a message of the agreement: {error}"))
        };
        let body = seal("letter", &Letter { cluster, from, to, ask }).map_err(internal)?;
        let request = Request::Meta { body };
        match self.rpc.call(peer, Class::Control, request, patience).await? {
            Reply::Meta { body } => open("answer", &body).map_err(internal),
            Reply::Put(_)
            | Reply::Held { .. }
            | Reply::Block(_)
            | Reply::Released { .. }
            | Reply::Owners(_)
            | Reply::Inventory { .. } => Err(Fault::new(
                Kind::Internal,
                format!("peer {peer} answered another question than was asked"),
            )),
        }
    }
}

/// The ways to all other members.
#[derive(Debug)]
pub(super) struct Lines<E: Env> {
    post: Post<E>,
    check_in: CheckIn<E>,
}

impl<E: Env> Lines<E> {
    pub(super) fn new(post: Post<E>, check_in: CheckIn<E>) -> Self {
        Self { post, check_in }
    }
}

impl<E: Env> RaftNetworkFactory<Types> for Lines<E> {
    type Network = Line<E>;

    async fn new_client(&mut self, target: u64, seat: &Seat) -> Line<E> {
        let (post, check_in) = (self.post.clone(), self.check_in.clone());
        Line { post, check_in, target, peer: seat.peer }
    }
}

/// The way to one other member.
#[derive(Debug)]
pub(super) struct Line<E: Env> {
    post: Post<E>,
    check_in: CheckIn<E>,
    target: u64,
    peer: PeerId,
}

impl<E: Env> Line<E> {
    async fn ask(&self, ask: Ask, patience: Duration) -> Result<Answer, RPCError<Types>> {
        let noted = self.check_in.ensure_noted(self.target, self.peer, patience).await;
        noted.map_err(|fault| RPCError::Unreachable(Unreachable::from_string(fault)))?;
        let answer = self.post.ask(self.target, self.peer, ask, patience).await;
        match answer {
            Ok(Answer::Misdelivered) => {
                let text = format!("peer {} is not member {} any more", self.peer, self.target);
                Err(RPCError::Unreachable(Unreachable::from_string(text)))
            }
            Ok(answer) => Ok(answer),
            Err(fault) => Err(RPCError::Unreachable(Unreachable::from_string(fault))),
        }
    }

    async fn stand(
        &self,
        request: VoteRequest<Types>,
        ask: fn(Candidacy) -> Ask,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let candidacy = Candidacy {
            ballot: convert::ballot(request.vote),
            last: request.last_log_id.map(convert::place),
            transfer: request.leadership_transfer,
        };
        let answer = self.ask(ask(candidacy), option.hard_ttl()).await?;
        let Answer::Voted(Voted { ballot, granted, last }) = answer else {
            return Err(unexpected());
        };
        Ok(VoteResponse::new(convert::vote(ballot), last.map(convert::log_id), granted))
    }

    /// Sends all pages and has the receiver take them over.
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot<LeaderId, u64, Seat, Contents<E>>,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let Contents::Frozen { view, generation } = snapshot.snapshot else {
            return Err(broken("the snapshot has no contents"));
        };
        let transfer = self.post.env.prng().next_u64();
        let mut pages = Pages::new(&view, generation);
        let mut number = 0;
        loop {
            let page = pages.next().await.map_err(broken)?;
            // An empty state is one empty page.
            if page.is_empty() && number > 0 {
                break;
            }
            let entries = page.into_iter().map(|(key, value)| (Blob(key), Blob(value))).collect();
            let ask = Ask::Page { transfer, number, entries };
            let Answer::Page(is_kept) = self.ask(ask, PAGE_PATIENCE).await? else {
                return Err(unexpected().into());
            };
            if !is_kept {
                return Err(broken("another transfer took its place"));
            }
            number += 1;
        }
        let ask = Ask::Finish {
            transfer,
            pages: number,
            ballot: convert::ballot(vote),
            applied: snapshot.meta.last_log_id.map(convert::place),
            configured: convert::configured(&snapshot.meta.last_membership),
        };
        let Answer::Finished(ballot) = self.ask(ask, FINISH_PATIENCE).await? else {
            return Err(unexpected().into());
        };
        let ballot = ballot.ok_or_else(|| broken("the receiver misses pages"))?;
        Ok(SnapshotResponse::new(convert::vote(ballot)))
    }
}

fn unexpected() -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string("the answer is to another question"))
}

fn broken(detail: impl ToString) -> StreamingError<Types> {
    StreamingError::Network(NetworkError::from_string(detail))
}

impl<E: Env> RaftNetworkV2<Types> for Line<E> {
    type SnapshotData = Contents<E>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let patience = if request.entries.is_empty() { option.hard_ttl() } else { APPEND_PATIENCE };
        let ask = Ask::Append {
            ballot: convert::ballot(request.vote),
            previous: request.prev_log_id.map(convert::place),
            entries: request.entries.iter().map(convert::record).collect(),
            committed: request.leader_commit.map(convert::place),
        };
        let Answer::Appended(appended) = self.ask(ask, patience).await? else {
            return Err(unexpected());
        };
        Ok(match appended {
            Appended::All => AppendEntriesResponse::Success,
            Appended::Part(until) => {
                AppendEntriesResponse::PartialSuccess(until.map(convert::log_id))
            }
            Appended::Conflict => AppendEntriesResponse::Conflict,
            Appended::HigherVote(ballot) => {
                AppendEntriesResponse::HigherVote(convert::vote(ballot))
            }
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.stand(request, Ask::Vote, &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.stand(request, Ask::PreVote, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<LeaderId, u64, Seat, Contents<E>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let cancel = std::pin::pin!(cancel);
        let send = std::pin::pin!(self.send_snapshot(vote, snapshot));
        match select(cancel, send).await {
            Either::Left((closed, _)) => Err(StreamingError::Closed(closed)),
            Either::Right((outcome, _)) => outcome,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let last = request.last_log_id().copied();
        let ask = Ask::Transfer {
            ballot: convert::ballot(*request.from_leader()),
            to: *request.to_node_id(),
            last: last.map(convert::place),
        };
        let Answer::Transfer(is_ready) = self.ask(ask, option.hard_ttl()).await? else {
            return Err(unexpected());
        };
        let refused = TransferLeaderError::LogNotFlushed { expected: last, actual: None };
        Ok(if is_ready { Ok(()) } else { Err(refused) })
    }
}
