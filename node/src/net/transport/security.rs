//! The choice between TLS and Noise.
//!
//! The dialler offers what it likes best first; the listener takes any. Whoever has no AES in its processor
//! neither offers nor takes TLS, so that it is never made to do it in software.
//! Never: a connection without either.

use std::io;

use futures::future::{BoxFuture, Either, FutureExt as _};
use futures::{AsyncRead, AsyncWrite, TryFutureExt as _};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::{PeerId, noise};

use super::tls::{Tls, TlsSocket};

/// Name of libp2p's TLS handshake. Source: libp2p specs, `tls/tls.md`.
const TLS: &str = "/tls/1.0.0";

/// Name of libp2p's Noise handshake. Source: libp2p specs, `noise/README.md`.
const NOISE: &str = "/noise";

/// The handshakes a peer is ready for.
#[derive(Clone)]
pub(super) struct Security {
    tls: Option<Tls>,
    noise: noise::Config,
}

impl Security {
    /// Returns the choice of TLS, if given, before Noise.
    pub(super) fn new(tls: Option<Tls>, noise: noise::Config) -> Self {
        Self { tls, noise }
    }
}

/// Returns whether the processor encrypts AES by itself.
pub(super) fn processor_has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has_aes = std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    has_aes
}

/// A socket encrypted either way.
pub(super) type Secured<C> = Either<TlsSocket<C>, noise::Output<C>>;

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter =
        std::iter::Chain<std::option::IntoIter<&'static str>, std::iter::Once<&'static str>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.tls.as_ref().map(|_| TLS).into_iter().chain(std::iter::once(NOISE))
    }
}

impl<C> InboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_inbound(self, socket: C, name: &'static str) -> Self::Future {
        match self.tls {
            Some(tls) if name == TLS => tls.accept(socket).map_ok(by_tls).boxed(),
            Some(_) | None => self
                .noise
                .upgrade_inbound(socket, name)
                .map_ok(by_noise)
                .map_err(io::Error::other)
                .boxed(),
        }
    }
}

impl<C> OutboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Output>>;

    fn upgrade_outbound(self, socket: C, name: &'static str) -> Self::Future {
        match self.tls {
            Some(tls) if name == TLS => tls.connect(socket).map_ok(by_tls).boxed(),
            Some(_) | None => self
                .noise
                .upgrade_outbound(socket, name)
                .map_ok(by_noise)
                .map_err(io::Error::other)
                .boxed(),
        }
    }
}

fn by_tls<C>((peer, stream): (PeerId, TlsSocket<C>)) -> (PeerId, Secured<C>) {
    (peer, Either::Left(stream))
}

fn by_noise<C>((peer, stream): (PeerId, noise::Output<C>)) -> (PeerId, Secured<C>) {
    (peer, Either::Right(stream))
}
