//! A machine whose disk is replaced by an older copy takes part no more, and nothing that it acknowledged is lost.

use std::sync::Arc;
use std::time::Duration;

use super::Plant;
use super::clients::{read, write};
use super::group::{Group, Host};
use super::history::History;
use super::plan::Plan;
use crate::sim::properties::{Property, Violation};
use crate::sim::world::{self, World};
use crate::sim::{LinkHabits, Loss};

const PATIENCE: Duration = Duration::from_secs(20);
/// Values that are written, each once.
const VALUES: std::ops::Range<u64> = 7_000..7_020;

/// Founds a cluster without faults, and returns its leader first.
async fn calm(world: &World, peers: usize, plant: Option<Plant>) -> (Group, Vec<Arc<Host>>) {
    let drawn = Plan::draw(&mut world.prng(), Some(peers));
    let plan = Plan { ambushes: false, churn: false, ..drawn };
    let group = Group::new(world, &History::new(world), plan, plant);
    group.found().await;
    // Everybody has everything.
    world.clock().sleep(Duration::from_secs(5)).await;
    let leader = group.leader().expect("somebody leads");
    let followers = group.hosts().into_iter().filter(|host| host.number != leader.number);
    let hosts = std::iter::once(Arc::clone(&leader)).chain(followers).collect();
    (group, hosts)
}

/// Says whether nothing was seen but that one peer was refused.
fn is_refusal(violations: &[Violation]) -> bool {
    let is_told = |violation: &Violation| {
        violation.property == Property::Heals && violation.detail.contains("older copy")
    };
    violations.len() == 1 && violations.iter().all(is_told)
}

/// When a copy of a disk is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copied {
    WhileItStands,
    WhileItRuns,
}

async fn put_back(world: World, copied: Copied) {
    let (group, hosts) = calm(&world, 3, None).await;
    let (leader, restored) = (&hosts[0], &hosts[1]);
    if copied == Copied::WhileItStands {
        restored.end(Loss::Process);
    }
    let copy = restored.machine.device().copy_agreement();
    group.boot(restored);
    // Long enough for some marks.
    world.clock().sleep(Duration::from_secs(7)).await;
    for value in VALUES {
        assert!(write(&group, leader, value, PATIENCE).await, "{copied:?}");
    }
    world.clock().sleep(Duration::from_secs(1)).await;
    restored.end(Loss::Process);
    let device = restored.machine.device();
    assert_ne!(device.copy_agreement().promises(), copy.promises(), "it promised nothing");
    assert!(group.history.violations().is_empty(), "{:?}", group.history.violations());

    // What others remember outlives them.
    for other in [&hosts[0], &hosts[2]] {
        other.end(Loss::Power);
        group.boot(other);
    }
    // Put back once, and started more than once.
    device.restore_agreement(&copy);
    for start in 1..=3 {
        group.boot(restored);
        world.clock().sleep(Duration::from_secs(3)).await;
        assert!(restored.is_down(), "{copied:?}: it runs, at start {start}");
        let violations = group.history.violations();
        assert_eq!(violations.len(), start, "{copied:?}: {violations:?}");
        assert!(is_refusal(&violations[start - 1..]), "{copied:?}: {violations:?}");
        assert_eq!(device.copy_agreement().promises(), copy.promises(), "{copied:?}");
    }
    assert!(write(&group, leader, VALUES.end, PATIENCE).await, "the others do not go on");
    assert!(read(&group, leader).await);
}

#[test]
fn a_disk_that_was_put_back_neither_votes_nor_acknowledges() {
    for copied in [Copied::WhileItStands, Copied::WhileItRuns] {
        for seed in 1..=5 {
            world::run(seed, false, async |world| put_back(world, copied).await).unwrap();
        }
    }
}

