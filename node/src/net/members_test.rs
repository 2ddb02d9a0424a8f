//! Who gets the cluster's protocols, and over which connections. Waits for events, never for time.
#![expect(clippy::disallowed_methods, reason = "tests of a driver run tasks of their own")]

use std::collections::BTreeSet;
use std::future::poll_fn;

use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::core::Endpoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse, Transport as _};
use protocol::wire::{Class, protocol_name};

use super::identity::{SecretKey, generate, peer_id_of};
use super::test_peer::{Plan, TestPeer, cluster, frame, soon};
use super::test_proxy::Proxy;
use super::transport::{self, Stack};
use crate::env::{Net, NetError, NetEvent};

/// Runs `work` while a connection moves its bytes.
async fn driven<T>(muxer: &mut StreamMuxerBox, work: impl Future<Output = T>) -> T {
    let mut work = Box::pin(work);
    poll_fn(|cx| {
        // Streams that the other side opens are of no interest.
        while muxer.poll_inbound_unpin(cx).is_ready() {}
        let _moved = muxer.poll_unpin(cx).is_ready();
        work.as_mut().poll(cx)
    })
    .await
}

/// Asks for a protocol on a new stream. Returns whether it was agreed to.
async fn is_offered(muxer: &mut StreamMuxerBox, name: &str) -> bool {
    let mut stream: SubstreamBox =
        soon("a stream", poll_fn(|cx| muxer.poll_outbound_unpin(cx))).await.unwrap();
    let line = |text: &str| {
        let length = u8::try_from(text.len() + 1).unwrap();
        [&[length], text.as_bytes(), b"\n"].concat()
    };
    let (hello, asked) = (line("/multistream/1.0.0"), line(name));
    let expected = [hello.as_slice(), &asked].concat();
    let refused = [hello.as_slice(), &line("na")].concat();
    let negotiation = async {
        stream.write_all(&expected).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = vec![0; refused.len()];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    };
    let answer = soon("an answer", driven(muxer, negotiation)).await;
    assert!(answer == refused || expected.starts_with(&answer), "{answer:?}");
    answer != refused
}

#[tokio::test]
async fn a_client_that_is_no_member_gets_nothing_in_a_thousand_tries() {
    let mut victim = TestPeer::start(Plan::default()).await;
    let (stranger, member) = (generate(), generate());
    let connect = async |key: &SecretKey| {
        let mut transport = transport::build(&key.keypair(), Stack::fastest()).unwrap();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(victim.address.parse().unwrap(), options).unwrap();
        soon("a connection", dial).await.unwrap().1
    };
    let mut connection = connect(&stranger).await;
    // What is open to everybody is.
    for name in ["/ipfs/id/1.0.0", "/shoal/kad/1.0.0", "/shoal/guest/1"] {
        assert!(is_offered(&mut connection, name).await, "{name}");
    }
    for n in 0..1000 {
        let name = protocol_name(cluster(1), Class::ALL[n % 3]);
        assert!(!is_offered(&mut connection, &name).await, "try {n}");
    }
    // While another one is let in, and out again, the stranger's lot does not change; the member's does.
    drop(connection);
    let name = protocol_name(cluster(1), Class::Control);
    let mut connections = [connect(&stranger).await, connect(&member).await];
    for is_member in [true, false, true] {
        victim.admit(peer_id_of(&member), is_member);
        while is_offered(&mut connections[1], &name).await != is_member {}
        assert!(!is_offered(&mut connections[0], &name).await);
    }
}

