//! The index that searches look into: what objects are called, and what is said of them.
//!
//! Home of tantivy. All of it is derived from what the cluster agrees on: it says how far it reflects that, and whoever doubts it
//! removes it and makes it anew. Never: asked whether an object exists; holds up a write.

mod document;
mod handle;
mod query;

pub use document::{Document, Id};
pub use handle::{Found, Hit, Index, IndexChange, Page};

#[cfg(test)]
mod index_test;
