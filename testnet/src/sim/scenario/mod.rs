//! The default scenario of the simulation: uploads, downloads and requests about names while everything below them fails.

#[cfg(test)]
mod cache_test;
mod clients;
mod cluster;
mod faults;
#[cfg(test)]
mod faults_test;
mod host;
mod operator;
mod plan;
mod redundancy;
mod requests;
#[cfg(test)]
mod spread_test;
mod storm;
#[cfg(test)]
mod unread_test;
mod verdict;

pub use faults::{Options, Outcome, Plant, run};
