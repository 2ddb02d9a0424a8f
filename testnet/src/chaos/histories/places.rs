//! Where operations happen: prefixes and locks, each followed by a new one once its history is long enough.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Prng;

use super::directory::{self, Contents, Value};
use super::lock;
use super::record::Record;

/// Something that has a history of its own.
pub(super) trait Place {
    /// Returns the one of this number; nobody used it before.
    fn new(number: u64) -> Self;

    /// Says whether its history is long enough.
    fn is_full(&self) -> bool;
}

/// A prefix with a few objects.
#[derive(Debug)]
pub(super) struct Prefix {
    /// Its number.
    pub(super) number: u64,
    /// What was done there.
    pub(super) record: Record<directory::Operation>,
    /// The root of each value that anybody tried to write, by the value's number.
    roots: Mutex<Vec<String>>,
    /// What the objects held when somebody looked: a guess, so that conditions hold often enough.
    guess: Mutex<Contents>,
}

impl Place for Prefix {
    fn new(number: u64) -> Self {
        let (roots, guess) = (Mutex::default(), Mutex::default());
        Self { number, record: Record::default(), roots, guess }
    }

    fn is_full(&self) -> bool {
        self.record.is_full()
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves lists and guesses as they are.
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Prefix {
    /// Returns the number of a new value, whose bytes and root follow from it.
    pub(super) fn new_value(&self, root_of: impl FnOnce(Value) -> String) -> Value {
        let mut roots = lock(&self.roots);
        let value = roots.len();
        roots.push(root_of(value));
        value
    }

    /// Returns the value of a root; `None` when nobody tried to write it.
    pub(super) fn value_of(&self, root: &str) -> Option<Value> {
        lock(&self.roots).iter().position(|known| known == root)
    }

    /// Returns the root of a value.
    pub(super) fn root_of(&self, value: Value) -> Option<String> {
        lock(&self.roots).get(value).cloned()
    }

    /// Returns what an object probably holds.
    pub(super) fn guess(&self, key: usize) -> Option<Value> {
        lock(&self.guess).get(key).copied().flatten()
    }

    /// Takes note of what an object held a moment ago.
    pub(super) fn saw(&self, key: usize, value: Option<Value>) {
        if let Some(slot) = lock(&self.guess).get_mut(key) {
            *slot = value;
        }
    }
}

/// A lock.
#[derive(Debug)]
pub(super) struct Mutual {
    /// Its number.
    pub(super) number: u64,
    /// What was done with it.
    pub(super) record: Record<lock::Operation>,
}

impl Place for Mutual {
    fn new(number: u64) -> Self {
        Self { number, record: Record::default() }
    }

    fn is_full(&self) -> bool {
        self.record.is_full()
    }
}

/// Places that are in use, and those that were.
#[derive(Debug)]
pub(super) struct Pool<P>(Mutex<Shelves<P>>);

#[derive(Debug)]
struct Shelves<P> {
    open: Vec<Arc<P>>,
    closed: Vec<Arc<P>>,
}

impl<P: Place> Pool<P> {
    /// Returns a pool of which so many places are in use at a time.
    pub(super) fn new(open: u64) -> Self {
        let open = (0..open).map(|number| Arc::new(P::new(number))).collect();
        Self(Mutex::new(Shelves { open, closed: Vec::new() }))
    }

    /// Returns one of those in use.
    pub(super) fn pick(&self, prng: &mut Prng) -> Arc<P> {
        let mut shelves = lock(&self.0);
        let Shelves { open, closed } = &mut *shelves;
        let next = (open.len() + closed.len()) as u64;
        let at = prng.index(open.len()).unwrap_or(0);
        let place = open.get_mut(at).expect("some place is always in use");
        if place.is_full() {
            closed.push(std::mem::replace(place, Arc::new(P::new(next))));
        }
        Arc::clone(place)
    }

    /// Returns all that were ever in use.
    pub(super) fn all(&self) -> Vec<Arc<P>> {
        let shelves = lock(&self.0);
        shelves.closed.iter().chain(&shelves.open).map(Arc::clone).collect()
    }
}
