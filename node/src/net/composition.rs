//! The protocols a peer speaks, put together.
//!
//! Never: reacts to what they report; the swarm's task does.

use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, StreamProtocol, connection_limits, identify, kad, mdns, memory_connection_limits, ping,
};

use super::gossip;
use super::guests::{Guests, Limits, guests};
use super::sessions::Sessions;
use super::settings::{NetSettings, StartError};
use crate::env::GuestProtocol;

/// Kademlia's protocol: our own, so that the public IPFS network and we leave each other alone.
pub(super) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/shoal/kad/1.0.0");

/// Identify's protocol version: what a peer says it is.
const IDENTIFY_PROTOCOL: &str = "/shoal/id/1";

/// Connections with one peer: two for members, and as many again while they take the place of broken ones, or
/// when two peers dial each other at once.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;

/// Connections that are being made, in each direction. They cost a handshake each.
const CONNECTIONS_PENDING_MAX: u32 = 64;

/// How long Kademlia looks for peers before it settles for what it found.
const QUERY_PATIENCE: Duration = Duration::from_secs(10);

/// How often Kademlia refreshes its routing table.
const REFRESH_PERIOD: Duration = Duration::from_secs(60);

/// See the module. The limits stand first, so that they refuse before anything else is asked.
#[derive(NetworkBehaviour)]
pub(super) struct Composition {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) memory: memory_connection_limits::Behaviour,
    pub(super) sessions: Sessions,
    pub(super) identify: identify::Behaviour,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) ping: ping::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) guests: Guests,
    pub(super) overlay: Guests,
    pub(super) gossip: gossip::Behaviour,
}

impl Composition {
    /// Puts the protocols together. Must be called within a runtime.
    ///
    /// # Errors
    /// [`StartError::Setup`]
    pub(super) fn new(
        settings: &NetSettings,
        key: &Keypair,
        with_mdns: bool,
    ) -> Result<Self, StartError> {
        let local = key.public().to_peer_id();
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_established(Some(settings.connections_max))
            .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX))
            .with_max_pending_incoming(Some(CONNECTIONS_PENDING_MAX))
            .with_max_pending_outgoing(Some(CONNECTIONS_PENDING_MAX));
        let mdns = with_mdns
            .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), local))
            .transpose()
            .map_err(|source| StartError::Setup { source: source.into() })?;
        let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), key.public())
            .with_agent_version(settings.agent_version.clone())
            .with_push_listen_addr_updates(true);
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_connection_limits::Behaviour::with_max_bytes(settings.memory_bytes_max),
            sessions: Sessions::new(local, settings.connections_max as usize / 4 * 3),
            identify: identify::Behaviour::new(identify),
            kad: kademlia(local),
            ping: ping::Behaviour::default(),
            mdns: mdns.into(),
            guests: guests(&Limits::of(GuestProtocol::Join, settings.guest_rate)),
            overlay: guests(&Limits::of(GuestProtocol::Overlay, settings.guest_rate)),
            gossip: gossip::behaviour()?,
        })
    }
}

fn kademlia(local: PeerId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_query_timeout(QUERY_PATIENCE)
        .set_periodic_bootstrap_interval(Some(REFRESH_PERIOD))
        // Nothing is stored for others: peers are found here, blocks are not.
        .set_record_filtering(kad::StoreInserts::FilterBoth);
    let nothing = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let store = MemoryStore::with_config(local, nothing);
    let mut kad = kad::Behaviour::with_config(local, store, config);
    // Otherwise a peer serves nobody until it knows an address by which the whole world reaches it.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}
