//! A broken promise, as it is printed.

use std::fmt;

/// The invariants of `design.md` that the simulation judges, by their numbers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// 1: an acknowledged write is readable while fewer than the write quorum of its holders are lost.
    Readable,
    /// 2: nothing acknowledged points at bytes that were not synced.
    Synced,
    /// 3: every byte delivered is the right one.
    Genuine,
    /// 4: reads return the last acknowledged write or a later one; preconditions are enforced.
    Named,
    /// 4: all peers carry out the same commands in the same order.
    Agreed,
    /// 5: a lock has one holder at a time, and fencing tokens only rise.
    Locked,
    /// 6: what a committed object refers to is never collected.
    Kept,
    /// 9: with faults removed, everything works again by itself.
    Heals,
    /// No number: the daemon's code panicked, or broke the contract of the machine below it.
    Sound,
}

impl Property {
    /// Returns the name used in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Readable => "1-readable",
            Self::Synced => "2-synced",
            Self::Genuine => "3-genuine",
            Self::Named => "4-named",
            Self::Agreed => "4-agreed",
            Self::Locked => "5-locked",
            Self::Kept => "6-kept",
            Self::Heals => "9-heals",
            Self::Sound => "sound",
        }
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// When, in virtual milliseconds since the start of the run.
    pub at_millis: u64,
    /// What was seen.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms: {}", self.property.name(), self.at_millis, self.detail)
    }
}
