//! The default scenario of the simulation: uploads and downloads while everything below them fails.

mod clients;
mod cluster;
mod faults;
#[cfg(test)]
mod faults_test;
mod plan;
mod storm;
mod verdict;

pub use faults::{Options, Outcome, Plant, run};
