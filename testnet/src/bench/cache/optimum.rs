//! The most hits that any policy could have, given what is asked for later.
//!
//! Whatever is wanted last of all goes, or does not even come in. Never: runs outside of a benchmark; it knows the
//! future.
//! Source: Belady, "A study of replacement algorithms for a virtual-storage computer", 1966.

use std::collections::BTreeSet;

/// Returns how many of the requests for objects below `objects` a cache for `capacity` of them answers at best.
///
/// Cost: O(requests · log capacity).
pub(super) fn hits(requests: &[usize], objects: usize, capacity: usize) -> u64 {
    let next = next_uses(requests, objects);
    // By when they are wanted again, and when each object that is kept is.
    let mut kept: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut wanted_at = vec![None; objects];
    let mut hits = 0;
    for (object, next) in requests.iter().copied().zip(next) {
        if let Some(now) = wanted_at[object].take() {
            hits += 1;
            kept.remove(&(now, object));
        }
        kept.insert((next, object));
        wanted_at[object] = Some(next);
        if kept.len() > capacity
            && let Some((_, last)) = kept.pop_last()
        {
            wanted_at[last] = None;
        }
    }
    hits
}

/// Returns for each request when the same object is asked for again; behind the end where it is not.
fn next_uses(requests: &[usize], objects: usize) -> Vec<usize> {
    let mut seen = vec![requests.len(); objects];
    let mut next: Vec<usize> = requests
        .iter()
        .enumerate()
        .rev()
        .map(|(number, object)| std::mem::replace(&mut seen[*object], number))
        .collect();
    next.reverse();
    next
}

#[cfg(test)]
mod tests {
    use super::hits;
    use protocol::Prng;

    /// Returns the most hits, by trying everything.
    fn tried(requests: &[usize], kept: &[usize], capacity: usize) -> u64 {
        let Some((object, rest)) = requests.split_first() else { return 0 };
        if kept.contains(object) {
            return 1 + tried(rest, kept, capacity);
        }
        let mut best = tried(rest, kept, capacity);
        let mut with = kept.to_vec();
        with.push(*object);
        if with.len() <= capacity {
            return best.max(tried(rest, &with, capacity));
        }
        for out in 0..kept.len() {
            let mut without = with.clone();
            without.swap_remove(out);
            best = best.max(tried(rest, &without, capacity));
        }
        best
    }

    #[test]
    fn nobody_has_more_hits() {
        let mut prng = Prng::new(1);
        for _ in 0..50 {
            let requests: Vec<usize> = (0..10).filter_map(|_| prng.index(5)).collect();
            assert_eq!(hits(&requests, 5, 2), tried(&requests, &[], 2), "{requests:?}");
        }
    }
}
