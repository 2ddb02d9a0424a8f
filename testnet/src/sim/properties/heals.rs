//! Property 9: with faults removed, everything works again within a stated time, with no step by hand.

use std::time::Duration;

use super::{Property, Violation};

/// The stated time: within this of virtual time after the last fault, every peer takes an upload, and
/// delivers what was acknowledged.
///
/// A peer that vanished is noticed after 10 s at most, a request to it gives up after 10 s more, and one
/// that was thought dead is dialled again within 15 s.
pub const HEAL_WITHIN: Duration = Duration::from_secs(60);

/// Judges what one peer was asked to do after the last fault: `late` says that it did not within the time.
#[must_use]
pub fn judge(what: &str, late: bool, at_millis: u64) -> Option<Violation> {
    late.then(|| Violation {
        property: Property::Heals,
        at_millis,
        detail: format!("{what} did not work within {} s of calm", HEAL_WITHIN.as_secs()),
    })
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn what_does_not_work_in_time_is_a_violation() {
        assert!(judge("upload", true, 0).unwrap().detail.contains("upload"));
        assert!(judge("upload", false, 0).is_none());
    }
}
