//! Local clusters of real daemons: started, broken, mended and taken down by name.
//!
//! Owns a folder: `testnet.json`, and for each node its data and its log. Signals only processes whose command
//! line names that folder. Never: knows what daemons do, beyond their being ready.

pub mod cables;
mod daemon;
mod line;
mod net;
mod ports;
mod state;
pub mod tokens;

pub use daemon::{log_tail, program};
pub use net::{Testnet, UpOptions};
pub use state::{ClusterState, NodeState, State};
