//! Clients that take locks through random peers, hold them, and let go or die.
//!
//! A client counts its lease from before it asked for it, so that its lock is its own for no longer than the cluster
//! thinks. While that lasts, nobody else is told that the lock is his, and who comes later has a higher token.
//! Never: looks into a peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::Prng;
use protocol::metadata::{Actor, LockName, Op, Outcome};

use super::group::{Group, Host, within};
use super::nanos;
use crate::sim::lock::lock;
use crate::sim::properties::Property;

/// Locks that the clients want: few, so that they get in each other's way.
const LOCKS: u64 = 2;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// What clients were told to be theirs. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<Mutex<BTreeMap<(u64, u64), Claim>>>);

/// A lock that a client has been told to hold.
#[derive(Clone, Copy, Debug)]
struct Claim {
    fence: u64,
    /// When its lease ends by the client's own clock, in virtual nanoseconds.
    until: u64,
}

impl Claims {
    /// Notes that a client holds a lock until some time, and returns what cannot be.
    fn granted(&self, now: u64, lock_number: u64, client: u64, claim: Claim) -> Option<String> {
        let mut claims = lock(&self.0);
        let others = claims.iter().filter(|((at, who), _)| *at == lock_number && *who != client);
        // A lease that is over when the client hears of it gives it nothing.
        let mut others =
            others.filter(|_| claim.until > now).map(|((_, who), other)| (*who, *other));
        let broken = others.find_map(|(who, other)| {
            let is_held = other.until > now;
            let is_later = other.fence >= claim.fence;
            (is_held || is_later).then(|| {
                format!(
                    "lock {lock_number} was granted to {client} (token {}) while {who} has it (token {}) until {} ms",
                    claim.fence,
                    other.fence,
                    other.until / 1_000_000
                )
            })
        });
        claims.insert((lock_number, client), claim);
        broken
    }

    /// Notes that a client holds a lock no longer.
    fn ended(&self, lock_number: u64, client: u64) {
        if let Some(claim) = lock(&self.0).get_mut(&(lock_number, client)) {
            claim.until = 0;
        }
    }
}

/// Keeps one client busy until `until`, in virtual nanoseconds.
pub(super) async fn work(group: Group, number: u64, claims: Claims, mut prng: Prng, until: u64) {
    while group.world.clock().nanos() < until {
        let lock_number = prng.below(LOCKS);
        let hosts = group.present();
        if let Some(host) = prng.index(hosts.len()).and_then(|index| hosts.get(index)) {
            let ttl = Duration::from_millis(500 + prng.below(3_000));
            if let Some(fence) = acquire(&group, host, number, lock_number, ttl, &claims).await {
                // Less or more than its lease: then it lost the lock without a word.
                group
                    .world
                    .clock()
                    .sleep(ttl * u32::try_from(prng.below(150)).unwrap_or(0) / 100)
                    .await;
                claims.ended(lock_number, number);
                if prng.chance(2, 3) {
                    release(host, number, lock_number, fence).await;
                }
            }
        }
        group.world.clock().sleep(Duration::from_millis(prng.below(400))).await;
    }
}

fn names(client: u64, lock_number: u64) -> Option<(LockName, LockName)> {
    let name = LockName::new(&format!("lock{lock_number}")).ok()?;
    Some((name, LockName::new(&format!("client{client}")).ok()?))
}

/// Asks for a lock once, and returns its token if it was granted.
async fn acquire(
    group: &Group,
    host: &Host,
    client: u64,
    lock_number: u64,
    ttl: Duration,
    claims: &Claims,
) -> Option<u64> {
    let meta = host.meta()?;
    let (name, owner) = names(client, lock_number)?;
    let ttl_ms = u64::try_from(ttl.as_millis()).ok()?;
    let until = group.world.clock().nanos() + nanos(ttl);
    let op = Op::LockAcquire { name, owner, ttl_ms };
    let outcome =
        within(host, async move { meta.propose(op, Actor::System, PATIENCE).await }).await;
    let Ok(Outcome::Granted { fence, .. }) = outcome else { return None };
    let now = group.world.clock().nanos();
    group.world.record(format_args!("lock {lock_number} of {client}, token {fence}"), &[]);
    let broken = claims.granted(now, lock_number, client, Claim { fence, until });
    broken.into_iter().for_each(|detail| group.history.violated(Property::Locked, detail));
    Some(fence)
}

async fn release(host: &Host, client: u64, lock_number: u64, fence: u64) {
    let (Some(meta), Some((name, owner))) = (host.meta(), names(client, lock_number)) else {
        return;
    };
    let op = Op::LockRelease { name, owner, fence };
    // One that was lost meanwhile is refused, and that is as good.
    drop(within(host, async move { meta.propose(op, Actor::System, PATIENCE).await }).await);
}
