//! Refusals: why a command was not carried out, and what to do about it.
//!
//! A refusal changes nothing. Its kind and its text are the same wherever it is told.
//! Never: failures of a peer; those are [`super::ApplyError`].

use core::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::lease::LeaseId;
use super::name::{BucketName, LockName, ObjectKey, UserName};
use crate::error::{Fault, Kind};
use crate::format::{FormatError, decode, encode};
use crate::limits::ANSWER_BYTES_MAX;
use crate::topology::Epoch;
use crate::{Cid, OwnerId, PeerId, WallTime};

/// Something whose number is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bounded {
    /// Users of the cluster.
    Users,
    /// Tokens of one user.
    Tokens,
    /// Buckets of the cluster.
    Buckets,
    /// Members of the cluster.
    Members,
    /// Tickets that are remembered.
    Tickets,
    /// Leases at a time.
    Leases,
    /// Waiters of one lock.
    Waiters,
}

/// A bound of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quota {
    /// Bytes of all versions.
    Bytes,
    /// Objects.
    Objects,
}

/// What somebody was not allowed to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Need {
    /// Only administrators may.
    Admin,
    /// Only the owner of the bucket, or an administrator, may.
    BucketOwner {
        /// Which bucket.
        bucket: BucketName,
    },
    /// Only whose it is, or an administrator, may.
    Owner {
        /// Whose it is.
        user: UserName,
    },
    /// Only a user may, not a peer for itself.
    User,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// There is no cluster yet.
    #[error("the cluster is not founded yet: found it, or join one with a ticket")]
    NotFounded,
    /// There is one already.
    #[error("the cluster is founded already: join it with a ticket")]
    AlreadyFounded,
    /// A value that is never right.
    #[error("{detail}")]
    Invalid {
        /// Which, and what it may be.
        detail: String,
    },
    /// The asker is no user, any more.
    #[error("there is no user {user} any more: ask an administrator for a token of another")]
    UnknownActor {
        /// Who.
        user: UserName,
    },
    /// The asker may not.
    #[error("{actor} may not do this: {}", needed(need))]
    Denied {
        /// Who asked.
        actor: String,
        /// Who may.
        need: Need,
    },
    /// There are as many as there may be.
    #[error("{}: the limit is {limit}", bounded(*what))]
    TooMany {
        /// Of what.
        what: Bounded,
        /// How many there may be.
        limit: u64,
    },

    /// The name is taken.
    #[error("user {user} exists already: choose another name")]
    UserExists {
        /// Which.
        user: UserName,
    },
    /// No such user.
    #[error("there is no user {user}: `shoal user ls` shows those there are")]
    NoUser {
        /// Which.
        user: UserName,
    },
    /// The user owns buckets.
    #[error("user {user} owns {buckets} buckets: remove them or give them to another user first")]
    UserOwnsBuckets {
        /// Which.
        user: UserName,
        /// How many.
        buckets: u64,
    },
    /// Nobody could do anything any more.
    #[error(
        "without this, nobody could administer the cluster: give another administrator than {user} a token first, or {user} another one"
    )]
    LastAdmin {
        /// Which.
        user: UserName,
    },
    /// Two tokens would have one secret.
    #[error("a token with this secret exists already: make one with another secret")]
    TokenExists,
    /// No such token.
    #[error("there is no token {id}: it may have been revoked already")]
    NoToken {
        /// Which.
        id: u64,
    },

    /// The name is taken.
    #[error("bucket {bucket} exists already and belongs to {owner}: choose another name")]
    BucketExists {
        /// Which.
        bucket: BucketName,
        /// Whose it is.
        owner: UserName,
    },
    /// No such bucket.
    #[error("there is no bucket {bucket}: create it with `shoal bucket create {bucket}`")]
    NoBucket {
        /// Which.
        bucket: BucketName,
    },
    /// The bucket is not empty.
    #[error(
        "bucket {bucket} holds {objects} objects and {versions} versions: remove them first; versions of deleted objects go by themselves after the grace period"
    )]
    BucketNotEmpty {
        /// Which.
        bucket: BucketName,
        /// Objects in it.
        objects: u64,
        /// Versions of objects and of deleted ones.
        versions: u64,
    },
    /// A bound of the bucket would be exceeded.
    #[error("bucket {bucket} may have {limit} {}: remove some, or raise its quota", quota_unit(*quota))]
    QuotaExceeded {
        /// Which.
        bucket: BucketName,
        /// Which bound.
        quota: Quota,
        /// The bound.
        limit: u64,
    },
    /// No such object, or it was deleted.
    #[error("there is no object {bucket}/{key}")]
    NoObject {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
    },
    /// No such version, or it is a delete marker.
    #[error("{bucket}/{key} has no content of version {version}: list its versions")]
    NoVersion {
        /// Its bucket.
        bucket: BucketName,
        /// Its key.
        key: ObjectKey,
        /// Which.
        version: u64,
    },
    /// The object is in another state than the asker wants it to be.
    #[error("the precondition failed: {}; read it again and decide anew", state(current.as_ref()))]
    PreconditionFailed {
        /// What it is in: version and root; none: there is no such object.
        current: Option<(u64, Cid)>,
    },
    /// Nobody keeps the blocks of the upload any more.
    #[error("upload {upload} has ended, and its blocks may be gone: upload the content again")]
    UploadExpired {
        /// Which.
        upload: OwnerId,
    },
    /// An upload is one content.
    #[error("upload {upload} is of {root} with {size} bytes: make an upload for each content")]
    UploadMismatch {
        /// Which.
        upload: OwnerId,
        /// What it is of.
        root: Cid,
        /// How many bytes that has.
        size: u64,
    },
    /// The content is not kept without a name.
    #[error("{root} is not kept by its CID alone: it may have a name, or be gone already")]
    NoPin {
        /// Which.
        root: Cid,
    },

    /// A lease has ended.
    #[error("the lease of {lease} was lost: what it protected may be somebody else's now")]
    LeaseLost {
        /// Which.
        lease: LeaseId,
    },

    /// No such ticket.
    #[error(
        "the ticket is unknown: it was never made by this cluster, or is long gone; ask for a new one"
    )]
    TicketUnknown,
    /// No such ticket to take back.
    #[error("there is no ticket {id}: it may be gone already")]
    NoTicket {
        /// Which.
        id: u64,
    },
    /// Two tickets would have one secret.
    #[error("a ticket with this secret exists already: make one with another secret")]
    TicketExists,
    /// The ticket came too late.
    #[error("the ticket expired: ask for a new one (`shoal cluster invite`)")]
    TicketExpired {
        /// When it ended.
        expires: WallTime,
    },
    /// The ticket was used.
    #[error("the ticket was used by another peer, and works once: ask for a new one")]
    TicketUsed,
    /// The ticket was taken back.
    #[error("the ticket was revoked: ask for a new one")]
    TicketRevoked,
    /// The id was removed, and may never vote again.
    #[error(
        "this peer (raft id {raft_id:x}) was removed from the cluster: start it with an empty data directory and a new ticket"
    )]
    MemberRemoved {
        /// Which.
        raft_id: u64,
    },
    /// Another peer has this id.
    #[error(
        "raft id {raft_id:x} belongs to another peer: a data directory was copied; start this one with an empty data directory"
    )]
    MemberExists {
        /// Which.
        raft_id: u64,
    },
    /// The peer is a member under another id.
    #[error("peer {peer} is a member with another data directory: remove that member first")]
    PeerIsMember {
        /// Which.
        peer: PeerId,
    },
    /// No such member.
    #[error(
        "there is no member with raft id {raft_id:x}: `shoal cluster peers` shows those there are"
    )]
    NoMember {
        /// Which.
        raft_id: u64,
    },
    /// The cluster would be gone.
    #[error("this is the last member: a cluster cannot be without one")]
    LastMember,
    /// The member is not draining.
    #[error("member with raft id {raft_id:x} is not draining")]
    NotDraining {
        /// Which.
        raft_id: u64,
    },
    /// Somebody else was first.
    #[error("the topology is of epoch {} by now: compute it anew", current.0)]
    EpochMoved {
        /// The current epoch.
        current: Epoch,
    },

    /// The token is not valid any more.
    #[error("the token with id {id} was revoked, or its user removed: ask with another one")]
    TokenRevoked {
        /// Which.
        id: u64,
    },
    /// Whoever holds a lock waits for it no more.
    #[error("{owner} holds {name}: release needs the fence of the grant")]
    HoldsLock {
        /// The lock.
        name: LockName,
        /// Its holder.
        owner: LockName,
    },
}

