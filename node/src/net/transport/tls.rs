//! TLS 1.3 as libp2p speaks it, with AES-GCM before ChaCha20.
//!
//! Wire: `/tls/1.0.0`. Each side shows one self-signed certificate with an extension that binds it to its
//! peer id; libp2p makes and checks those. Only the order of the cipher suites is ours: with AES in the
//! processor a byte costs a third of what it costs with ChaCha20.
//! Never: TLS 1.2, sessions resumed, any root of trust but the peer's own key.
//! Source: libp2p specs, `tls/tls.md`.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use futures::io::BufReader;
use futures::{AsyncRead, AsyncWrite};
use futures_rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::crypto::CryptoProvider;
use futures_rustls::rustls::crypto::aws_lc_rs::{self, cipher_suite};
use futures_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use futures_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use futures_rustls::rustls::version::TLS13;
use futures_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::PeerId;
use libp2p::identity::Keypair;
use libp2p::tls::certificate;

/// The protocol that both sides name in the handshake. Source: as above.
const ALPN: &[u8] = b"libp2p";

/// Bytes read from a socket at a time: four records. The library itself asks for 4 KiB at a time, which makes
/// five system calls of every record.
const READ_BYTES: usize = 64 << 10;

/// The signatures that libp2p's check understands.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

/// An encrypted socket.
pub(super) type TlsSocket<C> = TlsStream<BufReader<C>>;

/// Both roles of a handshake.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

/// A handshake that could not be prepared.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The certificate could not be made.
    #[error("certificate could not be made")]
    Certificate(#[from] certificate::GenError),
    /// The cryptography refused what it was given.
    #[error("certificate could not be used")]
    Crypto(#[from] Error),
}

impl Tls {
    /// Returns the handshakes of the peer with this key.
    ///
    /// # Errors
    /// Any [`TlsError`].
    pub(super) fn new(key: &Keypair) -> Result<Self, TlsError> {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            ..aws_lc_rs::default_provider()
        });
        let (certificate, secret) = certificate::generate(key)?;
        let secret = aws_lc_rs::sign::any_ecdsa_type(&secret)?;
        let resolver =
            Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], secret)));
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(BoundToPeer))
            .with_cert_resolver(Arc::clone(&resolver) as _);
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Tickets serve resumption, for which no connection between peers is short enough.
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BoundToPeer))
            .with_client_cert_resolver(resolver);
        client.alpn_protocols = vec![ALPN.to_vec()];
        // There is no name to indicate: who answers is known by its key.
        client.enable_sni = false;
        Ok(Self { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() })
    }

    /// Answers a handshake. Returns who asked.
    ///
    /// # Errors
    /// When the handshake fails, or the other side shows no certificate that is bound to a peer.
    pub(super) async fn accept<C>(self, socket: C) -> io::Result<(PeerId, TlsSocket<C>)>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        identified(self.acceptor.accept(buffered(socket)).await?.into())
    }

    /// Begins a handshake. Returns who answered.
    ///
    /// # Errors
    /// As for [`Self::accept`].
    pub(super) async fn connect<C>(self, socket: C) -> io::Result<(PeerId, TlsSocket<C>)>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let nobody = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        identified(self.connector.connect(nobody, buffered(socket)).await?.into())
    }
}

fn buffered<C: AsyncRead>(socket: C) -> BufReader<C> {
    BufReader::with_capacity(READ_BYTES, socket)
}

/// Returns the socket of a finished handshake with the peer at its other end.
fn identified<C>(stream: TlsSocket<C>) -> io::Result<(PeerId, TlsSocket<C>)> {
    let peer = peer_of(stream.get_ref().1.peer_certificates())?;
    Ok((peer, stream))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// Returns the peer that a finished handshake's certificate is bound to.
fn peer_of(certificates: Option<&[CertificateDer<'_>]>) -> io::Result<PeerId> {
    match certificates {
        Some([certificate]) => {
            Ok(certificate::parse(certificate).map_err(io::Error::other)?.peer_id())
        }
        Some(_) | None => Err(io::Error::other("a peer shows exactly one certificate")),
    }
}

/// Accepts a certificate that is valid, signed by itself, and bound to a peer's key; which peer that is, is
/// told after the handshake, and compared with the wanted one by libp2p.
#[derive(Debug)]
struct BoundToPeer;

impl BoundToPeer {
    fn verify(
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        if !others.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        certificate::parse(certificate)?;
        Ok(())
    }
}

/// The part that is the same of both roles, which are two traits.
macro_rules! signatures {
    () => {
        /// Never called, because TLS 1.2 is not offered; an error all the same.
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2 is not spoken".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let certificate = certificate::parse(certificate)?;
            certificate.verify_signature(signed.scheme, message, signed.signature())?;
            Ok(HandshakeSignatureValid::assertion())
        }

        /// The specification leaves the choice of key to each side.
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            SCHEMES.to_vec()
        }
    };
}

impl ServerCertVerifier for BoundToPeer {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::verify(certificate, others)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for BoundToPeer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::verify(certificate, others)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures!();
}

#[cfg(test)]
mod tests {
    use super::Tls;
    use crate::net::identity::generate;
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use libp2p::core::upgrade::{InboundConnectionUpgrade as _, OutboundConnectionUpgrade as _};
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    /// The implementation of others, which takes part in every network of libp2p.
    const NAME: &str = "/tls/1.0.0";

    #[tokio::test]
    async fn both_roles_agree_with_those_of_libp2p_and_learn_the_peer() {
        let (ours, theirs) = (generate().keypair(), generate().keypair());
        for we_dial in [true, false] {
            let tls = Tls::new(&ours).unwrap();
            let other = libp2p::tls::Config::new(&theirs).unwrap();
            let (a, b) = tokio::io::duplex(1 << 16);
            let (a, b) = (a.compat(), b.compat());
            let ((they, mut our_end), (we, mut their_end)) = if we_dial {
                let ends = futures::join!(tls.connect(a), other.upgrade_inbound(b, NAME));
                (ends.0.unwrap(), ends.1.unwrap())
            } else {
                let ends = futures::join!(tls.accept(a), other.upgrade_outbound(b, NAME));
                (ends.0.unwrap(), ends.1.unwrap())
            };
            assert_eq!((we, they), (ours.public().to_peer_id(), theirs.public().to_peer_id()));
            our_end.write_all(b"hello").await.unwrap();
            our_end.flush().await.unwrap();
            let mut heard = [0; 5];
            their_end.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"hello");
        }
    }
}
