//! Segment files: their names, and the writer's table of them.

use std::collections::BTreeMap;

use protocol::index::{Segment, Totals};

/// Returns the name of a segment's file.
pub(super) fn name_of(number: u32) -> String {
    format!("{number:010}.segment")
}

/// Returns the number of a segment by its file's name, or `None` for other files.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".segment")?.parse().ok()?;
    // Only the one spelling: two names of one number would be two files of one segment.
    (name_of(number) == name).then_some(number)
}

/// What the writer knows of all segments: the same as the map `Segments` holds, less the doomed ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) segments: BTreeMap<u32, Segment>,
    pub(super) totals: Totals,
}

impl Table {
    /// Returns the bytes that the store takes on the disk.
    pub(super) fn used_bytes(&self) -> u64 {
        let files: u64 = self.segments.values().map(|segment| segment.indexed).sum();
        files + self.totals.small_bytes
    }

    /// Returns a segment; one that is not there is empty.
    pub(super) fn segment(&self, number: u32) -> Segment {
        self.segments.get(&number).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{name_of, number_of};

    #[test]
    fn a_name_leads_back_to_its_number() {
        assert_eq!(name_of(12), "0000000012.segment");
        assert_eq!(number_of(&name_of(u32::MAX)), Some(u32::MAX));
        for name in ["", "12.segment", "0000000012", "+000000012.segment", "9999999999.segment"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
