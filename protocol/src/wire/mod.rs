//! What peers say to each other: frames, messages, versions.
//!
//! `protocol/README.md` is the specification of the same. Decoders refuse before they allocate, and never
//! panic. Never: IO; the drivers move the bytes.

mod frame;
mod message;

pub use frame::{Frame, FrameError, FrameHeader, VERSION};
pub use message::{
    BlockOutcome, GossipEntry, GossipState, Message, Notice, Reply, Request, WireError,
};
