//! What the peers of an agreement write down and tell each other: Raft's values, and the letters between peers.
//!
//! Beside them, what a peer concludes of its touch with the others, and of the age of its directory. Never: decides what
//! is agreed on; that is the library's (`openraft`, in `node::meta`), and [`crate::metadata`]'s.
//! Source: D. Ongaro, Consensus: Bridging Theory and Practice, 2014.

mod letter;
mod mark;
mod touch;
mod value;

pub use letter::{Answer, Appended, Ask, Candidacy, Letter, Voted, open, seal};
pub use mark::{EARLIER_MARKS_MAX, Mark, Marks, Standing, is_enough, judge};
pub use touch::{OutOfTouch, Touch, quorum_silence};
pub use value::{
    Ballot, Configuration, Configured, Content, Identity, Place, Progress, Record, decode, encode,
};

#[cfg(test)]
mod value_test;
