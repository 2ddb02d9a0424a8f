//! What doubts Shoal: local clusters of real processes, simulation, faults and measurements.

pub mod bench;
pub mod chaos;
pub mod content;
pub mod harness;
pub mod http;
pub mod plot;
mod process;
pub mod sim;
