//! The disk driver: RocksDB for the maps, plain files for segments.
//!
//! The one home of the package `rocksdb`. Blocking calls run on a fixed number of threads of its own, each
//! behind a bounded queue, and never on the runtime's: one writes the index of each home, many writes sharing a
//! sync; one writes files; a few read. Never: retries a failed sync. From the first failure on every call fails.

mod driver;
mod file;
mod index;
mod lane;
mod recovery;
mod view;
mod writer;

pub use driver::RealDisk;
pub use file::RealFile;
pub use view::RealView;
