//! How often guests may ask, and how much they may take: each of them, and all together.
//!
//! An identity costs nothing, so the bound of one keeps the honest from harm by accident, and the bound of all
//! bounds the work. Never: more than [`GUESTS_MAX`] memories.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use lru::LruCache;

use super::limits::{Limits, Rate, WAIT_MAX};

/// Guests remembered; one that is forgotten may ask as if it were new.
const GUESTS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");

/// Counts down what may be had still.
#[derive(Clone, Copy, Debug)]
struct Meter {
    /// When as much could be had at once as ever.
    full_at: Instant,
}

impl Meter {
    /// Returns how long until one more may be had.
    fn wait(&self, rate: Rate, now: Instant) -> Duration {
        let owed = self.full_at.saturating_duration_since(now);
        (owed + rate.pause).saturating_sub(rate.pause.saturating_mul(rate.burst))
    }

    fn count(&mut self, rate: Rate, number: u32, now: Instant) {
        self.full_at = self.full_at.max(now) + rate.pause.saturating_mul(number);
    }
}

/// What one guest asked and took.
#[derive(Clone, Copy, Debug)]
struct Meters {
    questions: Meter,
    kib: Meter,
}

impl Meters {
    const fn full(now: Instant) -> Self {
        Self { questions: Meter { full_at: now }, kib: Meter { full_at: now } }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    limits: Limits,
    all: Meters,
    guests: LruCache<PeerId, Meters>,
}

impl Gate {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, all: Meters::full(now), guests: LruCache::new(GUESTS_MAX) }
    }

    /// Returns how long a guest waits before it is answered, and counts its question; `None` when it is not answered at all. A
    /// guest that asks too much takes nothing from the others.
    pub(super) fn admits(&mut self, guest: PeerId, now: Instant) -> Option<Duration> {
        let Limits { of_one, of_all, kib_of_one, kib_of_all, .. } = self.limits;
        let one = self.guests.get_or_insert_mut(guest, || Meters::full(now));
        let is_too_often = one.questions.wait(of_one, now) + self.all.questions.wait(of_all, now);
        let wait = one.kib.wait(kib_of_one, now).max(self.all.kib.wait(kib_of_all, now));
        if is_too_often > Duration::ZERO || wait > WAIT_MAX {
            return None;
        }
        one.questions.count(of_one, 1, now);
        self.all.questions.count(of_all, 1, now);
        Some(wait)
    }

    /// Counts what a guest was told.
    pub(super) fn charge(&mut self, guest: PeerId, bytes: usize, now: Instant) {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let one = self.guests.get_or_insert_mut(guest, || Meters::full(now));
        one.kib.count(self.limits.kib_of_one, kib, now);
        self.all.kib.count(self.limits.kib_of_all, kib, now);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    use std::time::{Duration, Instant};

    use libp2p::PeerId;

    use super::super::limits::{Limits, WAIT_MAX};
    use super::{GUESTS_MAX, Gate};
    use crate::env::GuestProtocol;

    fn limits() -> Limits {
        Limits::of(GuestProtocol::Join, 0)
    }

    fn admitted(gate: &mut Gate, guest: PeerId, times: u32, now: Instant) -> u32 {
        (0..times).map(|_| u32::from(gate.admits(guest, now).is_some())).sum()
    }

    #[test]
    fn one_guest_is_bounded_and_takes_nothing_from_another() {
        let (start, of_one) = (Instant::now(), limits().of_one);
        let mut gate = Gate::new(limits(), start);
        let (greedy, modest) = (PeerId::random(), PeerId::random());
        assert_eq!(admitted(&mut gate, greedy, 10_000, start), of_one.burst);
        assert_eq!(admitted(&mut gate, modest, 2, start), 2);
        let later = start + 3 * of_one.pause;
        assert_eq!(admitted(&mut gate, greedy, 10_000, later), 3);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(admitted(&mut gate, greedy, 10_000, much_later), of_one.burst);
    }

    #[test]
    fn all_guests_together_are_bounded_however_many_names_they_take() {
        let (start, of_all) = (Instant::now(), limits().of_all);
        let mut gate = Gate::new(limits(), start);
        let mut ask =
            |now| (0..5000).filter(|_| gate.admits(PeerId::random(), now).is_some()).count();
        assert_eq!(ask(start), of_all.burst as usize);
        assert_eq!(ask(start + 10 * of_all.pause), 10);
        assert_eq!(gate.guests.len(), GUESTS_MAX.get());
    }

    #[test]
    fn whoever_takes_much_waits_and_others_do_not() {
        let (start, mib) = (Instant::now(), 1 << 20);
        // 8 MiB a second in all, 4 to one of them.
        let mut gate = Gate::new(Limits::of(GuestProtocol::Overlay, 8 << 20), start);
        let (greedy, modest) = (PeerId::random(), PeerId::random());
        let mut now = start;
        let mut taken = 0;
        while now < start + Duration::from_secs(10) {
            now +=
                gate.admits(greedy, now).expect("it waits for its time") + Duration::from_micros(1);
            gate.charge(greedy, mib, now);
            taken += 1;
        }
        assert!((44..=52).contains(&taken), "{taken} MiB in 10 s, 4 a second and 8 at once");
        assert!(gate.admits(greedy, now).expect("it waits") > Duration::ZERO);
        assert_eq!(gate.admits(modest, now), Some(Duration::ZERO));
        // Who owes more than it may wait for is not answered.
        gate.charge(greedy, 100 * mib, now);
        assert_eq!(gate.admits(greedy, now), None);
        assert!(gate.admits(modest, now).is_none_or(|wait| wait <= WAIT_MAX));
    }
}
