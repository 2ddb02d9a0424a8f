//! Property 1: an acknowledged write is readable while fewer than the write quorum of its holders are lost.

use super::{Property, Violation};

/// What was found of one acknowledged object when all faults were gone.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The object and what became of the last try, as text.
    pub detail: String,
    /// Whether any peer delivered it in the end.
    pub is_readable: bool,
    /// Whether some power failed while it was uploaded.
    pub may_be_unsynced: bool,
}

/// Judges a run in which disks were lost or rotten, of fewer peers than the write quorum has.
#[must_use]
pub fn judge(finding: &Finding, lossy: bool, at_millis: u64) -> Option<Violation> {
    let broken = lossy && !finding.is_readable;
    broken.then(|| Violation {
        property: Property::Readable,
        at_millis,
        detail: finding.detail.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Finding, judge};

    #[test]
    fn an_object_that_nobody_delivers_is_a_violation_when_disks_were_lost() {
        let finding =
            |is_readable| Finding { detail: String::new(), is_readable, may_be_unsynced: true };
        assert!(judge(&finding(false), true, 0).is_some());
        assert!(judge(&finding(true), true, 0).is_none());
        assert!(judge(&finding(false), false, 0).is_none(), "property 2 has this one");
    }
}
