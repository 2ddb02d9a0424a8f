//! The answering side: takes frames from the network and gives each to whom it concerns.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use protocol::limits::{REQUESTS_IN_FLIGHT_MAX, REQUESTS_SERVED_MAX};
use protocol::wire::{Class, Message, Notice, Reply, Request};
use protocol::{Fault, PeerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::debug;

use super::{Rpc, RpcMetrics};
use crate::env::{Env, Inbound, Net};

/// Requests of one peer and class that are refused politely at a time; whoever sends more than these on top
/// of [`REQUESTS_IN_FLIGHT_MAX`] keeps to no bound and gets no answer.
const REFUSALS_IN_FLIGHT_MAX: usize = 64;

/// When to try again after `busy`. Guess: about the time to serve a queue of requests.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Answers requests of other peers.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request.
    ///
    /// # Errors
    /// Why there is no answer, as it is told to the peer that asked.
    fn handle(
        &self,
        from: PeerId,
        request: Request,
    ) -> impl Future<Output = Result<Reply, Fault>> + Send;

    /// Takes a message about work, which wants no answer. Does not wait.
    fn work(&self, from: PeerId, body: Bytes);
}

/// Slots of one peer: requests being served, and requests being refused.
#[derive(Clone)]
struct Slots {
    serving: Arc<Semaphore>,
    refusing: Arc<Semaphore>,
}

impl Slots {
    fn new() -> Self {
        Self {
            serving: Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX)),
            refusing: Arc::new(Semaphore::new(REFUSALS_IN_FLIGHT_MAX)),
        }
    }
}

/// A request's places: of its peer, and of all peers where there is such a bound.
type Places = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// What bounds the requests of one class.
struct Admission {
    /// One entry per peer of the cluster that ever sent a request.
    peers: BTreeMap<PeerId, Slots>,
    /// Of all peers together. None for agreement, whose requests are small, and wait for nobody.
    all: Option<Arc<Semaphore>>,
}

/// What becomes of a request.
enum Admitted {
    /// It is served.
    Serve(Places),
    /// It is refused, and its peer told why.
    Refuse(Fault, OwnedSemaphorePermit),
    /// It gets no answer.
    Drop,
}

impl Admission {
    fn new(class: Class) -> Self {
        let bounded = Arc::new(Semaphore::new(REQUESTS_SERVED_MAX));
        Self { peers: BTreeMap::new(), all: (class != Class::Control).then_some(bounded) }
    }

    fn admit(&mut self, from: PeerId) -> Admitted {
        let Slots { serving, refusing } = self.peers.entry(from).or_insert_with(Slots::new);
        let detail = match Arc::clone(serving).try_acquire_owned() {
            Err(_) => "this peer serves too many requests of yours",
            Ok(own) => match self.all.as_ref().map(|all| Arc::clone(all).try_acquire_owned()) {
                None => return Admitted::Serve((own, None)),
                Some(Ok(place)) => return Admitted::Serve((own, Some(place))),
                Some(Err(_)) => "this peer serves too many requests",
            },
        };
        match Arc::clone(refusing).try_acquire_owned() {
            Ok(place) => Admitted::Refuse(Fault::busy(detail, RETRY_AFTER), place),
            Err(_) => Admitted::Drop,
        }
    }
}

