//! The queue of work of this peer: kept on the disk, lent to idle peers, borrowed from busy ones.
//!
//! One task owns the machine [`protocol::work::Queue`] and the map [`crate::env::Map::Jobs`]; the rest of the program holds
//! [`Work`], and gets tasks to carry out. Never: decides what is lent to whom; does a job.

mod handle;
mod metrics;
mod rows;
mod task;

pub(crate) use handle::{Inbox, Task};
pub use handle::{LetterWish, Work};
pub use metrics::WorkMetrics;
pub(crate) use task::{Suiting, run};
