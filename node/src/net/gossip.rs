//! What is told to everybody in the overlay, by gossipsub: one topic, messages of at most some KiB that say by themselves whose
//! they are.
//!
//! Equal bytes are one message, whoever sends them. Nothing is passed on before it was looked at; whoever sends what cannot be true
//! is soon not listened to any more. Owns what waits for its verdict. Never: looks into a message.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, IdentityTransform, MaxCountSubscriptionFilter,
    MessageAcceptance, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    PublishError, TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use protocol::limits::CATALOG_HEAD_BYTES_MAX;
use protocol::{Cid, Codec};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::identity::peer_from_libp2p;
use super::settings::StartError;
use crate::env::{Gossip, Verdict};

/// The one topic.
const TOPIC: &str = "shoal/catalogs/1";

/// Bytes around a message.
const FRAME_BYTES: usize = 1 << 10;

/// Messages that wait for their verdict: some 60 µs each. More are not looked at.
const WAITING_MAX: usize = 256;

/// Messages on their way to one peer: the library counts them, not their bytes.
const QUEUE_MAX: usize = 256;

/// How long a message is remembered, so that it is one: longer than any way through the mesh.
const REMEMBERED: Duration = Duration::from_secs(120);

/// What a message that cannot be true costs whoever sent it: the square of their number, times this.
const BLAME: f64 = -10.0;
/// How long until one such message is forgiven.
const BLAME_TIME: Duration = Duration::from_secs(1800);

/// What gossip is as libp2p drives it.
pub(super) type Behaviour = gossipsub::Behaviour<IdentityTransform, OneTopic>;

/// Nobody subscribes to anything else: what they subscribe to is remembered.
type OneTopic = MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>;

/// Returns the behaviour, which has subscribed.
///
/// # Errors
/// [`StartError::Setup`]
pub(super) fn behaviour() -> Result<Behaviour, StartError> {
    let setup = |why: String| StartError::Setup { source: why.into() };
    let config = ConfigBuilder::default()
        .protocol_id_prefix("/shoal/gossip")
        // Messages say whose they are; who sent them first is nobody's business.
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| {
            MessageId::from(Cid::of(Codec::Raw, &message.data).digest().to_vec())
        })
        .max_transmit_size(CATALOG_HEAD_BYTES_MAX + FRAME_BYTES)
        .connection_handler_queue_len(QUEUE_MAX)
        .duplicate_cache_time(REMEMBERED)
        .build()
        .map_err(|error| setup(error.to_string()))?;
    let topic = IdentTopic::new(TOPIC);
    let filter = MaxCountSubscriptionFilter {
        filter: WhitelistSubscriptionFilter(HashSet::from([topic.hash()])),
        max_subscribed_topics: 1,
        max_subscriptions_per_request: 4,
    };
    let mut behaviour: Behaviour = gossipsub::Behaviour::new_with_subscription_filter(
        MessageAuthenticity::Anonymous,
        config,
        filter,
    )
    .map_err(|why| setup(why.to_owned()))?;
    let (params, thresholds) = scores(&topic);
    behaviour.with_peer_score(params, thresholds).map_err(setup)?;
    behaviour.subscribe(&topic).map_err(|error| setup(error.to_string()))?;
    Ok(behaviour)
}

/// Returns how peers are judged: by what they send that cannot be true, and a little by what they were the first to send.
fn scores(topic: &IdentTopic) -> (PeerScoreParams, PeerScoreThresholds) {
    let of_topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_cap: 100.0,
        first_message_deliveries_decay: 0.99,
        // Heads are rare: to have sent few is no fault.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: BLAME,
        invalid_message_deliveries_decay: gossipsub::score_parameter_decay(BLAME_TIME),
        ..TopicScoreParams::default()
    };
    let params = PeerScoreParams {
        topics: HashMap::from([(topic.hash(), of_topic)]),
        topic_score_cap: 10.0,
        // Many peers of one office or one machine have one address.
        ip_colocation_factor_weight: 0.0,
        ..PeerScoreParams::default()
    };
    // Three of them, and nobody gossips with it; seven, and nobody listens to it.
    let thresholds = PeerScoreThresholds {
        gossip_threshold: -80.0,
        publish_threshold: -160.0,
        graylist_threshold: -400.0,
        accept_px_threshold: 100.0,
        opportunistic_graft_threshold: 1.0,
    };
    (params, thresholds)
}

/// Messages that wait for their verdict.
pub(super) struct Gossips {
    service: mpsc::Sender<Gossip>,
    waiting: FuturesUnordered<BoxFuture<'static, (PeerId, MessageId, MessageAcceptance)>>,
}

impl Gossips {
    /// Returns what hands messages to `service`.
    pub(super) fn new(service: mpsc::Sender<Gossip>) -> Self {
        Self { service, waiting: FuturesUnordered::new() }
    }

    /// Takes a message, to be looked at, or says what becomes of it at once.
    pub(super) fn on_event(&mut self, behaviour: &mut Behaviour, event: gossipsub::Event) {
        let gossipsub::Event::Message { propagation_source, message_id, message } = event else {
            return;
        };
        let (verdict, judged) = oneshot::channel();
        let is_taken = self.waiting.len() < WAITING_MAX
            && peer_from_libp2p(&propagation_source).is_some_and(|from| {
                let gossip = Gossip { from, bytes: Bytes::from(message.data), verdict };
                self.service.try_send(gossip).is_ok()
            });
        if !is_taken {
            report(behaviour, (propagation_source, message_id, MessageAcceptance::Ignore));
            return;
        }
        self.waiting.push(Box::pin(async move {
            let acceptance = match judged.await {
                Ok(Verdict::Pass) => MessageAcceptance::Accept,
                Ok(Verdict::Blame) => MessageAcceptance::Reject,
                Ok(Verdict::Keep) | Err(_) => MessageAcceptance::Ignore,
            };
            (propagation_source, message_id, acceptance)
        }));
    }

    /// Returns whether something waits.
    pub(super) fn are_due(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the next verdict, when there is one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<(PeerId, MessageId, MessageAcceptance)> {
        self.waiting.next().await
    }
}

/// Tells the mesh what becomes of a message.
pub(super) fn report(
    behaviour: &mut Behaviour,
    (from, id, acceptance): (PeerId, MessageId, MessageAcceptance),
) {
    let _was_remembered = behaviour.report_message_validation_result(&id, &from, acceptance);
}

/// Tells everybody.
pub(super) fn publish(behaviour: &mut Behaviour, bytes: &Bytes) {
    match behaviour.publish(IdentTopic::new(TOPIC), bytes.to_vec()) {
        Ok(_) | Err(PublishError::Duplicate) => {}
        // It is told again, and can be asked for.
        Err(err) => debug!(%err, "nobody was told"),
    }
}
