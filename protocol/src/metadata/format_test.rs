//! The bytes of everything that is stored or sent, as they were and shall stay.
//!
//! `golden.txt` has a line for each kind of command, answer and value. A change of a line is a change of the format:
//! peers of two versions would apply one log to two states. It takes a new version, and a decision record. Lines are
//! only added. `golden_bytes_are_as_they_were` prints what it found where it differs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::command::{Actor, Command, Match, Op, Precondition, Tag};
use super::name::{ContentType, DisplayName, Label, Tags};
use super::refusal::{Bounded, Need, Quota};
use super::request::RequestId;
use super::testing::{bucket, content, found, key, lock_name, member, object, root, upload, user};
use super::value::{
    Bucket, Due, DueEntry, Lease, Lock, LockHolder, LockWaiter, ObjectVersion, Pin, Role, Session,
    Settings, Ticket, TicketState, Token, Totals, Upload, User,
};
use super::{LeaseId, MemberState, Outcome, Refusal, Written, decode_answer, encode_answer, keys};
use crate::format::{FormatError, decode, encode};
use crate::topology::{Epoch, ReplicaCount, Topology, TopologyPeer, Weight, Zone};
use crate::{ClusterId, WallTime};

fn at(millis: u64) -> WallTime {
    WallTime::from_unix_millis(millis)
}

fn tags() -> Tags {
    Tags::new(BTreeMap::from([("colour".to_owned(), "red".to_owned())])).unwrap()
}

fn precondition() -> Precondition {
    Precondition {
        if_match: Some(Match::OneOf(vec![Tag::Version(300), Tag::Root(root(1))])),
        if_none_match: Some(Match::Any),
    }
}

fn topology() -> Topology {
    let peer = |id: u64| TopologyPeer {
        id: member(id).peer,
        zone: Zone::new("z").unwrap(),
        capacity_bytes: 1 << 40,
    };
    Topology::new(Epoch(7), ReplicaCount::new(3).unwrap(), vec![peer(1), peer(2)])
        .with_weights(vec![Weight(5), Weight(-5)])
}

