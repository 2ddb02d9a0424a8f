//! The closed list of things that can go wrong, as every peer, client and protocol tells them.
//!
//! HTTP statuses, exit statuses and wire codes map from [`Kind`] here and nowhere else.
//! Never: formats for one particular audience; that is done where the audience is.

use core::fmt;
use core::time::Duration;

/// What kind of failure: one variant per reaction of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What was asked for does not exist. Asking again gives the same.
    NotFound,
    /// The state of the target forbids it: it exists already, or somebody else was first.
    Conflict,
    /// The request itself is wrong. Correct it.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// A bounded resource is taken. Try again after `retry_after`.
    Busy,
    /// Too few peers answer in time. Try again later, or through another peer.
    Unavailable,
    /// There is no room for the bytes. Free some or add capacity.
    Full,
    /// Stored bytes do not hash to their name.
    Corrupt,
    /// A defect of Shoal itself, or of the machine below it.
    Internal,
    /// The asker's own condition does not hold: what it expected is not so any more.
    Precondition,
}

impl Kind {
    /// Every kind, in wire order: the wire code is the index plus one.
    pub const ALL: [Self; 10] = [
        Self::NotFound,
        Self::Conflict,
        Self::Invalid,
        Self::Denied,
        Self::Busy,
        Self::Unavailable,
        Self::Full,
        Self::Corrupt,
        Self::Internal,
        Self::Precondition,
    ];

    /// Returns the name used in problem documents: lower case, underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Full => "full",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
            Self::Precondition => "precondition_failed",
        }
    }

    /// Returns the kind of a name, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the HTTP status.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Invalid => 400,
            Self::Denied => 403,
            Self::Busy => 429,
            Self::Unavailable => 503,
            Self::Full => 507,
            Self::Corrupt => 502,
            Self::Internal => 500,
            Self::Precondition => 412,
        }
    }

    /// Returns the exit status of the client `shoal`.
    #[must_use]
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Conflict | Self::Precondition => 4,
            // An exhausted quota, or no room: unlike a peer that is busy or away, it refuses the next try too.
            Self::Denied | Self::Full => 5,
            Self::Busy | Self::Unavailable => 6,
            Self::Corrupt => 7,
        }
    }

    /// Returns the code on the wire between peers.
    #[must_use]
    pub const fn wire_code(self) -> u32 {
        match self {
            Self::NotFound => 1,
            Self::Conflict => 2,
            Self::Invalid => 3,
            Self::Denied => 4,
            Self::Busy => 5,
            Self::Unavailable => 6,
            Self::Full => 7,
            Self::Corrupt => 8,
            Self::Internal => 9,
            Self::Precondition => 10,
        }
    }

    /// Returns the kind of a wire code. Codes of later versions read as [`Kind::Internal`].
    #[must_use]
    pub fn from_wire_code(code: u32) -> Self {
        Self::ALL.into_iter().find(|kind| kind.wire_code() == code).unwrap_or(Self::Internal)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failure as it is told to whoever asked: its kind, what failed and why, and when to try again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Fault {
    /// What to do about it.
    pub kind: Kind,
    /// One line for people: what failed, on what, why.
    pub detail: String,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// Returns a failure without a hint when to try again.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None }
    }

    /// Returns a [`Kind::Busy`] failure that says when to try again.
    #[must_use]
    pub fn busy(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self { kind: Kind::Busy, detail: detail.into(), retry_after: Some(retry_after) }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn names_and_codes_lead_back_to_their_kind() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(Kind::from_wire_code(kind.wire_code()), kind);
            assert_eq!(kind.wire_code() as usize, index + 1);
        }
        assert_eq!(Kind::from_wire_code(1000), Kind::Internal);
        assert_eq!(Kind::from_name("nonsense"), None);
    }
}
