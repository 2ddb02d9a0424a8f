//! What strangers and members of the cluster may send without harm: anything.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::io::{AsyncReadExt as _, AsyncWriteExt as _, Cursor};
use futures::{FutureExt as _, StreamExt as _};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::transport::{DialOpts, PortUse, Transport};
use libp2p::core::upgrade::{
    InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version,
};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Stream, Swarm, noise, tcp};
use protocol::limits::FRAME_BODY_BYTES_MAX;
use protocol::wire::Class;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::identity::{generate, peer_from_libp2p};
use super::sessions::{SessionEvent, Sessions};
use super::test_peer::{Plan, TestPeer, bare_member, frame, session_event, soon};
use crate::env::NetEvent;

/// Returns once the peer is found to serve an honest other one.
async fn is_well(victim: &mut TestPeer) {
    let mut honest = TestPeer::start(Plan::default()).await;
    honest.meet(victim).await;
    honest.send(victim.id, Class::Control, frame("are you well?", 1000)).await;
    while victim.receive(Class::Control).await.from != honest.id {}
}

/// Returns a peer under attack, and one that was connected to it before.
async fn victim_and_bystander() -> (TestPeer, TestPeer) {
    let mut victim = TestPeer::start(Plan::default()).await;
    let mut bystander = TestPeer::start(Plan::default()).await;
    bystander.meet(&mut victim).await;
    (victim, bystander)
}

/// Returns once the peer is found to serve a new one, and never to have let go of the bystander.
async fn only_attackers_suffered(victim: &mut TestPeer, bystander: &mut TestPeer) {
    is_well(victim).await;
    assert!(!victim.other_events().contains(&NetEvent::Disconnected(bystander.id)));
    assert!(!bystander.other_events().contains(&NetEvent::Disconnected(victim.id)));
    bystander.send(victim.id, Class::Bulk, frame("all this time", 1000)).await;
    assert_eq!(victim.receive(Class::Bulk).await.from, bystander.id);
}

#[tokio::test]
async fn garbage_on_a_socket_ends_that_socket() {
    let (mut victim, mut bystander) = victim_and_bystander().await;
    let parts: Vec<_> = victim.address.split('/').collect();
    let socket = format!("{}:{}", parts[2], parts[4]);
    let multistream = b"\x13/multistream/1.0.0\n";
    let noise = b"\x07/noise\n";
    let handshakes: [Vec<u8>; 12] = [
        b"".to_vec(),
        b"\0".to_vec(),
        b"GET / HTTP/1.1\r\nHost: shoal\r\n\r\n".to_vec(),
        vec![0xFF; 100_000],
        vec![0; 100_000],
        (0..=255).cycle().take(70_000).collect(),
        multistream[..9].to_vec(),
        multistream.to_vec(),
        [multistream.as_slice(), b"\xFF\xFF\xFF\xFF\x0F"].concat(),
        [multistream.as_slice(), b"\x06/none\n"].concat(),
        [multistream.as_slice(), noise, b"\xFF\xFF"].concat(),
        [multistream.as_slice(), noise, b"\x00\x20", &[7; 4000]].concat(),
    ];
    for handshake in &handshakes {
        let mut stream = TcpStream::connect(&socket).await.unwrap();
        // It may be closed while it is written to: so much the better.
        let _was_taken = stream.write_all(handshake).await.is_ok();
        let _was_open = stream.shutdown().await.is_ok();
        let mut answer = Vec::new();
        let _ended = soon("the end of the socket", stream.read_to_end(&mut answer)).await;
        assert!(answer.len() < 10_000, "no stranger is told that much");
    }
    only_attackers_suffered(&mut victim, &mut bystander).await;
    assert!(victim.net.metrics().handshake_failures() > 0);
}

/// Negotiates Yamux, and then leaves the bytes to the test.
#[derive(Clone)]
struct NoYamux;

impl UpgradeInfo for NoYamux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

impl<C: Unpin> OutboundConnectionUpgrade<C> for NoYamux {
    type Output = NoMuxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<NoMuxer<C>, Infallible>>;

    fn upgrade_outbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(NoMuxer(socket)))
    }
}

impl<C: Unpin> InboundConnectionUpgrade<C> for NoYamux {
    type Output = NoMuxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<NoMuxer<C>, Infallible>>;

    fn upgrade_inbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(NoMuxer(socket)))
    }
}

/// Has no streams, only the socket.
struct NoMuxer<C>(C);

impl<C: Unpin> StreamMuxer for NoMuxer<C> {
    type Substream = Cursor<Vec<u8>>;
    type Error = std::io::Error;

