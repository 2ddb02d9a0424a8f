//! Who has been away for how long, by this peer's own clock.
//!
//! A short absence is a restart: nothing moves for it. From [`REPAIR_AWAY`] on others stand in for whoever is
//! away, and when it comes back it gets its place back. Never: says who is a member; compares times of
//! two peers.

use core::time::Duration;
use std::collections::BTreeMap;

use super::desired::{Absence, Scope};
use crate::limits::{CLUSTER_PEERS_MAX, REPAIR_ABSENT_MAX, REPAIR_AWAY};
use crate::topology::Epoch;
use crate::{Instant, PeerId};

/// The peers that are away, and since when.
#[derive(Clone, Debug)]
pub struct Absences {
    since: BTreeMap<PeerId, Instant>,
    away: Duration,
}

impl Default for Absences {
    fn default() -> Self {
        Self::new(REPAIR_AWAY)
    }
}

impl Absences {
    /// Returns that everybody is there; who is away longer than `away` is replaced.
    #[must_use]
    pub const fn new(away: Duration) -> Self {
        Self { since: BTreeMap::new(), away }
    }

    /// Notes that a peer is not there, unless that is known already. A peer that nobody has heard of since
    /// this one started is away since then. Beyond [`CLUSTER_PEERS_MAX`] it is passed over.
    pub fn lost(&mut self, now: Instant, peer: PeerId) {
        if self.since.len() < CLUSTER_PEERS_MAX {
            self.since.entry(peer).or_insert(now);
        }
    }

    /// Notes that a peer is there, or no member any more.
    pub fn seen(&mut self, peer: PeerId) {
        self.since.remove(&peer);
    }

    /// Returns what to compare by at an epoch: who is absent, those who are replaced first, at most
    /// [`REPAIR_ABSENT_MAX`]; of more than that nobody knows, and they are found unreachable.
    #[must_use]
    pub fn scope(&self, now: Instant, epoch: Epoch) -> Scope {
        let mut absent: Vec<(Absence, PeerId)> =
            self.since.iter().map(|(peer, since)| (self.absence(now, *since), *peer)).collect();
        absent.sort_unstable();
        let absent = absent.into_iter().take(REPAIR_ABSENT_MAX);
        Scope { epoch, absent: absent.map(|(absence, peer)| (peer, absence)).collect() }
    }

    fn absence(&self, now: Instant, since: Instant) -> Absence {
        if now.since(since) >= self.away { Absence::Replaced } else { Absence::Brief }
    }

    /// Returns when somebody who is away is replaced next, if anybody is.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.since.values().map(|since| since.after(self.away)).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::Absences;
    use crate::Instant;
    use crate::limits::REPAIR_AWAY;
    use crate::repair::Absence;
    use crate::repair::testing::peer;
    use crate::topology::Epoch;

    #[test]
    fn who_is_away_for_long_is_replaced_until_it_is_seen_again() {
        let mut absences = Absences::default();
        let start = Instant::from_millis(5);
        absences.lost(start, peer(1));
        absences.lost(start.after(REPAIR_AWAY / 2), peer(1));
        let scope = |absences: &Absences, now| absences.scope(now, Epoch(1)).absent;
        let late = absences.next_deadline(start).unwrap();
        assert_eq!(late, start.after(REPAIR_AWAY));
        assert_eq!(
            scope(&absences, Instant::from_nanos(late.as_nanos() - 1))[&peer(1)],
            Absence::Brief
        );
        assert_eq!(scope(&absences, late)[&peer(1)], Absence::Replaced);
        assert_eq!(absences.next_deadline(late), None);
        absences.seen(peer(1));
        assert_eq!(scope(&absences, late), [].into());
    }
}
