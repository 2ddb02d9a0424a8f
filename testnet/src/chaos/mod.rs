//! Faults and bad input on real processes: scenarios that break something and see what a client sees.
//!
//! Each scenario starts a small network of its own in a temporary folder and takes it down, also when it
//! fails. Nothing here waits for a fixed time: conditions are looked at until they hold or a deadline passes.
//! Never: links the daemon; it is known by its ports, its files and its log alone.

mod appends;
mod ask;
mod backlog;
mod cached;
mod catalogs;
mod client;
mod crash;
mod crowd;
mod cut;
mod drops;
mod edit;
mod full;
mod heal;
mod histories;
mod hostile;
mod joins;
mod leader;
mod letters;
mod locks;
mod members;
mod paused;
mod requests;
mod restored;
mod rot;
mod runner;
mod scale;
mod scrub;
mod search;
mod segments;
mod settings;
mod space;
mod stage;
mod steady;
mod steal;
mod stress;
mod tickets;
mod tmpfs;
mod twenty;
mod unread;
mod users;
mod vectors;
mod views;
pub(crate) mod wait;
mod winners;

pub use runner::{Share, list, run};
