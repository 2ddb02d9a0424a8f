//! What queries mean, and where they are wrong.

use proptest::prelude::*;

use super::{Clause, Query, Wanted};
use crate::limits::{SEARCH_CLAUSES_MAX, SEARCH_QUERY_BYTES_MAX};

fn read(text: &str) -> Vec<(bool, Wanted)> {
    let query = Query::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    query.clauses.into_iter().map(|Clause { excludes, wanted }| (excludes, wanted)).collect()
}

fn one(text: &str) -> Wanted {
    let [(false, wanted)] = &read(text)[..] else { panic!("{text:?} is not one condition") };
    wanted.clone()
}

#[test]
fn words_prefixes_phrases_and_what_must_not_be_there() {
    let text = str::to_owned;
    assert_eq!(read(""), []);
    assert_eq!(
        read("  oslo 2024*\t-draft -\"two words\" "),
        [
            (false, Wanted::Word(text("oslo"))),
            (false, Wanted::Prefix(text("2024"))),
            (true, Wanted::Word(text("draft"))),
            (true, Wanted::Phrase(text("two words"))),
        ]
    );
    // Signs inside of words are theirs, and quotes make text of anything.
    assert_eq!(one("holiday-2024"), Wanted::Word(text("holiday-2024")));
    assert_eq!(one("\"tag:x\""), Wanted::Phrase(text("tag:x")));
    assert_eq!(one("Ærø"), Wanted::Word(text("Ærø")));
}

#[test]
fn properties_and_their_values() {
    let text = str::to_owned;
    let tag =
        |name: &str, value: Option<&str>| Wanted::Tag { name: text(name), value: value.map(text) };
    assert_eq!(one("tag:trip"), tag("trip", None));
    assert_eq!(one("tag:trip=oslo=2"), tag("trip", Some("oslo=2")));
    assert_eq!(one("tag:trip="), tag("trip", Some("")));
    assert_eq!(one("tag:\"a b=c d\""), tag("a b", Some("c d")));
    assert_eq!(one("type:Image/PNG"), Wanted::Type(text("image/png")));
    assert_eq!(one("owner:ann"), Wanted::Owner(text("ann")));
    assert_eq!(one("bucket:photos"), Wanted::Bucket(text("photos")));
    assert_eq!(one("cluster:home"), Wanted::Cluster(text("home")));
    assert_eq!(read("-tag:old"), [(true, tag("old", None))]);
    let sizes = [
        ("size:4096", 4096, 4096),
        ("size:>10MB", 10_000_001, u64::MAX),
        ("size:>=10MB", 10_000_000, u64::MAX),
        ("size:<1KiB", 0, 1023),
        ("size:<=1KiB", 0, 1024),
        ("size:1.5kB..2kB", 1500, 2000),
        ("size:\"1 kB..2 kB\"", 1000, 2000),
    ];
    for (query, least, most) in sizes {
        assert_eq!(one(query), Wanted::Size { least, most }, "{query}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let wrong = [
        ("a \"b", 2, "not closed"),
        ("a \"\"", 2, "nothing stands"),
        ("é tagg:x", 2, "\"tagg\" is no property"),
        ("http://x", 0, "no property"),
        ("tag: x", 4, "followed by nothing"),
        ("tag:=x", 4, "NAME=VALUE"),
        ("x size:big", 7, "a size is"),
        ("size:2kB..1kB", 5, "a size is"),
        ("size:<0", 5, "a size is"),
        ("a *", 2, "before the *"),
        ("a -", 3, "was expected"),
        ("a ... b", 2, "no letter"),
        ("\"--\"", 0, "no letter"),
        ("+*", 0, "no letter"),
    ];
    for (query, at, detail) in wrong {
        let error = Query::parse(query).expect_err(query);
        assert!(error.at == at && error.detail.contains(detail), "{query:?}: {error:?}");
    }
    let shown = Query::parse("x size:big").expect_err("it is wrong").to_string();
    assert!(shown.starts_with("at character 8 of the query: "), "{shown}");
}

#[test]
fn a_query_keeps_its_bounds() {
    let words = |count: usize| vec!["x"; count].join(" ");
    assert_eq!(read(&words(SEARCH_CLAUSES_MAX)).len(), SEARCH_CLAUSES_MAX);
    let error = Query::parse(&words(SEARCH_CLAUSES_MAX + 1)).expect_err("too many");
    assert_eq!(error.at, 2 * SEARCH_CLAUSES_MAX);
    assert!(Query::parse(&"x".repeat(SEARCH_QUERY_BYTES_MAX)).is_ok());
    assert!(Query::parse(&"x".repeat(SEARCH_QUERY_BYTES_MAX + 1)).is_err());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_at_a_place_inside_of_it(text in ".{0,60}") {
        match Query::parse(&text) {
            Ok(query) => prop_assert!(query.clauses.len() <= SEARCH_CLAUSES_MAX),
            Err(error) => prop_assert!(error.at <= text.chars().count()),
        }
    }

    #[test]
    fn any_text_in_quotes_is_a_phrase(text in "[^\"]{0,40}[a-zé0-9][^\"]{0,10}") {
        prop_assert_eq!(one(&format!("\"{text}\"")), Wanted::Phrase(text));
    }
}
