//! What peers of different clusters ask each other, and are told.
//!
//! Nobody needs to be a member to ask, so no question can name anything that is not public: blocks are asked for by the way that
//! leads to them from a public root. Never: more than fits one message; whoever wants more asks again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{CatalogError, EntryId, SignedEntry};
use crate::format::{Blob, blob, decode, encode};
use crate::limits::{
    CATALOG_CLUSTERS_TOLD_MAX, DAG_DEPTH_MAX, OVERLAY_ANSWER_BYTES_MAX, OVERLAY_IDS_MAX,
    OVERLAY_QUESTION_BYTES_MAX,
};
use crate::{Cid, ClusterId};

/// What somebody of another cluster asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// For the latest heads that this peer knows, its own cluster's first.
    Heads,
    /// For what of this cluster's catalog differs, by the protocol of set reconciliation.
    Reconcile {
        /// Whose catalog.
        cluster: ClusterId,
        /// What the asker has, in short.
        #[serde(with = "blob")]
        message: Bytes,
    },
    /// For entries of this cluster's catalog.
    Entries {
        /// Whose.
        cluster: ClusterId,
        /// Which: at most [`OVERLAY_IDS_MAX`].
        ids: Vec<EntryId>,
    },
    /// For a block of a public object.
    Block {
        /// The object's root.
        root: Cid,
        /// The blocks on the way from the root, which is not among them, to the one that is wanted: each is linked to by the one
        /// before. None: the root itself is wanted.
        path: Vec<Cid>,
    },
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Signed heads: at most [`CATALOG_CLUSTERS_TOLD_MAX`].
    Heads(Vec<Blob>),
    /// What differs, and how the catalog that it was compared with stands.
    Reconcile {
        /// The signed head.
        #[serde(with = "blob")]
        head: Bytes,
        /// The answer of the protocol.
        #[serde(with = "blob")]
        message: Bytes,
    },
    /// The entries that there are, and that fit; the first of those asked for at least.
    Entries(Vec<SignedEntry>),
    /// The block.
    Block(#[serde(with = "blob")] Bytes),
    /// There is no such public object, or it has no such block.
    NotFound,
    /// Not now.
    Busy {
        /// When it may be better.
        retry_after_ms: u32,
    },
}

impl Question {
    /// Returns its bytes.
    ///
    /// # Errors
    /// [`CatalogError::Format`] when it is too long.
    pub fn encode(&self) -> Result<Bytes, CatalogError> {
        Ok(encode("a question", self, OVERLAY_QUESTION_BYTES_MAX)?)
    }

    /// Returns the question of bytes.
    ///
    /// # Errors
    /// [`CatalogError::Format`] when they are none, or ask for too much.
    pub fn decode(bytes: &[u8]) -> Result<Self, CatalogError> {
        let question = decode("a question", bytes, OVERLAY_QUESTION_BYTES_MAX)?;
        let asks_too_much = match &question {
            Self::Entries { ids, .. } => ids.is_empty() || ids.len() > OVERLAY_IDS_MAX,
            Self::Block { path, .. } => path.len() > DAG_DEPTH_MAX,
            Self::Heads | Self::Reconcile { .. } => false,
        };
        if asks_too_much {
            Err(malformed("a question", "it asks for too much"))
        } else {
            Ok(question)
        }
    }
}

impl Answer {
    /// Returns its bytes.
    ///
    /// # Errors
    /// [`CatalogError::Format`] when it is too long.
    pub fn encode(&self) -> Result<Bytes, CatalogError> {
        Ok(encode("an answer", self, OVERLAY_ANSWER_BYTES_MAX)?)
    }

    /// Returns the answer of bytes.
    ///
    /// # Errors
    /// [`CatalogError::Format`] when they are none, or tell more than was asked for.
    pub fn decode(bytes: &[u8]) -> Result<Self, CatalogError> {
        let answer = decode("an answer", bytes, OVERLAY_ANSWER_BYTES_MAX)?;
        let tells_too_much = match &answer {
            Self::Heads(heads) => heads.len() > CATALOG_CLUSTERS_TOLD_MAX,
            Self::Entries(entries) => entries.len() > OVERLAY_IDS_MAX,
            Self::Reconcile { .. } | Self::Block(_) | Self::NotFound | Self::Busy { .. } => false,
        };
        if tells_too_much { Err(malformed("an answer", "it tells too much")) } else { Ok(answer) }
    }
}

fn malformed(what: &'static str, detail: &str) -> CatalogError {
    CatalogError::Format(crate::format::FormatError::Malformed { what, detail: detail.to_owned() })
}
