//! Whom this peer tells, unasked, that there is work for him alone.
//!
//! Owned by [`super::Queue`]. Whoever holds what a job needs is told that there is something, not what: it comes for it when
//! it has time. Told once for all that gathers, and again only when it came, or did not for a while. Never: gives a job
//! away.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::limits::WORK_HINT;
use crate::{Instant, PeerId};

/// What a peer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing yet of what there is.
    Nothing,
    /// Nothing yet; it is at this time.
    Soon(Instant),
    /// It was told, and is again at this time.
    Already(Instant),
}

/// The peers that there is work for, at most one entry for each.
#[derive(Debug, Default)]
pub(super) struct Hints(BTreeMap<PeerId, Told>);

impl Hints {
    /// Notes that there is work for a peer.
    pub(super) fn work_for(&mut self, peer: PeerId) {
        self.0.entry(peer).or_insert(Told::Nothing);
    }

    /// Notes that a peer came for its work: of what comes from now on it has not been told.
    pub(super) fn came(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    /// Notes that a peer was told.
    pub(super) fn told(&mut self, now: Instant, peer: PeerId) {
        self.0.insert(peer, Told::Already(now.after(WORK_HINT)));
    }

    /// Returns whom to tell now, and lets what is new gather for a while. Whoever is not told, because there is nothing left
    /// for him, is forgotten.
    pub(super) fn due(&mut self, now: Instant, gather: Duration) -> Vec<PeerId> {
        for told in self.0.values_mut() {
            if *told == Told::Nothing {
                *told = Told::Soon(now.after(gather));
            }
        }
        let is_due = |told: &Told| told.at().is_some_and(|at| at <= now);
        let due: Vec<PeerId> =
            self.0.iter().filter(|(_, told)| is_due(told)).map(|(peer, _)| *peer).collect();
        self.0.retain(|_, told| !is_due(told));
        due
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|told| told.at()).min()
    }
}

impl Told {
    const fn at(self) -> Option<Instant> {
        match self {
            Self::Nothing => None,
            Self::Soon(at) | Self::Already(at) => Some(at),
        }
    }
}
