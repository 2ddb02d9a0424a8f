//! When and from which port a transport dials.
//!
//! Never: decides which addresses are dialled; all of a peer's are, and the first that answers wins.

#![expect(clippy::disallowed_methods, reason = "a driver waits by the real clock")]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, Either, FutureExt as _};
use libp2p::Multiaddr;
use libp2p::core::transport::{
    DialOpts, ListenerId, PortUse, Transport, TransportError, TransportEvent,
};

/// A transport that dials later, and from a port of its choice.
pub(super) struct Dialling<T> {
    pub(super) inner: T,
    pub(super) delay: Duration,
    pub(super) port: PortUse,
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
