//! Commands: everything that can be done to the state, as it lies in the Raft log.
//!
//! A command carries all that `apply` must not find out for itself: the time, who asks, random ids. Its bytes
//! are fixed (see [`crate::format`]); operations are only added, at the end.
//! Never: says whether it is allowed; `apply` does.

use core::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::lease::LeaseId;
use super::name::{
    BucketName, ContentType, DisplayName, Label, LockName, ObjectKey, Tags, UserName,
};
use super::request::RequestId;
use super::value::{Content, DueEntry, Member, Role};
use crate::format::{FormatError, decode, encode};
use crate::limits::COMMAND_BYTES_MAX;
use crate::topology::{Epoch, ReplicaCount, Topology, Zone};
use crate::{Cid, ClusterId, OwnerId, WallTime};

/// On whose behalf a command is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The peers themselves. May do everything.
    System,
    /// A user, whose token was checked by the peer that proposed.
    User(UserName),
    /// A user by one of their tokens, which has to be valid still when the command is applied: the peer that proposed may
    /// not have heard that it was revoked.
    Bearer {
        /// Who.
        user: UserName,
        /// The token's id.
        token: u64,
    },
}

impl Actor {
    /// Returns the user; `None` for the peers themselves.
    #[must_use]
    pub const fn user(&self) -> Option<&UserName> {
        match self {
            Self::System => None,
            Self::User(user) | Self::Bearer { user, .. } => Some(user),
        }
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Which request this answers. The same one is applied once.
    pub request: RequestId,
    /// The leader's clock when it was proposed.
    pub at: WallTime,
    /// On whose behalf.
    pub actor: Actor,
    /// What to do.
    pub op: Op,
}

impl Command {
    /// Returns the bytes of this command.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] beyond [`COMMAND_BYTES_MAX`].
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        encode("a command", self, COMMAND_BYTES_MAX)
    }

    /// Returns the command of its bytes.
    ///
    /// # Errors
    /// Any [`FormatError`]. One that is committed must stop the peer: others may have understood it.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        decode("a command", bytes, COMMAND_BYTES_MAX)
    }
}

/// An object, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectName {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
}

/// What names a state of an object in a precondition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tag {
    /// Its content: the `ETag`.
    Root(Cid),
    /// Its version.
    Version(u64),
}

/// A text that is no [`Tag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a quoted CID nor a version of an object")]
pub struct NoTag;

impl FromStr for Tag {
    type Err = NoTag;

    /// Reads an entity tag: a root CID or the number of a version, in quotes or not, also as a weak one.
    fn from_str(text: &str) -> Result<Self, NoTag> {
        let text = text.strip_prefix("W/").unwrap_or(text);
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        match bare.parse::<u64>() {
            Ok(version) => Ok(Self::Version(version)),
            Err(_) => bare.parse().map(Self::Root).map_err(|_| NoTag),
        }
    }
}

/// One side of a precondition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// Any state but absence: `*`.
    Any,
    /// One of these: at most [`crate::limits::MATCH_TAGS_MAX`].
    OneOf(Vec<Tag>),
}

/// What must be so of the current object for a command to be carried out. A deleted object is absent. Where a command is
/// about a version that it names, this is about that one; a delete marker is there then, and has no content.
///
/// Source: RFC 9110, section 13.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precondition {
    /// The object must match.
    pub if_match: Option<Match>,
    /// The object must not match.
    pub if_none_match: Option<Match>,
}

impl Precondition {
    /// Returns the precondition that there is no such object.
    #[must_use]
    pub const fn absent() -> Self {
        Self { if_match: None, if_none_match: Some(Match::Any) }
    }

    /// Returns the precondition that the object is in one state.
    #[must_use]
    pub fn is(tag: Tag) -> Self {
        Self { if_match: Some(Match::OneOf(vec![tag])), if_none_match: None }
    }
}

/// A change of a bound: what is absent stays.
pub type Change<T> = Option<Option<T>>;

