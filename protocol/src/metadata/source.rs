//! Where the state lies: an ordered map of bytes, and changes to it that are not written yet.
//!
//! A [`Source`] is what a peer has on disk. A [`Draft`] lies over one: it reads through its own changes, collects
//! them, and what they mean to others ([`Effect`]), until its owner writes them in one batch. A draft over a draft
//! is how a command that is refused half-way leaves nothing behind.
//! Never: writes anything itself; loads more than was asked for.

use core::fmt;
use core::ops::Bound;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::effect::Effect;

/// The disk failed, or holds what nobody wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SourceError {
    /// What failed, on what, why.
    pub detail: String,
}

/// An ordered map of bytes that the state lives in. Reads block.
pub trait Source {
    /// Returns the value of a key.
    ///
    /// # Errors
    /// [`SourceError`] when the disk failed.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, SourceError>;

    /// Returns the first entries, at most `limit`, with `from <= key < until`, in order. No `until`: to the end.
    ///
    /// # Errors
    /// [`SourceError`] when the disk failed.
    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, SourceError>;
}

/// A map in memory, for tests and simulations.
impl Source for BTreeMap<Bytes, Bytes> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, SourceError> {
        Ok(Self::get(self, key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, SourceError> {
        Ok(rows(self, from, until)
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}

/// Returns the entries of a map in a range; none when it ends before it begins.
fn rows<'a, V>(
    map: &'a BTreeMap<Bytes, V>,
    from: &[u8],
    until: Option<&[u8]>,
) -> impl Iterator<Item = (&'a Bytes, &'a V)> {
    let is_empty = until.is_some_and(|until| until <= from);
    let end = until.map_or(Bound::Unbounded, Bound::Excluded);
    let range = (!is_empty).then(|| map.range::<[u8], _>((Bound::Included(from), end)));
    range.into_iter().flatten()
}

/// Changes to a [`Source`] that are not written yet, and what they mean to others.
pub struct Draft<'a, S: Source + ?Sized> {
    base: &'a S,
    /// `None`: deleted.
    changes: BTreeMap<Bytes, Option<Bytes>>,
    effects: Vec<Effect>,
}

impl<'a, S: Source + ?Sized> Draft<'a, S> {
    /// Returns a draft without changes.
    pub const fn new(base: &'a S) -> Self {
        Self { base, changes: BTreeMap::new(), effects: Vec::new() }
    }

    /// Sets the value of a key.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.changes.insert(key.into(), None);
    }

    /// Returns the changes in order of their keys; `None` deletes.
    #[must_use]
    pub fn into_changes(self) -> Vec<(Bytes, Option<Bytes>)> {
        self.changes.into_iter().collect()
    }

    /// Returns what the changes since the last call mean to others, in the order they came about.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        core::mem::take(&mut self.effects)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        // One hint of a kind is as good as many.
        if self.effects.last() != Some(&effect) {
            self.effects.push(effect);
        }
    }

    /// Returns the changes and effects, to be put into the draft below with [`Self::absorb`].
    pub(super) fn into_parts(self) -> (BTreeMap<Bytes, Option<Bytes>>, Vec<Effect>) {
        (self.changes, self.effects)
    }

    pub(super) fn absorb(&mut self, parts: (BTreeMap<Bytes, Option<Bytes>>, Vec<Effect>)) {
        self.changes.extend(parts.0);
        self.effects.extend(parts.1);
    }
}

impl<S: Source + ?Sized> Source for Draft<'_, S> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, SourceError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(key),
        }
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, SourceError> {
        let mut found = Vec::new();
        let mut from = Bytes::copy_from_slice(from);
        while found.len() < limit {
            let page_rows = limit - found.len();
            let page = self.base.scan(&from, until, page_rows)?;
            // What lies behind the last row of a full page is for the next one.
            let last = if page.len() < page_rows { None } else { page.last().map(|row| &row.0) };
            let next = last.map(|last| after(last));
            let end = next.as_deref().or(until);
            merge(page.iter(), rows(&self.changes, &from, end), &mut found);
            let Some(next) = next else { break };
            from = next;
        }
        found.truncate(limit);
        Ok(found)
    }
}

/// Appends the rows of a page as they are after the changes.
fn merge<'a>(
    page: impl Iterator<Item = &'a (Bytes, Bytes)>,
    changes: impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>,
    found: &mut Vec<(Bytes, Bytes)>,
) {
    let mut page = page.peekable();
    for (key, change) in changes {
        while let Some(row) = page.next_if(|row| row.0 < *key) {
            found.push(row.clone());
        }
        // The change stands for the row of the same key.
        page.next_if(|row| row.0 == *key);
        if let Some(value) = change {
            found.push((key.clone(), value.clone()));
        }
    }
    found.extend(page.cloned());
}

/// Returns the first key behind `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

impl<S: Source + ?Sized> fmt::Debug for Draft<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("changes", &self.changes)
            .field("effects", &self.effects)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Draft, Source};

    type Map = BTreeMap<Bytes, Bytes>;

    fn key() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(0..3u8, 0..4).prop_map(Bytes::from)
    }

    proptest! {
        #[test]
        fn a_draft_reads_as_a_map_that_was_changed(
            base in prop::collection::btree_map(key(), key(), 0..20),
            below in prop::collection::vec((key(), prop::option::of(key())), 0..20),
            above in prop::collection::vec((key(), prop::option::of(key())), 0..20),
            scans in prop::collection::vec((key(), prop::option::of(key()), 0..12usize), 1..20),
        ) {
            // Given a draft over a draft, and a plain map changed in the same way.
            let mut plain: Map = base.clone();
            for (key, value) in below.iter().chain(&above) {
                match value {
                    Some(value) => drop(plain.insert(key.clone(), value.clone())),
                    None => drop(plain.remove(key)),
                }
            }
            let change = |draft: &mut Draft<'_, dyn Source>, changes: &[(Bytes, Option<Bytes>)]| {
                for (key, value) in changes {
                    match value {
                        Some(value) => draft.put(key.clone(), value.clone()),
                        None => draft.delete(key.clone()),
                    }
                }
            };
            let mut lower: Draft<'_, dyn Source> = Draft::new(&base);
            change(&mut lower, &below);
            let mut upper: Draft<'_, dyn Source> = Draft::new(&lower);
            change(&mut upper, &above);
            // Then both read alike.
            for (from, until, limit) in &scans {
                prop_assert_eq!(Source::get(&upper, from), Source::get(&plain, from));
                let until = until.as_deref();
                prop_assert_eq!(upper.scan(from, until, *limit), plain.scan(from, until, *limit));
            }
            // And what is written from them is the same map.
            let parts = upper.into_parts();
            lower.absorb(parts);
            let changes = lower.into_changes();
            prop_assert!(changes.is_sorted_by(|one, next| one.0 < next.0));
            let mut written = base.clone();
            for (key, value) in changes {
                match value {
                    Some(value) => drop(written.insert(key, value)),
                    None => drop(written.remove(&key)),
                }
            }
            prop_assert_eq!(written, plain);
        }
    }
}
