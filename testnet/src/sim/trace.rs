//! The digest of a run: every delivered frame, finished write, crash and acknowledgement, with its virtual time.
//!
//! Two runs are the same run when their digests are equal. Never: decides anything; a run with the trace
//! printed takes the same course as one without.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Bytes of a part that count: blocks are named by their hash in the part before them, and hashing each once
/// more at every step would cost more than the step.
const PART_BYTES_MAX: usize = 256;

/// A running digest of what happened, and optionally the text of it.
#[derive(Debug, Default)]
pub struct Trace {
    hasher: Sha256,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Returns an empty trace; with `verbose` it keeps its lines too.
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        Self { lines: verbose.then(Vec::new), ..Self::default() }
    }

    /// Adds an event that happened `at` virtual nanoseconds after the start, with the bytes it carried: of
    /// each part its length and its first `PART_BYTES_MAX` bytes.
    pub fn record(&mut self, at: u64, event: fmt::Arguments<'_>, payload: &[&[u8]]) {
        let line = format!("{at} {event}");
        self.hasher.update((line.len() as u64).to_le_bytes());
        self.hasher.update(line.as_bytes());
        for part in payload {
            self.hasher.update((part.len() as u64).to_le_bytes());
            self.hasher.update(&part[..part.len().min(PART_BYTES_MAX)]);
        }
        self.events += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// Returns how many events were added.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Returns the digest so far, in hexadecimal: the first 16 bytes of a SHA-256.
    #[must_use]
    pub fn digest(&self) -> String {
        let digest = self.hasher.clone().finalize();
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the lines of a verbose trace, in order.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;

    fn digest(events: &[(u64, &str, &[u8])]) -> String {
        let mut trace = Trace::default();
        for (at, event, payload) in events {
            trace.record(*at, format_args!("{event}"), &[payload]);
        }
        trace.digest()
    }

    #[test]
    fn every_part_of_an_event_changes_the_digest() {
        let base = digest(&[(1, "a", b"x"), (2, "b", b"")]);
        assert_eq!(base, digest(&[(1, "a", b"x"), (2, "b", b"")]));
        assert_ne!(base, digest(&[(2, "a", b"x"), (2, "b", b"")]));
        assert_ne!(base, digest(&[(1, "c", b"x"), (2, "b", b"")]));
        assert_ne!(base, digest(&[(1, "a", b"y"), (2, "b", b"")]));
        assert_ne!(base, digest(&[(2, "b", b""), (1, "a", b"x")]));
    }
}
