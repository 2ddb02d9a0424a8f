//! What the network is started with.
//!
//! Never: reads environment or files.

use libp2p::multiaddr::Protocol;

use super::identity::SecretKey;

/// Everything the network must know before it starts.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// Who this peer is.
    pub key: SecretKey,
    /// Multiaddresses to listen on: TCP or QUIC (`/ip4/0.0.0.0/tcp/4101`, `/ip4/0.0.0.0/udp/4101/quic-v1`).
    pub listen: Vec<String>,
    /// Multiaddresses of peers to start from, with or without `/p2p/<id>` at their end.
    pub bootstrap: Vec<String>,
    /// Whether to find peers on the local network by multicast; ignored when every listen address is loopback.
    pub mdns: bool,
    /// Bytes per second that peers of other clusters may take of what is public, all together; one of them half of it.
    pub guest_rate: u64,
    /// Connections at one time, over all peers.
    pub connections_max: u32,
    /// Memory of the process, in bytes, above which no new connection is made or taken.
    pub memory_bytes_max: usize,
    /// What this peer calls itself to others, for people: `shoal/0.1.0`.
    pub agent_version: String,
}

/// Says why a text is no multiaddress that can be listened on or dialled.
///
/// # Errors
/// A few words for a message.
pub fn check_address(text: &str) -> Result<(), String> {
    let address: libp2p::Multiaddr =
        text.parse().map_err(|error: libp2p::multiaddr::Error| error.to_string())?;
    let has_port = |part| matches!(part, Protocol::Tcp(_) | Protocol::Udp(_));
    if address.iter().any(has_port) { Ok(()) } else { Err("it has no port".to_owned()) }
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting holds no multiaddress.
    #[error("{address:?} is not a multiaddress")]
    Address {
        /// The text.
        address: String,
    },
    /// An address cannot be listened on: in use, not of this machine, or of an unknown kind.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// What the machine says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The machine gives no threads, resolver or sockets, or the identity cannot be used.
    #[error("network cannot be set up")]
    Setup {
        /// What the machine says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
