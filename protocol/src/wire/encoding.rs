//! Between messages and frames: every field is checked here, in both directions.
//!
//! A head is at most [`FRAME_HEAD_BYTES_MAX`] bytes, which bounds what parsing it can allocate: an
//! empty list element takes 2 bytes on the wire and 32 in memory, so a hostile head grows to 2 MiB
//! for the moment of its parsing (lists double as they grow), and is refused by the limit of its
//! list right after. Blocks are shared with the frame, never copied. Never: decides what to answer.

use bytes::Bytes;
use core::time::Duration;
use prost::Message as _;

use super::frame::Frame;
use super::message::{
    BlockOutcome, GossipEntry, GossipState, Message, Notice, Reply, Request, WireError,
};
use super::schema;
use super::schema::{Outcome, Payload, RequestKind};
use crate::error::{Fault, Kind};
use crate::limits::{
    DETAIL_BYTES_MAX, FRAME_BODY_BYTES_MAX, FRAME_HEAD_BYTES_MAX, GOSSIP_ENTRIES_MAX, HAS_CIDS_MAX,
    OWNERS_MAX, PEER_ADDRESSES_MAX,
};
use crate::topology::Zone;
use crate::{Cid, OwnerId, PeerId};

impl Message {
    /// Returns the frame of this message. Cost: the head is encoded, the body shared.
    ///
    /// The text of a fault is made one line of at most [`DETAIL_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`WireError::TooMany`] or [`WireError::Field`] when the message breaks a limit of the
    /// protocol.
    pub fn encode(&self) -> Result<Frame, WireError> {
        let mut body = Bytes::new();
        let payload = match self {
            Self::Request { id, patience, request } => Payload::Request(schema::Request {
                id: *id,
                patience_ms: millis(*patience),
                kind: Some(encode_request(request, &mut body)?),
            }),
            Self::Reply { id, outcome } => Payload::Reply(schema::Reply {
                id: *id,
                outcome: Some(match outcome {
                    Ok(reply) => encode_reply(reply, &mut body)?,
                    Err(fault) => Outcome::Fault(encode_fault(fault)),
                }),
            }),
            Self::Notice(Notice::Gossip { entries, answer }) => {
                at_most("entries", entries.len(), GOSSIP_ENTRIES_MAX)?;
                let entries = entries.iter().map(encode_entry).collect::<Result<_, _>>()?;
                Payload::Gossip(schema::Gossip { entries, answer: *answer })
            }
            Self::Work { body: message } => {
                body = message.clone();
                Payload::Work(schema::Empty {})
            }
        };
        let head = Bytes::from(schema::Head { payload: Some(payload) }.encode_to_vec());
        fits("head", head.len(), FRAME_HEAD_BYTES_MAX)?;
        fits("body", body.len(), FRAME_BODY_BYTES_MAX)?;
        Ok(Frame { head, body })
    }

    /// Returns the message of a frame. Cost: the head is decoded, the body shared.
    ///
    /// # Errors
    /// Any [`WireError`]; what is allocated on the way is bounded by the size of a head.
    pub fn decode(frame: &Frame) -> Result<Self, WireError> {
        fits("body", frame.body.len(), FRAME_BODY_BYTES_MAX)?;
        let message = match decode_head(frame)? {
            Payload::Request(request) => {
                let kind = request.kind.ok_or(WireError::Field { field: "request.kind" })?;
                Self::Request {
                    id: request.id,
                    patience: Duration::from_millis(request.patience_ms),
                    request: decode_request(kind, &frame.body)?,
                }
            }
            Payload::Reply(reply) => {
                let outcome = reply.outcome.ok_or(WireError::Field { field: "reply.outcome" })?;
                Self::Reply { id: reply.id, outcome: decode_outcome(outcome, &frame.body)? }
            }
            Payload::Gossip(gossip) => {
                at_most("entries", gossip.entries.len(), GOSSIP_ENTRIES_MAX)?;
                let entries = gossip.entries.into_iter().map(decode_entry);
                let entries = entries.collect::<Result<_, _>>()?;
                Self::Notice(Notice::Gossip { entries, answer: gossip.answer })
            }
            Payload::Work(schema::Empty {}) => Self::Work { body: frame.body.clone() },
        };
        if !frame.body.is_empty() && !message.has_body() {
            return Err(WireError::Field { field: "body" });
        }
        Ok(message)
    }

    /// Returns the id of the request in a frame, even if [`Message::decode`] refuses the rest: so
    /// that a question of a later version is refused at once rather than left to time out.
    #[must_use]
    pub fn request_id(frame: &Frame) -> Option<u64> {
        match decode_head(frame).ok()? {
            Payload::Request(request) => Some(request.id),
            Payload::Reply(_) | Payload::Gossip(_) | Payload::Work(_) => None,
        }
    }

    /// Says whether this message carries bytes in the body of its frame.
    const fn has_body(&self) -> bool {
        matches!(
            self,
            Self::Request {
                request: Request::PutBlock { .. }
                    | Request::Meta { .. }
                    | Request::Inventory { .. },
                ..
            } | Self::Reply {
                outcome: Ok(Reply::Block(_) | Reply::Meta { .. } | Reply::Inventory { .. }),
                ..
            } | Self::Work { .. }
        )
    }
}

