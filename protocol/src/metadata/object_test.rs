//! What happens to objects, one story at a time.

use super::command::{Actor, Match, Op, Precondition, Tag};
use super::refusal::{Need, Quota};
use super::testing::{GRACE_MS, World, bucket, content, key, object, put, upload, user};
use super::value::{Due, Role};
use super::{Effect, LeaseId, Outcome, Refusal, UploadState, query};

fn state(world: &World, id: crate::OwnerId) -> UploadState {
    query::upload_state(&world.map, id).unwrap()
}

fn delete(name: &super::ObjectName) -> Op {
    let (bucket, key) = (name.bucket.clone(), name.key.clone());
    Op::Delete { bucket, key, precondition: Precondition::default() }
}

#[test]
fn of_ten_writers_who_want_the_name_to_be_free_one_wins() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    let wins = (0..10)
        .filter(|n| {
            world.user("ann", put(&name, upload(session, *n), Precondition::absent())).is_ok()
        })
        .count();
    assert_eq!(wins, 1);
    // And of ten who want it to be as they read it.
    let read = world.version(&name).unwrap();
    let precondition = Precondition::is(Tag::Version(read));
    let answers: Vec<_> = (10..20)
        .map(|n| world.user("ann", put(&name, upload(session, n), precondition.clone())))
        .collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let current = Some((world.version(&name).unwrap(), content(upload(session, 10)).root));
    assert_eq!(answers[9], Err(Refusal::PreconditionFailed { current }));
}

#[test]
fn a_deleted_object_counts_as_absent() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    world.user("ann", put(&name, upload(session, 1), Precondition::default())).unwrap();
    let any = Precondition { if_match: Some(Match::Any), if_none_match: None };
    world.user("ann", delete(&name)).unwrap();
    let refused = world.user("ann", put(&name, upload(session, 2), any));
    assert_eq!(refused, Err(Refusal::PreconditionFailed { current: None }));
    // And deleting it again says that there was nothing.
    assert_eq!(world.user("ann", delete(&name)), Ok(Outcome::Deleted { version: None }));
    world.user("ann", put(&name, upload(session, 2), Precondition::absent())).unwrap();
}

#[test]
fn a_user_writes_in_buckets_of_their_own_only() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    let write = put(&name, upload(session, 1), Precondition::default());
    let need = Need::BucketOwner { bucket: bucket("docs") };
    let denied = Err(Refusal::Denied { actor: "bob".to_owned(), need });
    assert_eq!(world.user("bob", write.clone()), denied);
    let unknown = Err(Refusal::UnknownActor { user: user("eve") });
    assert_eq!(world.user("eve", write.clone()), unknown);
    // An administrator may, and the version is the administrator's.
    world.user("admin", write).unwrap();
    assert_eq!(world.versions(&name)[0].owner, user("admin"));
    let ann = query::user(&world.map, &user("ann")).unwrap().unwrap();
    let bob = query::user(&world.map, &user("bob")).unwrap().unwrap();
    let docs = world.bucket("docs");
    assert!(super::may_write(&docs, &ann) && !super::may_write(&docs, &bob));
}

#[test]
fn deleted_content_can_be_had_back_until_its_grace_is_over() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    let first = upload(session, 1);
    world.user("ann", put(&name, first, Precondition::default())).unwrap();
    let version = world.version(&name).unwrap();
    world.user("ann", delete(&name)).unwrap();
    // When nearly all of the grace has passed.
    world.pass(GRACE_MS - 1);
    assert!(world.due().is_empty());
    let (bucket_name, key_name) = (name.bucket.clone(), name.key.clone());
    let restore = Op::Restore {
        bucket: bucket_name,
        key: key_name,
        version,
        precondition: Precondition::absent(),
    };
    world.user("ann", restore.clone()).unwrap();
    // Then it is off the list, and its older versions stay.
    world.pass(10 * GRACE_MS);
    assert!(world.due().is_empty());
    assert_eq!(world.versions(&name).len(), 3);
    // When it is deleted again, and nobody comes back.
    world.user("ann", delete(&name)).unwrap();
    world.pass(GRACE_MS);
    world.purge();
    assert!(world.versions(&name).is_empty());
    assert_eq!(state(&world, first), UploadState::Dead);
    assert_eq!(world.bucket("docs").versions, 0);
    world.check();
    // Then its blocks cannot be named again, though the session is open still.
    let again = world.user("ann", put(&name, first, Precondition::default()));
    assert_eq!(again, Err(Refusal::UploadExpired { upload: first }));
    assert_eq!(
        world.user("ann", restore),
        Err(Refusal::NoVersion { bucket: bucket("docs"), key: key("a"), version })
    );
}

