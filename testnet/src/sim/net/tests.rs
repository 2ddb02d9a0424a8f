//! What the simulated network does to frames and connections.

use std::time::Duration;

use bytes::Bytes;
use node::env::{Env as _, Membership, Net as _, NetError, NetEvent};
use protocol::wire::{Class, Frame};
use protocol::{ClusterId, PeerId};

use crate::sim::{LinkHabits, Loss, Machine, SimEnv, World, run};

/// Runs `body` on two machines of a world of `seed`, where the first knows the second's address.
fn on_pair(seed: u64, body: impl AsyncFnOnce(&World, [&Machine; 2], [SimEnv; 2])) {
    run(seed, false, async |world| {
        let machines = [Machine::new(&world, 0), Machine::new(&world, 1)];
        let envs = [machines[0].boot(), machines[1].boot()];
        let peers = [machines[0].peer(), machines[1].peer()];
        envs.iter().for_each(|env| admit(env, peers));
        envs[0].net().dial(machines[1].peer(), vec![machines[1].address().to_owned()]);
        pause(&world, 100).await;
        body(&world, [&machines[0], &machines[1]], envs).await;
        assert_eq!(world.failures(), Vec::<String>::new());
    })
    .unwrap();
}

/// Has a process speak the cluster's protocols with these peers.
fn admit(env: &SimEnv, members: impl IntoIterator<Item = PeerId>) {
    let cluster = ClusterId::from_bytes([1; 16]);
    let members = members.into_iter().collect();
    env.net().set_membership(Some(Membership { cluster, members }));
}

async fn pause(world: &World, millis: u64) {
    world.clock().sleep(Duration::from_millis(millis)).await;
}

fn frame(number: u8) -> Frame {
    Frame { head: Bytes::from(vec![number]), body: Bytes::from_static(b"body") }
}

/// Sends frames numbered 0..count and returns the numbers that arrive, in their order.
async fn exchange(world: &World, [a, b]: &[SimEnv; 2], count: u8) -> Vec<u8> {
    let mut inbox = b.net().take_inbox(Class::Bulk).unwrap();
    let to = b.net().local_peer();
    let net = a.net().clone();
    a.spawn("sender", async move {
        for number in 0..count {
            net.send(to, Class::Bulk, frame(number)).await.unwrap();
        }
    });
    let mut arrived = Vec::new();
    let deadline = world.clock().nanos() + 60_000_000_000;
    loop {
        tokio::select! {
            biased; // the deadline ends the exchange
            () = world.clock().sleep_until_nanos(deadline) => return arrived,
            Some(inbound) = inbox.recv() => {
                assert_eq!(inbound.from, a.net().local_peer());
                assert_eq!(inbound.frame.body, "body");
                arrived.push(inbound.frame.head[0]);
            }
        }
    }
}

