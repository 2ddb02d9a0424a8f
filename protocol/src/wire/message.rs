//! Messages between the peers of a cluster.
//!
//! [`Message`] is what the program handles: checked values. Their Protobuf form is in `schema.rs`,
//! the way between the two in `encoding.rs`. Never: decides what to answer.

use bytes::Bytes;

use crate::error::Fault;
use crate::limits::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX, PEER_ADDRESSES_MAX};
use crate::topology::Zone;
use crate::{Cid, OwnerId, PeerId};
use core::time::Duration;

/// Why a frame is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not Protobuf of this schema.
    #[error("head is not a message")]
    Malformed,
    /// A field is missing, or its value is outside what the protocol allows.
    #[error("field {field} is missing or invalid")]
    Field { field: &'static str },
    /// A list is longer than the protocol allows.
    #[error("field {field} has {found} entries, at most {max} are allowed")]
    TooMany { field: &'static str, found: usize, max: usize },
}

/// Anything that crosses between two peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks for something; the reply carries the same id.
    Request {
        /// Chosen by the asker, unique among its requests under way to this peer and class.
        id: u64,
        /// How long the asker waits, in whole milliseconds on the wire. Work that would end later
        /// may be left undone.
        patience: Duration,
        /// What is asked.
        request: Request,
    },
    /// Answers the request of the same id.
    Reply {
        /// The request's id.
        id: u64,
        /// The answer, or why there is none.
        outcome: Result<Reply, Fault>,
    },
    /// Tells something that wants no answer.
    Notice(Notice),
    /// Says something about work. Whoever wants an answer waits for a message of this kind.
    Work {
        /// A [`crate::work::Message`]: the frame's body.
        body: Bytes,
    },
}

/// What one peer may ask another of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Keep this block, on behalf of an owner. Answered when it is durable.
    PutBlock {
        /// Its name, which the receiver checks.
        cid: Cid,
        /// Who refers to it.
        owner: OwnerId,
        /// Whether it is the root of what the owner uploads.
        root: bool,
        /// Its bytes: the frame's body.
        bytes: Bytes,
    },
    /// Refer to these blocks on behalf of an owner, if you hold them already.
    Claim {
        /// Names, at most [`crate::limits::HAS_CIDS_MAX`].
        cids: Vec<Cid>,
        /// Who refers to them.
        owner: OwnerId,
        /// Whether they are roots of what the owner uploads.
        root: bool,
    },
    /// Give me this block.
    GetBlock {
        /// Its name.
        cid: Cid,
    },
    /// Which of these blocks do you hold?
    HasBlocks {
        /// Names, at most [`crate::limits::HAS_CIDS_MAX`].
        cids: Vec<Cid>,
    },
    /// An owner gives up its references; blocks that nobody else refers to are freed.
    Release {
        /// Who.
        owner: OwnerId,
    },
    /// Which owners refer to this block as their root?
    Owners {
        /// The root.
        cid: Cid,
    },
    /// A message of the peers' agreement (Raft). What it says is the daemon's business.
    Meta {
        /// The message: the frame's body.
        body: Bytes,
    },
    /// A question about inventories.
    Inventory {
        /// A [`crate::repair::Question`]: the frame's body.
        body: Bytes,
    },
}

/// What became of a block that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOutcome {
    /// It is durable now.
    Stored,
    /// It was durable before.
    AlreadyHeld,
}

/// Answers, one per request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Request::PutBlock`].
    Put(BlockOutcome),
    /// To [`Request::Claim`] and [`Request::HasBlocks`]: one answer per CID, in order.
    Held {
        /// Whether it is held.
        held: Vec<bool>,
        /// To a claim: how many bytes it has, 0 where it is not held. Empty where it was not asked, or by an earlier build.
        bytes: Vec<u32>,
    },
    /// To [`Request::GetBlock`]: its bytes, the frame's body. The asker checks them.
    Block(Bytes),
    /// To [`Request::Release`]: how many blocks were freed.
    Released {
        /// Blocks freed.
        blocks: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// To [`Request::Owners`]: at most [`crate::limits::OWNERS_MAX`] of them.
    Owners(Vec<OwnerId>),
    /// To [`Request::Meta`]: the frame's body.
    Meta {
        /// The answer.
        body: Bytes,
    },
    /// To [`Request::Inventory`]: the frame's body.
    Inventory {
        /// A [`crate::repair::Answer`].
        body: Bytes,
    },
}

/// What peers tell each other unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// What the sender knows of peers of the cluster.
    Gossip {
        /// Entries, at most [`crate::limits::GOSSIP_ENTRIES_MAX`].
        entries: Vec<GossipEntry>,
        /// Whether the receiver should tell what it knows in return.
        answer: bool,
    },
}

/// How a peer is doing, by the teller's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GossipState {
    /// Its heartbeat rises.
    Alive,
    /// It said good-bye: not a failure.
    Left,
}

/// What is told of one peer. Entries of one peer are ordered by (incarnation, heartbeat).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipEntry {
    /// Who.
    pub peer: PeerId,
    /// Milliseconds of wall time at its start: a restart makes all earlier entries old.
    pub incarnation: u64,
    /// Counts up while it runs.
    pub heartbeat: u64,
    /// How it is doing.
    pub state: GossipState,
    /// Its name for people: at most [`NAME_BYTES_MAX`] bytes, no control characters.
    pub name: String,
    /// Where it is.
    pub zone: Zone,
    /// Bytes it offers to hold.
    pub capacity_bytes: u64,
    /// Bytes it holds.
    pub used_bytes: u64,
    /// Multiaddresses it listens on, at most [`PEER_ADDRESSES_MAX`]. See [`is_address`].
    pub addresses: Vec<String>,
}

impl GossipEntry {
    /// Checks the parts that their types leave open: name and addresses.
    ///
    /// # Errors
    /// [`WireError::Field`] or [`WireError::TooMany`].
    pub fn validate(&self) -> Result<(), WireError> {
        if self.name.len() > NAME_BYTES_MAX || self.name.chars().any(char::is_control) {
            return Err(WireError::Field { field: "entry.name" });
        }
        let found = self.addresses.len();
        if found > PEER_ADDRESSES_MAX {
            let (field, max) = ("entry.addresses", PEER_ADDRESSES_MAX);
            return Err(WireError::TooMany { field, found, max });
        }
        if !self.addresses.iter().all(|address| is_address(address)) {
            return Err(WireError::Field { field: "entry.addresses" });
        }
        Ok(())
    }
}

/// Says whether a text may travel as an address: at most [`ADDRESS_BYTES_MAX`] bytes, a slash in
/// front, no white space or control characters. Whether it can be dialled is the network driver's
/// to say.
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.len() <= ADDRESS_BYTES_MAX
        && text.starts_with('/')
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
}