fn ops() -> Vec<Op> {
    let (bucket, key, upload) = (bucket("docs"), key("a/b"), upload(300, 2));
    let (name, owner, ttl_ms) = (lock_name("nightly"), lock_name("host:1"), 30_000);
    let (from, to) = (object("docs", "a"), object("pics", "b"));
    vec![
        found(),
        Op::SetCluster {
            name: Some(DisplayName::new("atoll").unwrap()),
            replicas: ReplicaCount::new(2),
            grace_ms: Some(5),
        },
        Op::CreateUser { name: user("ann"), role: Role::User },
        Op::RemoveUser { name: user("ann") },
        Op::CreateToken { user: user("ann"), hash: [1; 32], label: Label::new("pc").unwrap() },
        Op::RevokeToken { id: 300 },
        Op::CreateBucket { name: bucket.clone() },
        Op::RemoveBucket { name: bucket.clone() },
        Op::SetBucket {
            name: bucket.clone(),
            owner: Some(user("bob")),
            keep_versions: Some(Some(3)),
            quota_bytes: Some(None),
            quota_objects: None,
        },
        Op::Put {
            bucket: bucket.clone(),
            key: key.clone(),
            content: content(upload),
            tags: tags(),
            public: true,
            precondition: precondition(),
            create_bucket: true,
        },
        Op::Delete { bucket: bucket.clone(), key: key.clone(), precondition: precondition() },
        Op::DeleteVersion { bucket: bucket.clone(), key: key.clone(), version: 300 },
        Op::Copy {
            from: from.clone(),
            version: Some(300),
            to: to.clone(),
            from_precondition: precondition(),
            to_precondition: Precondition::absent(),
            tags: Some(tags()),
            content_type: Some(ContentType::default()),
        },
        Op::Move {
            from,
            to,
            from_precondition: precondition(),
            to_precondition: Precondition::absent(),
        },
        Op::Restore {
            bucket: bucket.clone(),
            key: key.clone(),
            version: 300,
            precondition: precondition(),
        },
        Op::SetObject {
            bucket: bucket.clone(),
            key: key.clone(),
            tags: Some(tags()),
            content_type: Some(ContentType::default()),
            public: Some(false),
            precondition: precondition(),
        },
        Op::Pin { root: root(1), size: 300, upload },
        Op::Unpin { root: root(1) },
        Op::Purge { entries: dues() },
        Op::OpenSession { raft_id: 300, ttl_ms },
        Op::RenewSession { session: 300 },
        Op::CloseSession { session: 300 },
        Op::BeginUpload { upload, ttl_ms },
        Op::RenewUpload { upload },
        Op::EndUpload { upload },
        Op::Expire { lease: leases().remove(2), renewals: 300 },
        Op::LockAcquire { name: name.clone(), owner: owner.clone(), ttl_ms },
        Op::LockRenew { name: name.clone(), owner: owner.clone(), fence: 300, ttl_ms },
        Op::LockRelease { name: name.clone(), owner: owner.clone(), fence: 300 },
        Op::LockWithdraw { name, owner },
        Op::Invite { secret_hash: [2; 32], expires: at(300), label: Label::default() },
        Op::RevokeTicket { id: 300 },
        Op::Join { secret_hash: [2; 32], member: member(2) },
        Op::SetMember {
            raft_id: 300,
            name: Some(DisplayName::new("p").unwrap()),
            zone: Zone::new("y"),
            capacity_bytes: Some(0),
        },
        Op::SetAddresses { raft_id: 300, addresses: vec!["/dns/a/tcp/1".to_owned()] },
        Op::Drain { raft_id: 300 },
        Op::Undrain { raft_id: 300 },
        Op::Drained { raft_id: 300 },
        Op::RemoveMember { raft_id: 300 },
        Op::SetTopology { base: Epoch(6), topology: topology() },
        Op::RetireTopologies { before: Epoch(6) },
        Op::DeleteVersionIf { bucket, key, version: 300, precondition: precondition() },
        Op::SetCatalogKey { seed: [4; 32] },
    ]
}

fn dues() -> Vec<DueEntry> {
    let dues = [
        Due::Upload(upload(300, 2)),
        Due::Object { bucket: bucket("docs"), key: key("a/b") },
        Due::Ticket([2; 32]),
        Due::Session(300),
    ];
    dues.into_iter().map(|due| DueEntry { at: at(300), due }).collect()
}

fn leases() -> Vec<LeaseId> {
    let name = lock_name("nightly");
    vec![
        LeaseId::Session(300),
        LeaseId::Upload(upload(300, 2)),
        LeaseId::LockHolder { name: name.clone(), fence: 300 },
        LeaseId::LockWaiter { name, place: 300 },
    ]
}

fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::Done,
        Outcome::TokenCreated { id: 300 },
        Outcome::Written(Written {
            version: 300,
            root: root(1),
            size: 5,
            modified: at(300),
            replaced: Some(299),
        }),
        Outcome::Deleted { version: Some(300) },
        Outcome::Unpinned { pins: 1, more: false },
        Outcome::Purged { entries: 1, versions: 2, more: true },
        Outcome::SessionOpened { session: 300 },
        Outcome::Leased { renewals: 300 },
        Outcome::Expired { ended: true },
        Outcome::Granted { fence: 300, ttl_ms: 5 },
        Outcome::Queued { position: 3 },
        Outcome::Invited { id: 300 },
        Outcome::Joined { raft_id: 300 },
        Outcome::TopologySet { epoch: Epoch(7) },
    ]
}

