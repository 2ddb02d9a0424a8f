//! How peers are found in a large overlay: hops, requests and success of Kademlia lookups when a quarter of what
//! tables name is gone, at every size, measured against the targets.
//!
//! A model, with `protocol`'s chance alone: tables and lookups follow the rules of libp2p's Kademlia, on virtual time and without
//! a network. Nothing of it runs in the daemon. A seed decides everything.
//! Never: sends, stores or decides anything for a peer.
//! Source: Maymounkov and Mazières, "Kademlia: a peer-to-peer information system based on the XOR metric", 2002;
//! the rules of libp2p-kad 0.49, which libp2p 0.57 carries.

mod key;
mod lookup;
mod network;
mod report;
mod row;
mod table;

pub use report::run;
