//! Who is away, as this peer sees it, and whether that calls for a round.
//!
//! Owns since when they are. Never: says who is a member.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::membership::Liveness;
use protocol::repair::{Absence, Absences, Scope};
use protocol::topology::Epoch;
use protocol::{Instant, PeerId};

use crate::peers::View;

/// Follows the peers of the topology.
#[derive(Debug)]
pub(super) struct Watch {
    absences: Absences,
    seen: Seen,
    scope: Scope,
}

/// The other peers of a topology at one moment.
#[derive(Clone, Debug, Default)]
struct Seen {
    epoch: Epoch,
    /// Those who are there, each with what tells one of its starts from others.
    present: BTreeMap<PeerId, u64>,
    absent: BTreeSet<PeerId>,
}

impl Seen {
    /// Returns who was away and is no more.
    fn back<'a>(&'a self, now: &'a Self) -> impl Iterator<Item = &'a PeerId> {
        self.absent.difference(&now.absent)
    }

    /// Says whether somebody was away between these two moments, be it too short for anybody to see.
    fn has_returned(&self, now: &Self) -> bool {
        let is_another = |(peer, start): (&PeerId, &u64)| {
            now.present.get(peer).is_some_and(|later| later != start)
        };
        self.back(now).next().is_some() || self.present.iter().any(is_another)
    }
}

impl Watch {
    /// Returns that nothing was seen yet; who is away for longer than `away` is replaced.
    pub(super) fn new(away: Duration) -> Self {
        let absences = Absences::new(away);
        Self { absences, seen: Seen::default(), scope: Scope::default() }
    }

    /// Returns what to compare by now.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Takes what is known of the peers, and says whether inventories are to be compared: blocks belong elsewhere, or
    /// somebody came back, who may lack something.
    pub(super) fn look(&mut self, now: Instant, view: &View) -> bool {
        let topology = view.placement().topology();
        let mut seen = Seen { epoch: topology.epoch(), ..Seen::default() };
        let others = topology.peers().iter().map(|member| member.id);
        for peer in others.filter(|peer| *peer != view.own()) {
            let info = view.peers().get(&peer);
            if let Some(info) = info.filter(|info| view.liveness(info) == Liveness::Alive) {
                seen.present.insert(peer, info.incarnation);
            } else {
                seen.absent.insert(peer);
            }
        }
        self.take(now, seen)
    }

    fn take(&mut self, now: Instant, seen: Seen) -> bool {
        // Who is no member any more is not waited for either.
        for peer in self.seen.back(&seen) {
            self.absences.seen(*peer);
        }
        for peer in &seen.absent {
            self.absences.lost(now, *peer);
        }
        let has_returned = self.seen.has_returned(&seen);
        let scope = self.absences.scope(now, seen.epoch);
        let before = std::mem::replace(&mut self.scope, scope);
        self.seen = seen;
        before.epoch != self.scope.epoch
            || has_returned
            || replaced(&before) != replaced(&self.scope)
    }
}

fn replaced(scope: &Scope) -> Vec<PeerId> {
    let replaced = scope.absent.iter().filter(|(_, absence)| **absence == Absence::Replaced);
    replaced.map(|(peer, _)| *peer).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::topology::Epoch;
    use protocol::{Instant, PeerId};

    use super::{Seen, Watch};

    /// Sees peers that are there, each with its start, and peers that are not.
    fn look(
        watch: &mut Watch,
        seconds: u64,
        present: &[(u8, u64)],
        absent: &[u8],
        epoch: u64,
    ) -> bool {
        let peer = |byte| PeerId::from_public_key([byte; 32]);
        let present = present.iter().map(|(byte, start)| (peer(*byte), *start)).collect();
        let absent = absent.iter().copied().map(peer).collect();
        let seen = Seen { epoch: Epoch(epoch), present, absent };
        watch.take(Instant::from_millis(1000 * seconds), seen)
    }

    #[test]
    fn a_round_is_due_when_somebody_is_replaced_or_comes_back_but_not_when_one_goes() {
        let watch = &mut Watch::new(Duration::from_secs(10));
        assert!(look(watch, 0, &[(7, 1)], &[], 1), "the first topology");
        assert!(!look(watch, 1, &[(7, 1)], &[], 1));
        assert!(!look(watch, 2, &[], &[7], 1), "one that has just gone");
        assert!(!look(watch, 11, &[], &[7], 1));
        assert!(look(watch, 12, &[], &[7], 1), "it is replaced");
        assert!(!look(watch, 13, &[], &[7], 1));
        assert!(look(watch, 14, &[(7, 2)], &[], 1), "it came back");
        assert!(!look(watch, 15, &[(7, 2)], &[], 1));
        assert!(
            look(watch, 16, &[(7, 3)], &[], 1),
            "it started again before anybody saw that it had gone"
        );
        assert!(!look(watch, 17, &[(7, 3)], &[8], 1));
        assert!(
            look(watch, 18, &[(7, 3), (8, 1)], &[], 1),
            "even a short absence may have missed something"
        );
        assert!(look(watch, 19, &[(7, 3), (8, 1)], &[], 2), "another topology");
        assert!(!look(watch, 20, &[(7, 3)], &[], 2), "one that is no member any more");
    }
}
