//! Malformed input on the port for peers, before any handshake ends: on TCP, and as datagrams for QUIC.

use anyhow::Context;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use super::super::wait::{PATIENCE, within};
use crate::content::Content;

/// One input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Nothing,
    Zeros,
    RandomBytes,
    RandomMegabyte,
    HttpRequest,
    TlsHello,
    /// A line of multistream-select that claims to be longer than any may be.
    OversizeLine,
    /// A length that never ends.
    EndlessLength,
    ZeroLengthLine,
    LineWithoutNewline,
    WrongProtocol,
    ManyProtocols,
    /// The right beginning, and then nothing.
    HalfHandshake,
    GarbageAsNoise,
    EmptyNoise,
    LongestNoise,
    HalfNoise,
    EmptyDatagram,
    RandomDatagrams,
    LongDatagram,
    /// A long header of a version that does not exist: answered by a list of versions.
    UnknownVersion,
    /// A first packet whose protection cannot be removed.
    GarbageInitial,
    /// A first packet with lengths beyond its end.
    LyingInitial,
    ShortHeader,
    VersionList,
}

const MULTISTREAM: &[u8] = b"\x13/multistream/1.0.0\n";
const NOISE: &[u8] = b"\x07/noise\n";

/// Opens a connection to a port of this machine and sends some bytes.
pub(super) async fn open(port: u16, bytes: &[u8]) -> anyhow::Result<TcpStream> {
    let connect = TcpStream::connect(("127.0.0.1", port));
    let mut stream = within(PATIENCE, "a connection", connect).await?.context("no connection")?;
    // The other side may have refused already, which is as good an end as any.
    drop(within(PATIENCE, "a write", stream.write_all(bytes)).await?);
    Ok(stream)
}

fn random(bytes: u64) -> Vec<u8> {
    Content { seed: 0xBAD, size: bytes }.slice(0, bytes).to_vec()
}

/// Returns a QUIC packet with a long header: first byte, version, two connection ids, the rest.
fn long_header(first: u8, version: u32, rest: &[u8], bytes: usize) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend(version.to_be_bytes());
    packet.push(8);
    packet.extend([1, 2, 3, 4, 5, 6, 7, 8]);
    packet.push(0);
    packet.extend(rest);
    packet.resize(bytes, 0x5A);
    packet
}

impl Wire {
    pub(super) const ALL: [Self; 25] = [
        Self::Nothing,
        Self::Zeros,
        Self::RandomBytes,
        Self::RandomMegabyte,
        Self::HttpRequest,
        Self::TlsHello,
        Self::OversizeLine,
        Self::EndlessLength,
        Self::ZeroLengthLine,
        Self::LineWithoutNewline,
        Self::WrongProtocol,
        Self::ManyProtocols,
        Self::HalfHandshake,
        Self::GarbageAsNoise,
        Self::EmptyNoise,
        Self::LongestNoise,
        Self::HalfNoise,
        Self::EmptyDatagram,
        Self::RandomDatagrams,
        Self::LongDatagram,
        Self::UnknownVersion,
        Self::GarbageInitial,
        Self::LyingInitial,
        Self::ShortHeader,
        Self::VersionList,
    ];

    /// Sends the input. Returns a connection that stays open until it is dropped.
    pub(super) async fn send(self, port: u16) -> anyhow::Result<TcpStream> {
        let datagrams = self.datagrams();
        if !datagrams.is_empty() {
            let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
            for datagram in datagrams {
                drop(socket.send_to(&datagram, ("127.0.0.1", port)).await);
            }
        }
        open(port, &self.bytes()).await
    }

    /// Returns what goes over TCP.
    fn bytes(self) -> Vec<u8> {
        let after_noise = |rest: &[u8]| [MULTISTREAM, NOISE, rest].concat();
        match self {
            Self::Nothing
            | Self::EmptyDatagram
            | Self::RandomDatagrams
            | Self::LongDatagram
            | Self::UnknownVersion
            | Self::GarbageInitial
            | Self::LyingInitial
            | Self::ShortHeader
            | Self::VersionList => Vec::new(),
            Self::Zeros => vec![0; 10_000],
            Self::RandomBytes => random(500),
            Self::RandomMegabyte => random(1 << 20),
            Self::HttpRequest => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            Self::TlsHello => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            Self::OversizeLine => [&[0xFF, 0xFF, 0x7F], vec![b'a'; 100_000].as_slice()].concat(),
            Self::EndlessLength => vec![0xFF; 1000],
            Self::ZeroLengthLine => [MULTISTREAM, &[0; 100]].concat(),
            Self::LineWithoutNewline => b"\x13/multistream/1.0.0X".to_vec(),
            Self::WrongProtocol => [MULTISTREAM, b"\x09/nothing\n"].concat(),
            Self::ManyProtocols => [MULTISTREAM, &b"\x04/ab\n".repeat(5000)].concat(),
            Self::HalfHandshake => MULTISTREAM[..9].to_vec(),
            Self::GarbageAsNoise => after_noise(&[&[0, 200], random(200).as_slice()].concat()),
            Self::EmptyNoise => after_noise(&[0, 0, 0, 0, 0, 0]),
            Self::LongestNoise => after_noise(&[&[0xFF, 0xFF], random(65535).as_slice()].concat()),
            Self::HalfNoise => after_noise(&[0, 32, 1, 2, 3]),
        }
    }

    /// Returns what goes over UDP.
    fn datagrams(self) -> Vec<Vec<u8>> {
        match self {
            Self::EmptyDatagram => vec![Vec::new()],
            Self::RandomDatagrams => random(20 * 1200).chunks(1200).map(<[u8]>::to_vec).collect(),
            Self::LongDatagram => vec![random(60_000)],
            Self::UnknownVersion => vec![long_header(0xC0, 0x0A0A_0A0A, &[0; 40], 1200)],
            // No token, a length that fits, and bytes that decrypt to nothing.
            Self::GarbageInitial => vec![long_header(0xC3, 1, &[0, 0x44, 0x80], 1200)],
            Self::LyingInitial => vec![
                long_header(0xC3, 1, &[0, 0x7F, 0xFF], 1200),
                long_header(0xC3, 1, &[0xFF; 9], 1200),
                long_header(0xC3, 1, &[0, 0], 30),
            ],
            Self::ShortHeader => vec![[&[0x40], random(100).as_slice()].concat()],
            Self::VersionList => vec![long_header(0x80, 0, &[0, 0, 0, 1], 40)],
            Self::Nothing
            | Self::Zeros
            | Self::RandomBytes
            | Self::RandomMegabyte
            | Self::HttpRequest
            | Self::TlsHello
            | Self::OversizeLine
            | Self::EndlessLength
            | Self::ZeroLengthLine
            | Self::LineWithoutNewline
            | Self::WrongProtocol
            | Self::ManyProtocols
            | Self::HalfHandshake
            | Self::GarbageAsNoise
            | Self::EmptyNoise
            | Self::LongestNoise
            | Self::HalfNoise => Vec::new(),
        }
    }
}
