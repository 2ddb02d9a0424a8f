//! The real machine: the operating system's clock and entropy, tokio, libp2p, RocksDB and files.
#![expect(clippy::disallowed_methods, reason = "this is where the real clock and tasks come in")]

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use protocol::{Instant, Prng, WallTime};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Env;
use crate::disk::RealDisk;
use crate::net::RealNet;

/// Hashings at a time: as many as any machine of today has cores to run them on.
const COMPUTE_MAX: usize = 16;

/// The machine that the daemon runs on.
#[derive(Clone, Debug)]
pub struct RealEnv {
    shared: Arc<Shared>,
    net: RealNet,
    disk: RealDisk,
}

#[derive(Debug)]
struct Shared {
    origin: std::time::Instant,
    runtime: Handle,
    compute: Semaphore,
    seeds: Mutex<Prng>,
    failed: CancellationToken,
}

impl RealEnv {
    /// Returns the machine over its drivers. Tasks run on `runtime`; a panic in one cancels `failed`.
    #[must_use]
    pub fn new(runtime: Handle, net: RealNet, disk: RealDisk, failed: CancellationToken) -> Self {
        let mut seed = [0; 8];
        fill(&mut seed);
        let shared = Shared {
            origin: std::time::Instant::now(),
            runtime,
            compute: Semaphore::new(COMPUTE_MAX),
            seeds: Mutex::new(Prng::new(u64::from_le_bytes(seed))),
            failed,
        };
        Self { shared: Arc::new(shared), net, disk }
    }
}

/// Fills `bytes` from the operating system.
///
/// # Panics
/// If the operating system has no entropy, which no supported one ever reports.
pub fn fill(mut bytes: &mut [u8]) {
    while !bytes.is_empty() {
        let got = rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty())
            .expect("the operating system gives entropy");
        bytes = &mut bytes[got..];
    }
}

impl Env for RealEnv {
    type Net = RealNet;
    type Disk = RealDisk;

    fn now(&self) -> Instant {
        let nanos = self.shared.origin.elapsed().as_nanos();
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep_until(&self, at: Instant) {
        let at = self.shared.origin.checked_add(Duration::from_nanos(at.as_nanos()));
        match at {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            // Beyond what the clock can count.
            None => std::future::pending().await,
        }
    }

    fn prng(&self) -> Prng {
        self.shared.seeds.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        fill(bytes);
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let failed = self.shared.failed.clone();
        self.shared.runtime.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                error!(task = name, "task panicked");
                failed.cancel();
            }
        });
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let _slot = self.shared.compute.acquire().await.expect("the semaphore is never closed");
        match self.shared.runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down: nobody waits for this any more.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn net(&self) -> &RealNet {
        &self.net
    }

    fn disk(&self) -> &RealDisk {
        &self.disk
    }
}