#[test]
fn the_purge_of_a_deleted_object_tells_that_its_upload_is_dead_at_once() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    let id = upload(session, 1);
    world.user("ann", put(&name, id, Precondition::default())).unwrap();
    world.user("ann", delete(&name)).unwrap();
    world.pass(GRACE_MS);
    let entries = world.due();
    world.system(Op::Purge { entries }).unwrap();
    assert!(world.effects.contains(&Effect::UploadDead { upload: id }), "{:?}", world.effects);
}

#[test]
fn a_purge_takes_nothing_before_its_time_or_that_was_moved_on_the_list() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    world.user("ann", put(&name, upload(session, 1), Precondition::default())).unwrap();
    world.user("ann", delete(&name)).unwrap();
    let later = world.at.after_millis(GRACE_MS);
    let entries = query::due(&world.map, later, 10).unwrap();
    assert_eq!(entries.len(), 1);
    // Given a proposal from a leader whose clock is ahead of the one that committed it.
    world.pass(GRACE_MS - 1);
    let nothing = Ok(Outcome::Purged { entries: 0, versions: 0, more: false });
    assert_eq!(world.system(Op::Purge { entries: entries.clone() }), nothing);
    // And one from before the object was written and deleted again.
    world.user("ann", put(&name, upload(session, 2), Precondition::default())).unwrap();
    world.user("ann", delete(&name)).unwrap();
    world.pass(1);
    assert_eq!(world.system(Op::Purge { entries }), nothing);
    assert_eq!(world.versions(&name).len(), 4);
}

#[test]
fn a_copy_keeps_the_blocks_of_a_deleted_original() {
    let (mut world, session) = World::founded();
    let (name, copy) = (object("docs", "a"), object("docs", "b"));
    let id = upload(session, 1);
    world.user("ann", put(&name, id, Precondition::default())).unwrap();
    let op = Op::Copy {
        from: name.clone(),
        version: None,
        to: copy.clone(),
        from_precondition: Precondition::default(),
        to_precondition: Precondition::absent(),
        tags: None,
        content_type: None,
    };
    world.user("ann", op).unwrap();
    world.user("ann", delete(&name)).unwrap();
    world.pass(GRACE_MS);
    world.purge();
    assert_eq!(state(&world, id), UploadState::Referenced);
    // When the copy is overwritten, its old version stays listed, and goes with its own end only.
    world.user("ann", put(&copy, upload(session, 2), Precondition::default())).unwrap();
    let old = world.versions(&copy)[1].version;
    let (bucket, key) = (copy.bucket.clone(), copy.key.clone());
    world.user("ann", Op::DeleteVersion { bucket, key, version: old }).unwrap();
    assert_eq!(state(&world, id), UploadState::Referenced);
    world.pass(GRACE_MS);
    assert_eq!(world.due()[0].due, Due::Upload(id));
    world.purge();
    assert_eq!(state(&world, id), UploadState::Dead);
}

#[test]
fn a_delete_marker_that_is_removed_brings_the_object_back() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    world.user("ann", put(&name, upload(session, 1), Precondition::default())).unwrap();
    let version = world.version(&name);
    let Ok(Outcome::Deleted { version: Some(marker) }) = world.user("ann", delete(&name)) else {
        panic!("it was there")
    };
    let (bucket, key) = (name.bucket.clone(), name.key.clone());
    world.user("ann", Op::DeleteVersion { bucket, key, version: marker }).unwrap();
    assert_eq!(world.version(&name), version);
    world.pass(GRACE_MS);
    assert!(world.due().is_empty());
}