/// What is done. Fields that are `Option` and say "change" leave what is absent as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Makes the cluster, its first member, the user `admin` with a token, and the topology of epoch 1. The first command.
    Found {
        /// Which cluster.
        cluster: ClusterId,
        /// Its name.
        name: DisplayName,
        /// Its first member.
        first: Member,
        /// SHA-256 of the token of `admin`.
        admin_token_hash: [u8; 32],
        /// Copies of a block.
        replicas: ReplicaCount,
        /// How long deleted content can be had back, in milliseconds.
        grace_ms: u64,
    },
    /// Changes settings of the cluster. For administrators.
    SetCluster {
        /// Change of the name.
        name: Option<DisplayName>,
        /// Change of the copies of a block.
        replicas: Option<ReplicaCount>,
        /// Change of the grace, in milliseconds; for what is deleted from now on.
        grace_ms: Option<u64>,
    },

    /// Makes a user. For administrators.
    CreateUser {
        /// The name.
        name: UserName,
        /// What the user may do.
        role: Role,
    },
    /// Removes a user who owns no bucket, with all tokens. For administrators.
    RemoveUser {
        /// The name.
        name: UserName,
    },
    /// Makes a token; for oneself, or by an administrator for anybody.
    CreateToken {
        /// Whose requests it makes.
        user: UserName,
        /// SHA-256 of the secret.
        hash: [u8; 32],
        /// For what.
        label: Label,
    },
    /// Revokes a token of one's own, or as an administrator any.
    RevokeToken {
        /// Which.
        id: u64,
    },

    /// Makes a bucket that belongs to the asker; for System, to `admin`.
    CreateBucket {
        /// Its name.
        name: BucketName,
    },
    /// Removes a bucket without objects and versions. For its owner.
    RemoveBucket {
        /// Its name.
        name: BucketName,
    },
    /// Changes a bucket. The owner and quotas: for administrators; versions: for its owner.
    SetBucket {
        /// Its name.
        name: BucketName,
        /// Change of the owner.
        owner: Option<UserName>,
        /// Change of how many versions are kept: from each object's next write on.
        keep_versions: Change<u32>,
        /// Change of the bytes it may have.
        quota_bytes: Change<u64>,
        /// Change of the objects it may have.
        quota_objects: Change<u64>,
    },

    /// Writes a new version of an object.
    Put {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
        /// What was uploaded.
        content: Content,
        /// Its tags.
        tags: Tags,
        /// Whether others than members may find and read it.
        public: bool,
        /// Of the object as it is.
        precondition: Precondition,
        /// Whether to make the bucket if there is none.
        create_bucket: bool,
    },
    /// Deletes an object: a delete marker becomes its current version. No object: nothing happens.
    Delete {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
        /// Of the object as it is.
        precondition: Precondition,
    },
    /// Removes one version. What was before it becomes current if it was; no such version: nothing happens.
    DeleteVersion {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
        /// Which.
        version: u64,
    },
    /// Writes content of one object to another name, without its being public.
    Copy {
        /// Whose content.
        from: ObjectName,
        /// Which version of it; the current one when absent.
        version: Option<u64>,
        /// The other name.
        to: ObjectName,
        /// Of the source as it is.
        from_precondition: Precondition,
        /// Of the target as it is.
        to_precondition: Precondition,
        /// New tags; the source's when absent.
        tags: Option<Tags>,
        /// New type; the source's when absent.
        content_type: Option<ContentType>,
    },
    /// Copies an object as it is to another name and deletes it under the first, in one step.
    Move {
        /// The first name.
        from: ObjectName,
        /// The other name.
        to: ObjectName,
        /// Of the source as it is.
        from_precondition: Precondition,
        /// Of the target as it is.
        to_precondition: Precondition,
    },
    /// Writes a new version with the content, tags and type of an older one.
    Restore {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
        /// Which.
        version: u64,
        /// Of the object as it is.
        precondition: Precondition,
    },
    /// Writes a new version with the same content.
    SetObject {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
        /// All its tags; as they were when absent.
        tags: Option<Tags>,
        /// Its type.
        content_type: Option<ContentType>,
        /// Whether others than members may find and read it.
        public: Option<bool>,
        /// Of the object as it is.
        precondition: Precondition,
    },
    /// Keeps content without a name, for the asking user. One that was kept already takes the new upload.
    Pin {
        /// Its root.
        root: Cid,
        /// Its bytes.
        size: u64,
        /// Who refers to its blocks.
        upload: OwnerId,
    },
    /// Lets go of content without a name: the asker's own; for System and administrators, everybody's.
    Unpin {
        /// Its root.
        root: Cid,
    },
    /// Removes for good what is due. Entries that are not on the list any more, or not due, are passed over.
    Purge {
        /// At most [`crate::limits::PURGE_ENTRIES_MAX`].
        entries: Vec<DueEntry>,
    },

    /// Opens a session of a member: the answer has its number, which uploads begin with.
    OpenSession {
        /// The member.
        raft_id: u64,
        /// How long it lasts without a renewal, in milliseconds.
        ttl_ms: u64,
    },
    /// Keeps a session.
    RenewSession {
        /// Which.
        session: u64,
    },
    /// Ends a session; of none, nothing happens.
    CloseSession {
        /// Which.
        session: u64,
    },
    /// Makes an upload of an open session outlive that session.
    BeginUpload {
        /// Which.
        upload: OwnerId,
        /// How long it lasts without a renewal, in milliseconds.
        ttl_ms: u64,
    },
    /// Keeps an upload.
    RenewUpload {
        /// Which.
        upload: OwnerId,
    },
    /// Ends an upload, done or not; of none, nothing happens.
    EndUpload {
        /// Which.
        upload: OwnerId,
    },
    /// Ends a lease that nobody renewed.
    Expire {
        /// Which.
        lease: LeaseId,
        /// What the leader saw of [`super::Lease::renewals`].
        renewals: u64,
    },

    /// Takes a lock, or the last place in its queue; keeps what the owner has of it already.
    LockAcquire {
        /// Which.
        name: LockName,
        /// Who asks.
        owner: LockName,
        /// How long the lock, and before it the place, lasts without a renewal, in milliseconds.
        ttl_ms: u64,
    },
    /// Keeps a lock.
    LockRenew {
        /// Which.
        name: LockName,
        /// Who holds it.
        owner: LockName,
        /// The fencing token of the grant.
        fence: u64,
        /// How long it lasts from now on, in milliseconds.
        ttl_ms: u64,
    },
    /// Gives up a lock; the next in the queue has it then.
    LockRelease {
        /// Which.
        name: LockName,
        /// Who holds it.
        owner: LockName,
        /// The fencing token of the grant.
        fence: u64,
    },
    /// Gives up a place in the queue; without one, nothing happens.
    LockWithdraw {
        /// Which.
        name: LockName,
        /// Who waits.
        owner: LockName,
    },

    /// Makes a ticket. For administrators.
    Invite {
        /// SHA-256 of its secret.
        secret_hash: [u8; 32],
        /// Until when it may be used.
        expires: WallTime,
        /// For whom.
        label: Label,
    },
    /// Takes a ticket back. For administrators.
    RevokeTicket {
        /// Which.
        id: u64,
    },
    /// Makes a peer a member; uses up the ticket.
    Join {
        /// SHA-256 of the ticket's secret.
        secret_hash: [u8; 32],
        /// The peer. It begins active, now, whatever is said here.
        member: Member,
    },
    /// Changes a member. For administrators.
    SetMember {
        /// Which.
        raft_id: u64,
        /// Change of the name.
        name: Option<DisplayName>,
        /// Change of the zone.
        zone: Option<Zone>,
        /// Change of the capacity.
        capacity_bytes: Option<u64>,
    },
    /// Says where a member is reached.
    SetAddresses {
        /// Which.
        raft_id: u64,
        /// All its addresses.
        addresses: Vec<String>,
    },
    /// Makes a member give its blocks to others. For administrators.
    Drain {
        /// Which.
        raft_id: u64,
    },
    /// Makes a draining or drained member active again. For administrators.
    Undrain {
        /// Which.
        raft_id: u64,
    },
    /// Says that a draining member holds nothing that others do not hold.
    Drained {
        /// Which.
        raft_id: u64,
    },
    /// Removes a member; its id can never come back. For administrators.
    RemoveMember {
        /// Which.
        raft_id: u64,
    },

    /// Replaces the topology, if it is still the one that this was computed from.
    SetTopology {
        /// The epoch it was computed from.
        base: Epoch,
        /// The new one, of a higher epoch.
        topology: Topology,
    },
    /// Forgets earlier topologies.
    RetireTopologies {
        /// Those of lower epochs go, but never the current one.
        before: Epoch,
    },

    /// As [`Op::DeleteVersion`], if that version is as the asker wants it to be. Made only where there is a precondition:
    /// peers of earlier builds know the other one alone.
    DeleteVersionIf {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
        /// Which.
        version: u64,
        /// Of that version, whether it is current or not.
        precondition: Precondition,
    },
    /// Says with which key the cluster signs its catalog: the one that its id was made from. Only once.
    SetCatalogKey {
        /// The secret: [`crate::catalog::ClusterKey::from_seed`].
        seed: [u8; 32],
    },
}
