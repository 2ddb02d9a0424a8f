//! Clients that write and read all the time, and remember what was acknowledged.
//!
//! Owns the list of what has to be there. Never: decides how many failures are too many.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::Prng;
use reqwest::Method;
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::ask::{Reply, ask};
use super::requests::object;
use super::wait::pause;
use crate::content::Content;
use crate::http::Http;

/// Where they write.
const BUCKET: &str = "steady";

/// How long a client thinks between two requests, so that what it wrote can be read again in the end.
const THINK: Duration = Duration::from_millis(20);

/// Sizes of the objects: smaller and larger than what lies in segments of its own.
const SIZES: [u64; 3] = [11, 5_003, 80_001];

/// Requests under way at a time when everything is read again.
const CHECKS_MAX: usize = 16;

/// An object that was acknowledged.
#[derive(Clone, Debug)]
struct Kept {
    name: String,
    content: Content,
}

/// What clients did, and what they have to find.
#[derive(Debug)]
pub(super) struct Steady {
    http: Http,
    /// Whom they ask. Held for as long as a request lasts, so that a peer that was taken out is asked no more.
    peers: RwLock<Vec<String>>,
    kept: Mutex<Vec<Kept>>,
    wrong: Mutex<Vec<String>>,
    unanswered: Mutex<Vec<String>>,
    reads: AtomicU64,
    refused_writes: AtomicU64,
    next: AtomicU64,
    is_over: AtomicBool,
}

/// Clients that are running; dropped, they stop.
#[derive(Debug)]
pub(super) struct Clients {
    /// What they do.
    pub(super) steady: Arc<Steady>,
    tasks: JoinSet<()>,
}

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves lists as they are.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clients {
    /// Starts clients of the peers at these addresses.
    pub(super) fn start(http: &Http, peers: Vec<String>, count: u64) -> Self {
        let steady = Arc::new(Steady {
            http: http.clone(),
            peers: RwLock::new(peers),
            kept: Mutex::default(),
            wrong: Mutex::default(),
            unanswered: Mutex::default(),
            reads: AtomicU64::new(0),
            refused_writes: AtomicU64::new(0),
            next: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for number in 0..count {
            tasks.spawn(Arc::clone(&steady).go_on(number));
        }
        Self { steady, tasks }
    }

    /// Returns what they did, once the last request is answered.
    pub(super) async fn end(mut self) -> anyhow::Result<Arc<Steady>> {
        self.steady.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a client panicked")?;
        }
        Ok(self.steady)
    }
}

impl Steady {
    async fn go_on(self: Arc<Self>, number: u64) {
        let mut prng = Prng::new(number);
        while !self.is_over.load(Ordering::Relaxed) {
            let peers = self.peers.read().await;
            let url = prng.index(peers.len()).and_then(|at| peers.get(at));
            if let Some(url) = url {
                match prng.chance(1, 2) {
                    true => drop(self.write(url).await),
                    false => self.read(url, &mut prng).await,
                }
            }
            drop(peers);
            pause(THINK).await;
        }
    }

    /// Writes one more object through the peer at `url`.
    ///
    /// # Errors
    /// It was not acknowledged.
    pub(super) async fn write(&self, url: &str) -> anyhow::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at = usize::try_from(number % 3).unwrap_or(0);
        let size = SIZES.get(at).copied().unwrap_or(1);
        let content = Content { seed: u32::try_from(number).unwrap_or(u32::MAX), size };
        let name = format!("{BUCKET}/{number}");
        let request = object(&self.http, Method::PUT, url, &name).body(content.slice(0, size));
        match ask(request).await.done() {
            Ok(_) => {
                lock(&self.kept).push(Kept { name, content });
                Ok(())
            }
            Err(fault) => {
                self.refused_writes.fetch_add(1, Ordering::Relaxed);
                Err(fault)
            }
        }
    }

    async fn read(&self, url: &str, prng: &mut Prng) {
        let kept = {
            let kept = lock(&self.kept);
            prng.index(kept.len()).and_then(|at| kept.get(at).cloned())
        };
        let Some(kept) = kept else { return };
        self.reads.fetch_add(1, Ordering::Relaxed);
        let request = object(&self.http, Method::GET, url, &kept.name);
        let told = |what: &str| format!("{} through {url}: {what}", kept.name);
        match ask(request).await {
            Reply::Answered(answer) if answer.status != 200 => {
                lock(&self.wrong).push(told(&answer.problem()));
            }
            Reply::Answered(answer) if answer.body != kept.content.slice(0, kept.content.size) => {
                lock(&self.wrong).push(told("wrong bytes"));
            }
            Reply::Answered(_) => {}
            Reply::NotSent => lock(&self.unanswered).push(told("nobody listens")),
            Reply::Unknown(why) => lock(&self.unanswered).push(told(&why)),
        }
    }

    /// Has clients ask this peer too.
    pub(super) async fn include(&self, url: String) {
        self.peers.write().await.push(url);
    }

    /// Has no client ask this peer any more, and returns when none does.
    pub(super) async fn exclude(&self, url: &str) {
        self.peers.write().await.retain(|peer| peer != url);
    }

    /// Fails when a read gave something else than what was acknowledged.
    pub(super) fn ensure_none_wrong(&self) -> anyhow::Result<()> {
        let wrong = lock(&self.wrong);
        ensure!(wrong.is_empty(), "{} wrong reads; the first: {}", wrong.len(), wrong.join("; "));
        Ok(())
    }

    /// Fails when a read had no answer.
    pub(super) fn ensure_all_answered(&self) -> anyhow::Result<()> {
        let list = lock(&self.unanswered);
        ensure!(list.is_empty(), "{} reads failed: {}", list.len(), list.join("; "));
        Ok(())
    }

    /// Reads everything that was acknowledged through each of these peers and compares every byte.
    pub(super) async fn check_all(&self, urls: &[String]) -> anyhow::Result<()> {
        let kept = lock(&self.kept).clone();
        ensure!(!kept.is_empty(), "nothing was acknowledged");
        let pairs = urls.iter().flat_map(|url| kept.iter().map(move |kept| (url, kept)));
        let checks = stream::iter(pairs).map(|(url, kept)| async move {
            let request = object(&self.http, Method::GET, url, &kept.name);
            let told = || format!("{} through {url}", kept.name);
            let answer = ask(request).await.done().with_context(told)?;
            let is_same = answer.body == kept.content.slice(0, kept.content.size);
            ensure!(is_same, "{}: wrong bytes", told());
            Ok(())
        });
        checks.buffer_unordered(CHECKS_MAX).try_collect::<()>().await
    }

    /// Returns what was done, for people.
    pub(super) fn summary(&self) -> String {
        let count = |list: &Mutex<Vec<String>>| lock(list).len();
        format!(
            "{} writes acknowledged, {} not; {} reads, {} without an answer, {} wrong",
            lock(&self.kept).len(),
            self.refused_writes.load(Ordering::Relaxed),
            self.reads.load(Ordering::Relaxed),
            count(&self.unanswered),
            count(&self.wrong),
        )
    }
}
