//! Founding, users, tokens, tickets, members and topologies.

use super::command::{Actor, Op};
use super::name::{DisplayName, Label};
use super::refusal::{Bounded, Need};
use super::testing::{World, bucket, found, member, user};
use super::value::{Member, MemberState, Role, TicketState};
use super::{Effect, Outcome, Refusal, query};
use crate::catalog::ClusterKey;
use crate::limits::{TICKET_MEMORY_MS, USER_TOKENS_MAX};
use crate::topology::{Epoch, ReplicaCount, Topology};
use crate::{Fault, Kind};

fn token(name: &str, hash: u8) -> Op {
    Op::CreateToken { user: user(name), hash: [hash; 32], label: Label::new("laptop").unwrap() }
}

fn invite(world: &mut World, hash: u8, valid_ms: u64) -> u64 {
    let expires = world.at.after_millis(valid_ms);
    let op = Op::Invite { secret_hash: [hash; 32], expires, label: Label::default() };
    match world.user("admin", op) {
        Ok(Outcome::Invited { id }) => id,
        other => panic!("{other:?}"),
    }
}

fn join(hash: u8, raft_id: u64) -> Op {
    Op::Join { secret_hash: [hash; 32], member: member(raft_id) }
}

#[test]
fn a_cluster_is_founded_once_and_before_anything_else() {
    let mut world = World::default();
    assert_eq!(world.system(Op::CreateBucket { name: bucket("docs") }), Err(Refusal::NotFounded));
    world.system(found()).unwrap();
    assert_eq!(world.system(found()), Err(Refusal::AlreadyFounded));
    let settings = query::settings(&world.map).unwrap().unwrap();
    assert_eq!(settings.name, DisplayName::new("reef").unwrap());
    let (admin, _) = query::user_of_token(&world.map, &[0xAD; 32]).unwrap().unwrap();
    assert_eq!((admin.name.as_str(), admin.role), ("admin", Role::Admin));
    let topology = query::topology(&world.map).unwrap().unwrap();
    assert_eq!((topology.epoch(), topology.peers().len()), (Epoch(1), 1));
    assert_eq!(query::member_of(&world.map, member(1).peer).unwrap().unwrap().raft_id, 1);
    world.check();
}

#[test]
fn users_make_and_revoke_tokens_of_their_own_only() {
    let (mut world, _) = World::founded();
    let Ok(Outcome::TokenCreated { id }) = world.user("ann", token("ann", 1)) else { panic!() };
    assert!(world.effects.contains(&Effect::TokensChanged));
    assert_eq!(query::user_of_token(&world.map, &[1; 32]).unwrap().unwrap().0.name, user("ann"));
    assert_eq!(query::user_of_token(&world.map, &[2; 32]).unwrap(), None);
    let need = Need::Owner { user: user("ann") };
    let denied = Refusal::Denied { actor: "bob".to_owned(), need };
    assert_eq!(world.user("bob", token("ann", 2)), Err(denied));
    assert_eq!(world.user("admin", token("bob", 1)), Err(Refusal::TokenExists));
    world.user("admin", token("bob", 3)).unwrap();
    assert_eq!(query::tokens(&world.map, None, None, 10).unwrap().len(), 3);
    assert_eq!(query::tokens(&world.map, Some(&user("ann")), None, 10).unwrap().len(), 1);
    assert_eq!(query::tokens(&world.map, None, Some(id), 10).unwrap().len(), 1);
    // Another's token is none, as far as a user can tell.
    assert_eq!(world.user("bob", Op::RevokeToken { id }), Err(Refusal::NoToken { id }));
    let bearer = |token| Actor::Bearer { user: user("ann"), token };
    let op = |name| Op::CreateBucket { name: bucket(name) };
    world.run(bearer(id), op("before")).unwrap();
    assert_eq!(world.run(bearer(id + 1), op("none")), Err(Refusal::TokenRevoked { id: id + 1 }));
    let of_bob = query::tokens(&world.map, Some(&user("bob")), None, 1).unwrap()[0].id;
    let stolen = Err(Refusal::TokenRevoked { id: of_bob });
    assert_eq!(world.run(bearer(of_bob), op("stolen")), stolen);
    world.user("ann", Op::RevokeToken { id }).unwrap();
    assert_eq!(query::user_of_token(&world.map, &[1; 32]).unwrap(), None);
    // A peer that has not heard of it yet proposes in vain.
    assert_eq!(world.run(bearer(id), op("after")), Err(Refusal::TokenRevoked { id }));
    world.check();
    // And a user who goes takes the tokens along.
    world.user("admin", Op::RemoveUser { name: user("bob") }).unwrap();
    assert_eq!(query::user_of_token(&world.map, &[3; 32]).unwrap(), None);
    world.check();
}

