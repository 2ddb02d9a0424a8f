//! Random commands of every kind.

use bytes::Bytes;
use proptest::prelude::*;

use super::command::{Actor, Command, Match, Op, Precondition, Tag};
use super::name::{ContentType, DisplayName, Label, Tags};
use super::request::RequestId;
use super::testing::{World, content, found, lock_name, member, object, root, upload, user};
use super::value::{Due, DueEntry, Role};
use super::{Draft, LeaseId, Outcome, UploadState, apply, query};
use crate::topology::{Epoch, ReplicaCount, Topology, Zone};
use crate::{Prng, WallTime};

/// Draws commands from a small world, so that they meet.
pub(super) struct Chance {
    pub(super) prng: Prng,
    /// Sessions that were opened, and some that were not.
    pub(super) sessions: Vec<u64>,
}

impl Chance {
    pub(super) fn new(seed: u64, session: u64) -> Self {
        Self { prng: Prng::new(seed), sessions: vec![session, 1_000_000, 0] }
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.prng.index(of.len()).unwrap()].clone()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.prng.below(bound)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.prng.chance(1, count)
    }

    pub(super) fn user_name(&mut self) -> super::UserName {
        user(self.pick(&["admin", "ann", "bob", "eve"]))
    }

    pub(super) fn actor(&mut self) -> Actor {
        if self.one_in(2) { Actor::System } else { Actor::User(self.user_name()) }
    }

    pub(super) fn object(&mut self) -> super::ObjectName {
        object(self.pick(&["docs", "pics", "temp"]), self.pick(&["a", "a/b", "c"]))
    }

    pub(super) fn upload(&mut self) -> crate::OwnerId {
        let session = self.pick(&self.sessions.clone());
        upload(session, self.below(8))
    }

    /// Returns a version that may exist: a log index of late.
    fn version(&mut self, world: &World) -> u64 {
        world.index.saturating_sub(self.below(30))
    }

    fn existing_version(&mut self, world: &World, name: &super::ObjectName) -> u64 {
        let versions: Vec<u64> = world.versions(name).iter().map(|v| v.version).collect();
        if versions.is_empty() || self.one_in(8) {
            return self.version(world);
        }
        self.pick(&versions)
    }

    pub(super) fn precondition(&mut self, world: &World, name: &super::ObjectName) -> Precondition {
        let side = |chance: &mut Self| match chance.below(6) {
            0 => Some(Match::Any),
            1 => Some(Match::OneOf(vec![
                Tag::Version(world.version(name).unwrap_or(3)),
                Tag::Root(root(1)),
            ])),
            2 => Some(Match::OneOf(vec![Tag::Root(content(chance.upload()).root)])),
            _ => None,
        };
        match self.below(3) {
            0 => Precondition { if_match: side(self), if_none_match: None },
            1 => Precondition { if_match: None, if_none_match: side(self) },
            _ => Precondition::default(),
        }
    }

    fn tags(&mut self) -> Tags {
        let value = self.pick(&["red", "blue"]);
        Tags::new([("colour".to_owned(), value.to_owned())].into()).unwrap()
    }

    /// Returns an operation on objects, buckets, pins and uploads.
    pub(super) fn name_op(&mut self, world: &World) -> Op {
        let name = self.object();
        let (bucket_name, key_name) = (name.bucket.clone(), name.key.clone());
        let precondition = self.precondition(world, &name);
        match self.below(24) {
            0 => Op::CreateBucket { name: bucket_name },
            1 => Op::RemoveBucket { name: bucket_name },
            2 => Op::SetBucket {
                name: bucket_name,
                owner: self.one_in(4).then(|| self.user_name()),
                keep_versions: self.pick(&[
                    None,
                    Some(None),
                    Some(Some(1)),
                    Some(Some(3)),
                    Some(Some(0)),
                ]),
                quota_bytes: self.pick(&[None, Some(None), Some(Some(40)), Some(Some(90))]),
                quota_objects: self.pick(&[None, Some(None), Some(Some(1)), Some(Some(2))]),
            },
            3..=8 => {
                let mut content = content(self.upload());
                if self.one_in(30) {
                    content.size += 1;
                }
                Op::Put {
                    bucket: bucket_name,
                    key: key_name,
                    content,
                    tags: self.tags(),
                    public: self.one_in(2),
                    precondition,
                    create_bucket: self.one_in(3),
                }
            }
            9..=11 => Op::Delete { bucket: bucket_name, key: key_name, precondition },
            12 => Op::DeleteVersion {
                version: self.existing_version(world, &name),
                bucket: bucket_name,
                key: key_name,
            },
            13 => {
                let version = self.existing_version(world, &name);
                let precondition = match self.below(3) {
                    0 => Precondition::is(Tag::Version(version)),
                    1 => Precondition::is(Tag::Root(content(self.upload()).root)),
                    _ => precondition,
                };
                Op::DeleteVersionIf { bucket: bucket_name, key: key_name, version, precondition }
            }
            14 => {
                let to = self.object();
                Op::Copy {
                    version: self.one_in(2).then(|| self.existing_version(world, &name)),
                    from_precondition: precondition,
                    to_precondition: self.precondition(world, &to),
                    from: name,
                    to,
                    tags: self.one_in(2).then(|| self.tags()),
                    content_type: self.one_in(2).then(ContentType::default),
                }
            }
            15 => {
                let to = self.object();
                let to_precondition = self.precondition(world, &to);
                Op::Move { from: name, to, from_precondition: precondition, to_precondition }
            }
            16 => Op::Restore {
                version: self.existing_version(world, &name),
                bucket: bucket_name,
                key: key_name,
                precondition,
            },
            17 => Op::SetObject {
                bucket: bucket_name,
                key: key_name,
                tags: self.one_in(2).then(|| self.tags()),
                content_type: None,
                public: self.one_in(2).then_some(true),
                precondition,
            },
            18 => {
                let content = content(self.upload());
                Op::Pin { root: content.root, size: content.size, upload: content.upload }
            }
            19 => Op::Unpin { root: content(self.upload()).root },
            20..=22 => {
                let mut entries = world.due();
                if self.one_in(4) {
                    // One that is not due, or not listed any more.
                    let due = Due::Upload(self.upload());
                    entries.truncate(47);
                    entries.push(DueEntry { at: world.at, due });
                }
                Op::Purge { entries }
            }
            _ => Op::CloseSession { session: self.pick(&self.sessions.clone()) },
        }
    }

    fn lease(&mut self, world: &World) -> (LeaseId, u64) {
        let leases = query::leases(&world.map, None, 1000).unwrap();
        match self.prng.index(leases.len()) {
            Some(index) if !self.one_in(8) => {
                let stale = u64::from(self.one_in(3));
                (leases[index].id.clone(), leases[index].renewals - stale)
            }
            _ => (LeaseId::Upload(self.upload()), 0),
        }
    }

    fn lock_op(&mut self, world: &World) -> Op {
        let name = lock_name(self.pick(&["l1", "l2"]));
        let owner = lock_name(self.pick(&["o1", "o2", "o3", "o4"]));
        let held = query::lock(&world.map, &name).unwrap();
        let fence = held.map_or(0, |lock| lock.holder.fence) + u64::from(self.one_in(5));
        let ttl_ms = self.pick(&[100, 5000, 1]);
        match self.below(5) {
            0 | 1 => Op::LockAcquire { name, owner, ttl_ms },
            2 => Op::LockRenew { name, owner, fence, ttl_ms },
            3 => Op::LockRelease { name, owner, fence },
            _ => Op::LockWithdraw { name, owner },
        }
    }

    fn cluster_op(&mut self, world: &World) -> Op {
        let raft_id = self.below(5);
        let hash = [u8::try_from(self.below(4)).unwrap(); 32];
        match self.below(20) {
            0 => found(),
            1 => Op::SetCluster {
                name: Some(DisplayName::new("atoll").unwrap()),
                replicas: ReplicaCount::new(2),
                grace_ms: Some(self.below(5000)),
            },
            2 => Op::CreateUser {
                name: self.user_name(),
                role: self.pick(&[Role::Admin, Role::User]),
            },
            3 => Op::RemoveUser { name: self.user_name() },
            4 => Op::CreateToken {
                user: self.user_name(),
                hash,
                label: Label::new("laptop").unwrap(),
            },
            5 => Op::RevokeToken { id: self.version(world) },
            6 | 7 => Op::Invite {
                secret_hash: hash,
                expires: world.at.after_millis(self.below(3000)),
                label: Label::default(),
            },
            8 => Op::RevokeTicket { id: self.version(world) },
            9..=11 => Op::Join { secret_hash: hash, member: member(raft_id) },
            12 => Op::SetMember {
                raft_id,
                name: None,
                zone: Zone::new("y"),
                capacity_bytes: Some(self.below(2)),
            },
            13 => Op::SetAddresses {
                raft_id,
                addresses: vec![self.pick(&["/dns/a/tcp/1", "nowhere"]).to_owned()],
            },
            14 => Op::Drain { raft_id },
            15 => Op::Undrain { raft_id },
            16 => Op::Drained { raft_id },
            17 => Op::RemoveMember { raft_id },
            18 => {
                let base = Epoch(self.below(12));
                let epoch = Epoch(base.0 + self.below(3));
                let replicas = ReplicaCount::new(2).unwrap();
                Op::SetTopology { base, topology: Topology::new(epoch, replicas, Vec::new()) }
            }
            _ => Op::RetireTopologies { before: Epoch(self.below(12)) },
        }
    }

    fn upload_op(&mut self, world: &World) -> Op {
        let session = self.pick(&self.sessions.clone());
        let (lease, renewals) = self.lease(world);
        match self.below(8) {
            0 => Op::OpenSession { raft_id: self.below(3), ttl_ms: 1000 },
            1 => Op::RenewSession { session },
            2 | 3 => Op::BeginUpload { upload: self.upload(), ttl_ms: 1000 },
            4 => Op::RenewUpload { upload: self.upload() },
            5 => Op::EndUpload { upload: self.upload() },
            _ => Op::Expire { lease, renewals },
        }
    }

    /// Returns any operation.
    pub(super) fn op(&mut self, world: &World) -> Op {
        match self.below(10) {
            0..=4 => self.name_op(world),
            5 | 6 => self.lock_op(world),
            7 | 8 => self.upload_op(world),
            _ => self.cluster_op(world),
        }
    }

    /// Carries one random operation out.
    pub(super) fn step(&mut self, world: &mut World) {
        drop(self.tried(world));
    }

    /// The same. Returns what it was and what it did.
    pub(super) fn tried(&mut self, world: &mut World) -> (Op, Result<Outcome, super::Refusal>) {
        if self.one_in(3) {
            world.pass(self.prng.below(400));
        }
        let (actor, op) = (self.actor(), self.op(world));
        let answer = world.run(actor, op.clone());
        if let Ok(Outcome::SessionOpened { session }) = answer {
            self.sessions.push(session);
            if self.sessions.len() > 6 {
                self.sessions.remove(0);
            }
        }
        (op, answer)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_indexes_and_lists_agree_after_every_command(seed: u64) {
        let (mut world, session) = World::founded();
        let mut chance = Chance::new(seed, session);
        for step in 0..400 {
            chance.step(&mut world);
            if step % 10 == 0 {
                world.check();
            }
        }
        world.check();
    }

    #[test]
    fn a_refused_command_changes_nothing_but_the_memory_of_requests(seed: u64) {
        let (mut world, session) = World::founded();
        let mut chance = Chance::new(seed, session);
        for _ in 0..200 {
            let before = world.map.clone();
            let (op, answer) = chance.tried(&mut world);
            if answer.is_err() {
                let rest = |map: &std::collections::BTreeMap<Bytes, Bytes>| {
                    let rows = map.iter().filter(|(key, _)| !matches!(key[0], b'q' | b'Q'));
                    rows.map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
                };
                prop_assert_eq!(rest(&before), rest(&world.map), "{:?}", op);
                prop_assert!(world.effects.is_empty(), "{:?}", world.effects);
            }
        }
    }

    #[test]
    fn two_copies_fed_alike_are_alike_and_batches_do_not_matter(seed: u64, batch in 1..9usize) {
        // Given a log, and one copy to which each entry was written on its own.
        let (mut world, session) = World::founded();
        let mut chance = Chance::new(seed, session);
        let begin = world.clone();
        let mut log = Vec::new();
        let mut answers = Vec::new();
        for _ in 0..150 {
            if chance.one_in(3) {
                world.pass(chance.below(400));
            }
            let command = Command {
                request: RequestId([chance.below(256).to_le_bytes(), [0; 8]].concat().try_into().unwrap()),
                at: world.at,
                actor: chance.actor(),
                op: chance.op(&world),
            };
            answers.push(world.apply(&command));
            log.push(command);
        }
        // When another copy takes them in batches.
        let mut other = begin.map.clone();
        let mut index = begin.index;
        let mut other_answers = Vec::new();
        for entries in log.chunks(batch) {
            let mut draft = Draft::new(&other);
            for command in entries {
                index += 1;
                other_answers.push(apply(&mut draft, index, command).unwrap());
            }
            for (key, value) in draft.into_changes() {
                match value {
                    Some(value) => drop(other.insert(key, value)),
                    None => drop(other.remove(&key)),
                }
            }
        }
        // Then both have the same bytes and gave the same answers.
        prop_assert_eq!(&other, &world.map);
        prop_assert_eq!(other_answers, answers);
    }

    #[test]
    fn a_request_is_carried_out_once(seed: u64) {
        let (mut world, session) = World::founded();
        let mut chance = Chance::new(seed, session);
        let mut log: Vec<(Command, Result<Outcome, super::Refusal>)> = Vec::new();
        for number in 0..150u64 {
            if !log.is_empty() && chance.one_in(3) {
                // When a request comes again, later and from another leader.
                let (mut command, answer) = chance.pick(&log);
                command.at = world.at;
                let before = world.map.clone();
                prop_assert_eq!(world.apply(&command), answer);
                prop_assert_eq!(&before, &world.map);
            } else {
                let mut request = [9; 16];
                request[..8].copy_from_slice(&number.to_be_bytes());
                let (at, actor, op) = (world.at, chance.actor(), chance.op(&world));
                let command = Command { request: RequestId(request), at, actor, op };
                let answer = world.apply(&command);
                log.push((command, answer));
            }
        }
    }

    #[test]
    fn a_dead_upload_stays_dead(seed: u64) {
        let (mut world, session) = World::founded();
        let mut chance = Chance::new(seed, session);
        let mut dead = std::collections::BTreeSet::new();
        // Given what peers that are behind see: states of before.
        let mut behind: Vec<std::collections::BTreeMap<Bytes, Bytes>> = Vec::new();
        for step in 0..400 {
            if step % 50 == 0 {
                behind.push(world.map.clone());
            }
            chance.step(&mut world);
            for session in chance.sessions.clone() {
                for number in 0..8 {
                    let id = upload(session, number);
                    let state = query::upload_state(&world.map, id).unwrap();
                    if state == UploadState::Dead {
                        dead.insert(id);
                    }
                    let names_it = super::table::get::<super::Upload>(&world.map, &super::keys::upload(id)).unwrap();
                    prop_assert!(state != UploadState::Dead || names_it.is_none());
                }
            }
            for id in &dead {
                let state = query::upload_state(&world.map, *id).unwrap();
                prop_assert_eq!(state, UploadState::Dead, "{}", id);
            }
        }
        // Then whoever was behind and called an upload dead was right.
        for state in &behind {
            for session in &chance.sessions {
                for number in 0..8 {
                    let id = upload(*session, number);
                    if query::upload_state(state, id).unwrap() == UploadState::Dead {
                        let now = query::upload_state(&world.map, id).unwrap();
                        prop_assert_eq!(now, UploadState::Dead);
                    }
                }
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_are_refused_or_carried_out(bytes: Vec<u8>, at: u64, system: bool) {
        let (world, _) = World::founded();
        // Given bytes that get past the version, the request, the time and the actor.
        let request = RequestId([3; 16]);
        let actor = if system { Actor::System } else { Actor::User(user("ann")) };
        let at = WallTime::from_unix_millis(at);
        let head = postcard::to_stdvec(&(request, at, actor)).unwrap();
        let framed = [&[1], &head[..], &bytes[..]].concat();
        for bytes in [&bytes[..], &framed[..]] {
            if let Ok(command) = Command::decode(bytes) {
                let mut draft = Draft::new(&world.map);
                let answer = apply(&mut draft, world.index + 1, &command);
                prop_assert!(answer.is_ok(), "{:?}", answer);
            }
        }
        prop_assert!(super::decode_answer(&bytes).is_ok() || super::decode_answer(&bytes).is_err());
    }

    #[test]
    fn a_flipped_bit_of_a_command_never_stops_a_peer(seed: u64, flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..4)) {
        let (mut world, session) = World::founded();
        let mut chance = Chance::new(seed, session);
        for _ in 0..60 {
            chance.step(&mut world);
        }
        for _ in 0..20 {
            let op = chance.op(&world);
            let command = Command { request: RequestId([3; 16]), at: world.at, actor: Actor::System, op };
            let mut bytes = command.encode().unwrap().to_vec();
            for (at, bit) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            if let Ok(command) = Command::decode(&bytes) {
                let mut draft = Draft::new(&world.map);
                let answer = apply(&mut draft, world.index + 1, &command);
                prop_assert!(answer.is_ok(), "{:?} {:?}", command, answer);
            }
        }
    }
}
