//! One seed is one run; a panic of the daemon's code is a failure of the run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use node::env::{Batch, Disk as _, DiskFile as _, Durability, Env as _, Map, Membership, Net as _};
use protocol::ClusterId;
use protocol::wire::{Class, Frame};

use super::lock::lock;
use super::{LinkHabits, Loss, Machine, SimEnv, World, run};

/// Floods three machines with frames and writes under faults, and returns the digest.
fn storm(seed: u64) -> String {
    run(seed, false, async |world| {
        let machines: Vec<_> = (0..3).map(|number| Machine::new(&world, number)).collect();
        let habits = LinkHabits {
            losses: 20_000,
            repeats: 50_000,
            overtaken: 50_000,
            resets: 1_000,
            delay: (Duration::from_micros(100), Duration::from_millis(20)),
            ..LinkHabits::default()
        };
        for a in &machines {
            for b in &machines {
                world.network().set_habits(a.peer(), b.peer(), habits);
            }
            start(a, &machines);
        }
        let mut prng = world.prng();
        for _ in 0..20 {
            world.clock().sleep(Duration::from_millis(prng.below(2_000))).await;
            let victim = &machines[prng.index(3).unwrap()];
            victim.end(if prng.chance(1, 2) { Loss::Power } else { Loss::Process });
            start(victim, &machines);
        }
        assert_eq!(world.failures(), Vec::<String>::new());
        assert!(world.events() > 500, "{}", world.events());
        world.digest()
    })
    .unwrap()
}

/// Starts a process that sends to everybody, and writes down what arrives.
fn start(machine: &Machine, machines: &[Machine]) {
    let env = machine.boot();
    let (cluster, members) = (ClusterId::from_bytes([1; 16]), machines.iter().map(Machine::peer));
    env.net().set_membership(Some(Membership { cluster, members: members.collect() }));
    for other in machines {
        env.net().dial(other.peer(), vec![other.address().to_owned()]);
    }
    let mut inbox = env.net().take_inbox(Class::Bulk).unwrap();
    let writer = env.clone();
    env.spawn("writer", async move {
        let Ok(file) = writer.disk().open("log", true).await else { return };
        while let Some(inbound) = inbox.recv().await {
            let end = file.len().await.unwrap();
            let hash = writer.compute(move || inbound.frame.head.clone()).await;
            file.write_at(end, vec![hash.clone()]).await.unwrap();
            file.sync().await.unwrap();
            let mut batch = Batch::default();
            batch.put(Map::Blocks, hash, inbound.frame.body);
            writer.disk().write(batch, Durability::Buffered).await.unwrap();
        }
    });
    let peers: Vec<_> = machines.iter().map(Machine::peer).collect();
    let sender = env.clone();
    env.spawn("sender", async move {
        let mut prng = sender.prng();
        loop {
            let to = peers[prng.index(peers.len()).unwrap()];
            let head = Bytes::from(prng.next_u64().to_be_bytes().to_vec());
            let frame = Frame { head, body: Bytes::from_static(b"payload") };
            // Failures are part of the storm.
            let failed = sender.net().send(to, Class::Bulk, frame).await.is_err();
            let pause = Duration::from_micros(prng.below(if failed { 100_000 } else { 10_000 }));
            sender.sleep_until(sender.now().after(pause)).await;
        }
    });
}

#[test]
fn one_seed_is_one_run_and_another_seed_is_another() {
    for seed in 0..5 {
        assert_eq!(storm(seed), storm(seed), "seed {seed}");
    }
    assert_ne!(storm(1), storm(2));
}

#[test]
fn a_crash_drops_every_task_of_the_process_wherever_it_waits() {
    run(1, false, async |world| {
        let machine = Machine::new(&world, 0);
        let env = machine.boot();
        let steps = Arc::new(Mutex::new(0));
        let count = Arc::clone(&steps);
        let inner = env.clone();
        env.spawn("ticker", async move {
            loop {
                inner.sleep_until(inner.now().after(Duration::from_millis(10))).await;
                *lock(&count) += 1;
            }
        });
        world.clock().sleep(Duration::from_millis(105)).await;
        machine.end(Loss::Power);
        world.clock().sleep(Duration::from_secs(1)).await;
        assert_eq!(*lock(&steps), 10);
        assert_eq!(Arc::strong_count(&steps), 1, "the task was not dropped");
        assert!(!env.is_running() && !machine.is_running());
    })
    .unwrap();
}

#[test]
fn a_panic_of_a_task_fails_the_run_and_ends_the_process() {
    run(1, false, async |world| {
        let machine = Machine::new(&world, 0);
        let env = machine.boot();
        env.spawn("careless", async { panic!("invariant {} broken", 7) });
        world.clock().sleep(Duration::from_millis(1)).await;
        assert!(!machine.is_running());
        let failures = world.failures();
        assert!(failures.len() == 1 && failures[0].contains("invariant 7 broken"), "{failures:?}");
    })
    .unwrap();
}

#[test]
fn clocks_of_processes_and_machines_disagree_and_run_on() {
    run(1, false, async |world| {
        let machines = [Machine::new(&world, 0), Machine::new(&world, 1)];
        let envs = machines.each_ref().map(Machine::boot);
        let readings = |envs: &[SimEnv; 2]| envs.each_ref().map(|env| (env.now(), env.wall()));
        let before = readings(&envs);
        assert_ne!(before[0].0, before[1].0);
        assert_ne!(before[0].1, before[1].1);
        nap(&world).await;
        let after = readings(&envs);
        for (before, after) in before.into_iter().zip(after) {
            assert_eq!(after.0.since(before.0), Duration::from_micros(2_500_300));
            assert_eq!(after.1.as_unix_millis() - before.1.as_unix_millis(), 2_500);
        }
    })
    .unwrap();
}

async fn nap(world: &World) {
    world.clock().sleep(Duration::from_micros(2_500_300)).await;
}
