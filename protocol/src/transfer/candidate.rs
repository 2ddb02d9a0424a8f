//! A peer that a transfer may turn to for one block.
//!
//! Made by the shell from placement and the failure detector. Never: says who is best; the order of a
//! list of candidates does.

use crate::PeerId;
use crate::limits::CANDIDATES_MAX;

/// A zone, by a number that means the same for all candidates of one transfer.
///
/// Two peers fail together when their numbers are equal. Which number a zone gets does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneIndex(pub u16);

/// A peer that should hold, may hold or could take a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub peer: PeerId,
    /// Where.
    pub zone: ZoneIndex,
    /// Whether the failure detector believes that it answers. Others are a last resort.
    pub usable: bool,
    /// Whether the block belongs there, now or by a topology that is not done with yet. Others have it by chance.
    pub belongs: bool,
}

/// Returns at most [`CANDIDATES_MAX`] of `candidates`, each peer once, in the given order.
pub(super) fn distinct(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::with_capacity(candidates.len().min(CANDIDATES_MAX));
    for candidate in candidates {
        if kept.len() == CANDIDATES_MAX {
            break;
        }
        if kept.iter().all(|other| other.peer != candidate.peer) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::distinct;
    use crate::limits::CANDIDATES_MAX;
    use crate::transfer::testing::{apart, peer};

    #[test]
    fn candidates_are_distinct_and_bounded_and_keep_their_order() {
        let peers: Vec<_> = [9, 9, 8].into_iter().chain(1..99).map(peer).collect();
        let kept = distinct(apart(&peers));
        assert_eq!(kept.len(), CANDIDATES_MAX);
        let first: Vec<_> = kept.iter().take(3).map(|candidate| candidate.peer).collect();
        assert_eq!(first, [peer(9), peer(8), peer(1)]);
    }
}
