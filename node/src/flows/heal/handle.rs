//! What the rest of the program holds of healing.

use std::time::Duration;

use bytes::Bytes;
use protocol::repair::RepairStatus;
use protocol::{Fault, Kind, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::HealMetrics;

/// Questions of other peers that wait to be answered: one from each peer of a large cluster.
const QUESTIONS_MAX: usize = 256;

/// Clients that wait to hear how repair stands.
const LOOKS_MAX: usize = 16;

/// When to ask again after `busy`.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A question of another peer about this one's inventory.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) from: PeerId,
    pub(super) body: Bytes,
    pub(super) reply: oneshot::Sender<Result<Bytes, Fault>>,
}

/// Healing at this peer. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Heal {
    questions: mpsc::Sender<Asked>,
    looks: mpsc::Sender<oneshot::Sender<RepairStatus>>,
    calls: mpsc::Sender<()>,
    metrics: HealMetrics,
}

/// What the handles were told, and the tasks take up once they run.
#[derive(Debug)]
pub(crate) struct HealInbox {
    pub(super) questions: mpsc::Receiver<Asked>,
    pub(super) looks: mpsc::Receiver<oneshot::Sender<RepairStatus>>,
    pub(super) calls: mpsc::Receiver<()>,
    pub(super) metrics: HealMetrics,
}

impl Heal {
    /// Returns a handle before there is anything behind it: others may ask a peer that is not ready yet.
    pub(crate) fn new() -> (Self, HealInbox) {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let (looks, looked) = mpsc::channel(LOOKS_MAX);
        let (calls, called) = mpsc::channel(1);
        let metrics = HealMetrics::default();
        let inbox =
            HealInbox { questions: asked, looks: looked, calls: called, metrics: metrics.clone() };
        (Self { questions, looks, calls, metrics }, inbox)
    }

    /// Answers a question of another peer: bytes of [`protocol::repair::Question`] and [`protocol::repair::Answer`].
    ///
    /// # Errors
    /// [`Kind::Busy`] when too many wait; [`Kind::Invalid`] when it is no question; what keeps the store from being read.
    pub async fn answer(&self, from: PeerId, body: Bytes) -> Result<Bytes, Fault> {
        let (reply, answer) = oneshot::channel();
        self.questions.try_send(Asked { from, body, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Fault::busy("this peer is asked too much about its inventory", RETRY_AFTER)
            }
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        answer.await.map_err(|_| stopping())?
    }

    /// Has this peer compare itself with the others soon.
    pub fn call(&self) {
        // A call that waits already is as good as another one.
        self.calls.try_send(()).ok();
    }

    /// Returns how repair stands in the partitions that this peer sees to.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the peer shuts down.
    pub async fn status(&self) -> Result<RepairStatus, Fault> {
        let (reply, status) = oneshot::channel();
        self.looks.send(reply).await.map_err(|_| stopping())?;
        status.await.map_err(|_| stopping())
    }

    /// Returns what is counted, to be registered.
    #[must_use]
    pub fn metrics(&self) -> &HealMetrics {
        &self.metrics
    }
}

pub(super) fn stopping() -> Fault {
    Fault::new(Kind::Unavailable, "this peer is shutting down")
}