fn decode_head(frame: &Frame) -> Result<Payload, WireError> {
    // Frames off a stream are bounded by their header; this holds the bound for all others.
    fits("head", frame.head.len(), FRAME_HEAD_BYTES_MAX)?;
    let head = schema::Head::decode(frame.head.clone()).map_err(|_| WireError::Malformed)?;
    head.payload.ok_or(WireError::Field { field: "message" })
}

fn encode_request(request: &Request, body: &mut Bytes) -> Result<RequestKind, WireError> {
    Ok(match request {
        Request::PutBlock { cid, owner, root, bytes } => {
            *body = bytes.clone();
            let (cid, owner) = (encode_cid(cid), encode_owner(owner));
            RequestKind::PutBlock(schema::PutBlock { cid, owner, root: *root })
        }
        Request::Claim { cids, owner, root } => {
            let (cids, owner) = (encode_cids(cids)?, encode_owner(owner));
            RequestKind::Claim(schema::Claim { cids, owner, root: *root })
        }
        Request::GetBlock { cid } => RequestKind::GetBlock(schema::OneCid { cid: encode_cid(cid) }),
        Request::HasBlocks { cids } => {
            RequestKind::HasBlocks(schema::Cids { cids: encode_cids(cids)? })
        }
        Request::Release { owner } => {
            RequestKind::Release(schema::Owner { owner: encode_owner(owner) })
        }
        Request::Owners { cid } => RequestKind::Owners(schema::OneCid { cid: encode_cid(cid) }),
        Request::Meta { body: message } => {
            *body = message.clone();
            RequestKind::Meta(schema::Empty {})
        }
        Request::Inventory { body: question } => {
            *body = question.clone();
            RequestKind::Inventory(schema::Empty {})
        }
    })
}

fn decode_request(kind: RequestKind, body: &Bytes) -> Result<Request, WireError> {
    Ok(match kind {
        RequestKind::PutBlock(put) => Request::PutBlock {
            cid: decode_cid(&put.cid)?,
            owner: decode_owner(&put.owner)?,
            root: put.root,
            bytes: body.clone(),
        },
        RequestKind::Claim(claim) => Request::Claim {
            cids: decode_cids(&claim.cids)?,
            owner: decode_owner(&claim.owner)?,
            root: claim.root,
        },
        RequestKind::GetBlock(get) => Request::GetBlock { cid: decode_cid(&get.cid)? },
        RequestKind::HasBlocks(has) => Request::HasBlocks { cids: decode_cids(&has.cids)? },
        RequestKind::Release(release) => Request::Release { owner: decode_owner(&release.owner)? },
        RequestKind::Owners(owners) => Request::Owners { cid: decode_cid(&owners.cid)? },
        RequestKind::Meta(schema::Empty {}) => Request::Meta { body: body.clone() },
        RequestKind::Inventory(schema::Empty {}) => Request::Inventory { body: body.clone() },
    })
}

/// Checks that there is a length for each block or none at all.
fn check_held(held: &[bool], bytes: &[u32]) -> Result<(), WireError> {
    at_most("held", held.len(), HAS_CIDS_MAX)?;
    if bytes.is_empty() || bytes.len() == held.len() {
        return Ok(());
    }
    Err(WireError::Field { field: "held.bytes" })
}

fn encode_reply(reply: &Reply, body: &mut Bytes) -> Result<Outcome, WireError> {
    Ok(match reply {
        Reply::Put(BlockOutcome::Stored) => Outcome::Put(1),
        Reply::Put(BlockOutcome::AlreadyHeld) => Outcome::Put(2),
        Reply::Held { held, bytes } => {
            check_held(held, bytes)?;
            Outcome::Held(schema::Held { held: held.clone(), bytes: bytes.clone() })
        }
        Reply::Block(bytes) => {
            *body = bytes.clone();
            Outcome::Block(schema::Empty {})
        }
        Reply::Released { blocks, bytes } => {
            Outcome::Released(schema::Released { blocks: *blocks, bytes: *bytes })
        }
        Reply::Owners(owners) => {
            at_most("owners", owners.len(), OWNERS_MAX)?;
            Outcome::Owners(schema::Owners { owners: owners.iter().map(encode_owner).collect() })
        }
        Reply::Meta { body: message } => {
            *body = message.clone();
            Outcome::Meta(schema::Empty {})
        }
        Reply::Inventory { body: answer } => {
            *body = answer.clone();
            Outcome::Inventory(schema::Empty {})
        }
    })
}

