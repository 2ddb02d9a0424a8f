//! Locks against a queue in a list.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::command::Op;
use super::name::LockName;
use super::testing::{World, lock_name};
use super::{Effect, LeaseId, Outcome, Refusal, query};
use crate::Prng;

fn acquire(name: &LockName, owner: &LockName) -> Op {
    Op::LockAcquire { name: name.clone(), owner: owner.clone(), ttl_ms: 1000 }
}

#[test]
fn a_lock_goes_to_those_who_wait_in_the_order_of_asking() {
    let (mut world, _) = World::founded();
    let (lock, [a, b, c]) = (lock_name("l"), ["a", "b", "c"].map(lock_name));
    let Ok(Outcome::Granted { fence: first, .. }) = world.user("ann", acquire(&lock, &a)) else {
        panic!("it is free")
    };
    assert_eq!(world.user("ann", acquire(&lock, &b)), Ok(Outcome::Queued { position: 1 }));
    assert_eq!(world.user("bob", acquire(&lock, &c)), Ok(Outcome::Queued { position: 2 }));
    // Asking again keeps the place, and the holder's lock.
    assert_eq!(world.user("ann", acquire(&lock, &b)), Ok(Outcome::Queued { position: 1 }));
    let kept = Outcome::Granted { fence: first, ttl_ms: 1000 };
    assert_eq!(world.user("ann", acquire(&lock, &a)), Ok(kept));
    let release = |owner: &LockName, fence| Op::LockRelease {
        name: lock.clone(),
        owner: owner.clone(),
        fence,
    };
    world.user("ann", release(&a, first)).unwrap();
    let second = world.index;
    assert!(second > first);
    let granted = Effect::LockGranted { name: lock.clone(), owner: b.clone(), fence: second };
    assert!(world.effects.contains(&granted));
    assert_eq!(world.user("bob", acquire(&lock, &c)), Ok(Outcome::Queued { position: 1 }));
    // Who holds the lock does not wait for it.
    let withdraw = |owner: &LockName| Op::LockWithdraw { name: lock.clone(), owner: owner.clone() };
    let holds = Refusal::HoldsLock { name: lock.clone(), owner: b.clone() };
    assert_eq!(world.user("ann", withdraw(&b)), Err(holds));
    assert_eq!(world.user("ann", withdraw(&a)), Ok(Outcome::Done));
    // The old fence opens nothing.
    let lease = LeaseId::LockHolder { name: lock.clone(), fence: first };
    assert_eq!(
        world.user("ann", release(&a, first)),
        Err(Refusal::LeaseLost { lease: lease.clone() })
    );
    let renew = Op::LockRenew { name: lock.clone(), owner: a, fence: first, ttl_ms: 1000 };
    assert_eq!(world.user("ann", renew), Err(Refusal::LeaseLost { lease }));
    world.check();
}

#[test]
fn a_lease_that_was_renewed_meanwhile_does_not_expire() {
    let (mut world, _) = World::founded();
    let (lock, a) = (lock_name("l"), lock_name("a"));
    world.system(acquire(&lock, &a)).unwrap();
    let fence = world.index;
    let seen = query::leases(&world.map, None, 100).unwrap();
    let lease = seen.into_iter().find(|l| matches!(l.id, LeaseId::LockHolder { .. })).unwrap();
    // Given a leader that saw no renewal, and one that was committed before its proposal.
    let renew = Op::LockRenew { name: lock.clone(), owner: a, fence, ttl_ms: 2000 };
    world.system(renew).unwrap();
    let (id, renewals) = (lease.id.clone(), world.index);
    assert_eq!(world.effects, [Effect::LeaseChanged { id, ttl_ms: 2000, renewals }]);
    let expire = Op::Expire { lease: lease.id.clone(), renewals: lease.renewals };
    assert_eq!(world.system(expire), Ok(Outcome::Expired { ended: false }));
    assert!(query::lock(&world.map, &lock).unwrap().is_some());
    let expire = Op::Expire { lease: lease.id, renewals };
    assert_eq!(world.system(expire), Ok(Outcome::Expired { ended: true }));
    assert_eq!(query::lock(&world.map, &lock).unwrap(), None);
}

#[test]
fn the_queue_of_a_lock_is_bounded() {
    let (mut world, _) = World::founded();
    let lock = lock_name("l");
    let ask = |n: u32| acquire(&lock, &lock_name(&format!("o{n}")));
    for number in 0..=1024 {
        world.system(ask(number)).unwrap();
    }
    assert_eq!(world.system(ask(1024)), Ok(Outcome::Queued { position: 1024 }));
    let full = world.system(ask(1025)).unwrap_err();
    assert_eq!(crate::Fault::from(full).kind, crate::Kind::Busy);
    assert_eq!(query::lock_waiters(&world.map, &lock).unwrap().len(), 1024);
}

