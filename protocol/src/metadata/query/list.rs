//! Listings: a bucket's objects by prefix and delimiter, page by page.
//!
//! Keys that go on behind the delimiter are folded into one prefix, and the scan goes on behind all of them at once. So a
//! page costs what it shows: a row, or for a prefix a seek. By owner, the owners' index is walked in the same way.

use super::{NamedObject, page};
use crate::limits::SCAN_ROWS;
use crate::metadata::apply::ApplyError;
use crate::metadata::command::ObjectName;
use crate::metadata::keys;
use crate::metadata::name::{BucketName, ObjectKey, UserName};
use crate::metadata::source::{Source, SourceError};
use crate::metadata::table::{self, corrupt_name, missing};
use crate::metadata::value::ObjectVersion;

/// What is to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Keys begin with it; may be empty.
    pub prefix: String,
    /// What folds keys into a prefix: up to and with its first occurrence behind `prefix`. Empty: as none.
    pub delimiter: Option<String>,
    /// Rows lie behind it: a key, or the `next` of the page before.
    pub after: Option<String>,
    /// Only objects that this user wrote.
    pub owner: Option<UserName>,
    /// Objects and prefixes of the page: at most [`crate::limits::LIST_ROWS_MAX`]. 0 lists nothing.
    pub limit: usize,
}

impl Default for ListQuery {
    /// Asks for the first page of everything.
    fn default() -> Self {
        let limit = crate::limits::LIST_ROWS_MAX;
        Self { prefix: String::new(), delimiter: None, after: None, owner: None, limit }
    }
}

/// A page of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects in order of their keys.
    pub objects: Vec<NamedObject>,
    /// Prefixes in order.
    pub prefixes: Vec<String>,
    /// What to pass as `after` for the next page; none at the end.
    pub next: Option<String>,
}

/// Returns a page of a bucket. Cost: in proportion to the rows of the page; for an owner a read more for each.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn list(
    source: &dyn Source,
    bucket: &BucketName,
    query: &ListQuery,
) -> Result<Listing, SourceError> {
    let base = match &query.owner {
        Some(owner) => keys::owned_by(owner).ended(bucket.as_str()).end(),
        None => keys::objects(bucket).end(),
    };
    Ok(Walk { source, bucket, query, base, page: Listing::default(), rows: 0 }.run()?)
}

struct Walk<'a> {
    source: &'a dyn Source,
    bucket: &'a BucketName,
    query: &'a ListQuery,
    /// What all keys of the table begin with that are of the bucket.
    base: Vec<u8>,
    page: Listing,
    rows: usize,
}

impl Walk<'_> {
    fn at(&self, text: &str) -> Vec<u8> {
        [&self.base, text.as_bytes()].concat()
    }

    /// Returns the prefix that a key is folded into.
    fn folded<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.query.delimiter.as_deref().filter(|text| !text.is_empty())?;
        let rest = key.strip_prefix(&self.query.prefix)?;
        let end = self.query.prefix.len() + rest.find(delimiter)? + delimiter.len();
        key.get(..end)
    }

    fn run(mut self) -> Result<Listing, ApplyError> {
        let limit = page(self.query.limit);
        let until = keys::behind(&self.at(&self.query.prefix));
        let mut from = self.at(&self.query.prefix);
        if let Some(after) = &self.query.after {
            let behind = if self.folded(after) == Some(after) {
                keys::behind(&self.at(after))
            } else {
                keys::next(self.at(after))
            };
            from = from.max(behind);
        }
        // Few rows where the next prefix may begin soon, more while none does.
        let mut chunk = if self.query.delimiter.is_some() { 2 } else { limit + 1 };
        if limit == 0 {
            return Ok(self.page);
        }
        loop {
            let wanted = chunk.min(SCAN_ROWS).min(limit + 1);
            let rows = self.source.scan(&from, Some(&until), wanted)?;
            let is_last = rows.len() < wanted;
            chunk = wanted * 2;
            let mut skipped = false;
            for (at, value) in &rows {
                let key = self.key_in(at)?;
                let folded = self.folded(key.as_str()).map(str::to_owned);
                if self.rows == limit {
                    // There is more: the page ends with the row before.
                    return Ok(self.page);
                }
                self.rows += 1;
                if let Some(prefix) = folded {
                    from = keys::behind(&self.at(&prefix));
                    self.page.prefixes.push(prefix.clone());
                    self.page.next = Some(prefix);
                    (chunk, skipped) = (2, true);
                    break;
                }
                from = keys::next(at.to_vec());
                self.page.next = Some(key.as_str().to_owned());
                let object = self.object(&key, value)?;
                let name = ObjectName { bucket: self.bucket.clone(), key };
                self.page.objects.push(NamedObject { name, object });
            }
            if is_last && !skipped {
                break;
            }
        }
        self.page.next = None;
        Ok(self.page)
    }

    fn key_in(&self, at: &[u8]) -> Result<ObjectKey, ApplyError> {
        let text = at.get(self.base.len()..).and_then(|key| core::str::from_utf8(key).ok());
        text.and_then(|text| ObjectKey::new(text).ok()).ok_or_else(|| corrupt_name(at))
    }

    fn object(&self, key: &ObjectKey, value: &[u8]) -> Result<ObjectVersion, ApplyError> {
        let at = keys::object(self.bucket, key);
        if self.query.owner.is_none() {
            return table::value(&at, value);
        }
        table::get(self.source, &at)?.ok_or_else(|| missing(&at))
    }
}