#[test]
fn a_version_is_removed_only_while_it_is_what_its_asker_says() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    let versions = [1, 2].map(|number| {
        world.user("ann", put(&name, upload(session, number), Precondition::default())).unwrap();
        world.index
    });
    let remove = |version: u64, precondition: Precondition| {
        let (bucket, key) = (name.bucket.clone(), name.key.clone());
        Op::DeleteVersionIf { bucket, key, version, precondition }
    };
    let is_any = || Precondition { if_match: Some(Match::Any), if_none_match: None };
    let root = |number: u64| content(upload(session, number)).root;
    let [old, current] = versions;
    // What is true of the current one says nothing of the older one.
    for precondition in [
        Precondition::is(Tag::Root(root(2))),
        Precondition::is(Tag::Version(current)),
        Precondition::absent(),
        Precondition { if_match: Some(Match::OneOf(Vec::new())), if_none_match: None },
    ] {
        let refused = world.user("ann", remove(old, precondition));
        let seen = Some((old, root(1)));
        assert_eq!(refused, Err(Refusal::PreconditionFailed { current: seen }));
        assert_eq!(world.versions(&name).len(), 2, "nothing is removed");
    }
    let removed = world.user("ann", remove(old, Precondition::is(Tag::Root(root(1)))));
    assert_eq!(removed, Ok(Outcome::Deleted { version: Some(old) }));
    // Where there is no such version, whoever wants one is told; whoever wants none has what they want.
    let refused = world.user("ann", remove(old, is_any()));
    assert_eq!(refused, Err(Refusal::PreconditionFailed { current: None }));
    let nothing = world.user("ann", remove(old, Precondition::absent()));
    assert_eq!(nothing, Ok(Outcome::Deleted { version: None }));
    // A delete marker is a version, without content.
    let Ok(Outcome::Deleted { version: Some(marker) }) = world.user("ann", delete(&name)) else {
        panic!("it was there")
    };
    let refused = world.user("ann", remove(marker, Precondition::is(Tag::Root(root(2)))));
    assert_eq!(refused, Err(Refusal::PreconditionFailed { current: None }));
    world.user("ann", remove(marker, is_any())).unwrap();
    assert_eq!(world.version(&name), Some(current));
    // Whose it is comes first.
    let denied = world.user("bob", remove(current, Precondition::absent()));
    assert!(matches!(denied, Err(Refusal::Denied { .. })), "{denied:?}");
}

#[test]
fn a_move_is_one_step_and_needs_room_for_none() {
    let (mut world, session) = World::founded();
    let (from, to) = (object("docs", "a"), object("docs", "b"));
    world.user("ann", put(&from, upload(session, 1), Precondition::default())).unwrap();
    let bound = Op::SetBucket {
        name: bucket("docs"),
        owner: None,
        keep_versions: None,
        quota_bytes: None,
        quota_objects: Some(Some(1)),
    };
    world.system(bound).unwrap();
    let step = Op::Move {
        from: from.clone(),
        to: to.clone(),
        from_precondition: Precondition::default(),
        to_precondition: Precondition::absent(),
    };
    world.user("ann", step).unwrap();
    assert_eq!(world.version(&from), None);
    assert_eq!(world.version(&to), Some(world.index));
    let refused = world.user("ann", put(&from, upload(session, 2), Precondition::default()));
    let (quota, limit) = (Quota::Objects, 1);
    assert_eq!(refused, Err(Refusal::QuotaExceeded { bucket: bucket("docs"), quota, limit }));
    world.check();
}

#[test]
fn a_purge_of_many_versions_goes_in_steps_and_the_object_stays_deleted() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    for number in 0..1500 {
        world.user("ann", put(&name, upload(session, number), Precondition::default())).unwrap();
    }
    world.user("ann", delete(&name)).unwrap();
    world.pass(GRACE_MS);
    let entries = world.due();
    let first = world.system(Op::Purge { entries: entries.clone() });
    assert_eq!(first, Ok(Outcome::Purged { entries: 0, versions: 1024, more: true }));
    assert_eq!(world.version(&name), None);
    world.check();
    let second = world.system(Op::Purge { entries });
    assert_eq!(second, Ok(Outcome::Purged { entries: 1, versions: 477, more: false }));
    world.check();
}

