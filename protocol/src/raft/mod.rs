//! What the peers of an agreement write down and tell each other: Raft's values, and the letters between peers.
//!
//! Never: decides anything but whether a peer is in touch with the rest; that is the library's (`openraft`, in `node::meta`), and [`crate::metadata`]'s.
//! Source: D. Ongaro, Consensus: Bridging Theory and Practice, 2014.

mod letter;
mod touch;
mod value;

pub use letter::{Answer, Appended, Ask, Blob, Candidacy, Letter, Voted, open, seal};
pub use touch::{OutOfTouch, Touch, quorum_silence};
pub use value::{
    Ballot, Configuration, Configured, Content, Identity, Place, Progress, Record, decode, encode,
};

#[cfg(test)]
mod value_test;
