//! Peers on loopback, with real sockets. Waits for events, never for time.

use std::collections::BTreeSet;

use protocol::limits::{INBOX_FRAMES_MAX, OUTBOX_FRAMES_MAX};
use protocol::wire::Class;

use super::identity::{SecretKey, generate, peer_id_of};
use super::test_peer::{Plan, QUIC, TestPeer, frame, soon};
use super::transport::Stack;
use super::{NetSettings, RealNet, StartError};
use crate::env::{Net, NetError, NetEvent};

/// Returns a port of this machine that nobody listens on.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn two_peers_exchange_frames(listen: &str) {
    let plan = || Plan { listen: listen.to_owned(), ..Plan::default() };
    let (mut a, mut b) = (TestPeer::start(plan()).await, TestPeer::start(plan()).await);
    a.meet(&mut b).await;
    for class in Class::ALL {
        for (n, bytes) in [0, 1, 20_000, 2 << 20].into_iter().enumerate() {
            a.send(b.id, class, frame(&format!("to b {n}"), bytes)).await;
            b.send(a.id, class, frame(&format!("to a {n}"), bytes)).await;
            let (at_a, at_b) = (a.receive(class).await, b.receive(class).await);
            assert_eq!((at_a.from, at_b.from), (b.id, a.id));
            assert_eq!(at_a.frame, frame(&format!("to a {n}"), bytes));
            assert_eq!(at_b.frame, frame(&format!("to b {n}"), bytes));
        }
        assert_eq!(a.net.metrics().frames_sent(class), 4);
        assert_eq!(a.net.metrics().frames_received(class), 4);
    }
}

#[tokio::test]
async fn two_peers_exchange_frames_of_every_class_over_tcp() {
    two_peers_exchange_frames(super::test_peer::TCP).await;
}

#[tokio::test]
async fn two_peers_exchange_frames_of_every_class_over_quic() {
    two_peers_exchange_frames(QUIC).await;
}

#[tokio::test]
async fn a_peer_without_aes_and_one_with_it_agree_on_noise() {
    let slow = || Plan { stack: Stack { tls: false, ..Stack::fastest() }, ..Plan::default() };
    let fast = || Plan { stack: Stack { tls: true, ..Stack::fastest() }, ..Plan::default() };
    for (dialler, listener) in [(slow(), fast()), (fast(), slow())] {
        let (mut a, mut b) = (TestPeer::start(dialler).await, TestPeer::start(listener).await);
        a.meet(&mut b).await;
        a.send(b.id, Class::Bulk, frame("block", 1 << 20)).await;
        assert_eq!(b.receive(Class::Bulk).await.frame, frame("block", 1 << 20));
    }
}

#[tokio::test]
async fn a_frame_to_a_peer_whose_address_is_known_connects_first() {
    // Given a peer that starts after it was sought at its address.
    let mut a = TestPeer::start(Plan::default()).await;
    let (key, listen) = (generate(), format!("/ip4/127.0.0.1/tcp/{}", free_port()));
    a.admit(peer_id_of(&key), true);
    a.net.dial(peer_id_of(&key), vec![listen.clone()]);
    a.expect(NetEvent::Unreachable(peer_id_of(&key))).await;
    let members = BTreeSet::from([a.id]);
    let mut b = TestPeer::start(Plan { key, listen, members, ..Plan::default() }).await;
    // When a frame is sent to it, without an order to connect, then it arrives.
    a.send(b.id, Class::Control, frame("hello", 0)).await;
    assert_eq!(b.receive(Class::Control).await.from, a.id);
}

#[tokio::test]
async fn a_peer_is_met_at_the_address_that_another_one_tells_of() {
    // Given a peer that was connected once, restarted, and is not connected now.
    let mut a = TestPeer::start(Plan::default()).await;
    let (key, mut b) = (generate(), None);
    for n in 0..2 {
        let mut restarted = TestPeer::start(Plan { key: key.clone(), ..Plan::default() }).await;
        a.meet(&mut restarted).await;
        if n == 0 {
            restarted.net.stop().await;
            a.expect(NetEvent::Disconnected(restarted.id)).await;
        }
        b = Some(restarted);
    }
    let mut b = b.unwrap();
    // When a third peer, told of its address by nobody but the first, sends it a frame.
    let mut c = TestPeer::start(Plan::default()).await;
    a.admit(c.id, true);
    b.admit(c.id, true);
    c.admit(a.id, true);
    c.admit(b.id, true);
    c.net.dial(a.id, vec![a.address.clone()]);
    c.expect(NetEvent::Connected(a.id)).await;
    c.event(|e| matches!(e, NetEvent::Connected(peer) if *peer == b.id)).await;
    c.send(b.id, Class::Control, frame("hello", 0)).await;
    // Then it arrives.
    assert_eq!(b.receive(Class::Control).await.from, c.id);
}