/// Returns one of each, as long as it can be where it has texts.
pub(super) fn refusals() -> Vec<Refusal> {
    let (user, bucket, key) = (user("ann"), bucket("docs"), key("a/b"));
    let (upload, root, raft_id, id) = (upload(300, 2), root(1), 300, 300);
    let denied = |need: Need| Refusal::Denied { actor: "bob".to_owned(), need };
    let many = |what: Bounded| Refusal::TooMany { what, limit: 300 };
    vec![
        Refusal::NotFounded,
        Refusal::AlreadyFounded,
        Refusal::Invalid { detail: "a value that is never right".to_owned() },
        Refusal::UnknownActor { user: user.clone() },
        denied(Need::Admin),
        denied(Need::BucketOwner { bucket: bucket.clone() }),
        denied(Need::Owner { user: user.clone() }),
        denied(Need::User),
        many(Bounded::Users),
        many(Bounded::Tokens),
        many(Bounded::Buckets),
        many(Bounded::Members),
        many(Bounded::Tickets),
        many(Bounded::Leases),
        many(Bounded::Waiters),
        Refusal::UserExists { user: user.clone() },
        Refusal::NoUser { user: user.clone() },
        Refusal::UserOwnsBuckets { user: user.clone(), buckets: 2 },
        Refusal::LastAdmin { user: user.clone() },
        Refusal::TokenExists,
        Refusal::NoToken { id },
        Refusal::BucketExists { bucket: bucket.clone(), owner: user },
        Refusal::NoBucket { bucket: bucket.clone() },
        Refusal::BucketNotEmpty { bucket: bucket.clone(), objects: 1, versions: 2 },
        Refusal::QuotaExceeded { bucket: bucket.clone(), quota: Quota::Bytes, limit: 300 },
        Refusal::QuotaExceeded { bucket: bucket.clone(), quota: Quota::Objects, limit: 300 },
        Refusal::NoObject { bucket: bucket.clone(), key: key.clone() },
        Refusal::NoVersion { bucket, key, version: 300 },
        Refusal::PreconditionFailed { current: Some((300, root)) },
        Refusal::UploadExpired { upload },
        Refusal::UploadMismatch { upload, root, size: 300 },
        Refusal::NoPin { root },
        Refusal::LeaseLost { lease: LeaseId::Session(300) },
        Refusal::TicketUnknown,
        Refusal::NoTicket { id },
        Refusal::TicketExists,
        Refusal::TicketExpired { expires: at(300) },
        Refusal::TicketUsed,
        Refusal::TicketRevoked,
        Refusal::MemberRemoved { raft_id },
        Refusal::MemberExists { raft_id },
        Refusal::PeerIsMember { peer: member(1).peer },
        Refusal::NoMember { raft_id },
        Refusal::LastMember,
        Refusal::NotDraining { raft_id },
        Refusal::EpochMoved { current: Epoch(7) },
        Refusal::TokenRevoked { id },
        Refusal::HoldsLock { name: lock_name("nightly"), owner: lock_name("host:1") },
    ]
}

/// Lines of what the bytes are.
#[derive(Default)]
struct Golden(String);

impl Golden {
    fn line(&mut self, what: &str, bytes: &[u8]) {
        use core::fmt::Write as _;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.0, "{what} {hex}").unwrap();
    }

    fn value<T>(&mut self, value: &T)
    where
        T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug,
    {
        let bytes = encode("a value", value, usize::MAX).unwrap();
        assert_eq!(decode::<T>("a value", &bytes, usize::MAX).as_ref(), Ok(value));
        let name = core::any::type_name::<T>().rsplit("::").next().unwrap();
        self.line(&format!("value {name}"), &bytes);
    }
}

