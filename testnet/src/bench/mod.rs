//! Benchmarks of real daemons and of the real client, beside what the machine can do at best.
//!
//! Each brings up networks of its own in a folder of its own and takes them down again; that of the cache needs none.
//! Never: judges speed by a fixed number; machines differ, so raw figures of the same run stand beside it.

mod cache;
mod client;
mod command;
mod meta;
mod moves;
mod raw;
mod readers;
mod repair;
mod report;
pub(crate) mod scratch;
mod search;
mod slow;
mod spread;
pub(crate) mod stock;
mod survival;
mod throughput;

pub use command::{BenchArgs, main, needs_cables};
