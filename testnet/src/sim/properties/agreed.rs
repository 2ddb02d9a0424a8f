//! Agreement, on which property 4 rests: no two peers carry out different commands at one place of the log.

use std::collections::BTreeMap;

/// Bytes of an entry that a message shows: its place, and what kind of command it is.
const SHOWN_BYTES: usize = 64;

/// What was carried out where, by the first peer that did.
#[derive(Debug, Default)]
pub struct Log {
    entries: BTreeMap<u64, Vec<u8>>,
}

impl Log {
    /// Notes what a peer carried out, and says what is wrong with it.
    #[must_use]
    pub fn applied(&mut self, index: u64, bytes: &[u8]) -> Option<String> {
        let first = self.entries.entry(index).or_insert_with(|| bytes.to_vec());
        (first != bytes).then(|| {
            let (first, second) = (shown(first), shown(bytes));
            format!("entry {index} was carried out as {first} and as {second}")
        })
    }
}

/// Returns the beginning of an entry as text.
fn shown(bytes: &[u8]) -> String {
    bytes.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::Log;

    #[test]
    fn one_place_holds_one_entry() {
        let mut log = Log::default();
        assert!(log.applied(1, b"a").is_none());
        assert!(log.applied(2, b"b").is_none());
        assert!(log.applied(1, b"a").is_none());
        assert!(log.applied(1, b"b").is_some());
    }
}
