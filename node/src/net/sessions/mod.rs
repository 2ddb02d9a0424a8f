//! Streams of frames between members of one cluster, as a libp2p behaviour.
//!
//! Towards every member one connection *bears* the urgent class and, where there are two, another one the
//! rest, so that nothing urgent waits behind blocks. One outbound stream per class is opened on its bearer,
//! control first; whether that can be negotiated tells whether the other side admits us, too. Inbound streams
//! of members are taken on every connection. Streams go to the swarm's owner as events, which libp2p holds
//! back rather than drops. Peers that are no members are offered nothing: to them, the protocols do not exist.
//! Never: reads or writes a stream, chooses members.

mod admission;
mod behaviour;
mod handler;
mod offer;
mod remote;

pub(super) use admission::Admission;
pub(super) use behaviour::{SessionEvent, Sessions};