fn needed(need: &Need) -> String {
    match need {
        Need::Admin => "it takes an administrator".to_owned(),
        Need::BucketOwner { bucket } => {
            format!("it takes the owner of bucket {bucket} or an administrator")
        }
        Need::Owner { user } => format!("it takes {user} or an administrator"),
        Need::User => "it takes a user".to_owned(),
    }
}

const fn bounded(what: Bounded) -> &'static str {
    match what {
        Bounded::Users => "too many users: remove some first",
        Bounded::Tokens => "too many tokens of this user: revoke some first",
        Bounded::Buckets => "too many buckets: remove some first",
        Bounded::Members => "too many members: remove some first",
        Bounded::Tickets => {
            "too many tickets: wait until some are forgotten, a day after their end"
        }
        Bounded::Leases => "too many leases (locks, places, uploads): try again later",
        Bounded::Waiters => "too many wait for this lock: try again later",
    }
}

const fn quota_unit(quota: Quota) -> &'static str {
    match quota {
        Quota::Bytes => "bytes",
        Quota::Objects => "objects",
    }
}

fn state(current: Option<&(u64, Cid)>) -> String {
    match current {
        Some((version, root)) => format!("the object is at version {version} with content {root}"),
        None => "there is no such object".to_owned(),
    }
}

