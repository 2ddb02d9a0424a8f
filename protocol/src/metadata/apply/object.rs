//! What users do to objects.
//!
//! Order of refusals: what does not exist, who may not, the precondition, the upload, the quotas.

use super::step::{Step, Stop, invalid};
use super::upload::Release;
use crate::limits::MATCH_TAGS_MAX;
use crate::metadata::command::{Match, ObjectName, Op, Precondition, Tag};
use crate::metadata::keys;
use crate::metadata::name::{BucketName, ObjectKey, Tags, UserName};
use crate::metadata::outcome::{Outcome, Written};
use crate::metadata::refusal::Refusal;
use crate::metadata::value::{Bucket, Content, ObjectVersion};

/// What a version is made of.
struct NewVersion {
    content: Content,
    tags: Tags,
    public: bool,
}

impl NewVersion {
    /// Returns what an older version was made of; none for a delete marker.
    fn of(version: ObjectVersion) -> Option<Self> {
        let ObjectVersion { content, tags, public, .. } = version;
        content.map(|content| Self { content, tags, public })
    }
}

impl Step<'_> {
    pub(super) fn put_object(&mut self, op: &Op) -> Result<Outcome, Stop> {
        let Op::Put { bucket, key, content, tags, public, precondition, create_bucket } = op else {
            return Err(invalid("not a put"));
        };
        let record = match self.get::<Bucket>(&keys::bucket(bucket))? {
            Some(record) => record,
            None if *create_bucket => self.new_bucket(bucket)?,
            None => return Err(Refusal::NoBucket { bucket: bucket.clone() }.into()),
        };
        self.need_owner(&record)?;
        check(precondition, self.current(bucket, key)?.as_ref())?;
        self.check_upload(content.upload)?;
        let new = NewVersion { content: content.clone(), tags: tags.clone(), public: *public };
        self.write(&record, key, new)
    }

    /// Makes a new version current. `record`: the bucket as it was before the command, with its quotas.
    fn write(
        &mut self,
        record: &Bucket,
        key: &ObjectKey,
        new: NewVersion,
    ) -> Result<Outcome, Stop> {
        let replaced = self.current(&record.name, key)?.map(|version| version.version);
        let version = ObjectVersion {
            version: self.index,
            owner: self.writer(record),
            modified: self.at,
            content: Some(new.content.clone()),
            tags: new.tags,
            public: new.public,
        };
        self.add_version(&record.name, key, &version)?;
        self.check_quotas(record)?;
        let Content { root, size, .. } = new.content;
        let (version, modified) = (self.index, self.at);
        Ok(Outcome::Written(Written { version, root, size, modified, replaced }))
    }

    /// Returns whose a version is: the asker's, or for a peer the bucket's owner's.
    fn writer(&self, record: &Bucket) -> UserName {
        self.user().unwrap_or(&record.owner).clone()
    }

    /// Makes a delete marker current. Returns its version.
    fn mark_deleted(&mut self, record: &Bucket, key: &ObjectKey) -> Result<u64, Stop> {
        let marker = ObjectVersion {
            version: self.index,
            owner: self.writer(record),
            modified: self.at,
            content: None,
            tags: Tags::default(),
            public: false,
        };
        self.add_version(&record.name, key, &marker)?;
        Ok(marker.version)
    }

    pub(super) fn delete_object(
        &mut self,
        bucket: &BucketName,
        key: &ObjectKey,
        precondition: &Precondition,
    ) -> Result<Outcome, Stop> {
        let record = self.bucket(bucket)?;
        self.need_owner(&record)?;
        let current = self.current(bucket, key)?;
        check(precondition, current.as_ref())?;
        if current.is_none() {
            return Ok(Outcome::Deleted { version: None });
        }
        let version = self.mark_deleted(&record, key)?;
        Ok(Outcome::Deleted { version: Some(version) })
    }

    pub(super) fn delete_version(
        &mut self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: u64,
        precondition: &Precondition,
    ) -> Result<Outcome, Stop> {
        let record = self.bucket(bucket)?;
        self.need_owner(&record)?;
        let found: Option<ObjectVersion> = self.get(&keys::version(bucket, key, version))?;
        check(precondition, found.as_ref())?;
        let Some(found) = found else { return Ok(Outcome::Deleted { version: None }) };
        self.remove_version(bucket, key, &found, Release::AfterGrace)?;
        Ok(Outcome::Deleted { version: Some(version) })
    }

    pub(super) fn copy_object(&mut self, op: &Op) -> Result<Outcome, Stop> {
        let Op::Copy { from, version, to, from_precondition, to_precondition, tags, content_type } =
            op
        else {
            return Err(invalid("not a copy"));
        };
        // Reading takes the same rights as writing, for now.
        let source = self.bucket(&from.bucket)?;
        self.need_owner(&source)?;
        let source = match version {
            Some(version) => self.existing_version(&from.bucket, &from.key, *version)?,
            None => self.existing_object(&from.bucket, &from.key)?,
        };
        let record = self.bucket(&to.bucket)?;
        self.need_owner(&record)?;
        check(from_precondition, Some(&source))?;
        check(to_precondition, self.current(&to.bucket, &to.key)?.as_ref())?;
        let mut new = NewVersion::of(source).ok_or_else(|| no_object(&from.bucket, &from.key))?;
        // To publish is a decision of its own.
        new.public = false;
        if let Some(tags) = tags {
            new.tags = tags.clone();
        }
        if let Some(content_type) = content_type {
            new.content.content_type = content_type.clone();
        }
        self.write(&record, &to.key, new)
    }

    pub(super) fn move_object(
        &mut self,
        from: &ObjectName,
        to: &ObjectName,
        from_precondition: &Precondition,
        to_precondition: &Precondition,
    ) -> Result<Outcome, Stop> {
        if from == to {
            return Err(invalid("an object cannot be moved to its own name"));
        }
        let source = self.bucket(&from.bucket)?;
        self.need_owner(&source)?;
        let current = self.existing_object(&from.bucket, &from.key)?;
        let target = self.bucket(&to.bucket)?;
        self.need_owner(&target)?;
        check(from_precondition, Some(&current))?;
        check(to_precondition, self.current(&to.bucket, &to.key)?.as_ref())?;
        let new = NewVersion::of(current).ok_or_else(|| no_object(&from.bucket, &from.key))?;
        // First, so that a bucket with room for no more objects takes the same ones under other names.
        self.mark_deleted(&source, &from.key)?;
        self.write(&target, &to.key, new)
    }

    pub(super) fn restore_object(
        &mut self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: u64,
        precondition: &Precondition,
    ) -> Result<Outcome, Stop> {
        let record = self.bucket(bucket)?;
        self.need_owner(&record)?;
        let old = self.existing_version(bucket, key, version)?;
        let current = self.current(bucket, key)?;
        check(precondition, current.as_ref())?;
        let mut new = NewVersion::of(old).ok_or_else(|| no_object(bucket, key))?;
        // What was taken back from the public must not return to it by the way.
        new.public = current.is_some_and(|current| current.public);
        self.write(&record, key, new)
    }

    pub(super) fn set_object(&mut self, op: &Op) -> Result<Outcome, Stop> {
        let Op::SetObject { bucket, key, tags, content_type, public, precondition } = op else {
            return Err(invalid("not a change of an object"));
        };
        let record = self.bucket(bucket)?;
        self.need_owner(&record)?;
        let current = self.existing_object(bucket, key)?;
        check(precondition, Some(&current))?;
        let mut new = NewVersion::of(current).ok_or_else(|| no_object(bucket, key))?;
        new.tags = tags.clone().unwrap_or(new.tags);
        new.public = public.unwrap_or(new.public);
        if let Some(content_type) = content_type {
            new.content.content_type = content_type.clone();
        }
        self.write(&record, key, new)
    }

    fn existing_object(&self, bucket: &BucketName, key: &ObjectKey) -> Result<ObjectVersion, Stop> {
        Ok(self.current(bucket, key)?.ok_or_else(|| no_object(bucket, key))?)
    }

    /// Returns a version with content.
    fn existing_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: u64,
    ) -> Result<ObjectVersion, Stop> {
        let found: Option<ObjectVersion> = self.get(&keys::version(bucket, key, version))?;
        let found = found.filter(|found| !found.is_delete_marker());
        let (bucket, key) = (bucket.clone(), key.clone());
        Ok(found.ok_or(Refusal::NoVersion { bucket, key, version })?)
    }
}

