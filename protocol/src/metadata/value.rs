//! What the tables hold: one type for each kind of value.
//!
//! These are also what queries answer. Their bytes are fixed (see [`crate::format`]): a field more is a new version.
//! Never: texts for people; `api` has those.

use serde::{Deserialize, Serialize};

use super::command::ObjectName;
use super::lease::LeaseId;
use super::name::{
    BucketName, ContentType, DisplayName, Label, LockName, ObjectKey, Tags, UserName,
};
use crate::topology::{ReplicaCount, Zone};
use crate::{Cid, ClusterId, OwnerId, PeerId, WallTime};

/// What the whole cluster goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Which cluster this is.
    pub cluster: ClusterId,
    /// Its name, for people.
    pub name: DisplayName,
    /// Copies of a block, unless an upload says otherwise.
    pub replicas: ReplicaCount,
    /// How long deleted content can be had back, in milliseconds.
    pub grace_ms: u64,
    /// When it was founded.
    pub founded: WallTime,
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Everything.
    Admin,
    /// Make buckets, and write in their own.
    User,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// What the user may do.
    pub role: Role,
    /// When the user was made.
    pub created: WallTime,
    /// Buckets that belong to the user.
    pub buckets: u64,
    /// Tokens that make requests as the user.
    pub tokens: u32,
}

/// A token: whoever shows the secret of its hash acts as its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// By which it is listed and revoked.
    pub id: u64,
    /// Whose requests it makes.
    pub user: UserName,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// For what, for people.
    pub label: Label,
    /// When it was made.
    pub created: WallTime,
}

/// A bucket, with the counts of what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The name.
    pub name: BucketName,
    /// The user who may write in it.
    pub owner: UserName,
    /// When it was made.
    pub created: WallTime,
    /// Versions with content that are kept of one object; all without a bound.
    pub keep_versions: Option<u32>,
    /// Bytes of all versions that it may have.
    pub quota_bytes: Option<u64>,
    /// Objects that it may have.
    pub quota_objects: Option<u64>,
    /// Objects: keys whose current version is no delete marker.
    pub objects: u64,
    /// Versions, delete markers included.
    pub versions: u64,
    /// Bytes of all versions, each counted whole.
    pub bytes: u64,
}

/// Bytes that were uploaded, and what they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The name of their DAG.
    pub root: Cid,
    /// How many they are.
    pub size: u64,
    /// What they are.
    pub content_type: ContentType,
    /// Who refers to their blocks.
    pub upload: OwnerId,
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// Which: the log index of the command that wrote it. Text: decimal.
    pub version: u64,
    /// The user who wrote it.
    pub owner: UserName,
    /// When it was written.
    pub modified: WallTime,
    /// Its bytes; none: a delete marker.
    pub content: Option<Content>,
    /// Names and values for people and searches.
    pub tags: Tags,
    /// Whether others than members may find and read it.
    pub public: bool,
}

impl ObjectVersion {
    /// Says whether this version says that the object was deleted.
    #[must_use]
    pub const fn is_delete_marker(&self) -> bool {
        self.content.is_none()
    }

    /// Returns the bytes of its content; 0 for a delete marker.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.content.as_ref().map_or(0, |content| content.size)
    }
}

/// An upload that versions or pins refer to, or did until a short time ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The root of what was uploaded.
    pub root: Cid,
    /// Bytes of the content.
    pub size: u64,
    /// Versions and pins that refer to it. 0: on the due list.
    pub count: u64,
}

/// Content without a name, kept by its CID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The root.
    pub root: Cid,
    /// The user who keeps it.
    pub user: UserName,
    /// Bytes of the content.
    pub size: u64,
    /// Who refers to its blocks.
    pub upload: OwnerId,
    /// Since when.
    pub created: WallTime,
}

/// A right that ends when it is not renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Which.
    pub id: LeaseId,
    /// How long it lasts without a renewal, in milliseconds.
    pub ttl_ms: u64,
    /// The log index of its last renewal, or of its beginning: never the same twice.
    pub renewals: u64,
    /// The user that it belongs to; none: a peer's own.
    pub user: Option<UserName>,
}

/// A peer's right to have uploads in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The member whose it is.
    pub raft_id: u64,
}

/// Who has a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// The owner that asked for it.
    pub owner: LockName,
    /// The fencing token: the log index of the grant.
    pub fence: u64,
}

/// A lock that is held. One that nobody holds has no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The name.
    pub name: LockName,
    /// Who has it.
    pub holder: LockHolder,
    /// How many wait for it.
    pub waiting: u32,
}

/// Somebody who waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWaiter {
    /// The owner that asked for it.
    pub owner: LockName,
    /// Its place: the log index at which it asked first. Lower is earlier.
    pub place: u64,
}

/// How a member stands to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// It holds blocks, as its capacity says.
    Active,
    /// It is giving its blocks to others.
    Draining,
    /// It holds nothing that others do not hold: it can be switched off.
    Drained,
}

/// A peer of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id in Raft, bound to its data directory.
    pub raft_id: u64,
    /// Who.
    pub peer: PeerId,
    /// Its name, for people.
    pub name: DisplayName,
    /// Where.
    pub zone: Zone,
    /// Bytes of blocks that it offers to hold. 0: a gateway.
    pub capacity_bytes: u64,
    /// Multiaddresses it is reached by: at most [`crate::limits::PEER_ADDRESSES_MAX`].
    pub addresses: Vec<String>,
    /// How it stands.
    pub state: MemberState,
    /// When it joined.
    pub joined: WallTime,
}

/// What became of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketState {
    /// It can be used until it expires.
    Open,
    /// A member joined with it.
    Used {
        /// Which.
        raft_id: u64,
    },
    /// Somebody took it back.
    Revoked,
}

/// A ticket: whoever shows its secret may join, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// By which it is listed and revoked.
    pub id: u64,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// Until when it may be used.
    pub expires: WallTime,
    /// For whom, for people.
    pub label: Label,
    /// When it was made.
    pub created: WallTime,
    /// What became of it.
    pub state: TicketState,
}

/// Something that goes for good at its time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Due {
    /// An upload that nothing refers to.
    Upload(OwnerId),
    /// An object that was deleted, with all its versions.
    Object {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
    },
    /// A ticket that cannot be used any more, by the hash of its secret.
    Ticket([u8; 32]),
    /// What is remembered of a session that is closed.
    Session(u64),
}

/// An entry of the due list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DueEntry {
    /// When.
    pub at: WallTime,
    /// What.
    pub due: Due,
}

/// How many there are of what is bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Users.
    pub users: u64,
    /// Users who may do everything.
    pub admins: u64,
    /// Buckets.
    pub buckets: u64,
    /// Members.
    pub members: u64,
    /// Tickets, used and expired ones included.
    pub tickets: u64,
    /// Leases.
    pub leases: u64,
    /// The session that was opened last; sessions are numbered by the log index of their opening.
    pub session_last: u64,
}

/// A public object, as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its name.
    pub name: ObjectName,
    /// Which change of the catalog it came with. Counted by what is public alone: the places of the log would tell how much else
    /// is written.
    pub sequence: u64,
}

/// How the catalog stands: what the cluster tells everybody of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// How often it was begun anew: another history of the log is another epoch.
    pub epoch: u64,
    /// How often it changed in this epoch.
    pub sequence: u64,
    /// Objects in it.
    pub entries: u64,
}

impl Default for Catalog {
    /// Returns the catalog that a cluster begins with.
    fn default() -> Self {
        Self { epoch: 1, sequence: 0, entries: 0 }
    }
}
