//! Clients that go on reading while something happens to the peers, and how long each read took.
//!
//! Each reads one object after the other, with a pause between two, through any of the peers that it may ask, and compares
//! every byte. Owns the times. Never: tries again; a read that failed is counted, and told with its reason.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use protocol::Prng;
use serde::Serialize;
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::stock::Kept;
use crate::http::Http;

/// Failures that are told in words; all are counted.
const FAILURES_TOLD_MAX: usize = 5;

/// One read that was answered.
#[derive(Clone, Copy, Debug)]
struct Sample {
    begun: Instant,
    took: Duration,
}

#[derive(Debug, Default)]
struct Record {
    samples: Vec<Sample>,
    failed: u64,
    failures: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    http: Http,
    kept: Vec<Kept>,
    /// Held for as long as a read lasts, so that a peer that was taken out is asked no more.
    urls: RwLock<Vec<String>>,
    pause: Duration,
    record: Mutex<Record>,
    is_over: AtomicBool,
}

/// Readers at work; dropped, they stop.
#[derive(Debug)]
pub(super) struct Readers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// What readers saw.
#[derive(Debug)]
pub(super) struct Reads {
    record: Record,
}

/// How long reads took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Latencies {
    pub(super) reads: usize,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Readers {
    /// Starts `count` readers of these objects through these peers.
    pub(super) fn start(
        http: &Http,
        urls: Vec<String>,
        kept: Vec<Kept>,
        (count, pause): (u64, Duration),
    ) -> Self {
        let shared = Arc::new(Shared {
            http: http.clone(),
            kept,
            urls: RwLock::new(urls),
            pause,
            record: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for number in 0..count {
            tasks.spawn(Arc::clone(&shared).go_on(number));
        }
        Self { shared, tasks }
    }

    /// Has them ask this peer too.
    pub(super) async fn include(&self, url: String) {
        self.shared.urls.write().await.push(url);
    }

    /// Has them ask this peer no more, and returns when none does.
    pub(super) async fn exclude(&self, url: &str) {
        self.shared.urls.write().await.retain(|other| other != url);
    }

    /// Returns what they saw, once the last read has ended.
    ///
    /// # Errors
    /// One panicked.
    pub(super) async fn end(mut self) -> anyhow::Result<Reads> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a reader panicked")?;
        }
        Ok(Reads { record: std::mem::take(&mut *self.shared.record()) })
    }
}

impl Shared {
    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        // A panic elsewhere leaves lists as they are.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn go_on(self: Arc<Self>, number: u64) {
        let mut prng = Prng::new(number);
        while !self.is_over.load(Ordering::Relaxed) {
            self.read(&mut prng).await;
            tokio::time::sleep(self.pause).await;
        }
    }

    async fn read(&self, prng: &mut Prng) {
        let kept = prng.index(self.kept.len()).and_then(|at| self.kept.get(at));
        let urls = self.urls.read().await;
        let url = prng.index(urls.len()).and_then(|at| urls.get(at));
        let (Some((cid, content)), Some(url)) = (kept, url) else { return };
        let begun = Instant::now();
        let outcome = self.http.check(url, cid, *content).await;
        let took = begun.elapsed();
        let mut record = self.record();
        match outcome {
            Ok(()) => record.samples.push(Sample { begun, took }),
            Err(fault) => {
                record.failed += 1;
                if record.failures.len() < FAILURES_TOLD_MAX {
                    record.failures.push(format!("{cid} through {url}: {fault}"));
                }
            }
        }
    }
}

/// Tells on the error stream why requests failed.
#[expect(clippy::print_stderr, reason = "why something failed is told beside the results")]
pub(super) fn tell<'a>(failures: impl IntoIterator<Item = &'a String>) {
    for failure in failures {
        eprintln!("testnet: {failure}");
    }
}

impl Reads {
    /// Returns how many reads failed, and why the first ones did.
    pub(super) fn failed(&self) -> (u64, &[String]) {
        (self.record.failed, &self.record.failures)
    }

    /// Returns how long those reads took that began from `from` until before `until`.
    pub(super) fn between(&self, from: Instant, until: Instant) -> Latencies {
        let within = self.record.samples.iter().filter(|one| (from..until).contains(&one.begun));
        Latencies::of(within.map(|one| one.took))
    }
}

impl Latencies {
    /// Returns the percentiles of these times; all are 0 of none.
    pub(super) fn of(took: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = took.collect();
        sorted.sort_unstable();
        let ms = |rank: Option<&Duration>| rank.map_or(0.0, |took| took.as_secs_f64() * 1e3);
        // The least time that this part of all reads does not exceed.
        let percentile =
            |percent: usize| ms(sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1));
        Self {
            reads: sorted.len(),
            p50_ms: percentile(50),
            p95_ms: percentile(95),
            p99_ms: percentile(99),
            max_ms: ms(sorted.last()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latencies;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let hundred = Latencies::of((1..=100).rev().map(Duration::from_millis));
        let expected =
            Latencies { reads: 100, p50_ms: 50.0, p95_ms: 95.0, p99_ms: 99.0, max_ms: 100.0 };
        assert_eq!(hundred, expected);
        let one = Latencies::of([Duration::from_millis(7)].into_iter());
        assert_eq!((one.p50_ms, one.p99_ms, one.max_ms), (7.0, 7.0, 7.0));
        assert_eq!(Latencies::of(std::iter::empty()), Latencies::default());
    }
}