#[test]
fn users_who_are_needed_stay() {
    let (mut world, _) = World::founded();
    let remove = |name: &str| Op::RemoveUser { name: user(name) };
    let owns = Refusal::UserOwnsBuckets { user: user("ann"), buckets: 1 };
    assert_eq!(world.user("admin", remove("ann")), Err(owns));
    let last = Refusal::LastAdmin { user: user("admin") };
    assert_eq!(world.user("admin", remove("admin")), Err(last));
    assert!(matches!(world.user("ann", remove("bob")), Err(Refusal::Denied { .. })));
    world.user("admin", Op::CreateUser { name: user("eve"), role: Role::Admin }).unwrap();
    // Somebody without a token cannot stand in.
    let last = Refusal::LastAdmin { user: user("admin") };
    assert_eq!(world.user("admin", remove("admin")), Err(last.clone()));
    let founding = query::tokens(&world.map, Some(&user("admin")), None, 10).unwrap()[0].id;
    assert_eq!(world.user("admin", Op::RevokeToken { id: founding }), Err(last));
    world.user("eve", token("eve", 7)).unwrap();
    world.user("admin", Op::RevokeToken { id: founding }).unwrap();
    world.user("eve", remove("admin")).unwrap();
    world.user("ann", Op::RemoveBucket { name: bucket("docs") }).unwrap();
    world.user("eve", remove("ann")).unwrap();
    assert_eq!(query::users(&world.map, None, 10).unwrap().len(), 2);
    world.check();
}

#[test]
fn tokens_of_a_user_are_bounded() {
    let (mut world, _) = World::founded();
    for number in 0..USER_TOKENS_MAX {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        let label = Label::default();
        world.user("ann", Op::CreateToken { user: user("ann"), hash, label }).unwrap();
    }
    let (what, limit) = (Bounded::Tokens, USER_TOKENS_MAX.into());
    assert_eq!(world.user("ann", token("ann", 9)), Err(Refusal::TooMany { what, limit }));
}

#[test]
fn a_ticket_lets_one_peer_in_once() {
    let (mut world, _) = World::founded();
    invite(&mut world, 1, 5000);
    assert_eq!(world.system(join(2, 2)), Err(Refusal::TicketUnknown));
    assert_eq!(world.system(join(1, 2)), Ok(Outcome::Joined { raft_id: 2 }));
    assert!(world.effects.contains(&Effect::MembersChanged));
    // The same peer may ask again, even after the end of the ticket; nobody else may.
    world.pass(6000);
    assert_eq!(world.system(join(1, 2)), Ok(Outcome::Joined { raft_id: 2 }));
    assert_eq!(world.system(join(1, 3)), Err(Refusal::TicketUsed));
    let state = query::ticket(&world.map, &[1; 32]).unwrap().unwrap().state;
    assert_eq!(state, TicketState::Used { raft_id: 2 });
    // A day later nobody knows of it.
    world.pass(TICKET_MEMORY_MS);
    world.purge();
    assert_eq!(world.system(join(1, 3)), Err(Refusal::TicketUnknown));
    assert!(query::tickets(&world.map, None, 10).unwrap().is_empty());
    world.check();
}

#[test]
fn a_ticket_that_ended_is_refused_with_its_reason() {
    let (mut world, _) = World::founded();
    let at = world.at;
    invite(&mut world, 1, 5000);
    let revoked = invite(&mut world, 2, 5000);
    world.user("admin", Op::RevokeTicket { id: revoked }).unwrap();
    assert_eq!(world.system(join(2, 2)), Err(Refusal::TicketRevoked));
    world.pass(5000);
    let expires = at.after_millis(5000);
    assert_eq!(world.system(join(1, 2)), Err(Refusal::TicketExpired { expires }));
    assert!(matches!(
        world.user("ann", Op::RevokeTicket { id: revoked }),
        Err(Refusal::Denied { .. })
    ));
    world.pass(TICKET_MEMORY_MS);
    world.purge();
    assert_eq!(
        world.user("admin", Op::RevokeTicket { id: revoked }),
        Err(Refusal::NoTicket { id: revoked })
    );
}

