//! The answering side: letters of other members given to Raft, to the state, or refused.
//!
//! A letter for another directory or cluster is refused, and one whose sender is known to sit elsewhere. Votes and
//! entries wait until this peer has checked in. Never: answers for the leader when it is not.

use protocol::format::Blob;
use protocol::format::FormatError;
use protocol::raft::{Answer, Appended, Ask, Candidacy, Identity, Letter, Voted, open, seal};
use protocol::{Fault, Kind, PeerId};

use super::convert;
use super::handle::Meta;
use super::types::Entry;
use crate::env::Env;
use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::{Snapshot, SnapshotMeta};

impl<E: Env> Meta<E> {
    /// Answers a message of another peer.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it is no message, [`Kind::Internal`] when this peer's agreement has failed.
    pub async fn serve(&self, from: PeerId, body: Bytes) -> Result<Bytes, Fault> {
        let invalid = |error: FormatError| Fault::new(Kind::Invalid, error.to_string());
        let letter: Letter = open("letter", &body).map_err(invalid)?;
        let answer = if self.is_for_us(from, &letter) {
            self.answer(from, letter.from, letter.ask).await?
        } else {
            self.metrics().messages_refused.inc();
            Answer::Misdelivered
        };
        seal("answer", &answer).map_err(invalid)
    }

    fn is_for_us(&self, from: PeerId, letter: &Letter) -> bool {
        let Identity { raft_id, cluster } = self.identity();
        // Who is not known yet may be a leader that this peer has not heard of.
        let seat = self.seat_of(letter.from);
        letter.cluster == cluster
            && letter.to == raft_id
            && letter.from != raft_id
            && seat.is_none_or(|peer| peer == from)
    }

    async fn answer(&self, peer: PeerId, from: u64, ask: Ask) -> Result<Answer, Fault> {
        match &ask {
            Ask::Append { .. } | Ask::Page { .. } | Ask::Finish { .. } => {
                self.ready_for(from, peer, true).await?;
            }
            Ask::Vote(_) | Ask::PreVote(_) | Ask::Transfer { .. } => {
                self.ready_for(from, peer, false).await?;
            }
            // These take no word from this peer that it might have forgotten.
            Ask::Propose(_) | Ask::ReadIndex | Ask::Seats | Ask::CheckIn(_) => {}
        }
        match ask {
            Ask::Append { ballot, previous, entries, committed } => {
                let entries: Result<Vec<Entry>, FormatError> =
                    entries.into_iter().map(convert::entry).collect();
                let request = AppendEntriesRequest {
                    vote: convert::vote(ballot),
                    prev_log_id: previous.map(convert::log_id),
                    entries: entries.map_err(malformed)?,
                    leader_commit: committed.map(convert::log_id),
                };
                let response = self.on_host(self.raft().append_entries(request)).await;
                let response = response.map_err(failed)?;
                if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                    self.note_heard();
                }
                Ok(Answer::Appended(match response {
                    AppendEntriesResponse::Success => Appended::All,
                    AppendEntriesResponse::PartialSuccess(until) => {
                        Appended::Part(until.map(convert::place))
                    }
                    AppendEntriesResponse::Conflict => Appended::Conflict,
                    AppendEntriesResponse::HigherVote(vote) => {
                        Appended::HigherVote(convert::ballot(vote))
                    }
                }))
            }
            Ask::Vote(candidacy) => {
                let response = self.on_host(self.raft().vote(vote_request(candidacy))).await;
                Ok(Answer::Voted(voted(&response.map_err(failed)?)))
            }
            Ask::PreVote(candidacy) => {
                let response = self.on_host(self.raft().pre_vote(vote_request(candidacy))).await;
                Ok(Answer::Voted(voted(&response.map_err(failed)?)))
            }
            Ask::Transfer { ballot, to, last } => {
                let request = TransferLeaderRequest::new(
                    convert::vote(ballot),
                    to,
                    last.map(convert::log_id),
                );
                let response = self.on_host(self.raft().handle_transfer_leader(request)).await;
                Ok(Answer::Transfer(response.map_err(failed)?.is_ok()))
            }
            Ask::Page { transfer, number, entries } => {
                let page = entries.into_iter().map(|(Blob(key), Blob(value))| (key, value));
                let written = self.receiver().page(transfer, number, page.collect()).await;
                Ok(Answer::Page(written.map_err(failed)?))
            }
            Ask::Finish { transfer, pages, ballot, applied, configured } => {
                let Some(contents) = self.receiver().finish(transfer, pages).await else {
                    return Ok(Answer::Finished(None));
                };
                let last_membership = convert::stored_membership(configured).map_err(malformed)?;
                let last_log_id = applied.map(convert::log_id);
                let meta = SnapshotMeta { last_log_id, last_membership };
                let snapshot = Snapshot { meta, snapshot: contents };
                let install = self.raft().install_full_snapshot(convert::vote(ballot), snapshot);
                let response = self.on_host(install).await.map_err(failed)?;
                Ok(Answer::Finished(Some(convert::ballot(response.vote))))
            }
            Ask::Propose(command) => Ok(self.propose_here(&command).await),
            Ask::ReadIndex => Ok(self.read_index_here().await),
            Ask::Seats => {
                let seats = self.status().members.into_iter();
                let seats = seats.map(|seat| (seat.raft_id.0, *seat.peer.public_key()));
                Ok(Answer::Seats(seats.collect()))
            }
            Ask::CheckIn(marks) => self.note(from, &marks).await,
        }
    }
}

fn vote_request(candidacy: Candidacy) -> VoteRequest<super::types::Types> {
    let last = candidacy.last.map(convert::log_id);
    let mut request = VoteRequest::new(convert::vote(candidacy.ballot), last);
    request.leadership_transfer = candidacy.transfer;
    request
}

fn voted(response: &VoteResponse<super::types::Types>) -> Voted {
    Voted {
        ballot: convert::ballot(response.vote),
        granted: response.vote_granted,
        last: response.last_log_id.map(convert::place),
    }
}

fn malformed(error: FormatError) -> Fault {
    Fault::new(Kind::Invalid, error.to_string())
}

/// Returns the failure of this peer's own agreement.
pub(super) fn failed(error: impl ToString) -> Fault {
    let detail = format!("this peer's agreement has failed: {}", error.to_string());
    Fault::new(Kind::Internal, detail)
}