#[tokio::test]
async fn a_chain_of_peers_that_know_one_other_each_becomes_a_mesh() {
    let keys: Vec<_> = (0..10).map(|_| generate()).collect();
    let members: BTreeSet<_> = keys.iter().map(peer_id_of).collect();
    let mut peers: Vec<TestPeer> = Vec::new();
    for key in keys {
        let bootstrap = peers.last().map(|last| last.address.clone()).into_iter().collect();
        let plan = Plan { key, bootstrap, members: members.clone(), ..Plan::default() };
        peers.push(TestPeer::start(plan).await);
    }
    let ids: Vec<_> = peers.iter().map(|peer| peer.id).collect();
    for peer in &mut peers {
        for id in &ids {
            if *id != peer.id {
                peer.expect(NetEvent::Connected(*id)).await;
                let NetEvent::Discovered { addresses, .. } = peer
                    .event(|e| matches!(e, NetEvent::Discovered { peer, .. } if peer == id))
                    .await
                else {
                    unreachable!()
                };
                assert!(!addresses.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_slow_service_holds_back_its_class_and_no_other() {
    // Given a peer that takes nothing from its bulk inbox.
    let mut a = TestPeer::start(Plan::default()).await;
    let mut b = TestPeer::start(Plan::default()).await;
    a.meet(&mut b).await;
    // When the other sends until its outbox is full, which needs more than the streams and sockets between
    // them hold.
    let sender = {
        let (net, to) = (a.net.clone(), b.id);
        async move {
            for n in 0..400 {
                net.send(to, Class::Bulk, frame(&n.to_string(), 1 << 20)).await.unwrap();
            }
        }
    };
    let mut sender = Box::pin(sender);
    // Then frames of the control class pass meanwhile, long after the last of the bulk class was read.
    let (mut n, mut still) = (0, 0);
    while still < 100 {
        let received = b.net.metrics().frames_received(Class::Bulk);
        n += 1;
        tokio::select! {
            () = &mut sender => panic!("400 MiB were taken by nobody"),
            () = a.send(b.id, Class::Control, frame(&format!("urgent {n}"), 10)) => {}
        }
        tokio::select! {
            () = &mut sender => panic!("400 MiB were taken by nobody"),
            got = b.receive(Class::Control) => assert_eq!(got.frame.head, format!("urgent {n}")),
        }
        let is_held_back = b.waiting(Class::Bulk) == INBOX_FRAMES_MAX
            && b.net.metrics().frames_received(Class::Bulk) == received;
        still = if is_held_back { still + 1 } else { 0 };
    }
    // And no more than the inbox holds was read, and a window more written.
    assert!(b.net.metrics().frames_received(Class::Bulk) <= INBOX_FRAMES_MAX as u64 + 1);
    // When the service takes frames again, then every one arrives in order.
    let receiver = async {
        for n in 0..400 {
            assert_eq!(b.receive(Class::Bulk).await.frame.head, n.to_string());
        }
    };
    soon("the rest", futures::future::join(sender, receiver)).await;
    assert!(a.net.metrics().frames_sent(Class::Bulk) >= (400 - OUTBOX_FRAMES_MAX) as u64);
}

#[tokio::test]
async fn a_restarted_peer_is_found_at_its_new_address() {
    let mut a = TestPeer::start(Plan::default()).await;
    let key = generate();
    let mut b = TestPeer::start(Plan { key: key.clone(), ..Plan::default() }).await;
    a.meet(&mut b).await;
    b.net.stop().await;
    a.expect(NetEvent::Disconnected(b.id)).await;
    drop(b);

    let mut b = TestPeer::start(Plan { key, ..Plan::default() }).await;
    a.meet(&mut b).await;
    a.send(b.id, Class::Control, frame("again", 0)).await;
    assert_eq!(b.receive(Class::Control).await.frame, frame("again", 0));
}

#[tokio::test]
async fn frames_flow_after_both_dialled_at_once() {
    // Which of the two connections stands first on which side is chance: each order comes in some of these.
    for _ in 0..40 {
        both_dial_at_once().await;
    }
}

async fn both_dial_at_once() {
    let mut a = TestPeer::start(Plan::default()).await;
    let mut b = TestPeer::start(Plan::default()).await;
    a.admit(b.id, true);
    b.admit(a.id, true);
    a.net.dial(b.id, vec![b.address.clone()]);
    b.net.dial(a.id, vec![a.address.clone()]);
    a.expect(NetEvent::Connected(b.id)).await;
    b.expect(NetEvent::Connected(a.id)).await;
    for class in Class::ALL {
        a.send(b.id, class, frame("there", 100_000)).await;
        assert_eq!(b.receive(class).await.frame.head, "there");
        b.send(a.id, class, frame("back", 100_000)).await;
        assert_eq!(a.receive(class).await.frame.head, "back");
    }
    assert!(!a.other_events().contains(&NetEvent::Disconnected(b.id)));
}

#[tokio::test]
async fn peers_of_different_clusters_exchange_nothing() {
    let mut ours = TestPeer::start(Plan::default()).await;
    let mut theirs = TestPeer::start(Plan {
        cluster: 2,
        bootstrap: vec![ours.address.clone()],
        ..Plan::default()
    })
    .await;
    // Although each takes the other one for a member.
    ours.admit(theirs.id, true);
    theirs.admit(ours.id, true);
    ours.net.dial(theirs.id, vec![theirs.address.clone()]);
    ours.expect(NetEvent::Unreachable(theirs.id)).await;
    for class in Class::ALL {
        let sent = soon("send", ours.net.send(theirs.id, class, frame("secret", 9))).await;
        assert_eq!(sent, Err(NetError::Unreachable { peer: theirs.id }));
        let sent = soon("send", theirs.net.send(ours.id, class, frame("secret", 9))).await;
        assert_eq!(sent, Err(NetError::Unreachable { peer: ours.id }));
        assert_eq!((ours.waiting(class), theirs.waiting(class)), (0, 0));
    }
    let is_about_them = |e: &NetEvent| matches!(e, NetEvent::Connected(_));
    assert!(!ours.other_events().iter().any(is_about_them));
    assert!(!theirs.other_events().iter().any(is_about_them));
}

#[tokio::test]
async fn a_peer_nobody_knows_and_oneself_are_unreachable() {
    let mut a = TestPeer::start(Plan::default()).await;
    let nobody = peer_id_of(&SecretKey::from_bytes([9; 32]));
    a.admit(nobody, true);
    for peer in [nobody, a.id] {
        let sent = soon("send", a.net.send(peer, Class::Control, frame("hello", 0))).await;
        assert_eq!(sent, Err(NetError::Unreachable { peer }));
    }
    a.expect(NetEvent::Unreachable(nobody)).await;
    a.net.dial(nobody, vec!["/ip4/127.0.0.1/tcp/1".to_owned(), "no address".to_owned()]);
    a.expect(NetEvent::Unreachable(nobody)).await;
    a.net.stop().await;
    let sent = soon("send", a.net.send(nobody, Class::Control, frame("hello", 0))).await;
    assert_eq!(sent, Err(NetError::Stopped));
}

#[tokio::test]
async fn all_addresses_of_both_families_share_a_port() {
    let port = free_port();
    let settings = NetSettings {
        key: generate(),
        listen: vec![format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip6/::/tcp/{port}")],
        bootstrap: Vec::new(),
        mdns: false,
        connections_max: 10,
        memory_bytes_max: usize::MAX,
        guest_rate: 1 << 30,
        agent_version: "test".to_owned(),
    };
    let net = RealNet::start(&settings).unwrap();
    net.stop().await;
}

#[tokio::test]
async fn an_address_in_use_and_a_text_that_is_none_are_start_errors() {
    let a = TestPeer::start(Plan::default()).await;
    let settings = |listen: &str| NetSettings {
        key: generate(),
        listen: vec![listen.to_owned()],
        bootstrap: Vec::new(),
        mdns: false,
        connections_max: 10,
        memory_bytes_max: usize::MAX,
        guest_rate: 1 << 30,
        agent_version: "test".to_owned(),
    };
    let err = RealNet::start(&settings("nowhere")).unwrap_err();
    assert!(matches!(err, StartError::Address { .. }), "{err}");
    for address in ["/ip4/192.0.2.1/tcp/0", "/ip4/127.0.0.1/sctp/1", &a.address] {
        let err = RealNet::start(&settings(address)).unwrap_err();
        assert!(matches!(err, StartError::Listen { .. }), "{address}: {err}");
    }
    drop(a);
}
