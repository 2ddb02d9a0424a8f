//! Settings of the daemon: file, then environment, then flags, each overriding the one before.
//!
//! The only place that reads the environment. Every fault of every layer is found before any is reported.
//! Never: read again after the start.

mod layers;
mod settings;
mod value;

pub use layers::{Layer, Source, environment, file};
pub use settings::{KEYS, Key, Settings, describe};
