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
use protocol::limits::GUEST_PATIENCE;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, error};

use super::{Answer, Gate, Guests, Limits, Question};
use crate::env::GuestQuestion;
use crate::net::identity::peer_from_libp2p;

/// An answer, and the way it goes.
type Answered = Option<(ResponseChannel<Answer>, Answer)>;

/// The same, and to whom.
type Waiting = Option<(PeerId, ResponseChannel<Answer>, Answer)>;

/// See the module.
pub(in crate::net) struct Answers {
    gate: Gate,
    answer_bytes_max: usize,
    service: mpsc::Sender<GuestQuestion>,
    /// At most as many as there are places for questions.
    waiting: FuturesUnordered<BoxFuture<'static, Waiting>>,
}

impl Answers {
    /// Returns the side that hands questions to `service`.
    pub(in crate::net) fn new(limits: Limits, service: mpsc::Sender<GuestQuestion>) -> Self {
        let answer_bytes_max = limits.answer_bytes_max;
        let gate = Gate::new(limits, Instant::now());
        Self { gate, answer_bytes_max, service, waiting: FuturesUnordered::new() }
    }

    /// Takes a question, or lets its stream end. Returns whether it was taken.
    pub(in crate::net) fn take(
        &mut self,
        from: PeerId,
        question: Question,
        channel: ResponseChannel<Answer>,
    ) -> bool {
        let Some(name) = peer_from_libp2p(&from) else { return false };
        let Some(wait) = self.gate.admits(from, Instant::now()) else { return false };
        let (answer, answered) = oneshot::channel();
        let Question { bytes, place } = question;
        let asked = GuestQuestion { from: name, question: bytes, answer };
        let later = if wait.is_zero() {
            if self.service.try_send(asked).is_err() {
                return false;
            }
            None
        } else {
            Some((wait, self.service.clone(), asked))
        };
        self.waiting.push(Box::pin(async move {
            if let Some((wait, service, asked)) = later {
                sleep(wait).await;
                service.try_send(asked).ok()?;
            }
            let bytes = timeout(GUEST_PATIENCE, answered).await.ok()?.ok()?;
            Some((from, channel, Answer { bytes, place }))
        }));
        true
    }

    /// Returns whether a question waits.
    pub(in crate::net) fn are_due(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the next answer, when there is one. Cancel-safe.
    pub(in crate::net) async fn next(&mut self) -> Answered {
        let (from, channel, answer) = self.waiting.next().await.flatten()?;
        if answer.bytes.len() > self.answer_bytes_max {
            error!(bytes = answer.bytes.len(), "answer to a guest was too large to be sent");
            return None;
        }
        self.gate.charge(from, answer.bytes.len(), Instant::now());
        Some((channel, answer))
    }
}

/// Sends an answer on its way, if there is one.
pub(in crate::net) fn send(guests: &mut Guests, answered: Answered) {
    let Some((channel, answer)) = answered else { return };
    if guests.send_response(channel, answer).is_err() {
        debug!("guest had gone before it was answered");
    }
}
