//! The one task that opens, renews and closes the sessions of this peer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::metadata::{Actor, Op, Outcome, upload_in};
use protocol::{Fault, Instant, Kind};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::{Session, Upload};
use crate::env::Env;
use crate::meta::Meta;

/// How long a session outlives its gateway: longer than a change of leader takes, several times over.
const SESSION_TTL: Duration = Duration::from_secs(60);

/// How often a session with uploads under way is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// How long a session stays open without an upload: the next one mostly comes soon.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Age at which a session takes no more uploads: what failed ones left is freed after it ends.
const AGE_MAX: Duration = Duration::from_secs(300);

/// How often the sessions are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long the cluster may take to commit a session.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sessions that are open at once: a new one every [`AGE_MAX`], and uploads of days keep theirs.
const SESSIONS_MAX: usize = 1024;

struct Open {
    session: Arc<Session>,
    next: u64,
    opened: Instant,
    renewed: Instant,
    used: Instant,
    /// Whether something is being agreed on about it.
    is_pending: bool,
    /// Whether its closing was asked for: it may be closed already, whatever became of the answer.
    is_closing: bool,
}

/// What is done for an open session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    Renew,
    Close,
}

/// What became of it: the session, what was done, and since when a renewal counts.
type Cared = (u64, Care, Instant, Result<(), Fault>);

pub(super) struct Task<E: Env> {
    env: E,
    meta: Meta<E>,
    /// Oldest first; the last one takes new uploads unless it is old.
    open: Vec<Open>,
    /// Renewals and closings under way, at most one for each session. Uploads do not wait for them: while the cluster
    /// has no leader, they take their time.
    care: FuturesUnordered<Pin<Box<dyn Future<Output = Cared> + Send>>>,
}

impl<E: Env> Task<E> {
    pub(super) fn new(env: E, meta: Meta<E>) -> Self {
        Self { env, meta, open: Vec::new(), care: FuturesUnordered::new() }
    }

    pub(super) async fn run(
        mut self,
        mut waiting: mpsc::Receiver<oneshot::Sender<Result<Upload, Fault>>>,
    ) {
        loop {
            let tick = self.env.sleep_until(self.env.now().after(TICK));
            tokio::select! {
                biased; // uploads that wait come before housekeeping, which is due by the second
                request = waiting.recv() => {
                    let Some(reply) = request else { return };
                    let begun = self.begin().await;
                    // Whoever asked may have gone; then the upload ends with its value.
                    drop(reply.send(begun));
                }
                Some(cared) = self.care.next(), if !self.care.is_empty() => self.note(cared),
                () = tick => {}
            }
            self.keep();
        }
    }

    async fn begin(&mut self) -> Result<Upload, Fault> {
        let now = self.env.now();
        let fresh = self
            .open
            .last()
            .is_some_and(|last| now.since(last.opened) < AGE_MAX && !last.is_closing);
        if !fresh {
            self.open().await?;
        }
        let busy = || Fault::busy("too many sessions of uploads are open", TICK);
        let last = self.open.last_mut().ok_or_else(busy)?;
        let owner = upload_in(last.session.id, last.next);
        last.next += 1;
        last.used = now;
        last.session.active.fetch_add(1, Ordering::Relaxed);
        Ok(Upload { owner, session: Arc::clone(&last.session) })
    }

    async fn open(&mut self) -> Result<(), Fault> {
        if self.open.len() >= SESSIONS_MAX {
            return Err(Fault::busy("too many sessions of uploads are open", TICK));
        }
        let raft_id = self.meta.raft_id().0;
        let op = Op::OpenSession { raft_id, ttl_ms: millis(SESSION_TTL) };
        let Outcome::SessionOpened { session: id } =
            self.meta.propose(op, Actor::System, PATIENCE).await?
        else {
            return Err(Fault::new(Kind::Internal, "the cluster gave an answer of another kind"));
        };
        let now = self.env.now();
        let session = Arc::new(Session { id, active: AtomicU64::new(0) });
        self.open.push(Open {
            session,
            next: 0,
            opened: now,
            renewed: now,
            used: now,
            is_pending: false,
            is_closing: false,
        });
        Ok(())
    }

    /// Begins to renew the sessions that are used and to close those that are not.
    fn keep(&mut self) {
        let now = self.env.now();
        let newest = self.open.last().map(|open| open.session.id);
        for open in &mut self.open {
            let id = open.session.id;
            let is_active = open.session.active.load(Ordering::Relaxed) > 0;
            if is_active {
                open.used = now;
            }
            let idle = now.since(open.used);
            let is_over = idle >= IDLE_MAX || (Some(id) != newest && idle > Duration::ZERO);
            let is_due = is_active && now.since(open.renewed) >= RENEW_EVERY;
            let (care, op) = if is_over {
                (Care::Close, Op::CloseSession { session: id })
            } else if is_due {
                (Care::Renew, Op::RenewSession { session: id })
            } else {
                continue;
            };
            if std::mem::replace(&mut open.is_pending, true) {
                continue;
            }
            open.is_closing |= care == Care::Close;
            let meta = self.meta.clone();
            self.care.push(Box::pin(async move {
                let outcome = meta.propose(op, Actor::System, PATIENCE).await;
                (id, care, now, outcome.map(|_| ()))
            }));
        }
    }

    fn note(&mut self, (session, care, began, outcome): Cared) {
        match (care, &outcome) {
            (_, Ok(())) => {}
            (Care::Renew, Err(fault)) => {
                warn!(session, err = %fault, "session of uploads not renewed");
            }
            // Not renewed any more, it ends by itself.
            (Care::Close, Err(fault)) => debug!(session, err = %fault, "session not closed"),
        }
        if care == Care::Close && outcome.is_ok() {
            self.open.retain(|open| open.session.id != session);
        } else if let Some(open) = self.open.iter_mut().find(|open| open.session.id == session) {
            open.is_pending = false;
            if outcome.is_ok() {
                open.renewed = began;
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
