//! Letting go of partitions that others hold.
//!
//! What `protocol::repair::may_drop` allows is removed by the store, which compares each partition once more
//! with what the others confirmed. Owns the confirmations of one round. Never: lets go of a part of a partition;
//! relies on what was said at another epoch.

use std::collections::BTreeSet;

use protocol::metadata::query;
use protocol::placement::Partition;
use protocol::repair::{Bucket, Confirmations, Evidence, Keep, may_drop};
use protocol::topology::Topology;
use protocol::{Fault, Instant, PeerId};
use tracing::debug;

use super::answer::Answers;
use super::inventory::{Inventory, Snapshot};
use crate::env::Env;
use crate::flows::Context;
use crate::meta::Freshness;
use crate::store::{Departed, Proviso};

/// How this peer may let go of something.
#[derive(Clone, Debug)]
pub(super) struct Departing {
    pub(super) inventory: Inventory,
    pub(super) answers: Answers,
    /// Not before: those who place blocks by an earlier topology still look for them here.
    pub(super) from: Instant,
}

/// How many blocks this peer had found corrupt before its inventory was taken. The references to one more are in
/// no inventory until it is written anew, so that nobody is asked for them meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct CorruptBefore(pub(super) u64);

/// What was said of some partitions that this peer should not hold.
#[derive(Debug)]
pub(super) struct Strays<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Which, in order.
    pub(super) partitions: &'a [Partition],
    corrupt_before: CorruptBefore,
    confirmations: Confirmations,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) departed: Departed,
    /// Whether some may go later, when others hold them or time has passed.
    pub(super) is_open: bool,
}

/// A partition that may go, and what it held when others were asked.
type Going = (Partition, Bucket);

impl<'a> Strays<'a> {
    /// Returns that nobody said anything yet.
    pub(super) fn new(
        snapshot: &'a Snapshot,
        partitions: &'a [Partition],
        corrupt_before: CorruptBefore,
    ) -> Self {
        Self { snapshot, partitions, corrupt_before, confirmations: Confirmations::new() }
    }

    /// Notes that `peer`, asked at the time `asked`, holds all of those that it should, but `lacking`.
    pub(super) fn confirm(
        &mut self,
        asked: Instant,
        peer: PeerId,
        shared: &[Partition],
        lacking: &BTreeSet<Partition>,
    ) {
        let Snapshot { desired, summary, .. } = self.snapshot;
        for partition in shared.iter().filter(|partition| !lacking.contains(partition)) {
            let state = (*partition, summary.stamp(*partition));
            self.confirmations.confirm(asked, desired.epoch(), state, peer);
        }
    }

    /// Lets go of what may go.
    ///
    /// # Errors
    /// Whatever keeps the store from removing it; some may be gone.
    pub(super) async fn depart<E: Env>(
        &self,
        context: &Context<E>,
        departing: &Departing,
    ) -> Result<Outcome, Fault> {
        let mut outcome = Outcome::default();
        let (going, _) = self.going(context.env.now(), &mut outcome);
        if going.is_empty() {
            return Ok(outcome);
        }
        if context.env.now() < departing.from || !self.is_agreed(context).await? {
            return Ok(Outcome { is_open: true, ..outcome });
        }
        // An answer that was begun before a new topology is known here, and ends after this, would tell of what is
        // gone by then, and others would let go in reliance on it.
        let Some(silence) = departing.answers.silence().await else { return Ok(outcome) };
        let (going, evidence) = self.going(context.env.now(), &mut outcome);
        let count = going.len() as u64;
        let proviso = proviso(context, evidence, self.corrupt_before);
        let departed = context.store.depart(going, proviso).await;
        // Also after an error, which says little about what is gone.
        departing.inventory.forget();
        drop(silence);
        outcome.departed = departed?;
        outcome.is_open |= outcome.departed.partitions < count;
        debug!(
            epoch = self.snapshot.desired.epoch().0,
            partitions = outcome.departed.partitions,
            bytes = outcome.departed.bytes,
            "partitions dropped that others hold"
        );
        Ok(outcome)
    }

    /// Says whether the cluster agreed on the topology that this goes by, and on none since. Until a peer has read
    /// what was agreed on it places blocks by what it can see, one copy of each; it must drop none for that.
    async fn is_agreed<E: Env>(&self, context: &Context<E>) -> Result<bool, Fault> {
        let agreed = context.meta.read(Freshness::Latest, |state| query::topologies(state)).await?;
        let latest = agreed.first().map(Topology::epoch);
        Ok(latest == Some(self.snapshot.desired.epoch()))
    }

    /// Returns what may go, and why.
    fn going(&self, now: Instant, outcome: &mut Outcome) -> (Vec<Going>, Vec<Evidence>) {
        let view = self.snapshot.view();
        let (mut going, mut reasons) = (Vec::new(), Vec::new());
        for partition in self.partitions {
            match may_drop(&view, now, *partition, &self.confirmations) {
                Ok(evidence) => {
                    going.push((*partition, view.summary.bucket(*partition)));
                    reasons.push(evidence);
                }
                Err(Keep::Unconfirmed(_)) => outcome.is_open = true,
                // A change of who is there calls for a round of its own.
                Err(Keep::Member | Keep::StandsIn | Keep::TooFew) => {}
            }
        }
        (going, reasons)
    }
}

/// Returns what all of this evidence asks for in the moment of removal: the same topology, the same peers there,
/// that it is not too old, and that all references were there to be asked for.
fn proviso<E: Env>(
    context: &Context<E>,
    evidence: Vec<Evidence>,
    CorruptBefore(corrupt_before): CorruptBefore,
) -> Proviso {
    let until = evidence.iter().map(|one| one.until).min();
    let epochs: BTreeSet<_> = evidence.iter().map(|one| one.epoch).collect();
    let holders: BTreeSet<PeerId> = evidence.into_iter().flat_map(|one| one.holders).collect();
    let (env, peers, store) = (context.env.clone(), context.peers.clone(), context.store.clone());
    Proviso::new(move || {
        let view = peers.view();
        let epoch = view.placement().topology().epoch();
        epochs.iter().all(|asked| *asked == epoch)
            && until.is_some_and(|until| env.now() <= until)
            && holders.iter().all(|peer| view.is_there(*peer))
            && store.corrupt_found() == corrupt_before
    })
}
