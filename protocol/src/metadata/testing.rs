//! A state to try commands on, and what must be true of every state.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::command::{Actor, Command, ObjectName, Op, Precondition};
use super::name::{BucketName, ContentType, DisplayName, LockName, ObjectKey, Tags, UserName};
use super::request::RequestId;
use super::value::{
    Bucket, Content, DueEntry, Lease, Lock, LockWaiter, Member, MemberState, ObjectVersion, Pin,
    Role, Ticket, Token, Totals, Upload, User,
};
use super::{Draft, Effect, Outcome, Refusal, apply, keys, table};
use crate::topology::{ReplicaCount, Zone};
use crate::{Cid, ClusterId, Codec, OwnerId, PeerId, WallTime};

pub(super) const GRACE_MS: u64 = 1000;

pub(super) fn bucket(name: &str) -> BucketName {
    BucketName::new(name).unwrap()
}

pub(super) fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

pub(super) fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

pub(super) fn lock_name(name: &str) -> LockName {
    LockName::new(name).unwrap()
}

pub(super) fn object(bucket_name: &str, key_text: &str) -> ObjectName {
    ObjectName { bucket: bucket(bucket_name), key: key(key_text) }
}

pub(super) fn upload(session: u64, number: u64) -> OwnerId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&session.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    OwnerId::from_bytes(bytes)
}

pub(super) fn root(number: u64) -> Cid {
    Cid::of(Codec::Raw, &number.to_be_bytes())
}

/// Content whose root and size follow from the upload.
pub(super) fn content(upload: OwnerId) -> Content {
    let number = u64::from_be_bytes(*upload.as_bytes().last_chunk().unwrap());
    let root = Cid::of(Codec::Raw, upload.as_bytes());
    Content { root, size: 10 + number % 7, content_type: ContentType::default(), upload }
}

pub(super) fn member(raft_id: u64) -> Member {
    let mut peer = [0; 32];
    peer[..8].copy_from_slice(&raft_id.to_be_bytes());
    peer[31] = 1;
    Member {
        raft_id,
        peer: PeerId::from_public_key(peer),
        name: DisplayName::new(&format!("p{raft_id}")).unwrap(),
        zone: Zone::new("z").unwrap(),
        capacity_bytes: 1 << 40,
        addresses: vec!["/ip4/127.0.0.1/tcp/4779".to_owned()],
        state: MemberState::Active,
        joined: WallTime::default(),
    }
}

pub(super) fn found() -> Op {
    Op::Found {
        cluster: ClusterId::from_bytes([7; 16]),
        name: DisplayName::new("reef").unwrap(),
        first: member(1),
        admin_token_hash: [0xAD; 32],
        replicas: ReplicaCount::new(3).unwrap(),
        grace_ms: GRACE_MS,
    }
}

pub(super) fn put(name: &ObjectName, upload: OwnerId, precondition: Precondition) -> Op {
    Op::Put {
        bucket: name.bucket.clone(),
        key: name.key.clone(),
        content: content(upload),
        tags: Tags::default(),
        public: false,
        precondition,
        create_bucket: false,
    }
}

/// A state, and the end of its log.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) map: BTreeMap<Bytes, Bytes>,
    pub(super) index: u64,
    pub(super) at: WallTime,
    /// Of the last command.
    pub(super) effects: Vec<Effect>,
}

impl World {
    /// Returns a cluster of one member, with the users `ann` and `bob`, the bucket `docs` of `ann`, and a session.
    pub(super) fn founded() -> (Self, u64) {
        let mut world = Self { at: WallTime::from_unix_millis(1_000_000), ..Self::default() };
        world.system(found()).unwrap();
        for name in ["ann", "bob"] {
            world.system(Op::CreateUser { name: user(name), role: Role::User }).unwrap();
        }
        world.user("ann", Op::CreateBucket { name: bucket("docs") }).unwrap();
        let session = world.session();
        (world, session)
    }

