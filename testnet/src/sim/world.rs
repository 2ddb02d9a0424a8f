//! One run: the clock, the trace, the network and the failures seen, shared by all machines of it.
#![expect(clippy::disallowed_methods, reason = "tasks of the run itself belong to no machine")]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use protocol::Prng;

use super::chance::Chance;
use super::clock::Clock;
use super::lock::lock;
use super::net::Network;
use super::trace::Trace;

/// A run. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct World {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    chance: Chance,
    trace: Mutex<Trace>,
    failures: Mutex<Vec<String>>,
    network: Network,
}

impl World {
    fn new(seed: u64, verbose: bool) -> Self {
        let clock = Clock::start();
        let mut prng = Prng::new(seed);
        let network = Network::new(prng.fork());
        Self {
            shared: Arc::new(Shared {
                clock,
                chance: Chance::new(prng),
                trace: Mutex::new(Trace::new(verbose)),
                failures: Mutex::default(),
                network,
            }),
        }
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// Returns the network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.shared.network
    }

    /// Returns a generator of its own, seeded by the run.
    #[must_use]
    pub fn prng(&self) -> Prng {
        self.shared.chance.fork()
    }

    /// Adds an event to the trace, at the current time, with the bytes it carried.
    pub fn record(&self, event: fmt::Arguments<'_>, payload: &[&[u8]]) {
        lock(&self.shared.trace).record(self.clock().nanos(), event, payload);
    }

    /// Notes that the run failed by itself, such as by a panic of the daemon's code.
    pub fn fail(&self, failure: String) {
        self.record(format_args!("failure {failure}"), &[]);
        lock(&self.shared.failures).push(failure);
    }

    /// Runs a task that belongs to no machine, until it ends or the run does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let world = self.clone();
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                world.fail(format!("a task of the run panicked: {}", panic_text(panic.as_ref())));
            }
        });
    }

    /// Returns the failures noted so far.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        lock(&self.shared.failures).clone()
    }

    /// Returns the digest of the trace so far.
    #[must_use]
    pub fn digest(&self) -> String {
        lock(&self.shared.trace).digest()
    }

    /// Returns how many events the trace has.
    #[must_use]
    pub fn events(&self) -> u64 {
        lock(&self.shared.trace).events()
    }

    /// Returns the lines of the trace; none unless the run is verbose.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        lock(&self.shared.trace).lines().to_vec()
    }
}

/// Returns the message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Runs `body` in a new world of `seed`, on this thread, in virtual time, and returns its result.
///
/// Tasks that are still running when `body` ends are dropped.
///
/// # Errors
/// When the operating system refuses the runtime.
pub fn run<T>(seed: u64, verbose: bool, body: impl AsyncFnOnce(World) -> T) -> std::io::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(async { body(World::new(seed, verbose)).await }))
}
