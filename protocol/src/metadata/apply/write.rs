//! Versions come and go: the one place that keeps tables, counts, owners' index, catalog and due list of objects in step.
//!
//! A version lies in the table of versions; the current one, unless it is a delete marker, in the table of objects too,
//! and under its owner. Every version with content holds its upload once.

use super::step::{Step, Stop};
use super::upload::Release;
use crate::limits::TRIM_VERSIONS_STEP;
use crate::metadata::command::ObjectName;
use crate::metadata::effect::Effect;
use crate::metadata::keys;
use crate::metadata::name::{BucketName, ObjectKey};
use crate::metadata::refusal::{Quota, Refusal};
use crate::metadata::table;
use crate::metadata::value::{Bucket, Catalog, Due, ObjectVersion, Published};

impl Step<'_> {
    /// Returns the current version of an object; none when there is no object, or it is deleted.
    pub(super) fn current(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Option<ObjectVersion>, Stop> {
        Ok(self.get(&keys::object(bucket, key))?)
    }

    /// Returns the newest versions, delete markers included.
    pub(super) fn newest(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        limit: usize,
    ) -> Result<Vec<ObjectVersion>, Stop> {
        Ok(table::values(&self.draft, &keys::versions(bucket, key), None, limit)?)
    }

    /// Writes a version, newer than all there are, and lets go of those beyond the bucket's bound.
    pub(super) fn add_version(
        &mut self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: &ObjectVersion,
    ) -> Result<(), Stop> {
        let mut record = self.bucket(bucket)?;
        let before = self.current(bucket, key)?;
        if let Some(content) = &version.content {
            self.hold_upload(content.upload, content.root, content.size)?;
        }
        self.set(keys::version(bucket, key, version.version), version)?;
        record.versions += 1;
        record.bytes = record.bytes.saturating_add(version.size());
        let after = Some(version).filter(|version| !version.is_delete_marker());
        self.set_current(&mut record, key, before.as_ref(), after)?;
        if let Some(keep) = record.keep_versions {
            self.trim(&mut record, key, keep as usize)?;
        }
        self.list_object(bucket, key, after.is_none())?;
        Ok(self.set_bucket_value(&record)?)
    }

    /// Removes a version; what was before it becomes current if it was.
    pub(super) fn remove_version(
        &mut self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: &ObjectVersion,
        release: Release,
    ) -> Result<(), Stop> {
        let mut record = self.bucket(bucket)?;
        let before = self.current(bucket, key)?;
        self.drop_version(&mut record, key, version, release)?;
        let mut newest = self.newest(bucket, key, 1)?.pop();
        let is_empty = newest.is_none();
        // What was taken back from the public must not return to it by the way.
        if let Some(newest) = newest.as_mut().filter(|newest| newest.public)
            && newest.version != version.version
            && before.as_ref().map(|before| before.version) != Some(newest.version)
            && !before.as_ref().is_some_and(|before| before.public)
        {
            newest.public = false;
            self.set(keys::version(bucket, key, newest.version), newest)?;
        }
        let after = newest.filter(|version| !version.is_delete_marker());
        if before.as_ref().map(|v| v.version) != after.as_ref().map(|v| v.version) {
            self.set_current(&mut record, key, before.as_ref(), after.as_ref())?;
        }
        self.list_object(bucket, key, after.is_none() && !is_empty)?;
        Ok(self.set_bucket_value(&record)?)
    }

    /// Removes a version from its table and the counts, and lets go of its upload.
    pub(super) fn drop_version(
        &mut self,
        record: &mut Bucket,
        key: &ObjectKey,
        version: &ObjectVersion,
        release: Release,
    ) -> Result<(), Stop> {
        self.delete(keys::version(&record.name, key, version.version));
        record.versions = record.versions.saturating_sub(1);
        record.bytes = record.bytes.saturating_sub(version.size());
        if let Some(content) = &version.content {
            self.drop_upload(content.upload, release)?;
        }
        Ok(())
    }

    fn set_current(
        &mut self,
        record: &mut Bucket,
        key: &ObjectKey,
        before: Option<&ObjectVersion>,
        after: Option<&ObjectVersion>,
    ) -> Result<(), Stop> {
        let bucket = &record.name;
        if before.map(|v| &v.owner) != after.map(|v| &v.owner) {
            if let Some(before) = before {
                self.delete(keys::owned(&before.owner, bucket, key));
            }
            if let Some(after) = after {
                self.mark(keys::owned(&after.owner, bucket, key));
            }
        }
        let name = ObjectName { bucket: bucket.clone(), key: key.clone() };
        self.list_public(&name, before, after)?;
        self.effect(Effect::ObjectChanged { name });
        match after {
            Some(after) => self.set(keys::object(bucket, key), after)?,
            None => self.delete(keys::object(bucket, key)),
        }
        record.objects = record.objects + u64::from(after.is_some()) - u64::from(before.is_some());
        Ok(())
    }

    /// Keeps the catalog in step with what is current: others may find and read what is in it, and nothing else.
    fn list_public(
        &mut self,
        name: &ObjectName,
        before: Option<&ObjectVersion>,
        after: Option<&ObjectVersion>,
    ) -> Result<(), Stop> {
        let root_of = |version: &ObjectVersion| {
            version.content.as_ref().filter(|_| version.public).map(|content| content.root)
        };
        let mut before = before.and_then(|version| Some((version.version, root_of(version)?)));
        let after = after.and_then(|version| Some((version.version, root_of(version)?)));
        // What an earlier build made public has no row before it is written again.
        if let Some((version, _)) = before
            && !self.draft_has(&keys::public(version))?
        {
            before = None;
        }
        if before.is_none() && after.is_none() {
            return Ok(());
        }
        let mut catalog: Catalog = self.get(keys::CATALOG)?.unwrap_or_default();
        if let Some((version, root)) = before {
            self.delete(keys::public(version));
            self.delete(keys::public_root(&root, version));
        }
        catalog.sequence += 1;
        if let Some((version, root)) = after {
            let published = Published { name: name.clone(), sequence: catalog.sequence };
            self.set(keys::public(version), &published)?;
            self.mark(keys::public_root(&root, version));
        }
        catalog.entries =
            catalog.entries + u64::from(after.is_some()) - u64::from(before.is_some());
        Ok(self.set(keys::CATALOG.to_vec(), &catalog)?)
    }

    /// Puts a deleted object on the due list, if it is not there already; takes any other off it.
    fn list_object(
        &mut self,
        bucket: &BucketName,
        key: &ObjectKey,
        is_deleted: bool,
    ) -> Result<(), Stop> {
        let due = Due::Object { bucket: bucket.clone(), key: key.clone() };
        match (is_deleted, self.due_at(&due)?) {
            (true, None) => self.add_due_after_grace(due),
            (false, Some(_)) => self.remove_due(&due),
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }

    /// Removes the oldest versions, so that `keep` with content stay; the current one always does.
    fn trim(&mut self, record: &mut Bucket, key: &ObjectKey, keep: usize) -> Result<(), Stop> {
        // Delete markers between contents are rare; what they push out of the window goes with a later write.
        let limit = 2 * keep + TRIM_VERSIONS_STEP;
        let mut kept = 0;
        for version in self.newest(&record.name, key, limit)? {
            if kept >= keep {
                self.drop_version(record, key, &version, Release::AfterGrace)?;
            }
            kept += usize::from(!version.is_delete_marker());
        }
        Ok(())
    }

    /// Refuses what brought a bucket above its quotas, or further above.
    pub(super) fn check_quotas(&self, before: &Bucket) -> Result<(), Stop> {
        let after = self.bucket(&before.name)?;
        let over = |limit: Option<u64>, before: u64, after: u64| {
            limit.filter(|limit| after > *limit && after > before)
        };
        let bytes = over(after.quota_bytes, before.bytes, after.bytes);
        let objects = over(after.quota_objects, before.objects, after.objects);
        let (quota, limit) = match (bytes, objects) {
            (Some(limit), _) => (Quota::Bytes, limit),
            (None, Some(limit)) => (Quota::Objects, limit),
            (None, None) => return Ok(()),
        };
        Err(Refusal::QuotaExceeded { bucket: after.name, quota, limit }.into())
    }
}
