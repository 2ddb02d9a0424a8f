//! The asking side: questions of ours, until they are answered or failed.
//!
//! Never: more than [`ASKS_MAX`] at a time; tries another address, which the handle does.

use std::collections::BTreeMap;

use bytes::Bytes;
use libp2p::request_response::OutboundRequestId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use super::{Answer, Guests, Question};

/// Questions of ours at a time, in one protocol.
const ASKS_MAX: usize = 64;

/// What became of a question: the answer, or nothing.
pub(in crate::net) type Reply = oneshot::Sender<Option<Bytes>>;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::net) struct Asks(BTreeMap<OutboundRequestId, Reply>);

impl Asks {
    /// Asks a peer, which is dialled at `address` unless it is connected.
    pub(in crate::net) fn ask(
        &mut self,
        guests: &mut Guests,
        peer: PeerId,
        address: Multiaddr,
        question: Bytes,
        reply: Reply,
    ) {
        // Those who gave up make room for others.
        self.0.retain(|_, reply| !reply.is_closed());
        if self.0.len() >= ASKS_MAX {
            answer(reply, None);
            return;
        }
        let question = Question { bytes: question, place: None };
        let id = guests.send_request_with_addresses(&peer, question, vec![address]);
        self.0.insert(id, reply);
    }

    /// Passes an answer on.
    pub(in crate::net) fn answered(&mut self, id: OutboundRequestId, told: Answer) {
        if let Some(reply) = self.0.remove(&id) {
            answer(reply, Some(told.bytes));
        }
    }

    /// Notes that there will be no answer.
    pub(in crate::net) fn failed(&mut self, id: OutboundRequestId) {
        if let Some(reply) = self.0.remove(&id) {
            answer(reply, None);
        }
    }
}

/// Answers who may have stopped waiting.
fn answer(reply: Reply, told: Option<Bytes>) {
    let _has_gone = reply.send(told).is_err();
}
