//! The answering side: questions that were taken, until they are answered.
//!
//! Owns: how often who may ask, and what waits for its answer. Never: waits.

#![expect(clippy::disallowed_methods, reason = "a driver waits by the real clock")]

use std::time::Instant;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::request_response::ResponseChannel;
use protocol::limits::{GUEST_ANSWER_BYTES_MAX, GUEST_PATIENCE};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, error};

use super::{Answer, Gate, Guests, Question};
use crate::env::GuestQuestion;
use crate::net::identity::peer_from_libp2p;

/// An answer, and the way it goes.
type Answered = Option<(ResponseChannel<Answer>, Answer)>;

/// See the module.
pub(in crate::net) struct Answers {
    gate: Gate,
    service: mpsc::Sender<GuestQuestion>,
    /// At most as many as there are places for questions.
    waiting: FuturesUnordered<BoxFuture<'static, Answered>>,
}

impl Answers {
    /// Returns the side that hands questions to `service`.
    pub(in crate::net) fn new(service: mpsc::Sender<GuestQuestion>) -> Self {
        Self { gate: Gate::new(Instant::now()), service, waiting: FuturesUnordered::new() }
    }

    /// Takes a question, or lets its stream end. Returns whether it was taken.
    pub(in crate::net) fn take(
        &mut self,
        from: PeerId,
        question: Question,
        channel: ResponseChannel<Answer>,
    ) -> bool {
        let Some(name) = peer_from_libp2p(&from) else { return false };
        if !self.gate.admits(from, Instant::now()) {
            return false;
        }
        let (answer, answered) = oneshot::channel();
        let Question { bytes, place } = question;
        if self.service.try_send(GuestQuestion { from: name, question: bytes, answer }).is_err() {
            return false;
        }
        self.waiting.push(Box::pin(async move {
            let bytes = timeout(GUEST_PATIENCE, answered).await.ok()?.ok()?;
            Some((channel, Answer { bytes, place }))
        }));
        true
    }

    /// Returns whether a question waits.
    pub(in crate::net) fn are_due(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the next answer, when there is one. Cancel-safe.
    pub(in crate::net) async fn next(&mut self) -> Answered {
        self.waiting.next().await.flatten()
    }
}

/// Sends an answer on its way, if there is one.
pub(in crate::net) fn send(guests: &mut Guests, answered: Answered) {
    let Some((channel, answer)) = answered else { return };
    if answer.bytes.len() > GUEST_ANSWER_BYTES_MAX {
        error!(bytes = answer.bytes.len(), "answer to a guest was too large to be sent");
    } else if guests.send_response(channel, answer).is_err() {
        debug!("guest had gone before it was answered");
    }
}
