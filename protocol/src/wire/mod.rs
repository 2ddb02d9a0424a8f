//! What peers say to each other: frames, messages, versions.
//!
//! `protocol/README.md` is the specification of the same. Decoders refuse before they allocate, and
//! never panic. Never: IO; the drivers move the bytes.

mod class;
mod encoding;
mod frame;
mod message;
mod schema;

pub use class::{Class, protocol_name};
pub use frame::{Frame, FrameError, FrameHeader, VERSION};
pub use message::{
    BlockOutcome, GossipEntry, GossipState, Message, Notice, Reply, Request, WireError, is_address,
};
