//! Property 6: a block that a committed object refers to is never collected.
//!
//! Judged by what is missing: where no disk was lost and none rots, and no power failed while the content was being
//! uploaded, its blocks were on disks when it was acknowledged. Whoever frees blocks is all that is left to blame.

use super::readable::Finding;
use super::{Property, Violation};

/// Judges content that was uploaded while no power failed, in a run in which no disk was lost and none rotted.
#[must_use]
pub fn judge(finding: &Finding, lossy: bool, at_millis: u64) -> Option<Violation> {
    let broken = !lossy && !finding.may_be_unsynced && !finding.is_readable;
    broken.then(|| Violation {
        property: Property::Kept,
        at_millis,
        detail: finding.detail.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::sim::properties::readable::Finding;

    #[test]
    fn content_that_was_there_and_is_gone_is_a_violation() {
        let finding = |is_readable, may_be_unsynced| Finding {
            detail: String::new(),
            is_readable,
            may_be_unsynced,
        };
        assert!(judge(&finding(false, false), false, 0).is_some());
        assert!(judge(&finding(true, false), false, 0).is_none());
        assert!(judge(&finding(false, true), false, 0).is_none(), "property 2 has this one");
        assert!(judge(&finding(false, false), true, 0).is_none(), "property 1 has this one");
    }
}
