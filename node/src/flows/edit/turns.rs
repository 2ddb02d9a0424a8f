//! Turns: changes of one object that were overtaken go one after the other.
//!
//! Each peer has a line of its own for each object; between peers, the metadata decide. Never: keeps anybody waiting
//! for longer than [`PATIENCE`]; whoever is tired goes without a turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::metadata::ObjectName;
use tokio::sync::OwnedMutexGuard;

use crate::env::Env;

/// How long a change waits for those before it.
const PATIENCE: Duration = Duration::from_secs(15);

type Line = Arc<tokio::sync::Mutex<()>>;

/// The lines of this peer: as many as changes under way at most. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::flows) struct Turns(Arc<Mutex<BTreeMap<ObjectName, Line>>>);

impl Turns {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Line>> {
        // A panic elsewhere leaves a valid map: nothing inside can be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a turn; none when it took too long.
    pub(super) async fn take<E: Env>(&self, env: &E, name: &ObjectName) -> Option<Turn> {
        let line = Arc::clone(self.lines().entry(name.clone()).or_default());
        let place = Place { turns: self.clone(), name: name.clone(), line: Arc::clone(&line) };
        tokio::select! {
            biased; // a turn beats patience that ends just now
            guard = line.lock_owned() => Some(Turn { _guard: guard, _place: place }),
            () = env.sleep_until(env.now().after(PATIENCE)) => None,
        }
    }
}

/// A place in a line. The last one to leave takes the line away.
#[derive(Debug)]
struct Place {
    turns: Turns,
    name: ObjectName,
    line: Line,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        // The map has one, this has one: nobody else is in line.
        if Arc::strong_count(&self.line) <= 2 {
            lines.remove(&self.name);
        }
    }
}

/// The right to change an object, among those of this peer that ask for it. Fields go in this order.
#[derive(Debug)]
pub(super) struct Turn {
    _guard: OwnedMutexGuard<()>,
    _place: Place,
}
