//! Property 9, for copies: with faults removed, everything that is referred to has all its copies within a stated time.

use std::time::Duration;

use super::{Property, Violation};

/// The stated time: within this of virtual time after every peer serves again, every peer of a replica set holds what
/// belongs there.
///
/// In simulated clusters inventories are compared every 20 s, and a difference is repaired after 5 s. A peer that could
/// not be compared with is tried again after 64 s at most, and a second look confirms what the first one copied.
pub const REDUNDANT_WITHIN: Duration = Duration::from_secs(240);

/// Judges how many references peers lack that should have them; `what` names one.
#[must_use]
pub fn judge(lacking: u64, what: &str, at_millis: u64) -> Option<Violation> {
    (lacking > 0).then(|| Violation {
        property: Property::Heals,
        at_millis,
        detail: format!(
            "{lacking} references lack a copy after {} s of calm: {what}",
            REDUNDANT_WITHIN.as_secs()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn a_copy_that_never_comes_back_is_a_violation() {
        assert!(judge(2, "block x at n1", 0).unwrap().detail.contains("block x at n1"));
        assert!(judge(0, "", 0).is_none());
    }
}
