//! Waiting for a lock on behalf of a client.
//!
//! The queue is the cluster's; this peer only keeps the place alive while its client waits, and tells it when
//! its turn has come. A client that goes away loses its place with its lease. Never: decides who is next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::metadata::{Actor, Effect, LockName, Op, Outcome};
use protocol::{Fault, Kind};
use tokio::sync::Notify;

use super::Context;
use super::propose::COMMIT_PATIENCE;
use crate::env::Env;
use crate::meta::{Meta, Told};

/// Clients of this peer that wait for locks at once. Each holds a connection.
const WAITS_MAX: usize = 1024;

/// A lock and whoever wants it.
type Want = (LockName, LockName);

/// The clients of this peer that wait. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct LockWaits(Arc<Mutex<BTreeMap<Want, Arc<Notify>>>>);

impl LockWaits {
    fn wanted(&self) -> MutexGuard<'_, BTreeMap<Want, Arc<Notify>>> {
        // A panic elsewhere leaves a valid map: nothing inside can be half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes clients whose turn has come, for as long as the peer runs.
    pub(crate) async fn follow<E: Env>(self, meta: Meta<E>) {
        let mut effects = meta.effects(|effect| matches!(effect, Effect::LockGranted { .. }));
        while let Some(told) = effects.next().await {
            match told {
                Told::Effect(Effect::LockGranted { name, owner, .. }) => {
                    if let Some(waiting) = self.wanted().get(&(name, owner)) {
                        waiting.notify_waiters();
                    }
                }
                Told::Effect(_) => {}
                // Any of them may have been granted: all ask again.
                Told::Missed => self.wanted().values().for_each(|waiting| waiting.notify_waiters()),
            }
        }
    }
}

/// Takes the entry out of the list when the client is done, however that comes.
struct Waiting<'a> {
    waits: &'a LockWaits,
    want: Want,
    granted: Arc<Notify>,
}

impl<'a> Waiting<'a> {
    fn new(waits: &'a LockWaits, want: Want) -> Result<Self, Fault> {
        let mut wanted = waits.wanted();
        if wanted.len() >= WAITS_MAX && !wanted.contains_key(&want) {
            let detail = format!("{WAITS_MAX} clients wait for locks through this peer");
            return Err(Fault::busy(detail, Duration::from_secs(1)));
        }
        let granted = Arc::clone(wanted.entry(want.clone()).or_default());
        drop(wanted);
        Ok(Self { waits, want, granted })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut wanted = self.waits.wanted();
        // The list has one, this has one: nobody else waits for the same.
        if Arc::strong_count(&self.granted) <= 2 {
            wanted.remove(&self.want);
        }
    }
}

/// A lock that is wanted.
#[derive(Clone, Debug)]
pub struct Acquire {
    /// The user who asks.
    pub actor: Actor,
    /// Which lock.
    pub name: LockName,
    /// Who wants it.
    pub owner: LockName,
    /// How long it lasts without a renewal.
    pub ttl: Duration,
    /// How long to wait for it.
    pub wait: Duration,
}

/// Takes a lock, or waits for it as long as the client wants, keeping its place.
///
/// Returns [`Outcome::Granted`] or [`Outcome::Queued`].
///
/// # Errors
/// The cluster's refusal, or [`Kind::Unavailable`] when it cannot agree.
pub async fn acquire<E: Env>(context: &Context<E>, wanted: Acquire) -> Result<Outcome, Fault> {
    let env = &context.env;
    let until = env.now().after(wanted.wait);
    let waiting = Waiting::new(&context.locks, (wanted.name.clone(), wanted.owner.clone()))?;
    loop {
        // Listened for before the question, so that a grant in between is not missed.
        let granted = waiting.granted.notified();
        let op = Op::LockAcquire {
            name: wanted.name.clone(),
            owner: wanted.owner.clone(),
            ttl_ms: u64::try_from(wanted.ttl.as_millis()).unwrap_or(u64::MAX),
        };
        let outcome = context.meta.propose(op, wanted.actor.clone(), COMMIT_PATIENCE).await?;
        if !matches!(outcome, Outcome::Queued { .. }) || env.now() >= until {
            return Ok(outcome);
        }
        // Asking again renews the lease of the place.
        let again = env.now().after(wanted.ttl / 3).min(until);
        tokio::select! {
            biased; // a grant is what is waited for
            () = granted => {}
            () = env.sleep_until(again) => {}
        }
    }
}

/// Returns a name of a lock or of its owner.
///
/// # Errors
/// [`Kind::Invalid`] when it breaks the rules.
pub fn lock_name(text: &str) -> Result<LockName, Fault> {
    LockName::new(text).map_err(|error| Fault::new(Kind::Invalid, error.to_string()))
}