/// Returns the name of a variant.
fn variant(value: &impl core::fmt::Debug) -> String {
    format!("{value:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn values(golden: &mut Golden) {
    let (name, count, user_name) = (lock_name("nightly"), 300, user("ann"));
    golden.value(&Settings {
        cluster: ClusterId::from_bytes([7; 16]),
        name: DisplayName::new("reef").unwrap(),
        replicas: ReplicaCount::new(3).unwrap(),
        grace_ms: 300,
        founded: at(300),
    });
    let (created, role) = (at(300), Role::Admin);
    golden.value(&User { name: user_name.clone(), role, created, buckets: 1, tokens: 2 });
    let (user, label) = (user_name, Label::new("pc").unwrap());
    golden.value(&Token { id: 300, user: user.clone(), hash: [1; 32], label, created });
    golden.value(&Bucket {
        name: bucket("docs"),
        owner: user.clone(),
        created,
        keep_versions: Some(3),
        quota_bytes: None,
        quota_objects: Some(300),
        objects: 1,
        versions: 2,
        bytes: 300,
    });
    let mut version = ObjectVersion {
        version: 300,
        owner: user.clone(),
        modified: at(300),
        content: Some(content(upload(300, 2))),
        tags: tags(),
        public: true,
    };
    golden.value(&version);
    version.content = None;
    golden.value(&version);
    golden.value(&Upload { root: root(1), size: 300, count });
    let (root, upload) = (root(1), upload(300, 2));
    golden.value(&Pin { root, user: user.clone(), size: 300, upload, created });
    for id in leases() {
        golden.value(&Lease { id, ttl_ms: 300, renewals: 301, user: Some(user.clone()) });
    }
    golden.value(&Session { raft_id: 300 });
    let holder = LockHolder { owner: lock_name("host:1"), fence: 300 };
    golden.value(&Lock { name, holder, waiting: 2 });
    golden.value(&LockWaiter { owner: lock_name("host:2"), place: 301 });
    for state in [MemberState::Active, MemberState::Draining, MemberState::Drained] {
        golden.value(&super::Member { state, ..member(300) });
    }
    for state in [TicketState::Open, TicketState::Used { raft_id: 300 }, TicketState::Revoked] {
        let (secret_hash, expires, label) = ([2; 32], at(300), Label::default());
        golden.value(&Ticket { id: 300, secret_hash, expires, label, created, state });
    }
    dues().iter().for_each(|entry| golden.value(entry));
    golden.value(&Totals {
        users: 1,
        admins: 1,
        leases: 300,
        session_last: 9,
        ..Totals::default()
    });
    golden.value(&topology());
    golden.value(&super::Published { name: object("docs", "a/b"), sequence: 300 });
    golden.value(&super::Catalog { epoch: 1, sequence: 300, entries: 2 });
}

fn keys(golden: &mut Golden) {
    let (docs, object_key, ann, name) = (bucket("docs"), key("a/b"), user("ann"), lock_name("l"));
    let (upload, owner) = (upload(300, 2), lock_name("o"));
    let mut add = |what: &str, key: Vec<u8>| golden.line(&format!("key {what}"), &key);
    add("settings", keys::SETTINGS.to_vec());
    add("totals", keys::TOTALS.to_vec());
    add("epoch", keys::EPOCH.to_vec());
    add("bucket", keys::bucket(&docs));
    add("object", keys::object(&docs, &object_key));
    add("version", keys::version(&docs, &object_key, 300));
    add("owned", keys::owned(&ann, &docs, &object_key));
    add("upload", keys::upload(upload));
    add("tomb", keys::tomb(upload));
    add("pin", keys::pin(&root(1), &ann));
    for entry in dues() {
        add("due", keys::due(entry.at, &entry.due));
        add("due_at", keys::due_at(&entry.due));
    }
    add("user", keys::user(&ann));
    add("making", keys::making(&ann));
    add("token", keys::token(&[1; 32]));
    add("token_id", keys::token_id(300));
    add("user_token", keys::tokens_of(&ann).number(300).end());
    leases().iter().for_each(|lease| add("lease", keys::lease(lease)));
    add("session", keys::session(300));
    add("member_sessions", keys::member_sessions(300));
    add("lock", keys::lock(&name));
    add("waiter", keys::waiter(&name, 300));
    add("waiter_of", keys::waiter_of(&name, &owner));
    add("member", keys::member(300));
    add("member_peer", keys::member_peer(member(300).peer));
    add("removed", keys::removed(300));
    add("ticket", keys::ticket(&[2; 32]));
    add("ticket_id", keys::ticket_id(300));
    add("topology", keys::topology(Epoch(300)));
    add("request", keys::request(&[3; 16]));
    add("request_slot", keys::request_slot(300));
    add("catalog_key", keys::CATALOG_KEY.to_vec());
    add("catalog", keys::CATALOG.to_vec());
    add("public", keys::public(300));
    add("public_root", keys::public_root(&root(1), 300));
}

#[test]
fn golden_bytes_are_as_they_were() {
    let mut golden = Golden::default();
    for (number, op) in ops().into_iter().enumerate() {
        let name = variant(&op);
        let actor = if number % 2 == 0 { Actor::System } else { Actor::User(user("ann")) };
        let command = Command { request: RequestId([3; 16]), at: at(300), actor, op };
        let bytes = command.encode().unwrap();
        assert_eq!(Command::decode(&bytes), Ok(command));
        golden.line(&format!("command {name}"), &bytes);
    }
    let bearer = Actor::Bearer { user: user("ann"), token: 300 };
    golden.line("actor Bearer", &encode("an actor", &bearer, 100).unwrap());
    let answers = outcomes().into_iter().map(Ok).chain(refusals().into_iter().map(Err));
    for answer in answers {
        let bytes = encode_answer(&answer).unwrap();
        assert_eq!(decode_answer(&bytes).as_ref(), Ok(&answer));
        let name = answer.as_ref().map_or_else(variant, variant);
        golden.line(&format!("answer {name}"), &bytes);
    }
    values(&mut golden);
    keys(&mut golden);
    let found: Vec<&str> = golden.0.lines().collect();
    let expected: Vec<&str> = include_str!("golden.txt").lines().collect();
    let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    assert_eq!(differs, None, "\n{}", golden.0);
    assert_eq!(found.len(), expected.len(), "\n{}", golden.0);
}

#[test]
fn outcomes_and_refusals_travel_alone_too() {
    for outcome in outcomes() {
        assert_eq!(Outcome::decode(&outcome.encode().unwrap()), Ok(outcome));
    }
    for refusal in refusals() {
        assert_eq!(Refusal::decode(&refusal.encode().unwrap()), Ok(refusal));
    }
}

#[test]
fn what_another_version_wrote_is_refused() {
    let bytes = Outcome::Done.encode().unwrap();
    let mut later = bytes.to_vec();
    later[0] = 2;
    let refused = FormatError::Version { what: "an outcome", found: 2 };
    assert_eq!(Outcome::decode(&later), Err(refused));
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(Outcome::decode(&longer), Err(FormatError::Malformed { .. })));
    assert!(matches!(Outcome::decode(&[]), Err(FormatError::Malformed { .. })));
    let long = vec![1; crate::limits::COMMAND_BYTES_MAX + 1];
    assert!(matches!(Command::decode(&long), Err(FormatError::TooLong { .. })));
}

#[test]
fn the_longest_answer_and_the_longest_purge_fit() {
    let long = |count: usize| "\u{e9}".repeat(count / 2);
    let (bucket, key) = (bucket(&"b".repeat(63)), key(&long(1024)));
    let refusal =
        Refusal::NoVersion { bucket: bucket.clone(), key: key.clone(), version: u64::MAX };
    encode_answer(&Err(refusal)).unwrap();
    let lease = LeaseId::LockHolder { name: lock_name(&long(256)), fence: u64::MAX };
    encode_answer(&Err(Refusal::LeaseLost { lease })).unwrap();
    let entry = DueEntry { at: at(u64::MAX), due: Due::Object { bucket, key } };
    let entries = vec![entry; crate::limits::PURGE_ENTRIES_MAX];
    let op = Op::Purge { entries };
    let command = Command { request: RequestId([3; 16]), at: at(1), actor: Actor::System, op };
    command.encode().unwrap();
}
