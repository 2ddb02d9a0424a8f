//! A value that many tasks watch, and that wakes them in the order in which they began to wait.
//!
//! Tokio's own watch spreads its waiters over lists that it picks by chance, which no seed decides; one run of
//! the simulator would not be like the next. Never: keeps more than the latest value.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::task::{Context, Poll, Waker};

use openraft::async_runtime::watch::{RecvError, SendError, Watch, WatchReceiver, WatchSender};
use openraft::{OptionalSend, OptionalSync};

/// The kind of watch that Raft's tasks use here.
#[derive(Clone, Copy, Debug)]
pub(super) struct FairWatch;

#[derive(Debug)]
struct Shared<T> {
    value: RwLock<Versioned<T>>,
    waiters: Mutex<Waiters>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

#[derive(Debug)]
struct Versioned<T> {
    value: T,
    version: u64,
}

/// At most one entry per receiver, oldest first.
#[derive(Debug, Default)]
struct Waiters {
    next_receiver: u64,
    queue: VecDeque<(u64, Waker)>,
}

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, Versioned<T>> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_all(&self) {
        // Woken outside the lock: a waker may run what takes it.
        let queue = std::mem::take(&mut self.waiters().queue);
        queue.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// The end that sets the value.
#[derive(Debug)]
pub(super) struct FairSender<T>(Arc<Shared<T>>);

/// An end that watches. Clones have seen what this one has.
#[derive(Debug)]
pub(super) struct FairReceiver<T> {
    shared: Arc<Shared<T>>,
    id: u64,
    seen: u64,
}

/// The value, for a moment: whoever sets it waits meanwhile.
pub(super) struct FairRef<'a, T>(RwLockReadGuard<'a, Versioned<T>>);

impl<T> Deref for FairRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

/// Returns the two ends over a first value, which counts as seen.
pub(super) fn channel<T>(init: T) -> (FairSender<T>, FairReceiver<T>) {
    let shared = Arc::new(Shared {
        value: RwLock::new(Versioned { value: init, version: 0 }),
        waiters: Mutex::default(),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(0),
    });
    let receiver = FairReceiver::new(&shared, 0);
    (FairSender(shared), receiver)
}

impl<T> FairSender<T> {
    /// Changes the value and, where `modify` says that it did, wakes all that wait.
    pub(super) fn modify(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let changed = {
            let mut slot = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
            let changed = modify(&mut slot.value);
            slot.version += u64::from(changed);
            changed
        };
        if changed {
            self.0.wake_all();
        }
        changed
    }
}

impl<T> Clone for FairSender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for FairSender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.wake_all();
        }
    }
}

impl<T> FairReceiver<T> {
    fn new(shared: &Arc<Shared<T>>, seen: u64) -> Self {
        shared.receivers.fetch_add(1, Ordering::Relaxed);
        let mut waiters = shared.waiters();
        waiters.next_receiver += 1;
        let id = waiters.next_receiver;
        drop(waiters);
        Self { shared: Arc::clone(shared), id, seen }
    }

    /// Returns the value for a moment. Clone what is needed and let go.
    pub(super) fn value(&self) -> FairRef<'_, T> {
        FairRef(self.shared.read())
    }

    /// Returns once the value is another than this receiver saw, and counts it as seen. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<(), RecvError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &Context<'_>) -> Poll<Result<(), RecvError>> {
        // The place is taken before the value is looked at: a change in between finds the waker.
        let mut waiters = self.shared.waiters();
        match waiters.queue.iter_mut().find(|(id, _)| *id == self.id) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => waiters.queue.push_back((self.id, context.waker().clone())),
        }
        drop(waiters);
        let version = self.shared.read().version;
        let outcome = if version != self.seen {
            self.seen = version;
            Poll::Ready(Ok(()))
        } else if self.shared.senders.load(Ordering::Acquire) == 0 {
            Poll::Ready(Err(RecvError(())))
        } else {
            return Poll::Pending;
        };
        self.shared.waiters().queue.retain(|(id, _)| *id != self.id);
        outcome
    }
}

impl<T> Clone for FairReceiver<T> {
    fn clone(&self) -> Self {
        Self::new(&self.shared, self.seen)
    }
}

impl<T> Drop for FairReceiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::Relaxed);
        self.shared.waiters().queue.retain(|(id, _)| *id != self.id);
    }
}

impl Watch for FairWatch {
    type Sender<T: OptionalSend + OptionalSync> = FairSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = FairReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = FairRef<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (FairSender<T>, FairReceiver<T>) {
        channel(init)
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<FairWatch, T> for FairSender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.0.receivers.load(Ordering::Relaxed) == 0 {
            return Err(SendError(value));
        }
        self.modify(|slot| {
            *slot = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        self.modify(modify)
    }

    fn borrow_watched(&self) -> FairRef<'_, T> {
        FairRef(self.0.read())
    }

    fn subscribe(&self) -> FairReceiver<T> {
        let seen = self.0.read().version;
        FairReceiver::new(&self.0, seen)
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<FairWatch, T> for FairReceiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        self.next().await
    }

    fn borrow_watched(&self) -> FairRef<'_, T> {
        self.value()
    }

    fn borrow_and_update(&mut self) -> FairRef<'_, T> {
        let guard = self.shared.value.read().unwrap_or_else(PoisonError::into_inner);
        self.seen = guard.version;
        FairRef(guard)
    }
}

#[cfg(test)]
#[path = "watch_test.rs"]
mod tests;
