//! A disk that forgets what was not synced, tears writes, fills up, slows down and rots.

mod device;
mod file;
mod handle;
mod maps;
#[cfg(test)]
mod tests;

pub use device::{AgreementCopy, Device, DiskHabits};
pub use handle::{SimDisk, SimFile, SimView};
