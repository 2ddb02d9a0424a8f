//! Streams of frames between peers of one cluster, as a libp2p behaviour.
//!
//! Per peer one connection, the oldest, *bears* the session: one outbound stream per class is opened on it,
//! control first. Whether that stream can be negotiated tells a peer of the cluster from a stranger, because
//! its name holds the cluster's id. When the bearer ends, the next oldest connection takes over. Inbound
//! streams are taken on every connection. Streams go to the swarm's owner as events, which libp2p holds back
//! rather than drops.
//! Never: reads or writes a stream, dials.

mod behaviour;
mod handler;
mod offer;

pub(super) use behaviour::{SessionEvent, Sessions};
pub(super) use offer::Protocols;
