//! The leader's countdowns: a lease that is not renewed for its length is proposed to end.
//!
//! The state has no clock; this has one, the monotonic clock of whoever leads. A new leader starts every countdown
//! anew. The proposal names the renewals that were seen, so that one that came meanwhile wins.
//! Never: ends a lease itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use protocol::Instant;
use protocol::limits::LIST_ROWS_MAX;
use protocol::metadata::{Actor, Effect, Lease, LeaseId, Op, query};
use tracing::debug;

use super::effects::Told;
use super::handle::Meta;
use super::read::Freshness;
use crate::env::Env;

/// Leases that are proposed to end at a time: they share syncs.
const EXPIRIES_MAX: usize = 64;
/// How long such a proposal may take, and when one that failed is made again.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);

/// Every lease with its countdown.
#[derive(Debug, Default)]
struct Countdowns {
    leases: BTreeMap<LeaseId, (Instant, u64)>,
    /// The same, soonest first.
    order: BTreeSet<(Instant, LeaseId)>,
}

impl Countdowns {
    /// Starts a countdown, unless one for the same renewals runs.
    fn note(&mut self, id: LeaseId, renewals: u64, ends: Instant) {
        if self.leases.get(&id).is_some_and(|(_, seen)| *seen == renewals) {
            return;
        }
        self.set(id, renewals, ends);
    }

    fn set(&mut self, id: LeaseId, renewals: u64, ends: Instant) {
        self.end(&id);
        self.order.insert((ends, id.clone()));
        self.leases.insert(id, (ends, renewals));
    }

    fn end(&mut self, id: &LeaseId) {
        if let Some((ends, _)) = self.leases.remove(id) {
            self.order.remove(&(ends, id.clone()));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.order.first().map(|(ends, _)| *ends)
    }

    /// Returns those that are over, soonest first.
    fn over(&self, now: Instant) -> Vec<(LeaseId, u64)> {
        let over = self.order.iter().take_while(|(ends, _)| *ends <= now).take(EXPIRIES_MAX);
        let with_renewals = over.filter_map(|(_, id)| Some((id.clone(), self.leases.get(id)?.1)));
        with_renewals.collect()
    }
}

/// Watches over all leases while this peer leads.
pub(super) async fn expire<E: Env>(meta: Meta<E>) {
    let env = meta.env().clone();
    // Followed before the state is read, so that nothing falls between the two.
    let concerns =
        |effect: &Effect| matches!(effect, Effect::LeaseChanged { .. } | Effect::LeaseEnded { .. });
    let mut effects = meta.effects(concerns);
    let mut countdowns = Countdowns::default();
    let mut is_complete = false;
    loop {
        if !is_complete {
            is_complete = load(&meta, &mut countdowns).await;
        }
        let retry = (!is_complete).then(|| env.now().after(RETRY));
        let wake = [retry, countdowns.next()].into_iter().flatten().min();
        let wake = wake.unwrap_or(Instant::from_nanos(u64::MAX));
        tokio::select! {
            biased; // renewals first: they save leases from the deadlines behind them
            told = effects.next() => match told {
                Some(Told::Effect(Effect::LeaseChanged { id, ttl_ms, renewals })) => {
                    let ends = env.now().after(Duration::from_millis(ttl_ms));
                    countdowns.set(id, renewals, ends);
                }
                Some(Told::Effect(Effect::LeaseEnded { id })) => countdowns.end(&id),
                Some(Told::Effect(_)) => {}
                Some(Told::Missed) => {
                    is_complete = false;
                }
                None => return,
            },
            () = env.sleep_until(wake) => propose(&meta, &mut countdowns).await,
        }
    }
}

/// Reads all leases. Those that are gone are forgotten, those that are known and were not renewed run on.
async fn load<E: Env>(meta: &Meta<E>, countdowns: &mut Countdowns) -> bool {
    let mut seen: BTreeSet<LeaseId> = BTreeSet::new();
    let mut after: Option<LeaseId> = None;
    loop {
        let from = after.clone();
        let page = meta.read(Freshness::Latest, move |source| {
            query::leases(source, from.as_ref(), LIST_ROWS_MAX)
        });
        let page: Vec<Lease> = match page.await {
            Ok(page) => page,
            Err(fault) => {
                debug!(err = %fault, "leases were not read");
                return false;
            }
        };
        let now = meta.env().now();
        let is_last = page.len() < LIST_ROWS_MAX;
        after = page.last().map(|lease| lease.id.clone());
        for Lease { id, ttl_ms, renewals, .. } in page {
            let whole = Duration::from_millis(ttl_ms);
            let left = if meta.planted().lease_cut_short { Duration::ZERO } else { whole };
            countdowns.note(id.clone(), renewals, now.after(left));
            seen.insert(id);
        }
        if is_last {
            break;
        }
    }
    let gone: Vec<LeaseId> =
        countdowns.leases.keys().filter(|id| !seen.contains(*id)).cloned().collect();
    gone.iter().for_each(|id| countdowns.end(id));
    true
}

/// Proposes the end of what is over.
async fn propose<E: Env>(meta: &Meta<E>, countdowns: &mut Countdowns) {
    let over = countdowns.over(meta.env().now());
    let proposals = over.iter().map(|(lease, renewals)| {
        let op = Op::Expire { lease: lease.clone(), renewals: *renewals };
        meta.propose(op, Actor::System, PATIENCE)
    });
    let outcomes = join_all(proposals).await;
    for ((id, renewals), outcome) in over.into_iter().zip(outcomes) {
        match outcome {
            // Renewed meanwhile, or ended: the effect that tells so comes, or has come, by itself.
            Ok(_) => {
                if countdowns.leases.get(&id).is_some_and(|(_, seen)| *seen == renewals) {
                    countdowns.end(&id);
                }
            }
            Err(fault) => {
                debug!(lease = %id, err = %fault, "lease was not ended");
                let again = meta.env().now().after(RETRY);
                countdowns.set(id, renewals, again);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::Instant;
    use protocol::metadata::LeaseId;

    use super::Countdowns;

    #[test]
    fn a_countdown_runs_on_unless_its_lease_was_renewed() {
        let at = Instant::from_millis;
        let mut countdowns = Countdowns::default();
        countdowns.set(LeaseId::Session(1), 0, at(100));
        countdowns.set(LeaseId::Session(2), 0, at(50));
        countdowns.note(LeaseId::Session(1), 0, at(900));
        assert_eq!(countdowns.next(), Some(at(50)));
        assert_eq!(countdowns.over(at(100)).len(), 2);
        countdowns.note(LeaseId::Session(1), 1, at(900));
        assert_eq!(countdowns.over(at(100)), [(LeaseId::Session(2), 0)]);
        countdowns.end(&LeaseId::Session(2));
        assert_eq!(countdowns.next(), Some(at(900)));
    }
}