/// A disk that is put back to before it heard of anybody knows nobody to ask, and asks who writes to it.
async fn put_back_to_the_beginning(world: World) {
    let (group, hosts) = calm(&world, 3, None).await;
    let new = group.add();
    group.boot(&new);
    assert!(group.started(&new).await.is_some());
    new.end(Loss::Process);
    let device = new.machine.device();
    let copy = device.copy_agreement();
    group.boot(&new);
    group.join(&new).await;
    world.clock().sleep(Duration::from_secs(5)).await;
    assert!(write(&group, &hosts[0], VALUES.start, PATIENCE).await);
    assert!(read(&group, &new).await);
    assert!(group.history.violations().is_empty(), "{:?}", group.history.violations());

    new.end(Loss::Process);
    device.restore_agreement(&copy);
    group.boot(&new);
    world.clock().sleep(Duration::from_secs(3)).await;
    let violations = group.history.violations();
    assert!(new.is_down() && is_refusal(&violations), "{violations:?}");
    assert_eq!(device.copy_agreement().promises(), []);
}

#[test]
fn a_disk_that_was_put_back_to_before_it_joined_takes_no_entries() {
    for seed in 1..=3 {
        world::run(seed, false, async |world| put_back_to_the_beginning(world).await).unwrap();
    }
}

/// Five vote. Of two of them nobody knows what the other three agreed on; one of these three loses it, and one is
/// gone: the last one's log is the only one that has it, and its word keeps the forgetful one from voting.
async fn forgotten(world: World, plant: Option<Plant>) -> Vec<Violation> {
    let (group, hosts) = calm(&world, 5, plant).await;
    let [leader, restored, knowing, away @ ..] = hosts.as_slice() else { panic!("five peers") };
    let network = world.network();
    let part = |one: &Arc<Host>, other: &Arc<Host>, is_cut: bool| {
        let (one, other) = (one.machine.peer(), other.machine.peer());
        for (from, to) in [(one, other), (other, one)] {
            if is_cut { network.cut(&world, from, to) } else { network.mend(&world, from, to) }
        }
    };
    restored.end(Loss::Process);
    let copy = restored.machine.device().copy_agreement();
    for one in away {
        [leader, restored, knowing].iter().for_each(|other| part(one, other, true));
    }
    group.boot(restored);
    assert!(write(&group, leader, VALUES.start, PATIENCE).await, "three of five do not write");
    leader.end(Loss::Process);
    restored.end(Loss::Process);
    restored.machine.device().restore_agreement(&copy);
    away.iter().for_each(|one| part(one, restored, false));
    // Whoever remembers is heard after those who stand for election.
    let delay = Duration::from_millis(60);
    let slow = LinkHabits { delay: (delay, delay), ..LinkHabits::default() };
    let far = (restored.machine.peer(), knowing.machine.peer());
    network.set_habits(far.0, far.1, slow);
    network.set_habits(far.1, far.0, slow);
    group.boot(restored);
    world.clock().sleep(Duration::from_secs(10)).await;
    let _unavailable = write(&group, &away[0], VALUES.start + 1, PATIENCE).await;

    network.calm(&world);
    group.boot(leader);
    world.clock().sleep(Duration::from_secs(10)).await;
    assert!(write(&group, &away[0], VALUES.start + 2, PATIENCE).await, "it does not heal");
    for host in [knowing, leader, &away[0], &away[1]] {
        read(&group, host).await;
    }
    group.history.violations()
}

#[test]
fn what_a_disk_forgot_that_was_put_back_is_not_lost() {
    for seed in 1..=5 {
        let found = world::run(seed, false, async |world| forgotten(world, None).await).unwrap();
        assert!(is_refusal(&found), "seed {seed}: {found:?}");
    }
    // If such a disk is taken for one that only started again, it is.
    let plant = Plant::ReusedId;
    let found = world::run(1, false, async |world| forgotten(world, Some(plant)).await).unwrap();
    let is_lost = found.iter().any(|violation| plant.breaks().contains(&violation.property));
    assert!(is_lost, "{found:?}");
}
