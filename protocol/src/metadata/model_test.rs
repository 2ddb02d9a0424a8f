//! Names, versions, counts and uploads against a model that does everything the plain way.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::command::{Actor, Match, ObjectName, Op, Precondition, Tag};
use super::name::{BucketName, Tags, UserName};
use super::random_test::Chance;
use super::testing::{GRACE_MS, World, bucket, object, upload, user};
use super::value::{Content, Due, DueEntry};
use super::{Outcome, UploadState, query};
use crate::{Cid, OwnerId, WallTime};

#[derive(Clone, Debug, PartialEq)]
struct ModelVersion {
    version: u64,
    owner: UserName,
    modified: WallTime,
    content: Option<Content>,
    tags: Tags,
    public: bool,
}

#[derive(Clone, Debug)]
struct ModelBucket {
    owner: UserName,
    keep: Option<u32>,
    quota_bytes: Option<u64>,
    quota_objects: Option<u64>,
}

/// Everything in lists; whatever can be counted is counted when it is asked for.
#[derive(Clone, Debug, Default)]
struct Model {
    buckets: BTreeMap<BucketName, ModelBucket>,
    /// Oldest first.
    versions: BTreeMap<ObjectName, Vec<ModelVersion>>,
    pins: BTreeMap<(Cid, UserName), OwnerId>,
    /// Uploads that something refers to, or did within the grace period.
    table: BTreeMap<OwnerId, (Cid, u64)>,
    due: BTreeMap<Due, WallTime>,
    purged: BTreeSet<OwnerId>,
    open: BTreeSet<u64>,
    opened: BTreeSet<u64>,
}

/// What a command says when it is not refused.
type Said = Option<Outcome>;

impl Model {
    fn current(&self, name: &ObjectName) -> Option<&ModelVersion> {
        let newest = self.versions.get(name)?.last()?;
        newest.content.is_some().then_some(newest)
    }

    fn references(&self, id: OwnerId) -> usize {
        let versions = self.versions.values().flatten();
        let contents = versions.filter_map(|version| version.content.as_ref());
        contents.filter(|content| content.upload == id).count()
            + self.pins.values().filter(|pin| **pin == id).count()
    }

    fn counts(&self, bucket: &BucketName) -> (u64, u64, u64) {
        let of = self.versions.iter().filter(|(name, _)| name.bucket == *bucket);
        let (mut objects, mut versions, mut bytes) = (0, 0, 0);
        for (name, list) in of {
            objects += u64::from(self.current(name).is_some());
            versions += list.len() as u64;
            bytes += list.iter().filter_map(|v| v.content.as_ref()).map(|c| c.size).sum::<u64>();
        }
        (objects, versions, bytes)
    }

    fn may(&self, actor: &Actor, bucket: &BucketName) -> bool {
        match actor.user() {
            None => true,
            Some(name) => {
                *name == UserName::admin()
                    || self.buckets.get(bucket).is_some_and(|record| record.owner == *name)
            }
        }
    }

    fn holds(precondition: &Precondition, current: Option<&ModelVersion>) -> bool {
        let matches = |side: &Match| match (side, current) {
            (_, None) => false,
            (Match::Any, Some(_)) => true,
            (Match::OneOf(tags), Some(version)) => tags.iter().any(|tag| match tag {
                Tag::Root(root) => version.content.as_ref().is_some_and(|c| c.root == *root),
                Tag::Version(number) => version.version == *number,
            }),
        };
        precondition.if_match.as_ref().is_none_or(matches)
            && !precondition.if_none_match.as_ref().is_some_and(matches)
    }

