//! How often guests may ask: each of them, and all together.
//!
//! An identity costs nothing, so the bound of one keeps the honest from harm by accident, and the bound of all
//! bounds the work. Never: more than [`GUESTS_MAX`] memories.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use lru::LruCache;

/// Guests remembered; one that is forgotten may ask as if it were new.
const GUESTS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");

/// Questions that a guest may ask at once, and how long until one more.
const OF_ONE: Rate = Rate { burst: 8, pause: Duration::from_secs(1) };

/// The same for all guests together: twenty peers that join at once are served at once.
const OF_ALL: Rate = Rate { burst: 128, pause: Duration::from_millis(50) };

/// Questions in a time.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    pause: Duration,
}

/// Counts down what may be asked still.
#[derive(Clone, Copy, Debug)]
struct Meter {
    /// When as many could be asked at once as ever.
    full_at: Instant,
}

impl Meter {
    fn admits(&self, rate: Rate, now: Instant) -> bool {
        let owed = self.full_at.saturating_duration_since(now);
        owed + rate.pause <= rate.pause * rate.burst
    }

    fn count(&mut self, rate: Rate, now: Instant) {
        self.full_at = self.full_at.max(now) + rate.pause;
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    all: Meter,
    guests: LruCache<PeerId, Meter>,
}

impl Gate {
    pub(super) fn new(now: Instant) -> Self {
        Self { all: Meter { full_at: now }, guests: LruCache::new(GUESTS_MAX) }
    }

    /// Returns whether a guest may ask now, and counts it if so. A guest that asks too much takes nothing from
    /// the others.
    pub(super) fn admits(&mut self, guest: PeerId, now: Instant) -> bool {
        let meter = self.guests.get_or_insert_mut(guest, || Meter { full_at: now });
        if !meter.admits(OF_ONE, now) || !self.all.admits(OF_ALL, now) {
            return false;
        }
        meter.count(OF_ONE, now);
        self.all.count(OF_ALL, now);
        true
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    use super::{GUESTS_MAX, Gate, OF_ALL, OF_ONE};
    use libp2p::PeerId;
    use std::time::{Duration, Instant};

    fn admitted(gate: &mut Gate, guest: PeerId, times: u32, now: Instant) -> u32 {
        (0..times).map(|_| u32::from(gate.admits(guest, now))).sum()
    }

    #[test]
    fn one_guest_is_bounded_and_takes_nothing_from_another() {
        let start = Instant::now();
        let (mut gate, greedy, modest) = (Gate::new(start), PeerId::random(), PeerId::random());
        assert_eq!(admitted(&mut gate, greedy, 10_000, start), OF_ONE.burst);
        assert_eq!(admitted(&mut gate, modest, 2, start), 2);
        let later = start + 3 * OF_ONE.pause;
        assert_eq!(admitted(&mut gate, greedy, 10_000, later), 3);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(admitted(&mut gate, greedy, 10_000, much_later), OF_ONE.burst);
    }

    #[test]
    fn all_guests_together_are_bounded_however_many_names_they_take() {
        let start = Instant::now();
        let mut gate = Gate::new(start);
        let mut ask = |now| (0..5000).filter(|_| gate.admits(PeerId::random(), now)).count();
        assert_eq!(ask(start), OF_ALL.burst as usize);
        assert_eq!(ask(start + 10 * OF_ALL.pause), 10);
        assert_eq!(gate.guests.len(), GUESTS_MAX.get());
    }
}
