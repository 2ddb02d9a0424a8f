//! What the rest of the program holds of scrubbing.

use protocol::repair::ScrubProgress;
use protocol::{Fault, Kind};
use tokio::sync::{mpsc, oneshot};

use super::ScrubMetrics;

/// Clients that wait to hear how it stands, or that a pass began.
const ASKED_MAX: usize = 16;

/// What clients want of the task.
#[derive(Debug)]
pub(super) enum Asked {
    /// How it stands.
    Progress(oneshot::Sender<ScrubProgress>),
    /// A pass, now.
    Pass(oneshot::Sender<()>),
}

/// Scrubbing at this peer. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Scrub {
    asks: mpsc::Sender<Asked>,
    metrics: ScrubMetrics,
}

/// What the handles were told, and the task takes up once it runs.
#[derive(Debug)]
pub(crate) struct ScrubInbox {
    pub(super) asked: mpsc::Receiver<Asked>,
    pub(super) metrics: ScrubMetrics,
}

impl Scrub {
    /// Returns a handle before there is anything behind it.
    pub(crate) fn new() -> (Self, ScrubInbox) {
        let (asks, asked) = mpsc::channel(ASKED_MAX);
        let metrics = ScrubMetrics::default();
        let inbox = ScrubInbox { asked, metrics: metrics.clone() };
        (Self { asks, metrics }, inbox)
    }

    /// Returns how it stands.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the peer shuts down.
    pub async fn progress(&self) -> Result<ScrubProgress, Fault> {
        let (reply, progress) = oneshot::channel();
        self.asks.send(Asked::Progress(reply)).await.map_err(|_| stopping())?;
        progress.await.map_err(|_| stopping())
    }

    /// Begins a pass now, at the highest speed; one that goes on begins anew.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the peer shuts down.
    pub async fn begin_pass(&self) -> Result<(), Fault> {
        let (reply, begun) = oneshot::channel();
        self.asks.send(Asked::Pass(reply)).await.map_err(|_| stopping())?;
        begun.await.map_err(|_| stopping())
    }

    /// Returns what is counted, to be registered.
    #[must_use]
    pub fn metrics(&self) -> &ScrubMetrics {
        &self.metrics
    }
}

fn stopping() -> Fault {
    Fault::new(Kind::Unavailable, "this peer is shutting down")
}
