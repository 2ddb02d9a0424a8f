//! Locks: held by one owner at a time, granted in the order of asking.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is done with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockOp {
    /// Take it, or a place in its queue.
    Acquire,
    /// Keep it for another `ttl_ms`.
    Renew,
    /// Give it up, or the place in its queue.
    Release,
}

/// Body of `POST locks/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LockRequest {
    /// What to do.
    pub op: LockOp,
    /// Who asks: any text that nobody else uses.
    pub owner: String,
    /// How long the lock is kept without a renewal, in milliseconds; 30 s unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// How long to wait for it, in milliseconds; not at all unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// The fencing token it was granted with: for `renew` and `release`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

/// How an owner stands to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LockState {
    /// It holds the lock.
    Granted,
    /// It waits for the lock.
    Queued,
    /// It neither holds it nor waits.
    Released,
}

/// Answer to `POST locks/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockAnswer {
    /// How the owner stands.
    pub state: LockState,
    /// While granted: a number that is higher than that of every grant before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// While granted: when the lock is lost without a renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// While queued: the place, 1 for the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// A lock as it is: answer to `GET locks/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// Who holds it; null when nobody does.
    pub owner: Option<String>,
    /// The fencing token of its holder.
    pub fence: Option<u64>,
    /// How many wait.
    pub waiting: u64,
}
