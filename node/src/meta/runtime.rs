//! What Raft's tasks run on: the peer's own [`Env`], reached through a task-local host.
//!
//! openraft takes its runtime as a type without a value, so its clock, chance and tasks come from the host of the
//! task that asks. Every call into Raft is therefore made inside [`MetaHost::scope`]; a call outside panics, which
//! is an alarm: something would have escaped the simulator. Tasks end with the machine, like all others.
//! Never: takes time or chance from anywhere else.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::OptionalSend;
use openraft::async_runtime::AsyncRuntime;
use protocol::{Instant, Prng};
use rand_core::TryRng;
use tokio::sync::oneshot;

use super::watch::FairWatch;
use crate::env::Env;

type Tokio = openraft::impls::TokioRuntime;

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

tokio::task_local! {
    static HOST: MetaHost;
}

/// The machine below Raft's tasks. Clones are handles to the same one.
#[derive(Clone)]
pub(super) struct MetaHost(Arc<dyn Host>);

impl fmt::Debug for MetaHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaHost").finish_non_exhaustive()
    }
}

/// An [`Env`] without its type.
trait Host: Send + Sync {
    fn now(&self) -> Instant;
    fn sleep_until(&self, at: Instant) -> Boxed;
    fn spawn(&self, task: Boxed);
    fn next_u64(&self) -> u64;
}

struct Machine<E> {
    env: E,
    chance: Mutex<Prng>,
}

impl<E: Env> Host for Machine<E> {
    fn now(&self) -> Instant {
        self.env.now()
    }

    fn sleep_until(&self, at: Instant) -> Boxed {
        let env = self.env.clone();
        Box::pin(async move { env.sleep_until(at).await })
    }

    fn spawn(&self, task: Boxed) {
        self.env.spawn("meta.raft", task);
    }

    fn next_u64(&self) -> u64 {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

impl MetaHost {
    /// Returns the host over a machine.
    pub(super) fn new<E: Env>(env: E) -> Self {
        let chance = Mutex::new(env.prng());
        Self(Arc::new(Machine { env, chance }))
    }

    /// Runs a call into Raft on this host.
    pub(super) async fn scope<T>(&self, call: impl Future<Output = T>) -> T {
        HOST.scope(self.clone(), call).await
    }

    /// Returns the host of the current task.
    fn current() -> Self {
        HOST.with(Clone::clone)
    }
}

/// The runtime type that Raft is told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetaRuntime;

/// A point on the machine's monotonic clock, with the arithmetic that Raft wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MetaInstant(Instant);

impl Add<Duration> for MetaInstant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.after(by))
    }
}

impl AddAssign<Duration> for MetaInstant {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub<Duration> for MetaInstant {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(Instant::from_nanos(self.0.as_nanos().saturating_sub(nanos)))
    }
}

impl SubAssign<Duration> for MetaInstant {
    fn sub_assign(&mut self, by: Duration) {
        *self = *self - by;
    }
}

impl Sub for MetaInstant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.since(earlier.0)
    }
}

impl openraft::Instant for MetaInstant {
    fn now() -> Self {
        Self(MetaHost::current().0.now())
    }
}

impl MetaInstant {
    /// Returns the point on the machine's clock.
    pub(super) const fn get(self) -> Instant {
        self.0
    }
}

/// The machine's chance, as Raft draws from it.
#[derive(Debug)]
pub(super) struct MetaChance(MetaHost);

impl TryRng for MetaChance {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        // The upper half: every bit of the generator is as good as any other.
        Ok(u32::try_from(self.0.0.next_u64() >> 32).unwrap_or(u32::MAX))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0.0.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            let random = self.0.0.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        Ok(())
    }
}

/// The task went away without a result: the machine stops.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the task ended with its machine")]
pub(super) struct TaskEnded;

/// The time was up.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the time is up")]
pub(super) struct Elapsed;

/// What a task will have returned.
#[derive(Debug)]
pub(super) struct MetaTask<T>(oneshot::Receiver<T>);

impl<T> Future for MetaTask<T> {
    type Output = Result<T, TaskEnded>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| TaskEnded)
    }
}

/// A future that has until some time.
pub(super) struct MetaTimeout<F> {
    future: Pin<Box<F>>,
    end: Boxed,
}

impl<F: Future> Future for MetaTimeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        self.end.as_mut().poll(context).map(|()| Err(Elapsed))
    }
}

impl AsyncRuntime for MetaRuntime {
    type JoinError = TaskEnded;
    type JoinHandle<T: OptionalSend + 'static> = MetaTask<T>;
    type Sleep = Boxed;
    type Instant = MetaInstant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = MetaTimeout<T>;
    type ThreadLocalRng = MetaChance;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = FairWatch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> MetaTask<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let (done, result) = oneshot::channel();
        let host = MetaHost::current();
        let inner = host.clone();
        host.0.spawn(Box::pin(async move {
            // Whoever started it need not wait for it.
            done.send(inner.scope(future).await).ok();
        }));
        MetaTask(result)
    }

    fn sleep(duration: Duration) -> Boxed {
        let host = MetaHost::current();
        let at = host.0.now().after(duration);
        host.0.sleep_until(at)
    }

    fn sleep_until(deadline: MetaInstant) -> Boxed {
        MetaHost::current().0.sleep_until(deadline.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> MetaTimeout<F> {
        MetaTimeout { future: Box::pin(future), end: Self::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: MetaInstant,
        future: F,
    ) -> MetaTimeout<F> {
        MetaTimeout { future: Box::pin(future), end: Self::sleep_until(deadline) }
    }

    fn is_panic(_ended: &TaskEnded) -> bool {
        // The machine itself looks after panics: it stops.
        false
    }

    fn thread_rng() -> MetaChance {
        MetaChance(MetaHost::current())
    }

    fn new(_threads: usize) -> Self {
        Self
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        futures::executor::block_on(future)
    }

    fn spawn_blocking<F, T>(call: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // What blocks goes to the disk driver; nothing of Raft's own does.
        std::future::ready(Ok(call()))
    }
}