    pub(super) fn session(&mut self) -> u64 {
        match self.system(Op::OpenSession { raft_id: 1, ttl_ms: 1000 }) {
            Ok(Outcome::SessionOpened { session }) => session,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn system(&mut self, op: Op) -> Result<Outcome, Refusal> {
        self.run(Actor::System, op)
    }

    pub(super) fn user(&mut self, name: &str, op: Op) -> Result<Outcome, Refusal> {
        self.run(Actor::User(user(name)), op)
    }

    pub(super) fn run(&mut self, actor: Actor, op: Op) -> Result<Outcome, Refusal> {
        let mut request = [0; 16];
        request[8..].copy_from_slice(&(self.index + 1).to_be_bytes());
        let command = Command { request: RequestId(request), at: self.at, actor, op };
        // Through its bytes, as in the log.
        let command = Command::decode(&command.encode().unwrap()).unwrap();
        self.apply(&command)
    }

    pub(super) fn apply(&mut self, command: &Command) -> Result<Outcome, Refusal> {
        self.index += 1;
        let mut draft = Draft::new(&self.map);
        let answer = apply(&mut draft, self.index, command).unwrap();
        self.effects = draft.take_effects();
        for (key, value) in draft.into_changes() {
            match value {
                Some(value) => drop(self.map.insert(key, value)),
                None => drop(self.map.remove(&key)),
            }
        }
        answer
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.at = self.at.after_millis(millis);
    }

    pub(super) fn version(&self, name: &ObjectName) -> Option<u64> {
        let found = super::query::object(&self.map, &name.bucket, &name.key).unwrap();
        found.map(|found| found.version)
    }

    pub(super) fn bucket(&self, name: &str) -> Bucket {
        super::query::bucket(&self.map, &bucket(name)).unwrap().unwrap()
    }

    pub(super) fn versions(&self, name: &ObjectName) -> Vec<ObjectVersion> {
        super::query::versions(&self.map, &name.bucket, &name.key, None, 1000).unwrap()
    }

    /// Returns what is due by now.
    pub(super) fn due(&self) -> Vec<DueEntry> {
        super::query::due(&self.map, self.at, 48).unwrap()
    }

    /// Purges all that is due by now.
    pub(super) fn purge(&mut self) {
        while !self.due().is_empty() {
            let entries = self.due();
            self.system(Op::Purge { entries }).unwrap();
        }
    }

    fn all<T: serde::de::DeserializeOwned>(&self, letter: u8) -> BTreeMap<Bytes, T> {
        let rows = self.map.iter().filter(|(key, _)| key.first() == Some(&letter));
        rows.filter(|(key, _)| key.len() > 1)
            .map(|(key, bytes)| (key.clone(), table::value(key, bytes).unwrap()))
            .collect()
    }

    fn keys(&self, letter: u8) -> BTreeSet<Bytes> {
        self.map.keys().filter(|key| key.first() == Some(&letter)).cloned().collect()
    }

    /// Counts everything again and compares.
    pub(super) fn check(&self) {
        self.check_objects();
        self.check_uploads();
        self.check_users();
        self.check_leases();
    }

    fn check_objects(&self) {
        let buckets: BTreeMap<Bytes, Bucket> = self.all(keys::table::BUCKET);
        let versions: BTreeMap<Bytes, ObjectVersion> = self.all(keys::table::VERSION);
        let objects: BTreeMap<Bytes, ObjectVersion> = self.all(keys::table::OBJECT);
        // Given the newest version of each name, by its key in the table of objects.
        let mut newest: BTreeMap<Bytes, &ObjectVersion> = BTreeMap::new();
        let mut counts: BTreeMap<Vec<u8>, (u64, u64, u64)> = BTreeMap::new();
        for (at, version) in &versions {
            let name = at.slice(1..at.len() - 9);
            let end = name.iter().position(|byte| *byte == 0).unwrap();
            newest.entry([b"o", &name[..]].concat().into()).or_insert(version);
            let count = counts.entry([b"b", &name[..end]].concat()).or_default();
            count.0 += 1;
            count.1 += version.size();
        }
        let deleted: BTreeSet<Bytes> = newest
            .iter()
            .filter(|(_, version)| version.is_delete_marker())
            .map(|(at, _)| at.slice(1..))
            .collect();
        newest.retain(|_, version| !version.is_delete_marker());
        let newest: BTreeMap<Bytes, ObjectVersion> =
            newest.into_iter().map(|(at, version)| (at, version.clone())).collect();
        assert_eq!(objects, newest, "current objects are the newest versions");
        let mut owned = BTreeSet::new();
        for (at, version) in &objects {
            let end = at.iter().position(|byte| *byte == 0).unwrap();
            counts.entry([b"b", &at[1..end]].concat()).or_default().2 += 1;
            owned.insert(Bytes::from(
                [b"w", version.owner.as_str().as_bytes(), b"\0", &at[1..]].concat(),
            ));
        }
        assert_eq!(self.keys(keys::table::OWNED), owned, "owners' index");
        self.check_catalog(&objects);
        for (at, bucket) in &buckets {
            let count = counts.remove(&at[..]).unwrap_or_default();
            let (versions, bytes, objects) = (bucket.versions, bucket.bytes, bucket.objects);
            assert_eq!((versions, bytes, objects), count, "counts of {}", bucket.name);
        }
        assert!(counts.is_empty(), "versions without a bucket: {counts:?}");
        // Deleted objects, and they only, are on the due list.
        let due: BTreeSet<Bytes> = self
            .keys(keys::table::DUE_AT)
            .into_iter()
            .filter(|at| at[1] == 1)
            .map(|at| at.slice(2..))
            .collect();
        assert_eq!(due, deleted, "deleted objects are due");
    }

    /// In the catalog is what is public and current, and nothing else.
    fn check_catalog(&self, objects: &BTreeMap<Bytes, ObjectVersion>) {
        let of = |version: &ObjectVersion| version.content.as_ref().map(|content| content.root);
        let public: BTreeMap<u64, &ObjectVersion> = objects
            .values()
            .filter(|version| version.public)
            .map(|version| (version.version, version))
            .collect();
        let listed = super::query::published(&self.map, None, 1000).unwrap();
        let listed: BTreeMap<u64, super::Published> = listed.into_iter().collect();
        assert!(listed.keys().eq(public.keys()), "what is public is listed");
        for (version, super::Published { name, .. }) in &listed {
            let at = Bytes::from(keys::object(&name.bucket, &name.key));
            assert_eq!(objects.get(&at).map(|object| object.version), Some(*version), "{name:?}");
        }
        let roots: BTreeSet<Cid> = public.values().filter_map(|version| of(version)).collect();
        for version in objects.values() {
            let root = of(version).unwrap();
            let is_public = super::query::is_public(&self.map, &root).unwrap();
            assert_eq!(is_public, roots.contains(&root), "{root}");
        }
        assert_eq!(self.keys(keys::table::PUBLIC_ROOT).len(), public.len());
        let catalog = super::query::catalog(&self.map).unwrap();
        assert_eq!(catalog.entries, public.len() as u64);
        let sequences: BTreeSet<u64> = listed.values().map(|one| one.sequence).collect();
        assert_eq!(sequences.len(), listed.len(), "each has its own");
        assert!(sequences.last().is_none_or(|last| *last <= catalog.sequence));
    }

    fn check_uploads(&self) {
        let mut counts: BTreeMap<Bytes, u64> = BTreeMap::new();
        let mut count = |id: OwnerId| *counts.entry(keys::upload(id).into()).or_default() += 1;
        for version in self.all::<ObjectVersion>(keys::table::VERSION).into_values() {
            version.content.iter().for_each(|content| count(content.upload));
        }
        self.all::<Pin>(keys::table::PIN).into_values().for_each(|pin| count(pin.upload));
        let mut due = BTreeSet::new();
        for (at, upload) in self.all::<Upload>(keys::table::UPLOAD) {
            assert_eq!(upload.count, counts.remove(&at).unwrap_or(0), "references of an upload");
            if upload.count == 0 {
                due.insert(at.slice(1..));
            }
        }
        assert!(counts.is_empty(), "references to uploads that are not in the table");
        let listed = self.keys(keys::table::DUE_AT).into_iter();
        let listed: BTreeSet<Bytes> =
            listed.filter(|at| at[1] == 0).map(|at| at.slice(2..)).collect();
        assert_eq!(listed, due, "uploads without references are due");
        // Both sides of the due list say the same.
        let entries: BTreeMap<Bytes, DueEntry> = self.all(keys::table::DUE);
        for (at, entry) in &entries {
            assert_eq!(*at, keys::due(entry.at, &entry.due));
            let time: Option<WallTime> = table::get(&self.map, &keys::due_at(&entry.due)).unwrap();
            assert_eq!(time, Some(entry.at));
        }
        assert_eq!(entries.len(), self.keys(keys::table::DUE_AT).len());
    }

    fn check_users(&self) {
        let totals: Totals = super::query::totals(&self.map).unwrap();
        let users: BTreeMap<Bytes, User> = self.all(keys::table::USER);
        let buckets: BTreeMap<Bytes, Bucket> = self.all(keys::table::BUCKET);
        let tokens: BTreeMap<Bytes, Token> = self.all(keys::table::TOKEN);
        for user in users.values() {
            let owned = buckets.values().filter(|bucket| bucket.owner == user.name).count();
            let held = tokens.values().filter(|token| token.user == user.name).count();
            assert_eq!((user.buckets, user.tokens as usize), (owned as u64, held));
        }
        assert!(tokens.values().all(|token| users.values().any(|user| user.name == token.user)));
        assert_eq!(self.keys(keys::table::TOKEN_ID).len(), tokens.len());
        assert_eq!(self.keys(keys::table::USER_TOKEN).len(), tokens.len());
        let admins = users.values().filter(|user| user.role == Role::Admin).count();
        let tickets: BTreeMap<Bytes, Ticket> = self.all(keys::table::TICKET);
        assert_eq!(self.keys(keys::table::TICKET_ID).len(), tickets.len());
        let counted = Totals {
            users: users.len() as u64,
            admins: admins as u64,
            buckets: buckets.len() as u64,
            members: self.keys(keys::table::MEMBER).len() as u64,
            tickets: tickets.len() as u64,
            leases: self.keys(keys::table::LEASE).len() as u64,
            session_last: totals.session_last,
        };
        assert_eq!(totals, counted);
        assert_eq!(self.keys(keys::table::MEMBER_PEER).len() as u64, totals.members);
    }

    fn check_leases(&self) {
        let mut leases: BTreeMap<Bytes, Lease> = self.all(keys::table::LEASE);
        for (at, lease) in &leases {
            assert_eq!(*at, keys::lease(&lease.id));
        }
        for lock in self.all::<Lock>(keys::table::LOCK).into_values() {
            let Lock { name, holder, waiting } = lock;
            let id = super::LeaseId::LockHolder { name: name.clone(), fence: holder.fence };
            assert!(leases.remove(&keys::lease(&id)[..]).is_some(), "a holder has a lease");
            let waiters = super::query::lock_waiters(&self.map, &name).unwrap();
            assert_eq!(waiters.len(), waiting as usize, "waiters are counted");
        }
        let waiters: BTreeMap<Bytes, LockWaiter> = self.all(keys::table::WAITER);
        assert_eq!(self.keys(keys::table::WAITER_OF).len(), waiters.len());
        let open = self.keys(keys::table::SESSION).len();
        let others = leases.values().map(|lease| match lease.id {
            super::LeaseId::LockWaiter { .. } => (1, 0),
            super::LeaseId::Session(_) => (0, 1),
            super::LeaseId::Upload(_) => (0, 0),
            super::LeaseId::LockHolder { .. } => panic!("a lease without a lock: {lease:?}"),
        });
        let sums = others.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert_eq!(sums, (waiters.len(), open), "every waiter and session has a lease");
    }
}
