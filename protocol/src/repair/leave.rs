//! When a peer may let go of a partition that it should no longer hold.
//!
//! Only the committed placement counts here, never who is thought to be alive: the word of a peer is worth something
//! if it may not let go itself, and at one epoch that is so for the members of the replica set and for nobody
//! else. So two peers never let go in reliance on each other. While a member is away for long, those who stand in for
//! it keep what they have: more copies than wanted, until the member is back or removed.
//! Never: removes anything; asks anybody.

use std::collections::BTreeMap;

use super::comparison::View;
use super::summary::Stamp;
use crate::limits::{REPAIR_CONFIRMED_FOR, REPAIR_CONFIRMED_MAX};
use crate::placement::Partition;
use crate::topology::Epoch;
use crate::{Instant, PeerId};

/// Who said that it holds all that this peer holds of a partition.
#[derive(Clone, Debug, Default)]
pub struct Confirmations {
    epoch: Epoch,
    by: BTreeMap<Partition, BTreeMap<PeerId, (Stamp, Instant)>>,
}

impl Confirmations {
    /// Returns that nobody said anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `peer`, asked at `epoch`, holds everything that this peer held of a partition, which was at `stamp`
    /// before `peer` was asked, at the time `asked`. Of a new epoch on, what was said at earlier ones is
    /// forgotten. Beyond [`REPAIR_CONFIRMED_MAX`] partitions nothing is noted: let go of some first.
    pub fn confirm(
        &mut self,
        asked: Instant,
        epoch: Epoch,
        (partition, stamp): (Partition, Stamp),
        peer: PeerId,
    ) {
        if epoch != self.epoch {
            (self.epoch, self.by) = (epoch, BTreeMap::new());
        }
        if self.by.len() < REPAIR_CONFIRMED_MAX || self.by.contains_key(&partition) {
            self.by.entry(partition).or_default().insert(peer, (stamp, asked));
        }
    }

    /// Forgets a partition.
    pub fn forget(&mut self, partition: Partition) {
        self.by.remove(&partition);
    }
}

/// Why a peer may let go of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The epoch for which it holds. At another one it is void.
    pub epoch: Epoch,
    /// The state of the partition for which it holds: what came later must be kept.
    pub stamp: Stamp,
    /// Who holds everything.
    pub holders: Vec<PeerId>,
    /// Until when it holds.
    pub until: Instant,
}

/// Why a peer must keep a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is in the replica set.
    Member,
    /// It stands in for somebody who is away.
    StandsIn,
    /// This peer, who should hold it and is there, has not confirmed that it does: ask it.
    Unconfirmed(PeerId),
    /// Too few of those who should hold it are there.
    TooFew,
}

/// Says whether this peer may remove all rows of a partition, in the state that the evidence names.
///
/// Every member of the replica set that is there must have confirmed to hold everything, at this epoch, within
/// [`REPAIR_CONFIRMED_FOR`], since when nothing changed here; and those must be as many as copies are wanted.
/// Whoever carries it out looks at the epoch and the stamp again in the moment in which it does.
///
/// # Errors
/// [`Keep`]
pub fn may_drop(
    view: &View<'_>,
    now: Instant,
    partition: Partition,
    confirmations: &Confirmations,
) -> Result<Evidence, Keep> {
    let (epoch, stamp) = (view.desired.epoch(), view.summary.stamp(partition));
    let placement = view.desired.placement();
    if placement.is_replica(partition, view.own) {
        return Err(Keep::Member);
    }
    if view.desired.should_hold(partition, view.own) {
        return Err(Keep::StandsIn);
    }
    let is_planted = view.summary.drops_early();
    let said = confirmations.by.get(&partition).filter(|_| confirmations.epoch == epoch);
    let confirmed_at = |peer: &PeerId| {
        let (at, asked) = said?.get(peer)?;
        (*at == stamp && now.since(*asked) <= REPAIR_CONFIRMED_FOR).then_some(*asked)
    };
    let (mut holders, mut until) = (Vec::new(), now.after(REPAIR_CONFIRMED_FOR));
    for peer in placement.replica_set(partition).filter(|peer| view.desired.is_live(*peer)) {
        match confirmed_at(&peer) {
            Some(asked) => until = until.min(asked.after(REPAIR_CONFIRMED_FOR)),
            None if is_planted => {}
            None => return Err(Keep::Unconfirmed(peer)),
        }
        holders.push(peer);
    }
    if holders.len() < placement.topology().copies().get() {
        return Err(Keep::TooFew);
    }
    Ok(Evidence { epoch, stamp, holders, until })
}

#[cfg(test)]
#[path = "leave_test.rs"]
mod tests;
