//! Objects as DAGs of blocks: how bytes become blocks, and which blocks a range of bytes needs.
//!
//! UnixFS under the profile `unixfs-v1-2025` (IPIP-0499), so that every IPFS tool computes the same root.
//! Never: fetches or stores a block; hashes a leaf that its caller has hashed already.

mod audit;
#[cfg(test)]
mod audit_test;
mod chunker;
mod content;
pub mod directory;
#[cfg(test)]
mod directory_test;
mod error;
mod file;
mod file_node;
mod hamt;
mod leaves;
pub mod pb;
mod reader;
#[cfg(test)]
mod reader_test;
mod unixfs;
mod way;

pub use audit::{Audit, AuditError, AuditStep, Audited};
pub use chunker::{Chunker, Splitter};
pub use content::Content;
pub use error::DagError;
pub use file::{Block, FileBuilder, Root};
pub use leaves::{Leaf, LeafStep, Leaves};
pub use reader::{ByteRange, Reader, Wanted};
pub use way::Ways;
