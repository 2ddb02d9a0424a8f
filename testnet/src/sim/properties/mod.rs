//! What must hold in every run, whatever the seed does: one property of `design.md`, one file.
//!
//! Each file takes what was observed and returns the violation, if it is one. Never: observes by itself.

pub mod agreed;
pub mod genuine;
pub mod heals;
pub mod kept;
pub mod named;
pub mod readable;
pub mod redundant;
pub mod synced;
mod violation;

pub use violation::{Property, Violation};
