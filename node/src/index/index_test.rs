//! What is found, what is not, and in which order; and that an index says how far it is.

use std::collections::BTreeMap;

use protocol::WallTime;
use protocol::search::Query;

use super::{Document, Id, Index, IndexChange, Page};

/// The time of all searches.
const NOW_MS: u64 = 1_700_000_000_000;
/// Of a day.
const DAY_MS: u64 = 24 * 3600 * 1000;

fn document(key: &str, tags: &[(&str, &str)]) -> Document {
    let tags: BTreeMap<String, String> =
        tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Document {
        listed: None,
        bucket: "photos".to_owned(),
        key: key.to_owned(),
        owner: "ann".to_owned(),
        cid: "bafy".to_owned(),
        size: 1_000,
        content_type: "image/jpeg".to_owned(),
        tags,
        modified_ms: NOW_MS,
        version: 1,
    }
}

fn put(document: Document) -> IndexChange {
    IndexChange::Put(Box::new(document))
}

fn index_of(documents: impl IntoIterator<Item = Document>) -> Index {
    let index = Index::in_memory().expect("there is memory");
    index.change(documents.into_iter().map(put).collect()).expect("they are taken");
    index.commit(1).expect("they are committed");
    index
}

/// Returns the keys that a query finds, best first.
fn keys(index: &Index, query: &str) -> Vec<String> {
    let query = Query::parse(query).expect("it is a query");
    let page = Page { after: 0, limit: 100 };
    let found = index.search(&query, page, WallTime::from_unix_millis(NOW_MS)).expect("it reads");
    assert_eq!(found.total, found.hits.len() as u64);
    found.hits.into_iter().map(|hit| hit.document.key).collect()
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

#[test]
fn words_of_names_and_tags_are_found_in_any_case_and_without_accents() {
    let index = index_of([
        document("2024/Holiday-Oslo.JPG", &[("place", "Ålesund")]),
        document("2023/work/Report_final.pdf", &[("project", "big blue")]),
        document("日本/写真.jpg", &[]),
    ]);
    for (query, key) in [
        ("oslo", "2024/Holiday-Oslo.JPG"),
        ("HOLIDAY jpg", "2024/Holiday-Oslo.JPG"),
        ("alesund", "2024/Holiday-Oslo.JPG"),
        ("Ålesund 2024", "2024/Holiday-Oslo.JPG"),
        ("final blue", "2023/work/Report_final.pdf"),
        ("report_final", "2023/work/Report_final.pdf"),
        ("写真", "日本/写真.jpg"),
    ] {
        assert_eq!(keys(&index, query), [key], "{query}");
    }
    assert_eq!(keys(&index, "oslo report"), Vec::<String>::new(), "all must be there");
    assert_eq!(keys(&index, "photos").len(), 3, "the bucket is part of the name");
    assert_eq!(keys(&index, "").len(), 3);
}

#[test]
fn one_error_is_forgiven_in_a_word_and_two_in_a_long_one() {
    let index = index_of([document("holiday oslo.jpg", &[]), document("international.txt", &[])]);
    for query in
        ["holyday", "hoilday", "holidays", "oslp", "international", "internatoinal", "intrnatinal"]
    {
        assert_eq!(keys(&index, query).len(), 1, "{query}");
    }
    // Short words, too many errors, and what was put in quotes.
    for query in ["txg", "hlydyy", "itrntinl", "\"holyday\"", "oslo -holiday"] {
        assert_eq!(keys(&index, query), Vec::<String>::new(), "{query}");
    }
    // What is left out is only what is just so.
    assert_eq!(keys(&index, "-holyday").len(), 2);
}

#[test]
fn prefixes_phrases_and_what_must_not_be_there() {
    let index = index_of([
        document("holiday oslo 2024.jpg", &[]),
        document("oslo holiday 2023.jpg", &[]),
        document("homework.txt", &[]),
    ]);
    assert_eq!(sorted(keys(&index, "ho*")).len(), 3);
    assert_eq!(keys(&index, "hol* -2023"), ["holiday oslo 2024.jpg"]);
    assert_eq!(keys(&index, "\"holiday oslo\""), ["holiday oslo 2024.jpg"]);
    assert_eq!(keys(&index, "\"oslo holiday 2023\""), ["oslo holiday 2023.jpg"]);
    assert_eq!(keys(&index, "holiday-os*"), ["holiday oslo 2024.jpg"]);
    let many = index_of((1_000..1_200).map(|number| document(&format!("img-{number}"), &[])));
    let page = Page { after: 0, limit: 1 };
    let query = Query::parse("img-1*").expect("it is a query");
    let found = many.search(&query, page, WallTime::from_unix_millis(NOW_MS)).expect("it reads");
    assert_eq!(found.total, 200, "all that begin so");
    assert_eq!(keys(&index, "-oslo"), ["homework.txt"]);
    assert_eq!(keys(&index, "-\"holiday oslo\" jpg"), ["oslo holiday 2023.jpg"]);
}

#[test]
fn properties_say_what_they_are_of() {
    let large =
        Document { size: 5_000_000, ..document("large", &[("place", "New York"), ("x", "")]) };
    let text = Document {
        content_type: "Text/Plain; charset=utf-8".to_owned(),
        owner: "bob".to_owned(),
        bucket: "notes".to_owned(),
        ..document("text", &[("place", "Oslo")])
    };
    let index = index_of([large, text, document("none", &[])]);
    for (query, expected) in [
        ("tag:place", vec!["large", "text"]),
        ("tag:place=Oslo", vec!["text"]),
        ("tag:place=oslo", vec![]),
        ("tag:\"place=New York\"", vec!["large"]),
        ("tag:x=", vec!["large"]),
        ("-tag:place", vec!["none"]),
        ("type:image", vec!["large", "none"]),
        ("type:text/plain", vec!["text"]),
        ("type:text", vec!["text"]),
        ("size:>1MB", vec!["large"]),
        ("size:1000", vec!["none", "text"]),
        ("size:<=999", vec![]),
        ("owner:bob", vec!["text"]),
        ("bucket:notes", vec!["text"]),
        ("place", vec!["large", "text"]),
        ("plain", vec!["text"]),
    ] {
        assert_eq!(sorted(keys(&index, query)), expected, "{query}");
    }
}

#[test]
fn the_best_comes_first() {
    let aged = |key: &str, days: u64| Document {
        modified_ms: NOW_MS - days * DAY_MS,
        ..document(key, &[])
    };
    let tagged = Document { modified_ms: NOW_MS, ..document("other", &[("about", "oslo")]) };
    let index = index_of([aged("old oslo", 400), aged("new oslo", 0), aged("oslp", 0), tagged]);
    // A name before a tag, new before old, and what is just so before what is like it.
    assert_eq!(keys(&index, "oslo"), ["new oslo", "old oslo", "other", "oslp"]);
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let index = index_of((0..25).map(|number| document(&format!("page {number:02}"), &[])));
    let query = Query::parse("page").expect("it is a query");
    let mut seen = Vec::new();
    for after in (0..30).step_by(10) {
        let page = Page { after, limit: 10 };
        let found =
            index.search(&query, page, WallTime::from_unix_millis(NOW_MS)).expect("it reads");
        assert_eq!(found.total, 25);
        seen.extend(found.hits.into_iter().map(|hit| hit.document.key));
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(sorted(seen), (0..25).map(|number| format!("page {number:02}")).collect::<Vec<_>>());
}

#[test]
fn a_change_replaces_what_was_and_is_found_from_the_commit_on() {
    let index = index_of([document("one", &[("a", "old")]), document("two", &[])]);
    let changes = vec![
        put(document("one", &[("a", "new")])),
        IndexChange::Remove(Id::of("photos", "two")),
        IndexChange::Remove(Id::of("photos", "never")),
    ];
    index.change(changes).expect("they are taken");
    assert_eq!(sorted(keys(&index, "")), ["one", "two"], "not committed yet");
    index.commit(7).expect("it commits");
    assert_eq!(keys(&index, ""), ["one"]);
    assert_eq!((keys(&index, "new").len(), keys(&index, "old").len()), (1, 0));
    assert_eq!((index.documents(), index.position().expect("it reads")), (1, 7));
}

#[test]
fn ids_come_in_the_order_of_names_and_only_of_what_is_there() {
    let named =
        |bucket: &str, key: &str| Document { bucket: bucket.to_owned(), ..document(key, &[]) };
    let index = index_of([named("a-b", "x"), named("a", "y"), named("a", "z"), named("a", "gone")]);
    index.change(vec![IndexChange::Remove(Id::of("a", "gone"))]).expect("it is taken");
    index.change(vec![put(named("b", "late"))]).expect("it is taken");
    index.commit(2).expect("it commits");
    index.change(vec![put(Document { version: 9, ..named("a", "z") })]).expect("it is taken");
    index.commit(3).expect("it commits");
    let all = [("a", "y", 1), ("a", "z", 9), ("a-b", "x", 1), ("b", "late", 1)];
    let all = all.map(|(bucket, key, version)| (Id::of(bucket, key), version));
    assert_eq!(index.ids(None, None, 10).expect("it reads"), all);
    assert_eq!(index.ids(Some(&all[0].0), Some(&all[2].0), 10).expect("it reads"), all[1..=2]);
    assert_eq!(index.ids(None, None, 2).expect("it reads"), all[..2]);
    assert_eq!(all[2].0.parts(), ("a-b", "x"));
}

#[test]
fn an_index_is_there_again_after_a_start_and_one_that_is_damaged_is_made_anew() {
    let folder = tempfile::tempdir().expect("there is a disk");
    {
        let index = Index::open(folder.path()).expect("it is made");
        assert_eq!((index.position().expect("it reads"), index.documents()), (0, 0));
        index.change(vec![put(document("kept", &[]))]).expect("it is taken");
        index.commit(42).expect("it commits");
        index.change(vec![put(document("lost", &[]))]).expect("it is taken");
        index.close();
    }
    {
        let index = Index::open(folder.path()).expect("it is opened");
        assert_eq!(index.position().expect("it reads"), 42);
        assert_eq!(keys(&index, ""), ["kept"]);
    }
    let layout = std::fs::read_dir(folder.path()).expect("it is there").next().expect("it is one");
    let meta = layout.expect("it reads").path().join("meta.json");
    std::fs::write(&meta, b"{").expect("it can be damaged");
    let index = Index::open(folder.path()).expect("it is made anew");
    assert_eq!((index.position().expect("it reads"), index.documents()), (0, 0));
}
