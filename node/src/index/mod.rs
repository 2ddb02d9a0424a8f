//! The index that searches look into: what objects are called, and what is said of them.
//!
//! Home of tantivy. All of it is derived from what the cluster agrees on: it says how far it reflects that, and whoever doubts it
//! removes it and makes it anew. Never: asked whether an object exists; holds up a write.

mod document;
mod handle;
mod query;

use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::{Fault, Kind};

pub use document::{Document, Id};
pub use handle::{Found, Hit, Index, IndexChange, Page};

/// Does something with an index. What makes its library panic is a fault of the index, which is derived, and no reason to end the
/// peer.
///
/// # Errors
/// Those of `what`, and [`Kind::Internal`] where it panics.
pub fn guarded<T>(what: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(what)).unwrap_or_else(|_| {
        let detail = "an index cannot be read: stop the peer and remove the folders `names` and `catalogs`, which are made anew";
        Err(Fault::new(Kind::Internal, detail))
    })
}

#[cfg(test)]
mod index_test;