fn decode_outcome(outcome: Outcome, body: &Bytes) -> Result<Result<Reply, Fault>, WireError> {
    Ok(Ok(match outcome {
        Outcome::Fault(fault) => return Ok(Err(decode_fault(&fault))),
        Outcome::Put(1) => Reply::Put(BlockOutcome::Stored),
        Outcome::Put(2) => Reply::Put(BlockOutcome::AlreadyHeld),
        Outcome::Put(_) => return Err(WireError::Field { field: "put" }),
        Outcome::Held(schema::Held { held, bytes }) => {
            check_held(&held, &bytes)?;
            Reply::Held { held, bytes }
        }
        Outcome::Block(schema::Empty {}) => Reply::Block(body.clone()),
        Outcome::Meta(schema::Empty {}) => Reply::Meta { body: body.clone() },
        Outcome::Inventory(schema::Empty {}) => Reply::Inventory { body: body.clone() },
        Outcome::Released(released) => {
            Reply::Released { blocks: released.blocks, bytes: released.bytes }
        }
        Outcome::Owners(owners) => {
            at_most("owners", owners.owners.len(), OWNERS_MAX)?;
            let owners = owners.owners.iter().map(decode_owner);
            Reply::Owners(owners.collect::<Result<_, _>>()?)
        }
    }))
}

fn encode_fault(fault: &Fault) -> schema::Fault {
    schema::Fault {
        kind: fault.kind.wire_code(),
        detail: one_line(&fault.detail),
        retry_after_ms: fault.retry_after.map(millis),
    }
}

/// Clips rather than refuses: whoever tells of a failure should be understood.
fn decode_fault(fault: &schema::Fault) -> Fault {
    Fault {
        kind: Kind::from_wire_code(fault.kind),
        detail: one_line(&fault.detail),
        retry_after: fault.retry_after_ms.map(Duration::from_millis),
    }
}

fn encode_entry(entry: &GossipEntry) -> Result<Bytes, WireError> {
    entry.validate()?;
    let entry = schema::Entry {
        peer: Bytes::copy_from_slice(entry.peer.public_key()),
        incarnation: entry.incarnation,
        heartbeat: entry.heartbeat,
        state: match entry.state {
            GossipState::Alive => 1,
            GossipState::Left => 2,
        },
        name: entry.name.clone(),
        zone: entry.zone.name().to_owned(),
        capacity_bytes: entry.capacity_bytes,
        used_bytes: entry.used_bytes,
        addresses: entry.addresses.clone(),
    };
    Ok(entry.encode_to_vec().into())
}

fn decode_entry(bytes: Bytes) -> Result<GossipEntry, WireError> {
    let entry = schema::Entry::decode(bytes).map_err(|_| WireError::Malformed)?;
    at_most("entry.addresses", entry.addresses.len(), PEER_ADDRESSES_MAX)?;
    let key = entry.peer.as_ref().try_into();
    let key = key.map_err(|_| WireError::Field { field: "entry.peer" })?;
    let entry = GossipEntry {
        peer: PeerId::from_public_key(key),
        incarnation: entry.incarnation,
        heartbeat: entry.heartbeat,
        state: match entry.state {
            1 => GossipState::Alive,
            2 => GossipState::Left,
            _ => return Err(WireError::Field { field: "entry.state" }),
        },
        name: entry.name,
        zone: Zone::new(&entry.zone).ok_or(WireError::Field { field: "entry.zone" })?,
        capacity_bytes: entry.capacity_bytes,
        used_bytes: entry.used_bytes,
        addresses: entry.addresses,
    };
    entry.validate()?;
    Ok(entry)
}

fn encode_cid(cid: &Cid) -> Bytes {
    Bytes::copy_from_slice(&cid.to_bytes())
}

fn decode_cid(bytes: &Bytes) -> Result<Cid, WireError> {
    Cid::from_bytes(bytes).map_err(|_| WireError::Field { field: "cid" })
}

fn encode_cids(cids: &[Cid]) -> Result<Vec<Bytes>, WireError> {
    at_most("cids", cids.len(), HAS_CIDS_MAX)?;
    Ok(cids.iter().map(encode_cid).collect())
}

fn decode_cids(cids: &[Bytes]) -> Result<Vec<Cid>, WireError> {
    at_most("cids", cids.len(), HAS_CIDS_MAX)?;
    cids.iter().map(decode_cid).collect()
}

fn encode_owner(owner: &OwnerId) -> Bytes {
    Bytes::copy_from_slice(owner.as_bytes())
}

fn decode_owner(bytes: &Bytes) -> Result<OwnerId, WireError> {
    let bytes = bytes.as_ref().try_into().map_err(|_| WireError::Field { field: "owner" })?;
    Ok(OwnerId::from_bytes(bytes))
}

/// Returns `text` as one line of at most [`DETAIL_BYTES_MAX`] bytes: it ends up in logs and
/// terminals, where control characters of a hostile peer could forge lines.
fn one_line(text: &str) -> String {
    let clipped = text.get(..text.floor_char_boundary(DETAIL_BYTES_MAX)).unwrap_or(text);
    clipped.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const fn at_most(field: &'static str, found: usize, max: usize) -> Result<(), WireError> {
    if found > max { Err(WireError::TooMany { field, found, max }) } else { Ok(()) }
}

const fn fits(field: &'static str, bytes: usize, max: u32) -> Result<(), WireError> {
    if bytes > max as usize { Err(WireError::Field { field }) } else { Ok(()) }
}

#[cfg(test)]
#[path = "encoding_test.rs"]
mod tests;