#[test]
fn a_bound_on_versions_that_is_lowered_works_with_the_next_write() {
    let (mut world, session) = World::founded();
    let name = object("docs", "a");
    for number in 0..9 {
        world.user("ann", put(&name, upload(session, number), Precondition::default())).unwrap();
    }
    let keep = Op::SetBucket {
        name: bucket("docs"),
        owner: None,
        keep_versions: Some(Some(3)),
        quota_bytes: None,
        quota_objects: None,
    };
    world.user("ann", keep).unwrap();
    assert_eq!(world.versions(&name).len(), 9);
    world.user("ann", put(&name, upload(session, 9), Precondition::default())).unwrap();
    assert_eq!(world.versions(&name).len(), 3);
    // A delete marker takes no place of a version that can be had back.
    world.user("ann", delete(&name)).unwrap();
    assert_eq!(world.versions(&name).len(), 4);
    world.check();
}

#[test]
fn an_upload_lives_by_its_session_its_own_lease_or_what_refers_to_it() {
    let (mut world, session) = World::founded();
    let (named, begun, left) = (upload(session, 1), upload(session, 2), upload(session, 3));
    let name = object("docs", "a");
    world.user("ann", put(&name, named, Precondition::default())).unwrap();
    world.user("ann", Op::BeginUpload { upload: begun, ttl_ms: 1000 }).unwrap();
    let states = |world: &World| [named, begun, left].map(|id| state(world, id));
    use UploadState::{Dead, InProgress, Referenced};
    assert_eq!(states(&world), [Referenced, InProgress, InProgress]);
    world.system(Op::CloseSession { session }).unwrap();
    assert!(world.effects.contains(&Effect::SessionClosed { session }));
    assert_eq!(states(&world), [Referenced, InProgress, Dead]);
    let late = world.user("ann", put(&object("docs", "b"), left, Precondition::default()));
    assert_eq!(late, Err(Refusal::UploadExpired { upload: left }));
    // Somebody else's upload is not theirs to keep, to add to or to end.
    for op in [Op::RenewUpload { upload: begun }, Op::EndUpload { upload: begun }] {
        let denied = world.user("bob", op);
        assert!(matches!(denied, Err(Refusal::Denied { .. })), "{denied:?}");
    }
    let is_upload_of =
        |name: &str| query::is_upload_of(&world.map, begun, &Actor::User(user(name))).unwrap();
    assert!(is_upload_of("ann") && !is_upload_of("bob"));
    world.user("ann", Op::EndUpload { upload: begun }).unwrap();
    assert!(world.effects.contains(&Effect::UploadDead { upload: begun }));
    assert_eq!(states(&world), [Referenced, Dead, Dead]);
    let again = world.user("ann", Op::BeginUpload { upload: begun, ttl_ms: 1000 });
    assert_eq!(again, Err(Refusal::UploadExpired { upload: begun }));
}

#[test]
fn who_gets_the_name_of_a_removed_user_gets_none_of_their_uploads() {
    let (mut world, session) = World::founded();
    let [begun, kept] = [1, 2].map(|number| upload(session, number));
    let is_bobs =
        |world: &World, id| query::is_upload_of(&world.map, id, &Actor::User(user("bob"))).unwrap();
    let begin = |upload| Op::BeginUpload { upload, ttl_ms: 1000 };
    let over = |upload| Err(Refusal::UploadExpired { upload });
    world.user("bob", begin(begun)).unwrap();
    world.user("bob", Op::RenewUpload { upload: begun }).unwrap();
    assert!(is_bobs(&world, begun));
    world.system(Op::RemoveUser { name: user("bob") }).unwrap();
    // Nobody keeps it up for whoever comes next.
    assert_eq!(world.user("admin", Op::RenewUpload { upload: begun }), over(begun));
    world.system(Op::CreateUser { name: user("bob"), role: Role::User }).unwrap();
    assert!(!is_bobs(&world, begun));
    for actor in ["bob", "admin"] {
        assert_eq!(world.user(actor, Op::RenewUpload { upload: begun }), over(begun));
        assert_eq!(world.user(actor, begin(begun)), over(begun));
    }
    // What they begin themselves is theirs, and others go on with what is.
    world.user("bob", begin(kept)).unwrap();
    world.user("bob", Op::RenewUpload { upload: kept }).unwrap();
    assert!(is_bobs(&world, kept));
    // It ends as any does that nobody renews.
    let lease = LeaseId::Upload(begun);
    let leases = query::leases(&world.map, None, 10).unwrap();
    let renewals = leases.iter().find(|other| other.id == lease).unwrap().renewals;
    let ended = world.system(Op::Expire { lease, renewals });
    assert_eq!(ended, Ok(Outcome::Expired { ended: true }));
    world.check();
}