    fn poll_inbound(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Poll::Pending
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Poll::Pending
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn garbage_inside_the_encryption_ends_that_connection() {
    let (mut victim, mut bystander) = victim_and_bystander().await;
    let frames: [&[u8]; 5] = [
        // Data for a stream, of the length 4 GiB.
        &[0, 0, 0, 1, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF],
        // An unknown version.
        &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // An unknown type.
        &[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // A window of 4 GiB for a stream that was never opened.
        &[0, 1, 0, 0, 0, 0, 0, 9, 0xFF, 0xFF, 0xFF, 0xFF],
        b"half",
    ];
    for bytes in frames {
        let key = generate().keypair();
        let mut transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(NoYamux);
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let address: Multiaddr = victim.address.parse().unwrap();
        let dial = transport.dial(address, options).unwrap();
        let (_, NoMuxer(mut socket)) = soon("handshake", dial).await.unwrap();
        let _was_taken = socket.write_all(bytes).await.is_ok();
        let _was_open = socket.close().await.is_ok();
        // The peer may ask things first; then it closes.
        let mut answer = Vec::new();
        let _ended = soon("the end of the connection", socket.read_to_end(&mut answer)).await;
    }
    only_attackers_suffered(&mut victim, &mut bystander).await;
}

/// Returns the next stream of a class that a bare member opens.
async fn opened(swarm: &mut Swarm<Sessions>, class: Class) -> Stream {
    loop {
        if let SessionEvent::Opened { class: opened, stream, .. } = session_event(swarm).await
            && opened == class
        {
            return stream;
        }
    }
}

/// A member of the cluster that writes what it likes to its streams.
async fn hostile_stream(victim: &mut TestPeer, class: Class) -> (Swarm<Sessions>, Stream) {
    let mut swarm = bare_member(victim.id);
    victim.admit(peer_from_libp2p(swarm.local_peer_id()).unwrap(), true);
    swarm.dial(victim.address.parse::<Multiaddr>().unwrap()).unwrap();
    let stream = opened(&mut swarm, class).await;
    (swarm, stream)
}

#[tokio::test]
async fn malformed_frames_end_the_connection_of_their_sender_only() {
    let (mut victim, mut bystander) = victim_and_bystander().await;
    let too_large = (FRAME_BODY_BYTES_MAX + 1).to_be_bytes();
    let headers: [[u8; 8]; 5] = [
        *b"GET / HT",
        [0xFF; 8],
        [0; 8],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, too_large[0], too_large[1], too_large[2], too_large[3]],
    ];
    let mut sent = 0;
    for class in Class::ALL {
        for header in headers {
            let (mut swarm, mut stream) = hostile_stream(&mut victim, class).await;
            let attack = async {
                stream.write_all(&header).await.unwrap();
                stream.flush().await.unwrap();
            };
            let closed = async {
                while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionClosed { .. })
                {
                }
            };
            soon("the end of the connection", futures::future::join(attack, closed)).await;
            sent += 1;
        }
    }
    assert_eq!(victim.net.metrics().malformed_frames(), sent);
    only_attackers_suffered(&mut victim, &mut bystander).await;
}

#[tokio::test]
async fn a_member_that_opens_streams_without_end_has_two_readers_per_class() {
    let mut victim = TestPeer::start(Plan::default()).await;
    let (mut swarm, first) = hostile_stream(&mut victim, Class::Bulk).await;
    let mut streams = vec![first];
    let to = *swarm.connected_peers().next().unwrap();
    for _ in 0..60 {
        swarm.behaviour_mut().reopen(to, Class::Bulk);
        let mut stream = opened(&mut swarm, Class::Bulk).await;
        // Each announces the largest frame, and never sends it.
        let header = [1, 0, 0, 0, 0, 0x20, 0, 0];
        stream.write_all(&header).await.unwrap();
        stream.flush().await.unwrap();
        streams.push(stream);
    }
    // All but the newest two are told that nobody reads them: their writes fail.
    let mut oldest = streams.remove(0);
    soon("the end of the oldest stream", async {
        loop {
            let written = async {
                oldest.write_all(&[0; 1000]).await?;
                oldest.flush().await
            };
            tokio::select! {
                written = written.fuse() => if written.is_err() { return },
                _ = swarm.select_next_some() => {}
            }
        }
    })
    .await;
    // By that alone: it is still connected, and nothing it sent was taken for a frame.
    assert!(swarm.is_connected(&to));
    assert_eq!(victim.net.metrics().malformed_frames(), 0);
    assert_eq!(victim.net.metrics().frames_received(Class::Bulk), 0);
    is_well(&mut victim).await;
}
