//! The answering side: questions that were taken, until they are answered.
//!
//! Owns: how often who may ask, and what waits for its answer. Never: waits.

#![expect(clippy::disallowed_methods, reason = "a driver waits by the real clock")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::request_response::ResponseChannel;
use protocol::limits::GUEST_PATIENCE;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, error};

use super::limits::WAIT_MAX;
use super::{Answer, Gate, Guests, Limits, Question};
use crate::env::GuestQuestion;
use crate::net::identity::peer_from_libp2p;

/// An answer, and the way it goes.
type Answered = Option<(ResponseChannel<Answer>, Answer)>;

/// The same, and to whom.
type Waiting = (PeerId, Answered);

/// Questions that wait for their answer, over all guests: 16 MiB of memory at most.
const WAITING_MAX: usize = 256;

/// See the module.
pub(in crate::net) struct Answers {
    gate: Gate,
    answer_bytes_max: usize,
    open_of_one: usize,
    places: Arc<Semaphore>,
    /// Questions of each guest that wait for their answer.
    open: BTreeMap<PeerId, usize>,
    service: mpsc::Sender<GuestQuestion>,
    waiting: FuturesUnordered<BoxFuture<'static, Waiting>>,
}

impl Answers {
    /// Returns the side that hands questions to `service`.
    pub(in crate::net) fn new(limits: Limits, service: mpsc::Sender<GuestQuestion>) -> Self {
        let Limits { answer_bytes_max, open_of_one, places, .. } = limits;
        Self {
            gate: Gate::new(limits, Instant::now()),
            answer_bytes_max,
            open_of_one,
            places: Arc::new(Semaphore::new(places)),
            open: BTreeMap::new(),
            service,
            waiting: FuturesUnordered::new(),
        }
    }

    /// Takes a question, or lets its stream end. Returns whether it was taken.
    pub(in crate::net) fn take(
        &mut self,
        from: PeerId,
        question: Question,
        channel: ResponseChannel<Answer>,
    ) -> bool {
        let Some(name) = peer_from_libp2p(&from) else { return false };
        let open = self.open.get(&from).copied().unwrap_or(0);
        if open >= self.open_of_one || self.waiting.len() >= WAITING_MAX {
            return false;
        }
        let Some(wait) = self.gate.admits(from, Instant::now()) else { return false };
        self.open.insert(from, open + 1);
        // What it keeps now is the question alone.
        let Question { bytes: question, place } = question;
        drop(place);
        let (service, places) = (self.service.clone(), Arc::clone(&self.places));
        let answer = async move {
            if !wait.is_zero() {
                sleep(wait).await;
            }
            // Whoever reads its answers slowly keeps its places, and others wait for theirs for a while.
            let place = timeout(WAIT_MAX, places.acquire_owned()).await.ok()?.ok()?;
            let (answer, answered) = oneshot::channel();
            service.try_send(GuestQuestion { from: name, question, answer }).ok()?;
            let bytes = timeout(GUEST_PATIENCE, answered).await.ok()?.ok()?;
            Some((channel, Answer { bytes, place: Some(place) }))
        };
        self.waiting.push(Box::pin(async move { (from, answer.await) }));
        true
    }

    /// Returns whether a question waits.
    pub(in crate::net) fn are_due(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the next answer, when there is one. Cancel-safe.
    pub(in crate::net) async fn next(&mut self) -> Answered {
        let (from, answered) = self.waiting.next().await?;
        if let Some(open) = self.open.get_mut(&from) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open.remove(&from);
            }
        }
        let (channel, answer) = answered?;
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
