//! Where the services meet: what a peer does for somebody, from beginning to end.
//!
//! A flow performs the outputs of a machine of `protocol`; it owns what it needs for one piece of work and
//! nothing longer. Never: decisions, which are the machine's; formats, which are the API's.

mod context;
mod delete;
mod download;
mod metrics;
mod upload;

pub use context::{Context, Planted};
pub use delete::{Freed, delete};
pub use download::{Download, block, download};
pub use metrics::FlowMetrics;
pub use upload::{UploadOptions, Uploaded, put_block, upload};
