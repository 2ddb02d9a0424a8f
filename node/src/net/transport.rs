//! How bytes get to another peer: TCP with encryption and multiplexing, or QUIC, both found by name or number.
//!
//! Never: decides whether a peer may connect.

#![expect(clippy::disallowed_methods, reason = "a driver waits by the real clock")]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, Either, FutureExt as _};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, PortUse, Transport, TransportError, TransportEvent,
};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, dns, noise, quic, tcp, yamux};
use tracing::warn;

use super::settings::StartError;

/// How long a connection may take to be encrypted and multiplexed, in both directions.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// How much later than TCP a peer is dialled over QUIC, which costs half as much processor time again per
/// byte. Three round trips of 80 ms, so that TCP wins wherever it passes at all.
const TCP_HEAD_START: Duration = Duration::from_millis(250);

/// Streams of one connection. Three classes in each direction, and the small protocols; each costs memory.
const STREAMS_MAX: usize = 128;

/// Returns the transport of a peer with this key. Must be called within a runtime.
///
/// # Errors
/// [`StartError::Setup`]
pub(super) fn build(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    match dns::tokio::Transport::system(by_number(key)?) {
        Ok(by_name) => Ok(by_name.boxed()),
        Err(err) => {
            warn!(%err, "names in addresses cannot be resolved");
            Ok(by_number(key)?)
        }
    }
}

/// Returns the transport without names.
fn by_number(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StartError> {
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(STREAMS_MAX);
    let noise = noise::Config::new(key).map_err(setup)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux)
        .timeout(HANDSHAKE_PATIENCE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic::Config::new(key))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let either = Dialling { inner: quic, delay: TCP_HEAD_START, port: PortUse::Reuse }
        // Two peers that dial each other from their listening ports would meet as two clients.
        .or_transport(Dialling { inner: tcp, delay: Duration::ZERO, port: PortUse::New })
        .map(|output, _| output.into_inner());
    Ok(either.boxed())
}

fn setup(source: impl std::error::Error + Send + Sync + 'static) -> StartError {
    StartError::Setup { source: Box::new(source) }
}

/// A transport that dials later, and from a port of its choice.
struct Dialling<T> {
    inner: T,
    delay: Duration,
    port: PortUse,
}

impl<T> Transport for Dialling<T>
where
    T: Transport + Unpin,
    T::Dial: Send + 'static,
    T::Output: 'static,
    T::Error: 'static,
{
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = Either<T::Dial, BoxFuture<'static, Result<T::Output, T::Error>>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<T::Error>> {
        let dial = self.inner.dial(address, DialOpts { port_use: self.port, ..options })?;
        if self.delay.is_zero() {
            return Ok(Either::Left(dial));
        }
        let delay = self.delay;
        Ok(Either::Right(
            async move {
                tokio::time::sleep(delay).await;
                dial.await
            }
            .boxed(),
        ))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