fn events(env: &SimEnv) -> Vec<NetEvent> {
    let mut receiver = env.net().take_events().unwrap();
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

#[test]
fn a_quiet_link_delivers_every_frame_once_and_in_order() {
    on_pair(1, async |world, [a, b], envs| {
        assert_eq!(exchange(world, &envs, 200).await, (0..200).collect::<Vec<_>>());
        let told = events(&envs[0]);
        assert_eq!(told[0], NetEvent::Listening(vec![a.address().to_owned()]));
        assert_eq!(told[1], NetEvent::Connected(b.peer()));
        assert!(events(&envs[1]).contains(&NetEvent::Connected(a.peer())));
    });
}

#[test]
fn a_bad_link_loses_repeats_and_reorders() {
    on_pair(2, async |world, [a, b], envs| {
        let habits = LinkHabits {
            losses: 100_000,
            repeats: 100_000,
            overtaken: 100_000,
            ..LinkHabits::default()
        };
        world.network().set_habits(a.peer(), b.peer(), habits);
        let arrived = exchange(world, &envs, 200).await;
        let mut distinct = arrived.clone();
        distinct.sort_unstable();
        assert!(!arrived.is_sorted(), "nothing was overtaken");
        distinct.dedup();
        assert!(distinct.len() < 195 && distinct.len() > 150, "lost {}", 200 - distinct.len());
        assert!(arrived.len() > distinct.len() + 5, "nothing was repeated");
    });
}

#[test]
fn a_receiver_that_does_not_read_holds_the_sender_up_and_nothing_is_lost() {
    on_pair(3, async |world, _, envs| {
        let [a, b] = &envs;
        let to = b.net().local_peer();
        let net = a.net().clone();
        let (sent, count) = (std::sync::Arc::new(std::sync::atomic::AtomicU8::new(0)), 250);
        let progress = std::sync::Arc::clone(&sent);
        a.spawn("sender", async move {
            for number in 0..count {
                net.send(to, Class::Bulk, frame(number)).await.unwrap();
                progress.store(number + 1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        pause(world, 10_000).await;
        let waiting = sent.load(std::sync::atomic::Ordering::Relaxed);
        assert!(waiting < 150, "{waiting} frames were taken although nobody reads");
        // Other classes are not held up.
        a.net().send(to, Class::Control, frame(1)).await.unwrap();
        let mut control = b.net().take_inbox(Class::Control).unwrap();
        assert_eq!(control.recv().await.unwrap().frame, frame(1));
        let mut inbox = b.net().take_inbox(Class::Bulk).unwrap();
        for number in 0..count {
            assert_eq!(inbox.recv().await.unwrap().frame, frame(number));
        }
    });
}

#[test]
fn a_cut_stops_one_direction_and_both_ends_notice() {
    on_pair(4, async |world, [a, b], envs| {
        world.network().cut(world, a.peer(), b.peer());
        let (to_b, to_a) = (envs[0].net(), envs[1].net());
        to_b.send(b.peer(), Class::Bulk, frame(1)).await.unwrap();
        to_a.send(a.peer(), Class::Bulk, frame(2)).await.unwrap();
        let mut at_a = envs[0].net().take_inbox(Class::Bulk).unwrap();
        let mut at_b = envs[1].net().take_inbox(Class::Bulk).unwrap();
        assert_eq!(at_a.recv().await.unwrap().frame, frame(2));
        pause(world, 12_000).await;
        assert!(at_b.try_recv().is_err(), "the frame crossed the cut");
        let failed = to_b.send(b.peer(), Class::Bulk, frame(3)).await;
        assert_eq!(failed, Err(NetError::Unreachable { peer: b.peer() }));

        world.network().mend(world, a.peer(), b.peer());
        to_b.send(b.peer(), Class::Bulk, frame(4)).await.unwrap();
        assert_eq!(at_b.recv().await.unwrap().frame, frame(4));
        let told = events(&envs[0]);
        for event in [
            NetEvent::Disconnected(b.peer()),
            NetEvent::Unreachable(b.peer()),
            NetEvent::Connected(b.peer()),
        ] {
            assert!(told.contains(&event), "{event:?} is missing in {told:?}");
        }
    });
}

#[test]
fn a_crashed_peer_swallows_frames_until_its_next_process_is_dialled() {
    on_pair(5, async |world, [a, b], envs| {
        b.end(Loss::Power);
        // The sender believes in the connection for a while.
        assert_eq!(envs[0].net().send(b.peer(), Class::Bulk, frame(1)).await, Ok(()));
        assert_eq!(
            envs[1].net().send(b.peer(), Class::Bulk, frame(9)).await,
            Err(NetError::Stopped)
        );
        pause(world, 12_000).await;
        assert!(envs[0].net().send(b.peer(), Class::Bulk, frame(2)).await.is_err());
        let next = b.boot();
        admit(&next, [a.peer()]);
        envs[0].net().send(b.peer(), Class::Bulk, frame(3)).await.unwrap();
        let mut inbox = next.net().take_inbox(Class::Bulk).unwrap();
        assert_eq!(inbox.recv().await.unwrap().frame, frame(3));
        assert!(inbox.try_recv().is_err());
    });
}

#[test]
fn a_dial_to_the_wrong_peer_or_nowhere_is_told() {
    on_pair(6, async |world, [a, b], envs| {
        let third = Machine::new(world, 2);
        let stranger = third.boot();
        admit(&stranger, [a.peer(), b.peer()]);
        // When the address of one peer is said to be another's.
        stranger.net().dial(a.peer(), vec![b.address().to_owned()]);
        pause(world, 6_000).await;
        assert_eq!(events(&stranger)[1..], [NetEvent::Unreachable(a.peer())]);
        let unknown = envs[0].net().send(third.peer(), Class::Bulk, frame(1)).await;
        assert_eq!(unknown, Err(NetError::Unreachable { peer: third.peer() }));
    });
}

#[test]
fn who_connects_while_it_is_dialled_is_not_called_unreachable() {
    on_pair(7, async |world, [a, b], envs| {
        let third = Machine::new(world, 2);
        let other = third.boot();
        admit(&envs[0], [b.peer(), third.peer()]);
        admit(&other, [a.peer()]);
        world.network().cut(world, a.peer(), third.peer());
        envs[0].net().dial(third.peer(), vec![third.address().to_owned()]);
        pause(world, 500).await;
        world.network().mend(world, a.peer(), third.peer());
        other.net().dial(a.peer(), vec![a.address().to_owned()]);
        pause(world, 6_000).await;
        let told = events(&envs[0]);
        assert!(told.contains(&NetEvent::Connected(third.peer())), "{told:?}");
        assert!(!told.contains(&NetEvent::Unreachable(third.peer())), "{told:?}");
    });
}
