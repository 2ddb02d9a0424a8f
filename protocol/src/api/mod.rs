//! Requests and answers of the HTTP API, as `node` writes and `cli` reads them.
//!
//! Fields may be added, never renamed or removed: clients of other versions read them.
//! Never: HTTP itself.

mod access;
mod catalog;
mod cluster;
mod lock;
mod object;
mod queue;
mod range;
mod search;

use core::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Fault, Kind};

pub use crate::repair::{RepairStatus, ScrubProgress};
pub use access::{CreateToken, CreateUser, Secret, Token, Tokens, User, Users};
pub use catalog::{Clusters, Imported, KnownCluster, OwnCatalog};
pub use cluster::{Cluster, CreateInvite, Invite, Invited, Invites, Peer, SetPeer};
pub use lock::{Lock, LockAnswer, LockOp, LockRequest, LockState};
pub use object::{
    Bucket, Buckets, Deleted, Listing, Object, ObjectOp, SetBucket, Source, UploadBegun, Versions,
};
pub use queue::{DeadLetter, Moved, Queue};
pub use range::{Asked, Part};
pub use search::{Found, Hit, SearchState, Searched};

/// An error, as a problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The kind, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, on what, why.
    pub detail: String,
    /// The kind, for programs: a name of [`Kind`].
    pub kind: String,
    /// When trying again may help.
    pub retry_after_ms: Option<u64>,
}

impl From<&Fault> for Problem {
    fn from(fault: &Fault) -> Self {
        let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Self {
            type_uri: format!("urn:shoal:problem:{}", fault.kind.name()),
            title: fault.kind.name().replace('_', " "),
            status: fault.kind.http_status(),
            detail: fault.detail.clone(),
            kind: fault.kind.name().to_owned(),
            retry_after_ms: fault.retry_after.map(millis),
        }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self {
            // A kind of a later version is at least known to be a failure.
            kind: Kind::from_name(&problem.kind).unwrap_or(Kind::Internal),
            detail: problem.detail,
            retry_after: problem.retry_after_ms.map(Duration::from_millis),
        }
    }
}

/// Content that was stored: answer to `POST content`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stored {
    /// Its name.
    pub cid: String,
    /// Bytes of the content.
    pub size: u64,
    /// Bytes of all its blocks, each occurrence counted.
    pub dag_bytes: u64,
    /// Blocks, each occurrence counted.
    pub blocks: u64,
}

#[cfg(test)]
mod tests {
    use super::Problem;
    use crate::error::{Fault, Kind};
    use core::time::Duration;

    #[test]
    fn a_fault_survives_as_a_problem_document() {
        for kind in Kind::ALL {
            let fault = Fault {
                kind,
                detail: "what, on what, why".to_owned(),
                retry_after: Some(Duration::from_millis(1500)),
            };
            let json = serde_json::to_string(&Problem::from(&fault)).unwrap();
            let problem: Problem = serde_json::from_str(&json).unwrap();
            assert_eq!(Fault::from(problem), fault);
        }
    }
}
