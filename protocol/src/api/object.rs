//! Objects, their versions, and the buckets they are in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One version of an object: the current one in listings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Object {
    /// Its bucket; null for content without a name.
    pub bucket: Option<String>,
    /// Its key; null for content without a name.
    pub key: Option<String>,
    /// The root of its content; null for a delete marker.
    pub cid: Option<String>,
    /// Bytes of its content.
    pub size: u64,
    /// Which version this is, a decimal number that only grows; null for content without a name.
    pub version: Option<String>,
    /// Media type of its content.
    pub content_type: String,
    /// The user who wrote it.
    pub owner: String,
    /// Names and values for people and searches.
    pub tags: BTreeMap<String, String>,
    /// When this version was written, RFC 3339.
    pub modified: String,
    /// Whether others than members may find and read it.
    #[serde(default)]
    pub public: bool,
    /// Whether this version is the one that a read without a version gets.
    #[serde(default)]
    pub current: bool,
    /// Whether this version says that the object was deleted.
    #[serde(default)]
    pub deleted: bool,
}

/// A page of a bucket: answer to `GET objects/{bucket}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Listing {
    /// In order of their keys.
    pub objects: Vec<Object>,
    /// What keys have in common up to the delimiter, in order, where one was asked for.
    pub prefixes: Vec<String>,
    /// What to pass as `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// A page of versions of one object, newest first: answer to `GET versions/{bucket}/{key}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Versions {
    /// Newest first, delete markers included.
    pub versions: Vec<Object>,
    /// What to pass as `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// Names a version of an object, or its current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Which version; the current one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What is done to an object without sending its bytes: body of `POST objects/{bucket}/{key}`.
/// Preconditions (`If-Match`, `If-None-Match`) are of the object in the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum ObjectOp {
    /// Gives the object the content of another one.
    Copy {
        /// The other one.
        from: Source,
        /// New tags; those of the other one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tags: Option<BTreeMap<String, String>>,
        /// New media type; that of the other one when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
    },
    /// Gives another object's name to this one; the other name is deleted in the same step.
    Move {
        /// The other one. A version cannot be moved.
        from: Source,
    },
    /// Makes an older version the current one again, as a new version.
    Restore {
        /// Which.
        version: String,
    },
    /// Names content that was uploaded before (`POST content`, or blocks of a tree).
    Name {
        /// Its root.
        cid: String,
        /// The upload it came with.
        upload: String,
        /// Bytes of the content.
        size: u64,
        /// Tags.
        #[serde(default)]
        tags: BTreeMap<String, String>,
        /// Media type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
        /// Whether others than members may find and read it.
        #[serde(default)]
        public: bool,
    },
    /// Changes what is said of the object. What is absent stays.
    Set {
        /// All its tags.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tags: Option<BTreeMap<String, String>>,
        /// Its media type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
        /// Whether others than members may find and read it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public: Option<bool>,
    },
}

/// Answer to `DELETE objects/{bucket}/{key}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// The delete marker, or the version that was removed; null when there was no such object.
    pub version: Option<String>,
    /// Whether there was something to delete.
    pub existed: bool,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The user who may write in it.
    pub owner: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Objects in it.
    pub objects: u64,
    /// Versions of them, delete markers included.
    pub versions: u64,
    /// Bytes of all versions, each counted whole.
    pub bytes: u64,
    /// Versions kept of one object; null for all.
    pub keep_versions: Option<u32>,
    /// Bytes of all versions it may have; null for no bound.
    pub quota_bytes: Option<u64>,
    /// Objects it may have; null for no bound.
    pub quota_objects: Option<u64>,
}

/// A page of buckets: answer to `GET buckets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Buckets {
    /// In order of their names.
    pub buckets: Vec<Bucket>,
    /// What to pass as `after` for the next page; null at the end.
    pub next: Option<String>,
}

/// What changes about a bucket: body of `PUT` and `PATCH buckets/{name}`. What is absent stays; 0 takes a bound away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetBucket {
    /// The user who may write in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Versions kept of one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_versions: Option<u32>,
    /// Bytes of all versions it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// Objects it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_objects: Option<u64>,
}

/// An upload over several requests: answer to `POST uploads`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadBegun {
    /// Its id, which the requests of it carry.
    pub upload: String,
    /// When it is given up without a request that carries it, in milliseconds.
    pub expires_in_ms: u64,
}
