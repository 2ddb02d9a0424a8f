//! A network that loses, repeats, delays, reorders and partitions, as the daemon's contract with it allows.

mod handle;
mod hub;
mod link;
#[cfg(test)]
mod members_tests;
mod station;
#[cfg(test)]
mod tests;

pub use handle::SimNet;
pub use hub::Network;
pub use link::LinkHabits;
