//! Marks: how a peer whose data directory was replaced by an older copy is told from one that only started again.
//!
//! A peer draws a mark at each start, and now and then while it runs, and keeps the last ones in its directory; others
//! remember the latest that it told them. A copy that is put back goes on from an older mark, with another chance: what
//! others remember is not among its own. Owns nothing. Never: stores or sends a mark; draws chance.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Marks that a peer keeps beside its latest. Whoever last heard of it before all of these cannot compare, and believes
/// it: at one mark a minute, after an hour.
pub const EARLIER_MARKS_MAX: usize = 63;

/// One moment in the life of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How many there were before, in this directory and in what it was copied from.
    pub number: u64,
    /// Drawn by chance, so that two directories that go on from one copy differ.
    pub nonce: u64,
}

/// The marks of one data directory, without a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The latest.
    pub latest: Mark,
    /// The nonces of those before it, latest first.
    pub earlier: Vec<u64>,
}

impl Marks {
    /// Returns the marks of a directory that has none yet.
    #[must_use]
    pub const fn first(nonce: u64) -> Self {
        Self { latest: Mark { number: 0, nonce }, earlier: Vec::new() }
    }

    /// Returns the marks with one more, which forgets the earliest of many.
    #[must_use]
    pub fn next(&self, nonce: u64) -> Self {
        let latest = Mark { number: self.latest.number.saturating_add(1), nonce };
        let earlier = std::iter::once(self.latest.nonce).chain(self.earlier.iter().copied());
        Self { latest, earlier: earlier.take(EARLIER_MARKS_MAX).collect() }
    }
}

/// What a remembered mark says of the marks that a peer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The latest of them is the remembered one.
    Current,
    /// They go on from the remembered one, as far as can be told.
    Newer,
    /// The remembered one is none of them: who shows them forgot what it did since.
    Outdated,
}

/// Compares what is remembered of a peer with what it shows. `remembered`: none, when it was never heard of.
#[must_use]
pub fn judge(remembered: Option<Mark>, shown: &Marks) -> Standing {
    let Some(remembered) = remembered else { return Standing::Newer };
    let Some(behind) = shown.latest.number.checked_sub(remembered.number) else {
        return Standing::Outdated;
    };
    let Some(behind) = behind.checked_sub(1) else {
        let is_same = shown.latest.nonce == remembered.nonce;
        return if is_same { Standing::Current } else { Standing::Outdated };
    };
    let same_number = usize::try_from(behind).ok().and_then(|behind| shown.earlier.get(behind));
    match same_number {
        Some(nonce) if *nonce != remembered.nonce => Standing::Outdated,
        Some(_) | None => Standing::Newer,
    }
}

/// Says whether those who took note of a peer's marks are enough for it to take part: of each set of voters a majority,
/// where it counts itself. Two such majorities have a voter in common, which may be the peer itself.
#[must_use]
pub fn is_enough(voters: &[BTreeSet<u64>], own: u64, noted: &BTreeSet<u64>) -> bool {
    voters.iter().all(|set| {
        let counted = set.iter().filter(|id| **id == own || noted.contains(id)).count();
        2 * counted > set.len() || set.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{EARLIER_MARKS_MAX, Mark, Marks, Standing, is_enough, judge};

    /// Returns the marks of a directory that drew these nonces.
    fn marks(nonces: impl IntoIterator<Item = u64>) -> Marks {
        let mut nonces = nonces.into_iter();
        let first = Marks::first(nonces.next().unwrap());
        nonces.fold(first, |marks, nonce| marks.next(nonce))
    }

    #[test]
    fn a_peer_that_starts_again_is_believed() {
        assert_eq!(judge(None, &marks([1])), Standing::Newer);
        let mut remembered = marks([1]).latest;
        assert_eq!(judge(Some(remembered), &marks([1])), Standing::Current);
        let later = marks([1, 2]);
        assert_eq!(judge(Some(remembered), &later), Standing::Newer);
        // Some starts were not heard of.
        assert_eq!(judge(Some(remembered), &marks([1, 2, 3, 4])), Standing::Newer);
        remembered = later.latest;
        assert_eq!(judge(Some(remembered), &marks([1, 2, 3])), Standing::Newer);
    }

    #[test]
    fn a_copy_that_was_put_back_is_outdated_however_often_it_starts() {
        // The copy was made after the second start; the original was seen at the third.
        let seen = Some(marks([1, 2, 3]).latest);
        assert_eq!(judge(seen, &marks([1, 2])), Standing::Outdated);
        for starts in 1..EARLIER_MARKS_MAX as u64 {
            let restored = marks([1, 2].into_iter().chain(100..100 + starts));
            assert_eq!(judge(seen, &restored), Standing::Outdated, "{starts} starts");
        }
        // An empty directory under the same id is as old as can be.
        assert_eq!(judge(seen, &marks([9])), Standing::Outdated);
    }

    #[test]
    fn a_peer_with_the_marks_of_its_own_copy_is_not_outdated() {
        // Copied and put back before anything happened: nothing was forgotten.
        assert_eq!(judge(Some(marks([1, 2]).latest), &marks([1, 2, 3])), Standing::Newer);
    }

    #[test]
    fn what_was_heard_too_long_ago_cannot_be_compared() {
        let all = marks(0..200);
        assert_eq!(all.earlier.len(), EARLIER_MARKS_MAX);
        let earliest = 199 - EARLIER_MARKS_MAX as u64;
        let at = |number, nonce| Some(Mark { number, nonce });
        assert_eq!(judge(at(earliest, earliest), &all), Standing::Newer);
        assert_eq!(judge(at(earliest, 7_777), &all), Standing::Outdated);
        assert_eq!(judge(at(earliest - 1, 7_777), &all), Standing::Newer);
        // Whatever others say they are is compared without a panic.
        let odd = Marks { latest: Mark { number: 1, nonce: 1 }, earlier: vec![2; 5] };
        assert_eq!(judge(at(0, 2), &odd), Standing::Newer);
        let last = Marks { latest: Mark { number: u64::MAX, nonce: 1 }, earlier: Vec::new() };
        assert_eq!(judge(at(0, 2), &last), Standing::Newer);
        assert_eq!(last.next(4).latest, Mark { number: u64::MAX, nonce: 4 });
    }

    #[test]
    fn a_majority_of_each_set_of_voters_is_enough() {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        let enough = |voters: &[&[u64]], noted: &[u64]| {
            let voters: Vec<_> = voters.iter().map(|ids| set(ids)).collect();
            is_enough(&voters, 1, &set(noted))
        };
        assert!(enough(&[], &[]) && enough(&[&[]], &[]) && enough(&[&[1]], &[]));
        assert!(!enough(&[&[1, 2]], &[]) && enough(&[&[1, 2]], &[2]));
        assert!(!enough(&[&[1, 2, 3]], &[9]) && enough(&[&[1, 2, 3]], &[3]));
        assert!(!enough(&[&[1, 2, 3, 4, 5]], &[2]) && enough(&[&[1, 2, 3, 4, 5]], &[2, 5]));
        // One that learns does not count itself.
        assert!(!enough(&[&[2, 3, 4]], &[2]) && enough(&[&[2, 3, 4]], &[2, 4]));
        assert!(!enough(&[&[1, 2, 3], &[4, 5, 6]], &[2]));
        assert!(enough(&[&[1, 2, 3], &[4, 5, 6]], &[2, 4, 6]));
    }
}
