//! Catalogs: what clusters tell each other of their public objects.
//!
//! A cluster signs heads, which are small and go to everybody, and entries, which whoever wants them pulls by what differs.
//! Never: sends or stores; says what is public, which [`crate::metadata`] does.

mod book;
mod entry;
mod head;
mod key;
mod message;
mod pace;
mod reconcile;

pub use book::{Book, BookLimits, Heard, Kept, Known, Pull, Pulled, Reach};
pub use entry::{Entry, EntryId, SignedEntry};
pub use head::{Head, Standing};
pub use key::{ClusterKey, PublicKey, SIGNATURE_BYTES};
pub use message::{Answer, Question};
pub use pace::refresh_period;
pub use reconcile::{Differs, Items, Pulling};

use crate::format::FormatError;

/// Why something of a catalog is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// It is too long, or nothing of the kind.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its cluster did not sign it.
    #[error("{what} is not signed by its cluster")]
    Signature {
        /// What.
        what: &'static str,
    },
    /// It names more contacts than it may, or what is none.
    #[error("a head names contacts that nobody can be reached by")]
    Contacts,
    /// The other side does not go by the protocol of reconciliation.
    #[error("catalogs cannot be compared: {detail}")]
    Reconcile {
        /// What it did.
        detail: String,
    },
}

#[cfg(test)]
mod book_test;
#[cfg(test)]
mod catalog_test;
#[cfg(test)]
mod model_test;
