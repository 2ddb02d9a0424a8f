//! Buckets: made, changed, removed when empty.

use super::step::{Rights, Step, Stop, check_room, invalid};
use crate::limits::{BUCKETS_MAX, KEEP_VERSIONS_MAX};
use crate::metadata::command::Op;
use crate::metadata::keys;
use crate::metadata::name::{BucketName, UserName};
use crate::metadata::outcome::Outcome;
use crate::metadata::refusal::{Bounded, Refusal};
use crate::metadata::value::{Bucket, User};

impl Step<'_> {
    pub(super) fn create_bucket(&mut self, name: &BucketName) -> Result<Outcome, Stop> {
        if let Some(bucket) = self.get::<Bucket>(&keys::bucket(name))? {
            return Err(Refusal::BucketExists { bucket: name.clone(), owner: bucket.owner }.into());
        }
        self.new_bucket(name)?;
        Ok(Outcome::Done)
    }

    /// Makes a bucket that belongs to whoever asks.
    pub(super) fn new_bucket(&mut self, name: &BucketName) -> Result<Bucket, Stop> {
        let owner = match &self.rights {
            Rights::System => UserName::admin(),
            Rights::Admin(user) | Rights::User(user) => user.clone(),
        };
        let mut totals = self.totals()?;
        check_room(Bounded::Buckets, totals.buckets, BUCKETS_MAX)?;
        totals.buckets += 1;
        self.set_totals(&totals)?;
        self.own_bucket(&owner)?;
        let bucket = Bucket {
            name: name.clone(),
            owner,
            created: self.at,
            keep_versions: None,
            quota_bytes: None,
            quota_objects: None,
            objects: 0,
            versions: 0,
            bytes: 0,
        };
        self.set_bucket_value(&bucket)?;
        Ok(bucket)
    }

    fn own_bucket(&mut self, owner: &UserName) -> Result<(), Stop> {
        let mut user = self.existing_user(owner)?;
        user.buckets += 1;
        Ok(self.set(keys::user(owner), &user)?)
    }

    fn disown_bucket(&mut self, owner: &UserName) -> Result<(), Stop> {
        if let Some(mut user) = self.get::<User>(&keys::user(owner))? {
            user.buckets = user.buckets.saturating_sub(1);
            self.set(keys::user(owner), &user)?;
        }
        Ok(())
    }

    pub(super) fn remove_bucket(&mut self, name: &BucketName) -> Result<Outcome, Stop> {
        let bucket = self.bucket(name)?;
        self.need_owner(&bucket)?;
        if bucket.versions > 0 {
            let Bucket { objects, versions, .. } = bucket;
            return Err(Refusal::BucketNotEmpty { bucket: name.clone(), objects, versions }.into());
        }
        let mut totals = self.totals()?;
        totals.buckets = totals.buckets.saturating_sub(1);
        self.set_totals(&totals)?;
        self.disown_bucket(&bucket.owner)?;
        self.delete(keys::bucket(name));
        Ok(Outcome::Done)
    }

    pub(super) fn set_bucket(&mut self, op: &Op) -> Result<Outcome, Stop> {
        let Op::SetBucket { name, owner, keep_versions, quota_bytes, quota_objects } = op else {
            return Err(invalid("not a change of a bucket"));
        };
        let mut bucket = self.bucket(name)?;
        self.need_owner(&bucket)?;
        if owner.is_some() || quota_bytes.is_some() || quota_objects.is_some() {
            self.need_admin()?;
        }
        if let Some(owner) = owner
            && *owner != bucket.owner
        {
            self.own_bucket(owner)?;
            self.disown_bucket(&bucket.owner)?;
            bucket.owner = owner.clone();
        }
        if let Some(keep) = keep_versions {
            if keep.is_some_and(|keep| !(1..=KEEP_VERSIONS_MAX).contains(&keep)) {
                let detail = format!("keep_versions must be 1..={KEEP_VERSIONS_MAX}, or none");
                return Err(invalid(detail));
            }
            bucket.keep_versions = *keep;
        }
        bucket.quota_bytes = quota_bytes.unwrap_or(bucket.quota_bytes);
        bucket.quota_objects = quota_objects.unwrap_or(bucket.quota_objects);
        self.set_bucket_value(&bucket)?;
        Ok(Outcome::Done)
    }
}