impl Refusal {
    /// Returns what to do about it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::NotFounded => Kind::Unavailable,
            Self::Invalid { .. } | Self::HoldsLock { .. } => Kind::Invalid,
            Self::UnknownActor { .. }
            | Self::TokenRevoked { .. }
            | Self::Denied { .. }
            | Self::TicketUnknown
            | Self::TicketExpired { .. }
            | Self::TicketUsed
            | Self::TicketRevoked
            | Self::MemberRemoved { .. } => Kind::Denied,
            Self::TooMany { what, .. } => match what {
                Bounded::Leases | Bounded::Waiters => Kind::Busy,
                Bounded::Users
                | Bounded::Tokens
                | Bounded::Buckets
                | Bounded::Members
                | Bounded::Tickets => Kind::Full,
            },
            Self::QuotaExceeded { .. } => Kind::Full,
            Self::NoUser { .. }
            | Self::NoToken { .. }
            | Self::NoBucket { .. }
            | Self::NoObject { .. }
            | Self::NoVersion { .. }
            | Self::NoPin { .. }
            | Self::NoTicket { .. }
            | Self::NoMember { .. } => Kind::NotFound,
            Self::PreconditionFailed { .. } => Kind::Precondition,
            Self::AlreadyFounded
            | Self::UserExists { .. }
            | Self::UserOwnsBuckets { .. }
            | Self::LastAdmin { .. }
            | Self::TokenExists
            | Self::BucketExists { .. }
            | Self::BucketNotEmpty { .. }
            | Self::UploadExpired { .. }
            | Self::UploadMismatch { .. }
            | Self::LeaseLost { .. }
            | Self::TicketExists
            | Self::MemberExists { .. }
            | Self::PeerIsMember { .. }
            | Self::LastMember
            | Self::NotDraining { .. }
            | Self::EpochMoved { .. } => Kind::Conflict,
        }
    }

    /// Returns the bytes of this refusal.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] beyond [`ANSWER_BYTES_MAX`].
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        encode("a refusal", self, ANSWER_BYTES_MAX)
    }

    /// Returns the refusal of its bytes.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        decode("a refusal", bytes, ANSWER_BYTES_MAX)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let kind = refusal.kind();
        // Guess: a lease or a place is given up within a second where so many are in use.
        let retry_after = matches!(kind, Kind::Busy).then_some(Duration::from_secs(1));
        Self { kind, detail: refusal.to_string(), retry_after }
    }
}
