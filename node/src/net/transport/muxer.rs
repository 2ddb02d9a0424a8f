//! Yamux with bounds of our own: larger writes, smaller windows.
//!
//! Wire: `/yamux/1.0.0`. libp2p's wrapper fixes the split of writes at 16 KiB, which costs a third more
//! processor time, and lets one connection buffer a gigabyte.
//! Never: drops a stream that was opened; the number of streams is bounded instead.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready as ready_or_pending};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

use super::gather::Gather;

/// Streams of one connection: three classes in each direction, and the small protocols, of which Kademlia
/// opens up to 32 in each direction. Opening one more ends the connection.
const STREAMS_MAX: usize = 96;

/// Bytes that one connection may hold for streams whose readers lag, once its windows have grown. Covers
/// 1 GB/s at a round trip of 24 ms.
const WINDOW_BYTES_MAX: usize = 24 << 20;

// Yamux gives every stream 256 KiB from the start.
const _: () = assert!(STREAMS_MAX * (256 << 10) <= WINDOW_BYTES_MAX);

/// Makes a multiplexer of an encrypted socket.
#[derive(Clone, Debug)]
pub(super) struct Muxing(Config);

impl Muxing {
    /// Returns the multiplexing that cuts writes into pieces of `split_bytes`.
    pub(super) fn new(split_bytes: usize) -> Self {
        let mut config = Config::default();
        config
            .set_max_num_streams(STREAMS_MAX)
            .set_max_connection_receive_window(Some(WINDOW_BYTES_MAX))
            .set_split_send_size(split_bytes);
        Self(config)
    }
}

impl UpgradeInfo for Muxing {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Muxing {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_inbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(Muxer::new(Connection::new(Gather::new(socket), self.0, Mode::Server))))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Muxing {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Muxer<C>, Infallible>>;

    fn upgrade_outbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(Muxer::new(Connection::new(Gather::new(socket), self.0, Mode::Client))))
    }
}

/// One connection's streams.
#[derive(Debug)]
pub(super) struct Muxer<C> {
    connection: Connection<Gather<C>>,
    /// Streams that arrived while the connection was driven for another reason: at most [`STREAMS_MAX`],
    /// because Yamux counts them as open.
    accepted: VecDeque<Stream>,
    acceptor: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(connection: Connection<Gather<C>>) -> Self {
        Self { connection, accepted: VecDeque::new(), acceptor: None }
    }

    /// Moves bytes in both directions, until a stream arrives. Yamux makes progress in no other way.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        let stream = ready_or_pending!(self.connection.poll_next_inbound(cx));
        Poll::Ready(stream.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        if let Some(stream) = self.accepted.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let driven = self.drive(cx);
        if driven.is_pending() {
            self.acceptor = Some(cx.waker().clone());
        }
        driven
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        let stream = ready_or_pending!(self.drive(cx))?;
        self.accepted.push_back(stream);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.wake();
        }
        // There may be more to move; others on this connection come first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