#[test]
fn a_user_of_before_makings_were_noted_keeps_their_uploads() {
    let (mut world, session) = World::founded();
    world.map.remove(&super::keys::making(&user("bob"))[..]);
    let id = upload(session, 1);
    world.user("bob", Op::BeginUpload { upload: id, ttl_ms: 1000 }).unwrap();
    world.user("bob", Op::RenewUpload { upload: id }).unwrap();
    let bob = Actor::User(user("bob"));
    assert!(query::is_upload_of(&world.map, id, &bob).unwrap());
}

#[test]
fn a_peer_that_is_behind_calls_no_upload_dead_that_others_may_name() {
    let (mut world, _) = World::founded();
    let behind = world.clone();
    let session = world.session();
    assert_eq!(state(&behind, upload(session, 1)), UploadState::InProgress);
    // Owners that are no uploads are nobody's to free.
    assert_eq!(state(&world, crate::OwnerId::REPAIR), UploadState::InProgress);
}

#[test]
fn the_fifth_session_of_a_member_closes_its_first() {
    let (mut world, first) = World::founded();
    for _ in 0..3 {
        world.session();
        assert!(!world.effects.contains(&Effect::SessionClosed { session: first }));
    }
    world.session();
    assert!(world.effects.contains(&Effect::SessionClosed { session: first }));
    let lease = LeaseId::Session(first);
    assert_eq!(
        world.system(Op::RenewSession { session: first }),
        Err(Refusal::LeaseLost { lease })
    );
    assert_eq!(
        world.system(Op::OpenSession { raft_id: 9, ttl_ms: 1000 }),
        Err(Refusal::NoMember { raft_id: 9 })
    );
    world.check();
}

#[test]
fn content_that_is_pinned_again_moves_to_the_new_upload() {
    let (mut world, session) = World::founded();
    let (old, new) = (upload(session, 1), upload(session, 2));
    let root = content(old).root;
    let pin = |upload| Op::Pin { root, size: 5, upload };
    world.user("bob", pin(old)).unwrap();
    world.user("bob", pin(old)).unwrap();
    world.user("bob", pin(new)).unwrap();
    world.user("ann", pin(new)).unwrap();
    world.check();
    assert_eq!(query::pins_of(&world.map, &root, 10).unwrap().len(), 2);
    world.pass(GRACE_MS);
    world.purge();
    assert_eq!(state(&world, old), UploadState::Dead);
    assert_eq!(
        world.user("bob", Op::Unpin { root }),
        Ok(Outcome::Unpinned { pins: 1, more: false })
    );
    assert_eq!(world.user("bob", Op::Unpin { root }), Err(Refusal::NoPin { root }));
    assert_eq!(state(&world, new), UploadState::Referenced);
    assert_eq!(
        world.user("admin", Op::Unpin { root }),
        Ok(Outcome::Unpinned { pins: 1, more: false })
    );
    assert!(query::pins(&world.map, None, 10).unwrap().is_empty());
    world.check();
}

#[test]
fn answers_are_forgotten_when_their_slot_comes_round() {
    let (world, _) = World::founded();
    let command = |id: u8, op: Op| super::Command {
        request: super::RequestId([id; 16]),
        at: world.at,
        actor: Actor::System,
        op,
    };
    let make = command(1, Op::CreateBucket { name: bucket("once") });
    let slot = world.index + 1;
    assert_eq!(world.clone().apply(&make), Ok(Outcome::Done));
    let mut world = world;
    world.apply(&make).unwrap();
    // As late as it can be, the answer is the same.
    world.index = slot + crate::limits::REQUESTS_REMEMBERED - 2;
    assert_eq!(world.apply(&make), Ok(Outcome::Done));
    // When the position that shares its slot was applied, it is a command like any other.
    let rows = world.map.len();
    let other = super::Command {
        request: super::RequestId([2; 16]),
        ..super::Command { op: Op::Purge { entries: Vec::new() }, ..make.clone() }
    };
    world.apply(&other).unwrap();
    assert_eq!(world.map.len(), rows, "one answer came, one went");
    let again = world.apply(&make);
    assert_eq!(again, Err(Refusal::BucketExists { bucket: bucket("once"), owner: user("admin") }));
}
