//! What clients asked of names and what they were told: the material of the properties about names.
//!
//! A request is noted when it begins and when it ends. One whose process died in between, or that was told that nobody
//! knows, may have been carried out, and may still be. Never: judges; `properties::named` does.

use protocol::{Cid, Kind};

/// A state of an object, as somebody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its version.
    pub version: u64,
    /// Its content.
    pub root: Cid,
}

/// On which condition a client writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// On none.
    Anyhow,
    /// There is no such object.
    Absent,
    /// This version is current.
    Version(u64),
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A new version.
    Write {
        /// Its content, where the client knows it beforehand.
        root: Option<Cid>,
        /// On which condition.
        condition: Condition,
    },
    /// That it be gone.
    Delete,
    /// Its current version.
    Read,
}

/// What the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing, or that nobody knows: it may have happened, and may yet happen.
    Nothing,
    /// That nothing was done.
    Refused(Kind),
    /// The version that was written, and the one that it took the place of.
    Written {
        /// What is current now.
        now: Seen,
        /// What was before.
        replaced: Option<u64>,
    },
    /// The delete marker; none when there was nothing to delete.
    Deleted(Option<u64>),
    /// What is current.
    Found(Option<Seen>),
}

/// One request about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name.
    pub key: String,
    /// When it began, in virtual nanoseconds.
    pub begun: u64,
    /// When it ended; `u64::MAX` as long as it has not.
    pub ended: u64,
    /// What was asked for.
    pub what: What,
    /// What was told.
    pub told: Told,
}

impl Request {
    /// Returns a request that begins now.
    #[must_use]
    pub fn begin(key: String, begun: u64, what: What) -> Self {
        Self { key, begun, ended: u64::MAX, what, told: Told::Nothing }
    }

    /// Returns the version that this is known to have made current: a write's, or a deletion's marker.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        match self.told {
            Told::Written { now, .. } => Some(now.version),
            Told::Deleted(version) => version,
            Told::Nothing | Told::Refused(_) | Told::Found(_) => None,
        }
    }

    /// Says whether it may have been carried out without anybody's being told.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.told == Told::Nothing && self.what != What::Read
    }
}

/// Says whether a refusal of this kind promises that nothing was done and nothing will be.
#[must_use]
pub fn is_final(kind: Kind) -> bool {
    match kind {
        Kind::NotFound
        | Kind::Conflict
        | Kind::Invalid
        | Kind::Denied
        | Kind::Busy
        | Kind::Precondition => true,
        // The proposal may be on its way; a peer that failed does not know what became of it.
        Kind::Unavailable | Kind::Full | Kind::Corrupt | Kind::Internal => false,
    }
}
