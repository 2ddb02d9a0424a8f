//! The block store: blocks and who refers to them, on one disk.
//!
//! Blocks of [`StoreSettings::small_block_bytes`] and more lie as records in append-only segment files, many
//! puts sharing one sync; smaller ones lie in the index. One task, the writer, owns every change; readers
//! go to the disk past it. What is acknowledged is durable. The index of a segment may lag behind its file
//! after a crash: recovery reads the end of the file again. `protocol/README.md` has the formats.
//! Never: checks that bytes hash to their CID on a put (the caller did), and never retries a failed sync.

mod command;
mod depart;
#[cfg(test)]
mod depart_test;
mod draft;
mod error;
mod group;
mod handle;
mod inventory;
#[cfg(test)]
mod inventory_test;
mod metrics;
#[cfg(test)]
mod model_test;
mod read;
#[cfg(test)]
mod real_test;
mod reclaim;
mod recovery;
mod release;
mod scrub;
#[cfg(test)]
mod scrub_test;
mod segment;
mod settings;
#[cfg(test)]
mod store_test;
mod task;
#[cfg(test)]
pub(crate) mod testing;

pub use depart::{Departed, Proviso};
pub use error::StoreError;
pub use handle::{Store, start};
pub use inventory::{Rows, RowsWanted};
pub use metrics::StoreMetrics;
pub use scrub::Indexed;
pub use settings::{Planted, StoreSettings, Usage};