#[tokio::test]
async fn a_member_that_is_removed_is_cut_off() {
    let (mut a, mut b) =
        (TestPeer::start(Plan::default()).await, TestPeer::start(Plan::default()).await);
    a.meet(&mut b).await;
    // Given that more is sent than it reads.
    let flood = {
        let (net, to) = (a.net.clone(), b.id);
        tokio::spawn(async move {
            loop {
                net.send(to, Class::Bulk, frame("flood", 1 << 20)).await?;
            }
            #[expect(unreachable_code, reason = "gives the task its type")]
            Ok::<(), NetError>(())
        })
    };
    b.receive(Class::Bulk).await;
    a.admit(b.id, false);
    a.expect(NetEvent::Disconnected(b.id)).await;
    let ended = soon("the end of the flood", flood).await.unwrap();
    assert_eq!(ended, Err(NetError::Unreachable { peer: b.id }));
    // Whatever it sends, nothing arrives, and it learns that it is alone.
    for class in Class::ALL {
        soon("an error", async {
            while b.net.send(a.id, class, frame("let me in", 10)).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(a.waiting(class), 0);
    }
    b.expect(NetEvent::Disconnected(a.id)).await;
    // When it is a member again, all is well without a dial.
    a.admit(b.id, true);
    a.expect(NetEvent::Connected(b.id)).await;
    b.expect(NetEvent::Connected(a.id)).await;
    b.send(a.id, Class::Control, frame("again", 0)).await;
    assert_eq!(a.receive(Class::Control).await.frame.head, "again");
}

#[tokio::test]
async fn peers_that_are_connected_already_need_no_dial_when_they_become_members() {
    for a_is_first in [true, false] {
        let mut a = TestPeer::start(Plan::default()).await;
        let bootstrap = vec![a.address.clone()];
        let mut b = TestPeer::start(Plan { bootstrap, ..Plan::default() }).await;
        soon("a connection", async {
            while a.net.metrics().connections() == 0 || b.net.metrics().connections() == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let (first, second) = if a_is_first { (&mut a, &mut b) } else { (&mut b, &mut a) };
        first.admit(second.id, true);
        // Refused, since the other one does not admit it yet.
        let sent = soon("send", first.net.send(second.id, Class::Control, frame("early", 0))).await;
        assert_eq!(sent, Err(NetError::Unreachable { peer: second.id }));
        second.admit(first.id, true);
        first.expect(NetEvent::Connected(second.id)).await;
        second.expect(NetEvent::Connected(first.id)).await;
    }
}

#[tokio::test]
async fn a_peer_in_no_cluster_has_nobody_to_talk_to() {
    let (mut a, mut b) =
        (TestPeer::start(Plan::default()).await, TestPeer::start(Plan::default()).await);
    a.meet(&mut b).await;
    a.net.set_membership(None);
    a.expect(NetEvent::Disconnected(b.id)).await;
    let sent = soon("send", a.net.send(b.id, Class::Control, frame("hello", 0))).await;
    assert_eq!(sent, Err(NetError::Unreachable { peer: b.id }));
}

/// Sends frames of every class both ways until one of each class has arrived: some may be lost.
async fn frames_pass(a: &mut TestPeer, b: &mut TestPeer, mark: &str) {
    for class in Class::ALL {
        for _ in 0..2 {
            let (net, to, head) = (a.net.clone(), b.id, mark.to_owned());
            let sender = tokio::spawn(async move {
                loop {
                    net.send(to, class, frame(&head, 100)).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            while b.receive(class).await.frame.head != mark {}
            sender.abort();
            std::mem::swap(a, b);
        }
    }
}

/// Returns when a second connection stands at both ends.
async fn both_have_two(a: &TestPeer, b: &TestPeer) {
    soon("a second connection", async {
        while [a, b].iter().any(|peer| peer.net.metrics().connections() < 2) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_session_survives_the_loss_of_either_connection() {
    for a_chooses in [true, false] {
        let mut keys = [generate(), generate()];
        keys.sort_by_key(peer_id_of);
        if !a_chooses {
            keys.reverse();
        }
        let [mut a, mut b] = [
            TestPeer::start(Plan { key: keys[0].clone(), ..Plan::default() }).await,
            TestPeer::start(Plan { key: keys[1].clone(), ..Plan::default() }).await,
        ];
        let proxy = Proxy::to(&b, 1e9).await;
        a.admit(b.id, true);
        b.admit(a.id, true);
        a.net.dial(b.id, vec![proxy.address.clone()]);
        a.expect(NetEvent::Connected(b.id)).await;
        b.expect(NetEvent::Connected(a.id)).await;
        both_have_two(&a, &b).await;
        frames_pass(&mut a, &mut b, "two").await;
        // The first one bears what is urgent. When it is lost the second one does, and a third one the blocks.
        for (round, number) in [0, 2].into_iter().enumerate() {
            proxy.cut(number);
            // Whoever waits for an answer over it is told at once.
            a.event(|e| matches!(e, NetEvent::Interrupted { peer, .. } if *peer == b.id)).await;
            b.event(|e| matches!(e, NetEvent::Interrupted { peer, .. } if *peer == a.id)).await;
            frames_pass(&mut a, &mut b, &format!("after cut {round}")).await;
            proxy.reaches(3 + round).await;
            both_have_two(&a, &b).await;
            frames_pass(&mut a, &mut b, &format!("mended {round}")).await;
        }
        for peer in [&mut a, &mut b] {
            let lost = |event: &NetEvent| matches!(event, NetEvent::Disconnected(_));
            assert!(!peer.other_events().iter().any(lost));
        }
    }
}

#[tokio::test]
async fn no_frame_is_lost_when_blocks_move_to_the_second_connection() {
    for _ in 0..5 {
        let (mut a, mut b) =
            (TestPeer::start(Plan::default()).await, TestPeer::start(Plan::default()).await);
        a.meet(&mut b).await;
        // The second connection is being made meanwhile.
        for class in [Class::Bulk, Class::Background] {
            let (a_net, b_net, a_id, b_id) = (a.net.clone(), b.net.clone(), a.id, b.id);
            let senders = async {
                for n in 0..300 {
                    a_net.send(b_id, class, frame(&n.to_string(), 10_000)).await.unwrap();
                    b_net.send(a_id, class, frame(&n.to_string(), 10_000)).await.unwrap();
                }
            };
            let receivers = async {
                let mut seen = [BTreeSet::new(), BTreeSet::new()];
                for _ in 0..300 {
                    seen[0].insert(a.receive(class).await.frame.head);
                    seen[1].insert(b.receive(class).await.frame.head);
                }
                seen
            };
            let ((), seen) = soon("all", futures::future::join(senders, receivers)).await;
            assert_eq!(seen.map(|heads| heads.len()), [300, 300]);
        }
        both_have_two(&a, &b).await;
    }
}

#[tokio::test]
async fn where_connections_are_scarce_one_bears_everything() {
    let plan = || Plan { connections_max: 3, ..Plan::default() };
    let (mut a, mut b) = (TestPeer::start(plan()).await, TestPeer::start(plan()).await);
    a.meet(&mut b).await;
    frames_pass(&mut a, &mut b, "one").await;
    assert_eq!(a.net.metrics().connections(), 1);
}
