//! Clients that ask peers, and another one where a peer does not answer; answers are counted by the peer that gave them.
//!
//! Daemons do not count what they answer, so it is counted here: whole answers with every byte compared, nothing else.
//! Never: gives up while a peer is slow, or measures how long an answer took.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use protocol::Prng;
use tokio::task::JoinSet;

use crate::bench::stock::Kept;
use crate::chaos::wait::pause;
use crate::content::Content;
use crate::http::{Http, HttpError};

/// Who asks how often for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    pub(super) clients: u64,
    /// Whether a client begins with the same peer each time, those of all clients in turn, or with the next one.
    pub(super) stays: bool,
    /// Between an answer and the next request of the same client, on average: from half of it to half as much again, as clients
    /// that think equally long walk from peer to peer in step.
    pub(super) think: Duration,
    /// One of so many requests stores a new object under a name of its own; none where this is zero.
    pub(super) write_each: u32,
    /// Bytes of such an object.
    pub(super) write_bytes: u64,
}

/// A peer as clients see it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) url: String,
    answered: AtomicU64,
}

impl Endpoint {
    /// Returns how many requests it answered.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Shared {
    http: Http,
    habits: Habits,
    kept: Vec<Kept>,
    endpoints: Mutex<Vec<Arc<Endpoint>>>,
    written: AtomicU64,
    passed_on: AtomicU64,
    unanswered: AtomicU64,
    wrong: AtomicU64,
    is_over: AtomicBool,
}

/// Clients at work; dropped, they stop.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What became of the requests that were not answered at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// How often a client went to another peer.
    pub(super) passed_on: u64,
    /// Requests that no peer answered.
    pub(super) unanswered: u64,
}

impl Load {
    /// Starts clients of these peers, given by name and address, that read these objects.
    pub(super) fn start(
        http: &Http,
        peers: impl IntoIterator<Item = (String, String)>,
        kept: Vec<Kept>,
        habits: Habits,
    ) -> Self {
        let shared = Arc::new(Shared {
            http: http.clone(),
            habits,
            kept,
            endpoints: Mutex::default(),
            written: AtomicU64::new(0),
            passed_on: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut load = Self { shared, tasks: JoinSet::new() };
        for (name, url) in peers {
            load.include(name, url);
        }
        for number in 0..habits.clients {
            load.tasks.spawn(Arc::clone(&load.shared).go_on(number));
        }
        load
    }

    /// Has clients ask this peer too.
    pub(super) fn include(&self, name: String, url: String) {
        let endpoint = Endpoint { name, url, answered: AtomicU64::new(0) };
        self.shared.lock().push(Arc::new(endpoint));
    }

    /// Returns the peers that clients ask.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.shared.lock().clone()
    }

    /// Returns what became of their requests, once the last one has ended.
    ///
    /// # Errors
    /// A client panicked, or got wrong bytes.
    pub(super) async fn end(mut self) -> anyhow::Result<Ended> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a client panicked")?;
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let wrong = count(&self.shared.wrong);
        ensure!(wrong == 0, "{wrong} answers had wrong bytes");
        let (passed_on, unanswered) =
            (count(&self.shared.passed_on), count(&self.shared.unanswered));
        Ok(Ended { passed_on, unanswered })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Endpoint>>> {
        // A panic elsewhere leaves a list as it is.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn go_on(self: Arc<Self>, number: u64) {
        let mut prng = Prng::new(number);
        // Each begins with another peer.
        let mut turn = usize::try_from(number).unwrap_or(0);
        while !self.is_over.load(Ordering::Relaxed) {
            self.request(turn, &mut prng).await;
            turn = turn.wrapping_add(usize::from(!self.habits.stays));
            // In thousandths.
            let share = u32::try_from(500 + prng.below(1_001)).unwrap_or(1_000);
            pause(self.habits.think * share / 1_000).await;
        }
    }

    /// Asks the peer that it begins with, and then any of the others until one answers.
    async fn request(&self, turn: usize, prng: &mut Prng) {
        let new = (self.habits.write_each > 0 && prng.chance(1, self.habits.write_each.into()))
            .then(|| self.written.fetch_add(1, Ordering::Relaxed));
        let kept = prng.index(self.kept.len()).and_then(|at| self.kept.get(at));
        let mut left = self.lock().clone();
        let mut next = turn.checked_rem(left.len());
        while let Some(at) = next {
            let endpoint = left.swap_remove(at);
            let outcome = match (new, kept) {
                (Some(number), _) => self.write(&endpoint.url, number).await,
                (None, Some((cid, content))) => self.http.check(&endpoint.url, cid, *content).await,
                (None, None) => return,
            };
            match outcome {
                Ok(()) => {
                    endpoint.answered.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(HttpError::Wrong { .. }) => {
                    self.wrong.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(HttpError::Problem(_) | HttpError::Broken(_)) => {}
            }
            next = prng.index(left.len());
            if next.is_some() {
                self.passed_on.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed);
    }

    /// Stores one more object under a name of its own.
    async fn write(&self, url: &str, number: u64) -> Result<(), HttpError> {
        let seed = u32::try_from(number).unwrap_or(u32::MAX);
        let content = Content { seed, size: self.habits.write_bytes };
        self.http.put(url, &format!("plot/{number}"), content).await
    }
}
