//! Property 2: nothing acknowledged ever points at bytes that were not synced first.
//!
//! Judged after crashes, of all peers at once among them: where no disk was lost and none rots, whatever an
//! acknowledged object misses was acknowledged before it was durable.

use super::readable::Finding;
use super::{Property, Violation};

/// Judges content during whose upload some power failed, in a run in which no disk was lost and none rotted.
#[must_use]
pub fn judge(finding: &Finding, lossy: bool, at_millis: u64) -> Option<Violation> {
    let broken = !lossy && finding.may_be_unsynced && !finding.is_readable;
    broken.then(|| Violation {
        property: Property::Synced,
        at_millis,
        detail: finding.detail.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::sim::properties::readable::Finding;

    #[test]
    fn an_object_that_nobody_delivers_is_a_violation_when_no_disk_was_lost() {
        let finding =
            |is_readable| Finding { detail: String::new(), is_readable, may_be_unsynced: true };
        assert!(judge(&finding(false), false, 0).is_some());
        assert!(judge(&finding(true), false, 0).is_none());
        assert!(judge(&finding(false), true, 0).is_none(), "property 1 has this one");
    }
}
