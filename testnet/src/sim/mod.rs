//! The second ring of doubt: the real daemon code over a machine that is made up from a seed.
//!
//! A seed decides everything: delays, losses, crashes, what a power cut leaves on a disk. Two runs of one
//! seed print the same digest. Owns the virtual clock, the network and the disks of a run.
//! Never: reads the machine's clock, entropy, files or sockets.

pub mod agreement;
#[cfg(test)]
mod answers_test;
mod chance;
mod clock;
mod command;
mod disk;
pub mod history;
mod lock;
mod machine;
mod net;
mod oracle;
pub mod overlay;
pub mod placement;
pub mod properties;
pub mod regressions;
pub mod scenario;
pub mod steal;
mod trace;
mod world;
#[cfg(test)]
mod world_test;

pub use clock::Clock;
pub use command::{Defect, SimArgs, main};
pub use disk::{AgreementCopy, Device, DiskHabits, SimDisk, SimFile, SimView};
pub use machine::{Loss, Machine, SimEnv};
pub use net::{LinkHabits, Network, SimNet};
pub use oracle::{Object, Oracle, Stats};
pub use trace::Trace;
pub use world::{World, run};
