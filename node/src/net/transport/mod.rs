//! How bytes get to another peer: TCP or QUIC, encrypted and multiplexed.
//!
//! The wire is plain libp2p. What is our own is the order of what is offered (TLS with AES before Noise where
//! the processor has AES, TCP before QUIC) and the bounds of the multiplexer: measured, they halve the
//! processor time per byte.
//! Never: decides whether a peer may connect.

mod dialling;
mod gather;
mod muxer;
mod security;
mod stack;
mod tls;

pub(super) use stack::{Stack, build, check_is_free, is_absent_ipv6};
