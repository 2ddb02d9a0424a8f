//! What can be asked of the state, each question at the cost of what it answers.
//!
//! Every function reads one consistent state, given as a [`super::Source`]. Pages are in order; to go on, pass the last
//! one's key as `after`. A `limit` above [`LIST_ROWS_MAX`] counts as that.
//! Never: changes anything; decides who may ask (the `may_` functions of the parent do).

mod cluster;
mod list;
mod lock;
mod object;
mod upload;
mod user;

use super::command::ObjectName;
use super::value::ObjectVersion;
use crate::limits::LIST_ROWS_MAX;

pub use cluster::{
    catalog, catalog_key, due, is_removed, member, member_of, members, settings, ticket, tickets,
    topologies, topology, totals,
};
pub use list::{ListQuery, Listing, list};
pub use lock::{leases, lock, lock_waiters};
pub use object::{
    bucket, buckets, is_public, object, owned, pins, pins_of, published, version, versions,
};
pub use upload::{UploadState, is_upload_of, upload_state};
pub use user::{is_valid, tokens, user, user_of_token, users};

pub(super) use upload::{Known, is_left_behind, state};

/// An object under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedObject {
    /// Its name.
    pub name: ObjectName,
    /// Its current version.
    pub object: ObjectVersion,
}

fn page(limit: usize) -> usize {
    limit.min(LIST_ROWS_MAX)
}
