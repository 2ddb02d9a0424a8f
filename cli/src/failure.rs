//! Why a command ends early, and the exit status that tells it.
//!
//! Failures are [`Fault`]s, whose kinds decide the exit status in `protocol::error`; the only other ways to
//! end early are that nobody reads the output any more, and that a command that was run failed. Never: prints.

use std::io;
use std::path::Path;

use protocol::{Fault, Kind};

/// How a command ends when it does not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something failed: one line on standard error, and the exit status of its kind.
    Told(Fault),
    /// Whoever read standard output has enough, as `head` does. Not an error.
    OutputClosed,
    /// The command that was run ended with this status, which says all.
    Status(u8),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Told(fault)
    }
}

impl Failure {
    /// Returns the exit status. A reader that left got what it wanted.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Told(fault) => fault.kind.exit_status(),
            Self::OutputClosed => 0,
            Self::Status(status) => *status,
        }
    }
}

/// Returns the failure of writing to standard output.
pub(crate) fn stdout_failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::OutputClosed;
    }
    Failure::Told(Fault::new(io_kind(error), format!("cannot write to standard output: {error}")))
}

/// Returns the fault of a file operation. `doing`: such as `"cannot read"`.
pub(crate) fn io_fault(doing: &str, path: &Path, error: &io::Error) -> Fault {
    Fault::new(io_kind(error), format!("{doing} {}: {error}", path.display()))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system may tell of anything, and later versions of more"
)]
fn io_kind(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::PermissionDenied => Kind::Denied,
        io::ErrorKind::AlreadyExists => Kind::Conflict,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => Kind::Invalid,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
        _ => Kind::Internal,
    }
}