    /// Carries a command out. On `None` the model must be thrown away.
    fn apply(&mut self, index: u64, at: WallTime, actor: &Actor, op: &Op) -> Said {
        match actor.user() {
            Some(name) if !["admin", "ann", "bob"].contains(&name.as_str()) => return None,
            Some(_) | None => {}
        }
        let outcome = self.carry_out(index, at, actor, op)?;
        self.settle(at);
        Some(outcome)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is not of this model")]
    fn carry_out(&mut self, index: u64, at: WallTime, actor: &Actor, op: &Op) -> Said {
        match op {
            Op::CreateBucket { name } => {
                if self.buckets.contains_key(name) {
                    return None;
                }
                self.create_bucket(actor, name);
            }
            Op::RemoveBucket { name } => {
                self.buckets.get(name)?;
                if !self.may(actor, name) || self.counts(name).1 > 0 {
                    return None;
                }
                self.buckets.remove(name);
            }
            Op::SetBucket { name, owner, keep_versions, quota_bytes, quota_objects } => {
                if !self.may(actor, name) {
                    return None;
                }
                let is_admin = match actor.user() {
                    None => true,
                    Some(name) => *name == UserName::admin(),
                };
                let record = self.buckets.get_mut(name)?;
                if !is_admin
                    && (owner.is_some() || quota_bytes.is_some() || quota_objects.is_some())
                {
                    return None;
                }
                if owner.as_ref().is_some_and(|owner| owner.as_str() == "eve")
                    || *keep_versions == Some(Some(0))
                {
                    return None;
                }
                record.owner = owner.clone().unwrap_or(record.owner.clone());
                record.keep = keep_versions.unwrap_or(record.keep);
                record.quota_bytes = quota_bytes.unwrap_or(record.quota_bytes);
                record.quota_objects = quota_objects.unwrap_or(record.quota_objects);
            }
            Op::Put { bucket, key, content, tags, public, precondition, create_bucket } => {
                if !self.buckets.contains_key(bucket) {
                    create_bucket.then(|| self.create_bucket(actor, bucket))?;
                }
                let name = ObjectName { bucket: bucket.clone(), key: key.clone() };
                if !self.may(actor, bucket)
                    || !Self::holds(precondition, self.current(&name))
                    || !self.can_refer(content.upload)
                {
                    return None;
                }
                return self.write(index, at, actor, &name, content.clone(), tags, *public);
            }
            Op::Delete { bucket, key, precondition } => {
                let name = ObjectName { bucket: bucket.clone(), key: key.clone() };
                self.buckets.get(bucket)?;
                if !self.may(actor, bucket) || !Self::holds(precondition, self.current(&name)) {
                    return None;
                }
                if self.current(&name).is_none() {
                    return Some(Outcome::Deleted { version: None });
                }
                self.mark(index, at, actor, &name);
                return Some(Outcome::Deleted { version: Some(index) });
            }
            Op::DeleteVersion { bucket, key, version }
            | Op::DeleteVersionIf { bucket, key, version, .. } => {
                let name = ObjectName { bucket: bucket.clone(), key: key.clone() };
                self.buckets.get(bucket)?;
                if !self.may(actor, bucket) {
                    return None;
                }
                if let Op::DeleteVersionIf { precondition, .. } = op {
                    let list = self.versions.get(&name);
                    let found = list.and_then(|list| list.iter().find(|v| v.version == *version));
                    if !Self::holds(precondition, found) {
                        return None;
                    }
                }
                let current = self.current(&name).cloned();
                let list = self.versions.entry(name).or_default();
                let before = list.len();
                let was_last = list.last().is_some_and(|last| last.version == *version);
                list.retain(|other| other.version != *version);
                // What becomes current by that is public only if what was current is.
                if was_last
                    && !current.is_some_and(|current| current.public)
                    && let Some(last) = list.last_mut()
                {
                    last.public = false;
                }
                let removed = (list.len() < before).then_some(*version);
                return Some(Outcome::Deleted { version: removed });
            }
            Op::Copy {
                from,
                version,
                to,
                from_precondition,
                to_precondition,
                tags,
                content_type,
            } => {
                self.buckets.get(&from.bucket)?;
                self.buckets.get(&to.bucket)?;
                let source = self.find(from, *version)?;
                if !self.may(actor, &from.bucket)
                    || !self.may(actor, &to.bucket)
                    || !Self::holds(from_precondition, Some(&source))
                    || !Self::holds(to_precondition, self.current(to))
                {
                    return None;
                }
                let mut content = source.content?;
                content.content_type = content_type.clone().unwrap_or(content.content_type);
                let tags = tags.clone().unwrap_or(source.tags);
                return self.write(index, at, actor, to, content, &tags, false);
            }
            Op::Move { from, to, from_precondition, to_precondition } => {
                self.buckets.get(&from.bucket)?;
                self.buckets.get(&to.bucket)?;
                let source = self.find(from, None)?;
                if from == to
                    || !self.may(actor, &from.bucket)
                    || !self.may(actor, &to.bucket)
                    || !Self::holds(from_precondition, Some(&source))
                    || !Self::holds(to_precondition, self.current(to))
                {
                    return None;
                }
                let before = self.clone();
                self.mark(index, at, actor, from);
                // Quotas hold against the bucket as it was before the command.
                let (content, tags) = (source.content?, &source.tags);
                return self.write_since(
                    &before,
                    index,
                    at,
                    actor,
                    to,
                    content,
                    tags,
                    source.public,
                );
            }
            Op::Restore { bucket, key, version, precondition } => {
                let name = ObjectName { bucket: bucket.clone(), key: key.clone() };
                self.buckets.get(bucket)?;
                let old = self.find(&name, Some(*version))?;
                if !self.may(actor, bucket) || !Self::holds(precondition, self.current(&name)) {
                    return None;
                }
                let public = self.current(&name).is_some_and(|current| current.public);
                return self.write(index, at, actor, &name, old.content?, &old.tags, public);
            }
            Op::SetObject { bucket, key, tags, content_type, public, precondition } => {
                let name = ObjectName { bucket: bucket.clone(), key: key.clone() };
                let old = self.find(&name, None)?;
                if !self.may(actor, bucket) || !Self::holds(precondition, Some(&old)) {
                    return None;
                }
                let mut content = old.content?;
                content.content_type = content_type.clone().unwrap_or(content.content_type);
                let tags = tags.clone().unwrap_or(old.tags);
                return self.write(
                    index,
                    at,
                    actor,
                    &name,
                    content,
                    &tags,
                    public.unwrap_or(old.public),
                );
            }
            Op::Pin { root, size, upload } => {
                let Actor::User(user) = actor else { return None };
                self.can_refer(*upload).then_some(())?;
                self.refer(*upload, *root, *size)?;
                self.pins.insert((*root, user.clone()), *upload);
            }
            Op::Unpin { root } => {
                let is_mine = |user: &UserName| match actor.user() {
                    None => true,
                    Some(name) => *name == UserName::admin() || name == user,
                };
                let before = self.pins.len();
                self.pins.retain(|(other, user), _| other != root || !is_mine(user));
                let pins = (before - self.pins.len()) as u64;
                return (pins > 0).then_some(Outcome::Unpinned { pins, more: false });
            }
            Op::Purge { entries } => {
                if actor != &Actor::System && actor != &Actor::User(UserName::admin()) {
                    return None;
                }
                let (mut done, mut removed) = (0, 0);
                for DueEntry { at: when, due } in entries {
                    if *when > at || self.due.get(due) != Some(when) {
                        continue;
                    }
                    removed += self.purge(due);
                    self.due.remove(due);
                    done += 1;
                }
                return Some(Outcome::Purged { entries: done, versions: removed, more: false });
            }
            Op::CloseSession { session } => {
                if actor != &Actor::System && actor != &Actor::User(UserName::admin()) {
                    return None;
                }
                let tombs =
                    self.purged.iter().any(|id| id.as_bytes()[..8] == session.to_be_bytes());
                if self.open.remove(session) && tombs {
                    self.due.insert(Due::Session(*session), at);
                }
            }
            other => panic!("not of the model: {other:?}"),
        }
        Some(Outcome::Done)
    }

    fn create_bucket(&mut self, actor: &Actor, name: &BucketName) {
        let owner = match actor.user() {
            None => UserName::admin(),
            Some(user) => user.clone(),
        };
        let record = ModelBucket { owner, keep: None, quota_bytes: None, quota_objects: None };
        self.buckets.insert(name.clone(), record);
    }

    fn find(&self, name: &ObjectName, version: Option<u64>) -> Option<ModelVersion> {
        match version {
            None => self.current(name).cloned(),
            Some(number) => {
                let mut list = self.versions.get(name)?.iter();
                list.find(|v| v.version == number && v.content.is_some()).cloned()
            }
        }
    }

    fn can_refer(&self, id: OwnerId) -> bool {
        let session = u64::from_be_bytes(*id.as_bytes().first_chunk().unwrap());
        self.table.contains_key(&id) || (self.open.contains(&session) && !self.purged.contains(&id))
    }

    fn refer(&mut self, id: OwnerId, root: Cid, size: u64) -> Option<()> {
        let known = self.table.entry(id).or_insert((root, size));
        (*known == (root, size)).then_some(())
    }

    fn owner(&self, actor: &Actor, bucket: &BucketName) -> UserName {
        match actor.user() {
            None => self.buckets[bucket].owner.clone(),
            Some(user) => user.clone(),
        }
    }

    fn add(&mut self, name: &ObjectName, version: ModelVersion) {
        self.versions.entry(name.clone()).or_default().push(version);
        let Some(keep) = self.buckets[&name.bucket].keep else { return };
        let list = self.versions.get_mut(name).unwrap();
        let mut kept = 0;
        let mut first = list.len();
        while first > 0 && kept < keep {
            first -= 1;
            kept += u32::from(list[first].content.is_some());
        }
        list.drain(..first);
    }

    fn mark(&mut self, index: u64, at: WallTime, actor: &Actor, name: &ObjectName) {
        let owner = self.owner(actor, &name.bucket);
        let tags = Tags::default();
        self.add(
            name,
            ModelVersion {
                version: index,
                owner,
                modified: at,
                content: None,
                tags,
                public: false,
            },
        );
    }

    #[expect(clippy::too_many_arguments, reason = "a model is plain")]
    fn write(
        &mut self,
        index: u64,
        at: WallTime,
        actor: &Actor,
        name: &ObjectName,
        content: Content,
        tags: &Tags,
        public: bool,
    ) -> Said {
        self.write_since(&self.clone(), index, at, actor, name, content, tags, public)
    }

    #[expect(clippy::too_many_arguments, reason = "a model is plain")]
    fn write_since(
        &mut self,
        before: &Self,
        index: u64,
        at: WallTime,
        actor: &Actor,
        name: &ObjectName,
        content: Content,
        tags: &Tags,
        public: bool,
    ) -> Said {
        let replaced = self.current(name).map(|current| current.version);
        self.refer(content.upload, content.root, content.size)?;
        let Content { root, size, .. } = content;
        let owner = self.owner(actor, &name.bucket);
        let (tags, content) = (tags.clone(), Some(content));
        self.add(name, ModelVersion { version: index, owner, modified: at, content, tags, public });
        self.within_quotas(before, &name.bucket).then_some(())?;
        Some(Outcome::Written(super::Written {
            version: index,
            root,
            size,
            modified: at,
            replaced,
        }))
    }

    fn within_quotas(&self, before: &Self, bucket: &BucketName) -> bool {
        let (objects, _, bytes) = self.counts(bucket);
        let (objects_before, _, bytes_before) = before.counts(bucket);
        let record = &self.buckets[bucket];
        let fits = |limit: Option<u64>, before: u64, after: u64| {
            limit.is_none_or(|limit| after <= limit || after <= before)
        };
        fits(record.quota_bytes, bytes_before, bytes)
            && fits(record.quota_objects, objects_before, objects)
    }

    /// Returns how many rows go.
    fn purge(&mut self, due: &Due) -> u64 {
        match due {
            Due::Upload(id) => {
                self.table.remove(id);
                self.bury(*id);
                1
            }
            Due::Object { bucket, key } => {
                let name = ObjectName { bucket: bucket.clone(), key: key.clone() };
                let list = self.versions.remove(&name).unwrap();
                for content in list.iter().filter_map(|version| version.content.as_ref()) {
                    if self.references(content.upload) == 0 {
                        self.table.remove(&content.upload);
                        self.due.remove(&Due::Upload(content.upload));
                        self.bury(content.upload);
                    }
                }
                list.len() as u64
            }
            Due::Session(session) => {
                let of =
                    self.purged.iter().filter(|id| id.as_bytes()[..8] == session.to_be_bytes());
                of.count() as u64
            }
            Due::Ticket(_) => unreachable!(),
        }
    }

    /// Remembers that an upload is dead, where its session does not say so.
    fn bury(&mut self, id: OwnerId) {
        let session = u64::from_be_bytes(*id.as_bytes().first_chunk().unwrap());
        if self.open.contains(&session) {
            self.purged.insert(id);
        }
    }

    /// Puts on the due list what belongs there, and takes the rest off.
    fn settle(&mut self, at: WallTime) {
        let grace = at.after_millis(GRACE_MS);
        self.versions.retain(|_, list| !list.is_empty());
        let uploads = self.table.keys().filter(|id| self.references(**id) == 0);
        let uploads: BTreeSet<Due> = uploads.map(|id| Due::Upload(*id)).collect();
        let objects = self.versions.keys().filter(|name| self.current(name).is_none());
        let objects =
            objects.map(|name| Due::Object { bucket: name.bucket.clone(), key: name.key.clone() });
        let wanted: BTreeSet<Due> = uploads.into_iter().chain(objects).collect();
        self.due.retain(|due, _| matches!(due, Due::Session(_)) || wanted.contains(due));
        for due in wanted {
            self.due.entry(due).or_insert(grace);
        }
    }

    fn compare(&self, world: &World, sessions: &[u64]) {
        for name in ["docs", "pics", "temp"].map(bucket) {
            let found = query::bucket(&world.map, &name).unwrap();
            let found = found.map(|b| (b.owner.clone(), (b.objects, b.versions, b.bytes)));
            let expected = self.buckets.get(&name).map(|b| (b.owner.clone(), self.counts(&name)));
            assert_eq!(found, expected, "bucket {name}");
            for key in ["a", "a/b", "c"] {
                let name = object(name.as_str(), key);
                let mut expected = self.versions.get(&name).cloned().unwrap_or_default();
                expected.reverse();
                let plain = |v: super::ObjectVersion| {
                    let super::ObjectVersion { version, owner, modified, content, tags, public } =
                        v;
                    ModelVersion { version, owner, modified, content, tags, public }
                };
                let found: Vec<ModelVersion> =
                    world.versions(&name).into_iter().map(plain).collect();
                assert_eq!(found, expected, "versions of {name:?}");
                let found = query::object(&world.map, &name.bucket, &name.key).unwrap().map(plain);
                assert_eq!(found.as_ref(), self.current(&name), "{name:?}");
            }
        }
        let late = world.at.after_millis(10 * GRACE_MS);
        let found = query::due(&world.map, late, 1000).unwrap();
        let found: BTreeMap<Due, WallTime> = found.into_iter().map(|e| (e.due, e.at)).collect();
        assert_eq!(found, self.due);
        for session in sessions {
            for number in 0..8 {
                let id = upload(*session, number);
                let expected = if self.table.contains_key(&id) {
                    UploadState::Referenced
                } else if self.can_refer(id) || !self.opened.contains(session) {
                    UploadState::InProgress
                } else {
                    UploadState::Dead
                };
                assert_eq!(query::upload_state(&world.map, id).unwrap(), expected, "{id}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn names_versions_counts_and_uploads_are_those_of_the_model(seed: u64) {
        let (mut world, session) = World::founded();
        let second = world.session();
        let mut chance = Chance::new(seed, session);
        chance.sessions.push(second);
        let mut model = Model::default();
        model.open.extend([session, second]);
        model.opened.extend([session, second]);
        model.create_bucket(&Actor::User(user("ann")), &bucket("docs"));
        for _ in 0..300 {
            if chance.prng.chance(1, 3) {
                world.pass(chance.prng.below(600));
            }
            let (actor, op) = (chance.actor(), chance.name_op(&world));
            let mut next = model.clone();
            let expected = next.apply(world.index + 1, world.at, &actor, &op);
            let answer = world.run(actor.clone(), op.clone());
            prop_assert_eq!(answer.as_ref().ok(), expected.as_ref(), "{:?} {:?} {:?}", actor, op, answer);
            if expected.is_some() {
                model = next;
            }
            model.compare(&world, &chance.sessions);
        }
        world.check();
    }
}
