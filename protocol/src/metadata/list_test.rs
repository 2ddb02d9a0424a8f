//! Listings against the plain filtering of all keys.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::command::{Op, Precondition};
use super::query::{self, ListQuery, list};
use super::testing::{World, bucket, object, put, upload, user};
use super::{Source, SourceError};

/// Returns the world in which `keys` are in `docs`, written by `ann` and `admin` by turns.
fn world(keys: &BTreeSet<String>) -> World {
    let (mut world, session) = World::founded();
    // Buckets whose names go on where this one's ends.
    for name in ["docs-a", "docs.b", "doc"] {
        world.user("ann", Op::CreateBucket { name: bucket(name) }).unwrap();
        let id = upload(session, 1_000_000);
        world.user("ann", put(&object(name, "a/elsewhere"), id, Precondition::default())).unwrap();
    }
    for (number, key) in (0..).zip(keys) {
        let writer = ["ann", "admin"][usize::try_from(number % 2).unwrap()];
        let op = put(&object("docs", key), upload(session, number), Precondition::default());
        world.user(writer, op).unwrap();
    }
    world
}

/// Counts what it is asked for.
struct Counted<'a> {
    base: &'a BTreeMap<Bytes, Bytes>,
    rows: Cell<usize>,
    calls: Cell<usize>,
}

impl Source for Counted<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, SourceError> {
        self.calls.set(self.calls.get() + 1);
        Source::get(self.base, key)
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, SourceError> {
        let rows = self.base.scan(from, until, limit)?;
        self.calls.set(self.calls.get() + 1);
        self.rows.set(self.rows.get() + rows.len());
        Ok(rows)
    }
}

/// Returns all rows of a listing: keys and prefixes as they would be shown.
fn plain(keys: &BTreeSet<String>, query: &ListQuery) -> (Vec<String>, Vec<String>) {
    let (mut objects, mut prefixes) = (Vec::new(), BTreeSet::new());
    for (number, key) in keys.iter().enumerate() {
        let writer = ["ann", "admin"][number % 2];
        let is_owned = query.owner.as_ref().is_none_or(|owner| owner.as_str() == writer);
        let Some(rest) = key.strip_prefix(&query.prefix) else { continue };
        if !is_owned {
            continue;
        }
        let delimiter = query.delimiter.as_deref().filter(|text| !text.is_empty());
        match delimiter.and_then(|text| rest.find(text).map(|at| at + text.len())) {
            Some(end) => drop(prefixes.insert(key[..query.prefix.len() + end].to_owned())),
            None => objects.push(key.clone()),
        }
    }
    (objects, prefixes.into_iter().collect())
}

fn key() -> impl Strategy<Value = String> {
    "[ab/-]{1,5}"
}

proptest! {
    #[test]
    fn pages_of_a_listing_are_the_filtered_whole(
        keys in prop::collection::btree_set(key(), 0..60),
        prefix in "[ab/-]{0,3}",
        delimiter in prop::option::of(prop::sample::select(vec!["/", "-", "b/", "", "\u{10FFFF}"])),
        owner in prop::option::of(prop::sample::select(vec!["ann", "admin", "bob"])),
        limit in 1..7usize,
    ) {
        let world = world(&keys);
        let delimiter = delimiter.map(str::to_owned);
        let owner = owner.map(user);
        let mut query = ListQuery { prefix, delimiter, after: None, owner, limit };
        let expected = plain(&keys, &query);
        let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
        loop {
            let source = Counted { base: &world.map, rows: Cell::new(0), calls: Cell::new(0) };
            let page = list(&source, &bucket("docs"), &query).unwrap();
            let rows = page.objects.len() + page.prefixes.len();
            prop_assert!(rows <= limit);
            // A page costs what it shows: for each row a few, however much lies between.
            prop_assert!(source.rows.get() <= 4 * rows + 4, "{} rows", source.rows.get());
            prop_assert!(source.calls.get() <= 2 * rows + 4, "{} calls", source.calls.get());
            objects.extend(page.objects.iter().map(|row| row.name.key.as_str().to_owned()));
            prefixes.extend(page.prefixes);
            for row in &page.objects {
                let found = query::object(&world.map, &row.name.bucket, &row.name.key).unwrap();
                prop_assert_eq!(Some(&row.object), found.as_ref());
            }
            let Some(next) = page.next else { break };
            prop_assert_eq!(rows, limit, "only the last page is short");
            prop_assert!(query.after.as_ref() < Some(&next), "pages go on");
            query.after = Some(next);
        }
        prop_assert_eq!((objects, prefixes), expected);
    }

    #[test]
    fn a_listing_goes_on_behind_any_text(
        keys in prop::collection::btree_set(key(), 0..40), after in "[ab/-]{0,5}",
    ) {
        let world = world(&keys);
        let query = ListQuery { after: Some(after.clone()), ..ListQuery::default() };
        let page = list(&world.map, &bucket("docs"), &query).unwrap();
        let found: Vec<_> = page.objects.iter().map(|row| row.name.key.as_str()).collect();
        let expected: Vec<_> = keys.iter().filter(|key| **key > after).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_directory_of_many_keys_costs_a_listing_one_seek() {
    let keys: BTreeSet<String> =
        (0..3000).map(|n| format!("dir/{n:05}")).chain(["z".to_owned()]).collect();
    let world = world(&keys);
    let source = Counted { base: &world.map, rows: Cell::new(0), calls: Cell::new(0) };
    let query = ListQuery { delimiter: Some("/".to_owned()), ..ListQuery::default() };
    let page = list(&source, &bucket("docs"), &query).unwrap();
    assert_eq!((page.prefixes, page.objects.len(), page.next), (vec!["dir/".to_owned()], 1, None));
    assert!(source.rows.get() <= 8, "{}", source.rows.get());
}

#[test]
fn other_pages_go_on_where_they_ended() {
    let keys: BTreeSet<String> = (0..25).map(|n| format!("k{n:02}")).collect();
    let world = world(&keys);
    let mut after = None;
    let mut found = Vec::new();
    loop {
        let page = query::owned(&world.map, &user("ann"), after.as_ref(), 4).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        found.extend(page.into_iter().map(|row| row.name));
    }
    // 13 of `docs`, and one of each other bucket.
    assert_eq!(found.len(), 16);
    assert!(found.is_sorted());
    let mut names = Vec::new();
    let mut last = None;
    loop {
        let page = query::buckets(&world.map, last.as_ref(), 2).unwrap();
        names.extend(page.iter().map(|bucket| bucket.name.as_str().to_owned()));
        let Some(bucket) = page.last() else { break };
        last = Some(bucket.name.clone());
    }
    assert_eq!(names, ["doc", "docs", "docs-a", "docs.b"]);
}