fn no_object(bucket: &BucketName, key: &ObjectKey) -> Refusal {
    Refusal::NoObject { bucket: bucket.clone(), key: key.clone() }
}

/// Checks a precondition against the object as it is: its current version, or the one that a command names, if there is one.
/// Source: RFC 9110, sections 13.1.1 and 13.1.2.
///
/// # Errors
/// [`Refusal::PreconditionFailed`], and [`Refusal::Invalid`] when it names too many states.
pub fn check(precondition: &Precondition, current: Option<&ObjectVersion>) -> Result<(), Refusal> {
    let sides = [&precondition.if_match, &precondition.if_none_match];
    for side in sides.into_iter().flatten() {
        if let Match::OneOf(tags) = side
            && tags.len() > MATCH_TAGS_MAX
        {
            let detail = format!("a precondition may name {MATCH_TAGS_MAX} states at most");
            return Err(Refusal::Invalid { detail });
        }
    }
    let wanted = precondition.if_match.as_ref().is_none_or(|side| matches(side, current));
    let unwanted = precondition.if_none_match.as_ref().is_some_and(|side| matches(side, current));
    if wanted && !unwanted {
        return Ok(());
    }
    let state = |version: &ObjectVersion| {
        version.content.as_ref().map(|content| (version.version, content.root))
    };
    Err(Refusal::PreconditionFailed { current: current.and_then(state) })
}

fn matches(side: &Match, current: Option<&ObjectVersion>) -> bool {
    let Some(current) = current else { return false };
    let is = |tag: &Tag| match tag {
        Tag::Root(root) => current.content.as_ref().is_some_and(|content| content.root == *root),
        Tag::Version(version) => current.version == *version,
    };
    match side {
        Match::Any => true,
        Match::OneOf(tags) => tags.iter().any(is),
    }
}
