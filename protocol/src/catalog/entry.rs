//! An entry of a catalog: what a cluster tells everybody of one public object.
//!
//! Never: who wrote it, where its blocks lie, or anything of what is not public.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::CatalogError;
use super::key::{ClusterKey, PublicKey, Signed};
use crate::format::{blob, encode};
use crate::limits::CATALOG_ENTRY_BYTES_MAX;
use crate::metadata::{BucketName, ContentType, ObjectKey, ObjectVersion, Published, Tags};
use crate::{Cid, Codec, WallTime};

/// What names an entry, and all that it says: the SHA-256 of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId(pub [u8; 32]);

/// What a cluster tells of a public object. Its bytes are fixed (see [`crate::format`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Of which beginning of the catalog it is.
    pub epoch: u64,
    /// Which change of the catalog it came with: entries of one catalog have different ones.
    pub sequence: u64,
    /// The object's bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// The root of its content.
    pub root: Cid,
    /// Bytes of its content.
    pub size: u64,
    /// Media type of its content.
    pub content_type: ContentType,
    /// Its tags.
    pub tags: Tags,
    /// When it was written, by the cluster's clock.
    pub modified: WallTime,
}

impl Entry {
    /// Returns the entry of an object; `None` unless it is public and has content.
    #[must_use]
    pub fn of(epoch: u64, published: &Published, version: &ObjectVersion) -> Option<Self> {
        let content = version.content.as_ref().filter(|_| version.public)?;
        Some(Self {
            epoch,
            sequence: published.sequence,
            bucket: published.name.bucket.clone(),
            key: published.name.key.clone(),
            root: content.root,
            size: content.size,
            content_type: content.content_type.clone(),
            tags: version.tags.clone(),
            modified: version.modified,
        })
    }

    /// Returns its id.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId(*Cid::of(Codec::Raw, &self.bytes()).digest())
    }

    /// Returns its bytes, which are the same for everybody.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        // No longer than the longest names and tags together, which is within the bound.
        encode("an entry", self, CATALOG_ENTRY_BYTES_MAX).unwrap_or_default()
    }

    /// Returns it as the cluster stands for it.
    #[must_use]
    pub fn signed(self, key: &ClusterKey) -> SignedEntry {
        let signature = key.sign(Signed::Entry, &self.id().0);
        SignedEntry { entry: self, signature: Bytes::copy_from_slice(&signature) }
    }
}

/// An entry, and its cluster's signature of its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedEntry {
    entry: Entry,
    #[serde(with = "blob")]
    signature: Bytes,
}

impl SignedEntry {
    /// Returns the entry, if the cluster of this key said so.
    ///
    /// # Errors
    /// [`CatalogError::Signature`]
    pub fn checked(self, key: &PublicKey) -> Result<(EntryId, Entry), CatalogError> {
        let id = self.entry.id();
        if !key.has_signed(Signed::Entry, &id.0, &self.signature) {
            return Err(CatalogError::Signature { what: "an entry" });
        }
        Ok((id, self.entry))
    }
}
