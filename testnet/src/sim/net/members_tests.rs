//! Who may talk to whom in the simulated network: the same contract as the real one's.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use node::env::{Env as _, GuestProtocol, Membership, Net as _, NetError, NetEvent};
use protocol::ClusterId;
use protocol::limits::{GUEST_ANSWER_BYTES_MAX, GUEST_QUESTION_BYTES_MAX};
use protocol::wire::{Class, Frame};

use crate::sim::{LinkHabits, Loss, Machine, SimEnv, World, run};

/// Runs `body` on two machines of a world of `seed`, which admit nobody.
fn on_pair(seed: u64, body: impl AsyncFnOnce(&World, [&Machine; 2], [SimEnv; 2])) {
    run(seed, false, async |world| {
        let machines = [Machine::new(&world, 0), Machine::new(&world, 1)];
        let envs = [machines[0].boot(), machines[1].boot()];
        body(&world, [&machines[0], &machines[1]], envs).await;
        assert_eq!(world.failures(), Vec::<String>::new());
    })
    .unwrap();
}

async fn pause(world: &World, millis: u64) {
    world.clock().sleep(Duration::from_millis(millis)).await;
}

fn frame(text: &'static str) -> Frame {
    Frame { head: Bytes::from_static(text.as_bytes()), body: Bytes::from_static(b"body") }
}

fn admit(env: &SimEnv, cluster: u8, members: &[&SimEnv]) {
    let members: BTreeSet<_> = members.iter().map(|member| member.net().local_peer()).collect();
    let cluster = ClusterId::from_bytes([cluster; 16]);
    env.net().set_membership(Some(Membership { cluster, members }));
}

async fn can_send(from: &SimEnv, to: &SimEnv) -> bool {
    let peer = to.net().local_peer();
    match from.net().send(peer, Class::Control, frame("hello")).await {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error, NetError::Unreachable { peer });
            false
        }
    }
}

#[test]
fn peers_talk_once_both_admit_each_other_and_until_one_does_not() {
    on_pair(1, async |world, [a, b], [env_a, env_b]| {
        let mut events = env_b.net().take_events().unwrap();
        let mut inbox = env_b.net().take_inbox(Class::Control).unwrap();
        env_a.net().dial(b.peer(), vec![b.address().to_owned()]);
        env_b.net().dial(a.peer(), vec![a.address().to_owned()]);
        pause(world, 6_000).await;
        assert!(!can_send(&env_a, &env_b).await && !can_send(&env_b, &env_a).await);
        admit(&env_a, 1, &[&env_b]);
        assert!(!can_send(&env_a, &env_b).await);
        // In another cluster.
        admit(&env_b, 2, &[&env_a]);
        assert!(!can_send(&env_a, &env_b).await);
        while events.try_recv().is_ok() {}
        // Connected without a dial: they have met.
        admit(&env_b, 1, &[&env_a]);
        assert_eq!(events.try_recv(), Ok(NetEvent::Connected(a.peer())));
        assert!(can_send(&env_a, &env_b).await);
        pause(world, 100).await;
        assert!(inbox.try_recv().is_ok());
        while events.try_recv().is_ok() {}
        // What is under way when the sender is removed does not arrive.
        assert!(can_send(&env_a, &env_b).await);
        env_b.net().set_membership(None);
        assert_eq!(events.try_recv(), Ok(NetEvent::Disconnected(a.peer())));
        pause(world, 1_000).await;
        assert!(inbox.try_recv().is_err());
        assert!(!can_send(&env_a, &env_b).await && !can_send(&env_b, &env_a).await);
        admit(&env_b, 1, &[&env_a, &env_b]);
        assert!(can_send(&env_b, &env_a).await);
    });
}

/// Answers every question by itself, but says nothing to `silence`.
fn serve(env: &SimEnv) {
    let mut guests = env.net().take_guests(GuestProtocol::Join).unwrap();
    assert!(env.net().take_guests(GuestProtocol::Join).is_none());
    env.spawn("guests", async move {
        let mut silent = Vec::new();
        while let Some(guest) = guests.recv().await {
            if guest.question == "silence" {
                silent.push(guest.answer);
            } else if guest.question == "too much" {
                guest.answer.send(Bytes::from(vec![0; GUEST_ANSWER_BYTES_MAX + 1])).unwrap();
            } else {
                guest.answer.send(guest.question).unwrap();
            }
        }
    });
}

#[test]
fn a_guest_is_answered_by_the_peer_that_the_address_names_or_in_time_by_nobody() {
    on_pair(2, async |world, [a, b], [env_a, env_b]| {
        serve(&env_b);
        let named = format!("{}/p2p/{}", b.address(), b.peer());
        let wrong = vec![
            "nonsense".to_owned(),
            b.address().to_owned(),
            format!("/sim/99/p2p/{}", b.peer()),
            format!("{}/p2p/{}", b.address(), a.peer()),
        ];
        let all: Vec<_> = wrong.iter().cloned().chain([named.clone()]).collect();
        let asked =
            env_a.net().ask_guest(GuestProtocol::Join, all, Bytes::from_static(b"hello")).await;
        assert_eq!(asked, Ok((b.peer(), Bytes::from_static(b"hello"))));
        let asked =
            env_a.net().ask_guest(GuestProtocol::Join, wrong, Bytes::from_static(b"hello")).await;
        assert_eq!(asked, Err(NetError::Unanswered { addresses: 4 }));
        let too_long = Bytes::from(vec![0; GUEST_QUESTION_BYTES_MAX + 1]);
        for question in [Bytes::from_static(b"silence"), Bytes::from_static(b"too much"), too_long]
        {
            let before = world.clock().nanos();
            let asked =
                env_a.net().ask_guest(GuestProtocol::Join, vec![named.clone()], question).await;
            assert_eq!(asked, Err(NetError::Unanswered { addresses: 1 }));
            assert!(world.clock().nanos() - before <= 10_000_000_000);
        }
        let b_address = vec![named];
        b.end(Loss::Power);
        let asked = env_a
            .net()
            .ask_guest(GuestProtocol::Join, b_address, Bytes::from_static(b"hello"))
            .await;
        assert_eq!(asked, Err(NetError::Unanswered { addresses: 1 }));
    });
}

#[test]
fn questions_and_answers_get_lost_as_frames_do() {
    on_pair(3, async |world, [a, b], [env_a, env_b]| {
        serve(&env_b);
        let habits = LinkHabits { losses: 300_000, ..LinkHabits::default() };
        world.network().set_habits(a.peer(), b.peer(), habits);
        world.network().set_habits(b.peer(), a.peer(), habits);
        let named = vec![format!("{}/p2p/{}", b.address(), b.peer())];
        let mut answered = 0;
        for _ in 0..100 {
            let asked = env_a
                .net()
                .ask_guest(GuestProtocol::Join, named.clone(), Bytes::from_static(b"hello"))
                .await;
            answered += u32::from(asked.is_ok());
        }
        assert!((30..70).contains(&answered), "{answered} of 100 questions were answered");
    });
}
