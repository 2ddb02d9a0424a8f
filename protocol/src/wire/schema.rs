//! The Protobuf form of messages, as `protocol/README.md` specifies it.
//!
//! Plain fields, nothing checked; only `encoding.rs` touches them. A field number is never used
//! again for another purpose, and unknown fields are skipped. Lists of messages are declared as
//! lists of bytes, which is the same on the wire: so that their length is checked before the
//! elements are parsed.
//! Never: leaves this folder.

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Head {
    #[prost(oneof = "Payload", tags = "1, 2, 3, 4")]
    pub(super) payload: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Payload {
    #[prost(message, tag = "1")]
    Request(Request),
    #[prost(message, tag = "2")]
    Reply(Reply),
    #[prost(message, tag = "3")]
    Gossip(Gossip),
    /// The message is the frame's body.
    #[prost(message, tag = "4")]
    Work(Empty),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(uint64, tag = "2")]
    pub(super) patience_ms: u64,
    #[prost(oneof = "RequestKind", tags = "3, 4, 5, 6, 7, 8, 9, 10")]
    pub(super) kind: Option<RequestKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum RequestKind {
    #[prost(message, tag = "3")]
    PutBlock(PutBlock),
    #[prost(message, tag = "4")]
    Claim(Claim),
    #[prost(message, tag = "5")]
    GetBlock(OneCid),
    #[prost(message, tag = "6")]
    HasBlocks(Cids),
    #[prost(message, tag = "7")]
    Release(Owner),
    #[prost(message, tag = "8")]
    Owners(OneCid),
    /// The message is the frame's body.
    #[prost(message, tag = "9")]
    Meta(Empty),
    /// The question is the frame's body.
    #[prost(message, tag = "10")]
    Inventory(Empty),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PutBlock {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) cid: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) owner: Bytes,
    #[prost(bool, tag = "3")]
    pub(super) root: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Claim {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) cids: Vec<Bytes>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) owner: Bytes,
    #[prost(bool, tag = "3")]
    pub(super) root: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OneCid {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) cid: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Cids {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) cids: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Owner {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) owner: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Reply {
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(oneof = "Outcome", tags = "2, 3, 4, 5, 6, 7, 8, 9")]
    pub(super) outcome: Option<Outcome>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Outcome {
    #[prost(message, tag = "2")]
    Fault(Fault),
    /// 1: stored, 2: already held.
    #[prost(uint32, tag = "3")]
    Put(u32),
    #[prost(message, tag = "4")]
    Held(Held),
    /// The block is the frame's body.
    #[prost(message, tag = "5")]
    Block(Empty),
    #[prost(message, tag = "6")]
    Released(Released),
    #[prost(message, tag = "7")]
    Owners(Owners),
    /// The answer is the frame's body.
    #[prost(message, tag = "8")]
    Meta(Empty),
    /// The answer is the frame's body.
    #[prost(message, tag = "9")]
    Inventory(Empty),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Fault {
    #[prost(uint32, tag = "1")]
    pub(super) kind: u32,
    #[prost(string, tag = "2")]
    pub(super) detail: String,
    #[prost(uint64, optional, tag = "3")]
    pub(super) retry_after_ms: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Held {
    #[prost(bool, repeated, tag = "1")]
    pub(super) held: Vec<bool>,
    #[prost(uint32, repeated, tag = "2")]
    pub(super) bytes: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Released {
    #[prost(uint64, tag = "1")]
    pub(super) blocks: u64,
    #[prost(uint64, tag = "2")]
    pub(super) bytes: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Owners {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) owners: Vec<Bytes>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Gossip {
    /// Each an [`Entry`].
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) entries: Vec<Bytes>,
    #[prost(bool, tag = "2")]
    pub(super) answer: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) peer: Bytes,
    #[prost(uint64, tag = "2")]
    pub(super) incarnation: u64,
    #[prost(uint64, tag = "3")]
    pub(super) heartbeat: u64,
    /// 1: alive, 2: left.
    #[prost(uint32, tag = "4")]
    pub(super) state: u32,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(string, tag = "6")]
    pub(super) zone: String,
    #[prost(uint64, tag = "7")]
    pub(super) capacity_bytes: u64,
    #[prost(uint64, tag = "8")]
    pub(super) used_bytes: u64,
    #[prost(string, repeated, tag = "9")]
    pub(super) addresses: Vec<String>,
}
