//! What clients saw: one list of operations for each history.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Operations of one history: enough that they meet each other, few enough to be judged at once.
const OPERATIONS_MAX: u64 = 240;

/// Operations of one history whose outcome nobody knows: each doubles the work of judging at worst.
const UNKNOWN_MAX: u64 = 5;

/// The order in which operations begin and end, over all clients of this process.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    /// Returns the next moment: later than all that were returned before.
    pub(super) fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// An operation that changed or showed something, or may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event<T> {
    /// Before this moment it had no effect.
    pub(super) begin: u64,
    /// After this moment it has none; `None` when the outcome is unknown: it may still come.
    pub(super) end: Option<u64>,
    /// What it was, and what came of it.
    pub(super) operation: T,
}

/// The operations of one history.
#[derive(Debug)]
pub(super) struct Record<T> {
    events: Mutex<Vec<Event<T>>>,
    begun: AtomicU64,
    unknown: AtomicU64,
}

impl<T> Default for Record<T> {
    fn default() -> Self {
        Self { events: Mutex::default(), begun: AtomicU64::new(0), unknown: AtomicU64::new(0) }
    }
}

impl<T: Clone> Record<T> {
    /// Says whether there is enough to judge.
    pub(super) fn is_full(&self) -> bool {
        self.begun.load(Ordering::Relaxed) >= OPERATIONS_MAX
            || self.unknown.load(Ordering::Relaxed) >= UNKNOWN_MAX
    }

    /// Returns when an operation begins that is about to be sent.
    pub(super) fn begin(&self, clock: &Clock) -> u64 {
        self.begun.fetch_add(1, Ordering::Relaxed);
        clock.tick()
    }

    /// Takes note of an operation that began then and has its answer now.
    pub(super) fn answered(&self, clock: &Clock, begin: u64, operation: T) {
        self.push(Event { begin, end: Some(clock.tick()), operation });
    }

    /// Takes note of an operation that began then and may happen at any time, or never.
    pub(super) fn unknown(&self, begin: u64, operation: T) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
        self.push(Event { begin, end: None, operation });
    }

    fn push(&self, event: Event<T>) {
        // A panic elsewhere leaves a list of whole events.
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Returns all operations so far.
    pub(super) fn events(&self) -> Vec<Event<T>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
