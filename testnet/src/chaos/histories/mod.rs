//! Histories of many clients under faults, each judged by a linearizability checker.
//!
//! Clients write down when each operation began and ended and what came of it; nothing else is trusted. Objects of
//! one prefix are one history, and so is a lock: what does not touch does not have to be judged together. Histories
//! are kept short, because judging is exponential at worst: a prefix that had enough is followed by a new one.
//! Never: asks the daemons which order was the real one.

mod client;
mod directory;
mod judge;
mod lock;
mod places;
mod record;
mod scenario;
mod storm;

pub(super) use scenario::run;
