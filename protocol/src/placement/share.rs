//! The fair share of each peer: copies in proportion to capacity, as far as distinct zones let it.
//!
//! A peer holds at most one copy of a partition. Zones take turns: while zones last each holds one copy,
//! then each a second one, and so on. What a peer or a zone cannot take for that reason the others take,
//! in proportion again (water-filling).

use crate::limits::PARTITIONS;

/// Fractional bits of a share in copies.
pub(super) const SHARE_BITS: u32 = 16;

/// Copies that one peer at most can hold, as a share.
pub(super) const SHARE_MAX: u64 = (PARTITIONS as u64) << SHARE_BITS;

/// What bounds the copies that the peers of a zone hold together, as shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ZoneBounds {
    pub(super) least: u64,
    pub(super) most: u64,
}

/// Returns the bounds of each zone, given the number of its peers.
pub(super) fn zone_bounds(sizes: &[usize], copies: usize) -> Vec<ZoneBounds> {
    let (mut turns, mut left) = (0, copies);
    loop {
        let takers = sizes.iter().filter(|size| **size > turns).count();
        if takers == 0 || takers > left {
            break;
        }
        left -= takers;
        turns += 1;
    }
    let bound = |turns: usize| SHARE_MAX.saturating_mul(turns as u64);
    let last = if left == 0 { turns } else { turns + 1 };
    sizes
        .iter()
        .map(|size| ZoneBounds { least: bound(turns.min(*size)), most: bound(last.min(*size)) })
        .collect()
}

/// Returns the share of each peer, in copies with [`SHARE_BITS`] fractional bits.
///
/// `peers`: capacity above 0 and zone index of each. `copies`: at most as many as peers.
/// Cost: O(peers · 100).
pub(super) fn fair_shares(
    peers: &[(u64, usize)],
    bounds: &[ZoneBounds],
    copies: usize,
) -> Vec<u64> {
    let total: u128 = peers.iter().map(|(capacity, _)| u128::from(*capacity)).sum();
    let parts: Vec<(u128, usize)> = peers
        .iter()
        .map(|(capacity, zone)| (((u128::from(*capacity) << 40) / total.max(1)).max(1), *zone))
        .collect();
    let by_zone = |level: u128| {
        let mut sums = vec![0u64; bounds.len()];
        for (part, zone) in &parts {
            if let Some(sum) = sums.get_mut(*zone) {
                *sum += filled(*part, level);
            }
        }
        sums
    };
    let wanted = SHARE_MAX * copies as u64;
    let level = lowest_level(|level| {
        let sums = by_zone(level);
        sums.iter().zip(bounds).map(|(sum, b)| (*sum).clamp(b.least, b.most)).sum::<u64>() >= wanted
    });
    // Zones at a bound have a level of their own.
    let levels: Vec<u128> = by_zone(level)
        .iter()
        .zip(bounds)
        .enumerate()
        .map(|(zone, (sum, b))| {
            let zone_wants = (*sum).clamp(b.least, b.most);
            if zone_wants == *sum {
                return level;
            }
            lowest_level(|level| {
                let mine = parts.iter().filter(|(_, of)| *of == zone);
                mine.map(|(part, _)| filled(*part, level)).sum::<u64>() >= zone_wants
            })
        })
        .collect();
    parts
        .iter()
        .map(|(part, zone)| filled(*part, levels.get(*zone).copied().unwrap_or(level)))
        .collect()
}

/// Returns how much of a peer's part lies under water of this level.
fn filled(part: u128, level: u128) -> u64 {
    u64::try_from((part * level) >> 40).unwrap_or(u64::MAX).min(SHARE_MAX)
}

/// Returns the lowest level at which `is_enough`, which never turns false again above it.
fn lowest_level(is_enough: impl Fn(u128) -> bool) -> u128 {
    // The smallest part is 2^-40 of the whole.
    let (mut low, mut high) = (0, u128::from(SHARE_MAX) << 41);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_enough(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::{SHARE_MAX, ZoneBounds, fair_shares, zone_bounds};

    fn shares(peers: &[(u64, usize)], copies: usize) -> Vec<u64> {
        let zones = peers.iter().map(|peer| peer.1 + 1).max().unwrap_or(0);
        let mut sizes = vec![0; zones];
        peers.iter().for_each(|peer| sizes[peer.1] += 1);
        let shares = fair_shares(peers, &zone_bounds(&sizes, copies), copies);
        // Rounded to a thousandth of all partitions.
        shares.iter().map(|share| (share * 1000 + SHARE_MAX / 2) / SHARE_MAX).collect()
    }

    #[test]
    fn shares_follow_capacity() {
        assert_eq!(shares(&[(1, 0), (2, 0), (3, 0), (4, 0)], 1), [100, 200, 300, 400]);
        assert_eq!(shares(&[(u64::MAX, 0); 4], 2), [500; 4]);
    }

    #[test]
    fn a_peer_holds_at_most_one_copy_and_the_rest_share_its_excess() {
        assert_eq!(shares(&[(1_000_000, 0), (1, 0), (1, 0)], 2), [1000, 500, 500]);
        assert_eq!(shares(&[(9, 0), (1, 0)], 2), [1000, 1000]);
    }

    #[test]
    fn a_zone_holds_at_most_one_copy_while_zones_last() {
        // Given half of all capacity in zone 0.
        assert_eq!(shares(&[(3, 0), (3, 0), (2, 1), (2, 2), (2, 3)], 3), [500, 500, 667, 667, 667]);
        assert_eq!(shares(&[(9, 0), (9, 0), (1, 1), (1, 1)], 2), [500; 4]);
    }

    #[test]
    fn zones_take_turns_when_there_are_fewer_than_copies() {
        let one = SHARE_MAX;
        assert_eq!(
            zone_bounds(&[5, 5, 1], 4),
            [
                ZoneBounds { least: one, most: 2 * one },
                ZoneBounds { least: one, most: 2 * one },
                ZoneBounds { least: one, most: one }
            ]
        );
        assert_eq!(shares(&[(9, 0), (9, 0), (9, 0), (1, 1), (1, 1)], 3), [667, 667, 667, 500, 500]);
    }
}
