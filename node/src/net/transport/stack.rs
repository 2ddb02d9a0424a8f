//! The layers of a connection, put together: TCP, TLS or Noise, Yamux; or QUIC; by number or by name.
//!
//! Never: decides whether a peer may connect.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, PortUse, Transport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, dns, noise, quic, tcp};
use tracing::warn;

use super::dialling::Dialling;
use super::muxer::Muxing;
use super::security::{Security, processor_has_aes};
use super::tls::Tls;
use crate::net::settings::StartError;

/// How long a connection may take to be encrypted and multiplexed, in both directions.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How much later than TCP a peer is dialled over QUIC, which costs half as much processor time again per
/// byte. Three round trips of 80 ms, so that TCP wins wherever it passes at all.
const TCP_HEAD_START: Duration = Duration::from_millis(250);

/// Silence after which a QUIC connection is given up, in milliseconds, and how often it is broken. Nothing else tells
/// that a process was killed, for which whoever waits for its answers waits.
const QUIC_SILENCE_MAX_MS: u32 = 4_000;
/// See [`QUIC_SILENCE_MAX_MS`].
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// What of the transport differs between measurements.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Stack {
    /// Whether to offer TLS before Noise.
    pub(in crate::net) tls: bool,
    /// Pieces that writes are cut into, in bytes.
    pub(in crate::net) split_bytes: usize,
}

impl Stack {
    /// Returns what is fastest on this machine.
    pub(in crate::net) fn fastest() -> Self {
        Self { tls: processor_has_aes(), split_bytes: SPLIT_BYTES }
    }
}

/// Largest piece of a write that is sent as one: with the header of its frame, four records of TLS, which is
/// also all that the library takes at a time. More delays other streams of the connection for little.
const SPLIT_BYTES: usize = (64 << 10) - YAMUX_HEADER_BYTES;

/// Bytes in front of every frame of Yamux.
const YAMUX_HEADER_BYTES: usize = 12;

/// Returns the transport of a peer with this key. Must be called within a runtime.
///
/// # Errors
/// [`StartError::Setup`]
pub(in crate::net) fn build(
    key: &Keypair,
    stack: Stack,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    match dns::tokio::Transport::system(by_number(key, stack)?) {
        Ok(by_name) => Ok(by_name.boxed()),
        Err(err) => {
            warn!(%err, "names in addresses cannot be resolved");
            Ok(by_number(key, stack)?)
        }
    }
}

/// Returns the transport without names.
fn by_number(key: &Keypair, stack: Stack) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    let noise = noise::Config::new(key).map_err(setup)?;
    let tls = stack.tls.then(|| Tls::new(key)).transpose().map_err(setup)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(Security::new(tls, noise))
        .multiplex(Muxing::new(stack.split_bytes))
        .timeout(HANDSHAKE_PATIENCE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let mut quic = quic::Config::new(key);
    quic.max_idle_timeout = QUIC_SILENCE_MAX_MS;
    quic.keep_alive_interval = QUIC_KEEP_ALIVE;
    let quic = quic::tokio::Transport::new(quic)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let either = Dialling { inner: quic, delay: TCP_HEAD_START, port: PortUse::Reuse }
        // Two peers that dial each other from their listening ports would meet as two clients.
        .or_transport(Dialling { inner: tcp, delay: Duration::ZERO, port: PortUse::New })
        .map(|output, _| output.into_inner());
    Ok(either.boxed())
}

/// Returns whether another process listens on a TCP address already.
///
/// libp2p lets several sockets listen on one port, so that a second peer on it would start and be reached by
/// half of its connections.
///
/// # Errors
/// What the machine says to listening there alone.
pub(in crate::net) fn check_is_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => {
            std::net::TcpListener::bind((ip, port)).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Says whether listening failed because the machine has no IPv6, where all its addresses were meant.
pub(in crate::net) fn is_absent_ipv6(address: &Multiaddr, error: &io::Error) -> bool {
    let any = matches!(address.iter().next(), Some(Protocol::Ip6(ip)) if ip.is_unspecified());
    let absent = [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL];
    any && absent.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn setup(source: impl std::error::Error + Send + Sync + 'static) -> StartError {
    StartError::Setup { source: Box::new(source) }
}
