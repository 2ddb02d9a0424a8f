//! Blocks that were read lately or often, in memory: read again without a holder or a disk.
//!
//! The one home of the package `moka`. Owns the blocks it keeps. Never: decides that content exists, which
//! whoever looks here has to know otherwise; takes bytes that were not hashed.

mod blocks;
#[cfg(test)]
mod blocks_test;
mod metrics;
mod verified;

pub use blocks::{BlockCache, ENTRY_OVERHEAD_BYTES};
pub use metrics::CacheMetrics;
pub use verified::VerifiedBlock;
