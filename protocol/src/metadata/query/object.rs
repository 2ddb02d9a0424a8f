//! Objects, their versions, buckets and content without a name.

use bytes::Bytes;

use super::{NamedObject, page};
use crate::Cid;
use crate::metadata::apply::ApplyError;
use crate::metadata::command::ObjectName;
use crate::metadata::keys;
use crate::metadata::name::{BucketName, ObjectKey, UserName};
use crate::metadata::source::{Source, SourceError};
use crate::metadata::table::{self, corrupt_name, missing};
use crate::metadata::value::{Bucket, ObjectVersion, Pin, Published};

/// Returns the current version of an object; none when there is no object, or it is deleted. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn object(
    source: &dyn Source,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<Option<ObjectVersion>, SourceError> {
    Ok(table::get(source, &keys::object(bucket, key))?)
}

/// Returns one version of an object, which may be a delete marker. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn version(
    source: &dyn Source,
    bucket: &BucketName,
    key: &ObjectKey,
    version: u64,
) -> Result<Option<ObjectVersion>, SourceError> {
    Ok(table::get(source, &keys::version(bucket, key, version))?)
}

/// Returns versions of an object, delete markers included, newest first, older than `after`.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn versions(
    source: &dyn Source,
    bucket: &BucketName,
    key: &ObjectKey,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<ObjectVersion>, SourceError> {
    let from = after.map(|after| keys::next(keys::version(bucket, key, after)));
    Ok(table::values(source, &keys::versions(bucket, key), from.as_deref(), page(limit))?)
}

/// Returns a bucket. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn bucket(source: &dyn Source, name: &BucketName) -> Result<Option<Bucket>, SourceError> {
    Ok(table::get(source, &keys::bucket(name))?)
}

/// Returns buckets in order of their names, behind `after`.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn buckets(
    source: &dyn Source,
    after: Option<&BucketName>,
    limit: usize,
) -> Result<Vec<Bucket>, SourceError> {
    let from = after.map(|after| keys::next(keys::bucket(after)));
    Ok(table::values(source, &[keys::table::BUCKET], from.as_deref(), page(limit))?)
}

/// Returns objects that a user wrote, over all buckets, in order of their names, behind `after`.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn owned(
    source: &dyn Source,
    user: &UserName,
    after: Option<&ObjectName>,
    limit: usize,
) -> Result<Vec<NamedObject>, SourceError> {
    let prefix = keys::owned_by(user).end();
    let from = after.map(|after| keys::next(keys::owned(user, &after.bucket, &after.key)));
    let rows = table::rows(source, &prefix, from.as_deref(), page(limit))?;
    rows.iter().map(|(key, _)| Ok(named(source, &prefix, key)?)).collect()
}

/// Returns the object that an entry of the owners' index stands for.
fn named(source: &dyn Source, prefix: &[u8], key: &Bytes) -> Result<NamedObject, ApplyError> {
    let text = |bytes: &[u8]| core::str::from_utf8(bytes).map(str::to_owned).ok();
    let rest = key.get(prefix.len()..).unwrap_or_default();
    let parsed = rest.iter().position(|byte| *byte == 0).and_then(|end| {
        let bucket = BucketName::try_from(text(rest.get(..end)?)?).ok()?;
        let key = ObjectKey::try_from(text(rest.get(end + 1..)?)?).ok()?;
        Some(ObjectName { bucket, key })
    });
    let name = parsed.ok_or_else(|| corrupt_name(key))?;
    let at = keys::object(&name.bucket, &name.key);
    let object = table::get(source, &at)?.ok_or_else(|| missing(&at))?;
    Ok(NamedObject { name, object })
}

/// Returns content that is kept without a name, in order of its CIDs and then users, behind `after`.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn pins(
    source: &dyn Source,
    after: Option<(&Cid, &UserName)>,
    limit: usize,
) -> Result<Vec<Pin>, SourceError> {
    let from = after.map(|(root, user)| keys::next(keys::pin(root, user)));
    Ok(table::values(source, &[keys::table::PIN], from.as_deref(), page(limit))?)
}

/// Returns who keeps a root without a name, in order of users.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn pins_of(source: &dyn Source, root: &Cid, limit: usize) -> Result<Vec<Pin>, SourceError> {
    Ok(table::values(source, &keys::pins_of(root).end(), None, page(limit))?)
}

/// Returns public objects by the versions of them that are current, in that order, behind `after`.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn published(
    source: &dyn Source,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, Published)>, SourceError> {
    let from = after.map(|after| keys::next(keys::public(after)));
    let rows = table::rows(source, &[keys::table::PUBLIC], from.as_deref(), page(limit))?;
    rows.iter().map(|(key, row)| Ok((table::number_in(key)?, table::value(key, row)?))).collect()
}

/// Says whether a root is the content of a public object. Cost: one read, and as much for one that is not.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn is_public(source: &dyn Source, root: &Cid) -> Result<bool, SourceError> {
    Ok(!table::rows(source, &keys::public_roots(root).end(), None, 1)?.is_empty())
}