#[test]
fn the_length_of_a_lease_is_bounded() {
    let (mut world, _) = World::founded();
    for ttl_ms in [0, 99, u64::MAX] {
        let (name, owner) = (lock_name("l"), lock_name("a"));
        let refused = world.system(Op::LockAcquire { name, owner, ttl_ms });
        assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{refused:?}");
    }
}

/// Who holds each lock with which fence, and who waits, the next first.
#[derive(Default)]
struct Queues {
    locks: BTreeMap<LockName, (LockName, u64, VecDeque<LockName>)>,
}

impl Queues {
    fn pass_on(&mut self, name: &LockName, index: u64) {
        let (_, _, mut waiting) = self.locks.remove(name).unwrap();
        if let Some(next) = waiting.pop_front() {
            self.locks.insert(name.clone(), (next, index, waiting));
        }
    }
}

proptest! {
    #[test]
    fn locks_are_those_of_a_queue_in_a_list(seed: u64) {
        let (mut world, _) = World::founded();
        let mut prng = Prng::new(seed);
        let mut queues = Queues::default();
        let mut fence_last = 0;
        for _ in 0..300 {
            let name = lock_name(["l", "m"][prng.index(2).unwrap()]);
            let owner = lock_name(["a", "b", "c", "d", "e"][prng.index(5).unwrap()]);
            let index = world.index + 1;
            let held = queues.locks.get(&name).cloned();
            match prng.below(5) {
                0 | 1 => {
                    let answer = world.system(acquire(&name, &owner)).unwrap();
                    let expected = match held {
                        None => {
                            queues.locks.insert(name.clone(), (owner, index, VecDeque::new()));
                            Outcome::Granted { fence: index, ttl_ms: 1000 }
                        }
                        Some((holder, fence, _)) if holder == owner => {
                            Outcome::Granted { fence, ttl_ms: 1000 }
                        }
                        Some((_, _, waiting)) => {
                            let place = waiting.iter().position(|other| *other == owner);
                            if place.is_none() {
                                queues.locks.get_mut(&name).unwrap().2.push_back(owner);
                            }
                            let position = place.unwrap_or(waiting.len()) + 1;
                            Outcome::Queued { position: u32::try_from(position).unwrap() }
                        }
                    };
                    prop_assert_eq!(answer, expected);
                }
                2 => {
                    let fence = held.as_ref().map_or(1, |held| held.1);
                    let release = Op::LockRelease { name: name.clone(), owner: owner.clone(), fence };
                    let answer = world.system(release);
                    let is_holder = held.is_some_and(|held| held.0 == owner);
                    prop_assert_eq!(answer.is_ok(), is_holder);
                    if is_holder {
                        queues.pass_on(&name, index);
                    }
                }
                3 => {
                    let withdraw = Op::LockWithdraw { name: name.clone(), owner: owner.clone() };
                    let answer = world.system(withdraw);
                    let is_holder = held.is_some_and(|held| held.0 == owner);
                    prop_assert_eq!(answer.is_err(), is_holder);
                    if let Some(held) = queues.locks.get_mut(&name) {
                        held.2.retain(|other| *other != owner);
                    }
                }
                _ => {
                    // When a holder or a waiter dies, and the leader has seen it.
                    let leases = query::leases(&world.map, None, 1000).unwrap();
                    let Some(at) = prng.index(leases.len()) else { continue };
                    let lease = leases[at].clone();
                    match &lease.id {
                        LeaseId::LockHolder { name, .. } => queues.pass_on(name, index),
                        LeaseId::LockWaiter { name, place } => {
                            let waiters = query::lock_waiters(&world.map, name).unwrap();
                            let dead = waiters.iter().find(|w| w.place == *place).unwrap();
                            queues.locks.get_mut(name).unwrap().2.retain(|o| *o != dead.owner);
                        }
                        LeaseId::Session(_) | LeaseId::Upload(_) => continue,
                    }
                    let expire = Op::Expire { lease: lease.id, renewals: lease.renewals };
                    prop_assert_eq!(world.system(expire), Ok(Outcome::Expired { ended: true }));
                }
            }
            for effect in &world.effects {
                if let Effect::LockGranted { fence, .. } = effect {
                    prop_assert!(*fence > fence_last, "fences rise over all locks");
                    fence_last = *fence;
                }
            }
            for name in ["l", "m"].map(lock_name) {
                let found = query::lock(&world.map, &name).unwrap();
                let found = found.map(|lock| (lock.holder.owner, lock.holder.fence));
                let waiting = query::lock_waiters(&world.map, &name).unwrap();
                let waiting: Vec<_> = waiting.into_iter().map(|waiter| waiter.owner).collect();
                let expected = queues.locks.get(&name);
                prop_assert_eq!(found, expected.map(|held| (held.0.clone(), held.1)));
                prop_assert_eq!(waiting, expected.map(|held| Vec::from(held.2.clone())).unwrap_or_default());
            }
        }
        world.check();
    }
}