#[test]
fn an_id_that_was_removed_never_comes_back() {
    let (mut world, _) = World::founded();
    for hash in 1..5 {
        invite(&mut world, hash, 5000);
    }
    world.system(join(1, 2)).unwrap();
    // A directory that was copied has the id and another key.
    let copied = Member { peer: member(9).peer, ..member(2) };
    let join_as = |hash: u8, member: Member| Op::Join { secret_hash: [hash; 32], member };
    assert_eq!(world.system(join_as(2, copied)), Err(Refusal::MemberExists { raft_id: 2 }));
    // A directory that was wiped has the key and another id.
    let peer = member(2).peer;
    let wiped = Member { peer, ..member(3) };
    assert_eq!(world.system(join_as(2, wiped.clone())), Err(Refusal::PeerIsMember { peer }));
    let session = world.system(Op::OpenSession { raft_id: 2, ttl_ms: 1000 });
    let Ok(Outcome::SessionOpened { session }) = session else { panic!("{session:?}") };
    world.user("admin", Op::RemoveMember { raft_id: 2 }).unwrap();
    assert!(world.effects.contains(&Effect::SessionClosed { session }));
    assert_eq!(world.system(join(1, 2)), Err(Refusal::MemberRemoved { raft_id: 2 }));
    assert_eq!(world.system(join(2, 2)), Err(Refusal::MemberRemoved { raft_id: 2 }));
    // With a fresh id it is welcome, by a ticket that no refusal used up.
    assert_eq!(world.system(join_as(2, wiped)), Ok(Outcome::Joined { raft_id: 3 }));
    world.user("admin", Op::RemoveMember { raft_id: 3 }).unwrap();
    assert_eq!(world.user("admin", Op::RemoveMember { raft_id: 1 }), Err(Refusal::LastMember));
    world.check();
}

#[test]
fn a_member_drains_and_may_be_taken_back() {
    let (mut world, _) = World::founded();
    let state = |world: &World| query::member(&world.map, 1).unwrap().unwrap().state;
    assert_eq!(world.system(Op::Drained { raft_id: 1 }), Err(Refusal::NotDraining { raft_id: 1 }));
    world.user("admin", Op::Drain { raft_id: 1 }).unwrap();
    assert_eq!((state(&world), world.effects.len()), (MemberState::Draining, 1));
    world.system(Op::Drained { raft_id: 1 }).unwrap();
    world.user("admin", Op::Drain { raft_id: 1 }).unwrap();
    assert_eq!((state(&world), world.effects.len()), (MemberState::Drained, 0));
    world.user("admin", Op::Undrain { raft_id: 1 }).unwrap();
    assert_eq!(state(&world), MemberState::Active);
    let addresses = vec!["nowhere".to_owned()];
    let refused = world.system(Op::SetAddresses { raft_id: 1, addresses });
    assert!(matches!(refused, Err(Refusal::Invalid { .. })));
    assert_eq!(query::members(&world.map, None, 10).unwrap().len(), 1);
}

#[test]
fn a_topology_follows_the_one_it_was_made_from() {
    let (mut world, _) = World::founded();
    let set = |base: u64, epoch: u64| Op::SetTopology {
        base: Epoch(base),
        topology: Topology::new(Epoch(epoch), ReplicaCount::new(2).unwrap(), Vec::new()),
    };
    world.system(set(1, 2)).unwrap();
    assert_eq!(world.effects, [Effect::TopologyChanged]);
    assert_eq!(world.system(set(1, 3)), Err(Refusal::EpochMoved { current: Epoch(2) }));
    assert!(matches!(world.system(set(2, 2)), Err(Refusal::Invalid { .. })));
    for epoch in 3..=20 {
        world.system(set(epoch - 1, epoch)).unwrap();
    }
    let epochs = |world: &World| -> Vec<u64> {
        query::topologies(&world.map).unwrap().iter().map(|t| t.epoch().0).collect()
    };
    assert_eq!(epochs(&world), [20, 19, 18, 17, 16, 15, 14, 13, 12]);
    world.system(Op::RetireTopologies { before: Epoch(19) }).unwrap();
    assert_eq!(epochs(&world), [20, 19]);
    world.system(Op::RetireTopologies { before: Epoch(99) }).unwrap();
    assert_eq!(epochs(&world), [20]);
    assert_eq!(query::topology(&world.map).unwrap().unwrap().epoch(), Epoch(20));
}

#[test]
fn every_refusal_says_what_to_do_in_one_line() {
    for refusal in super::format_test::refusals() {
        let text = refusal.to_string();
        assert!(!text.contains('\n') && !text.ends_with('.') && text.len() > 20, "{text}");
        let fault = Fault::from(refusal.clone());
        assert_eq!(fault.retry_after.is_some(), fault.kind == Kind::Busy, "{text}");
    }
}

#[test]
fn a_cluster_takes_the_key_that_its_id_was_made_from_and_no_other() {
    let seed = [9; 32];
    let mut world = World::default();
    let Op::Found { name, first, admin_token_hash, replicas, grace_ms, .. } = found() else {
        panic!("a founding founds")
    };
    let cluster = ClusterKey::from_seed(seed).public().cluster();
    world.system(Op::Found { cluster, name, first, admin_token_hash, replicas, grace_ms }).unwrap();
    let other = world.system(Op::SetCatalogKey { seed: [4; 32] });
    assert!(matches!(other, Err(Refusal::Invalid { .. })), "{other:?}");
    assert_eq!(query::catalog_key(&world.map).unwrap(), None);
    for _ in 0..2 {
        assert_eq!(world.system(Op::SetCatalogKey { seed }), Ok(Outcome::Done));
    }
    assert_eq!(query::catalog_key(&world.map).unwrap(), Some(seed));
}