/// Gives every frame of a class to whom it concerns, until the network stops: replies to the callers,
/// requests to `handler` (each in a task of its own, bounded per peer and in all), gossip to `notices`.
///
/// Never waits for any of them, because the reply that one request waits for may be behind it.
pub async fn dispatch<E: Env>(
    env: E,
    class: Class,
    mut inbox: mpsc::Receiver<Inbound>,
    rpc: Rpc<E>,
    handler: impl Handler,
    notices: mpsc::Sender<(PeerId, Notice)>,
) {
    let mut admission = Admission::new(class);
    while let Some(Inbound { from, frame }) = inbox.recv().await {
        match Message::decode(&frame) {
            Ok(Message::Reply { id, outcome }) => rpc.answered(from, class, id, outcome),
            Ok(Message::Work { body }) => handler.work(from, body),
            // Gossip repeats itself: one that finds the service busy is made up for by the next.
            Ok(Message::Notice(notice)) => drop(notices.try_send((from, notice))),
            Ok(Message::Request { id, patience: _, request }) => {
                let metrics = rpc.metrics();
                match admission.admit(from) {
                    Admitted::Serve(places) => {
                        metrics.requests_served.inc();
                        let (env, handler) = (env.clone(), handler.clone());
                        let served = served_of(rpc.metrics(), class, &request);
                        env.clone().spawn("rpc.serve", async move {
                            let begun = env.now();
                            let outcome = handler.handle(from, request).await;
                            if let Some((count, micros)) = served {
                                count.inc();
                                micros.inc_by(micros_of(env.now().since(begun)));
                            }
                            answer(&env, from, class, id, outcome).await;
                            drop(places);
                        });
                    }
                    Admitted::Refuse(fault, place) => {
                        metrics.requests_refused.inc();
                        let env = env.clone();
                        env.clone().spawn("rpc.refuse", async move {
                            answer(&env, from, class, id, Err(fault)).await;
                            drop(place);
                        });
                    }
                    Admitted::Drop => {
                        metrics.requests_dropped.inc();
                    }
                }
            }
            Err(error) => {
                rpc.metrics().malformed.inc();
                debug!(peer = %from, err = %error, "message refused");
            }
        }
    }
}

/// Returns where a request is counted that a client waits for, and the time it takes.
fn served_of(metrics: &RpcMetrics, class: Class, request: &Request) -> Option<(Counter, Counter)> {
    if class != Class::Bulk {
        return None;
    }
    if matches!(request, Request::GetBlock { .. }) {
        return Some((metrics.reads_served.clone(), metrics.reads_served_micros.clone()));
    }
    matches!(request, Request::PutBlock { .. })
        .then(|| (metrics.writes_served.clone(), metrics.writes_served_micros.clone()))
}

fn micros_of(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

async fn answer<E: Env>(env: &E, to: PeerId, class: Class, id: u64, outcome: Result<Reply, Fault>) {
    let message = Message::Reply { id, outcome };
    match message.encode() {
        Ok(frame) => {
            if let Err(error) = env.net().send(to, class, frame).await {
                debug!(peer = %to, err = %error, "answer not sent");
            }
        }
        Err(error) => debug!(peer = %to, err = %error, "answer not encoded"),
    }
}

#[cfg(test)]
mod tests {
    use protocol::PeerId;
    use protocol::limits::{REQUESTS_IN_FLIGHT_MAX, REQUESTS_SERVED_MAX};
    use protocol::wire::Class;

    use super::{Admission, Admitted, REFUSALS_IN_FLIGHT_MAX};

    fn peer(number: usize) -> PeerId {
        PeerId::from_public_key([u8::try_from(number).unwrap(); 32])
    }

    #[test]
    fn requests_beyond_what_a_peer_may_have_or_all_together_are_refused_and_then_dropped() {
        for class in Class::ALL {
            let mut admission = Admission::new(class);
            let (mut served, mut refused) = (Vec::new(), Vec::new());
            let peers = 2 * REQUESTS_SERVED_MAX / REQUESTS_IN_FLIGHT_MAX;
            for number in 0..peers {
                for request in 0..2 * REQUESTS_IN_FLIGHT_MAX {
                    match admission.admit(peer(number)) {
                        Admitted::Serve(places) => served.push(places),
                        Admitted::Refuse(fault, place) => {
                            assert!(fault.retry_after.is_some(), "{fault:?}");
                            refused.push(place);
                        }
                        Admitted::Drop => assert!(request >= REFUSALS_IN_FLIGHT_MAX),
                    }
                }
            }
            let is_bounded = class != Class::Control;
            let most =
                if is_bounded { REQUESTS_SERVED_MAX } else { peers * REQUESTS_IN_FLIGHT_MAX };
            assert_eq!((served.len(), refused.len()), (most, peers * REFUSALS_IN_FLIGHT_MAX));
            // Who is done makes room, for anybody.
            served.clear();
            assert!(matches!(admission.admit(peer(peers - 1)), Admitted::Serve(_)));
        }
    }
}
