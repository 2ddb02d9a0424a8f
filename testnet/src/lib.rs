//! What doubts Shoal: local clusters of real processes, simulation, faults and measurements.

pub mod bench;
pub mod chaos;
pub mod content;
pub mod harness;
pub mod http;
mod process;
pub mod sim;
