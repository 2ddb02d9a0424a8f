//! What a book takes from clusters of every kind, honest or not.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;

use super::catalog_test::{head, key};
use super::{Book, BookLimits, Head, Heard, Known, Pulled, Reach, Standing};
use crate::limits::{CATALOG_CUT_OFF, CATALOG_FAULTS_MAX, CATALOG_HEAD_PAUSE, CATALOG_SILENT};
use crate::{ClusterId, Instant, WallTime};

fn limits() -> BookLimits {
    BookLimits {
        own: id(0),
        clusters: 4,
        entries_of_one: 100,
        entries: 250,
        allowed: BTreeSet::new(),
        blocked: BTreeSet::new(),
    }
}

fn id(seed: u8) -> ClusterId {
    key(seed).public().cluster()
}

fn at(seconds: u64) -> (Instant, WallTime) {
    (Instant::from_millis(seconds * 1_000), WallTime::from_unix_millis(seconds * 1_000))
}

fn hear(book: &mut Book, seconds: u64, head: &Head, seed: u8) -> Heard {
    let (now, wall) = at(seconds);
    book.hear(now, wall, &head.sign(&key(seed)).unwrap())
}

fn known(book: &Book, seconds: u64, seed: u8) -> Known {
    book.known(at(seconds).0).into_iter().find(|known| known.cluster == id(seed)).unwrap()
}

/// Ends the pull that is due with what became of it.
fn pull(book: &mut Book, seconds: u64, end: Pulled) -> Option<ClusterId> {
    let (now, wall) = at(seconds);
    let pull = book.next_pull(now)?;
    let held = match end {
        Pulled::Whole { entries, .. } => Some(entries),
        Pulled::Unreached | Pulled::TooLarge | Pulled::Lied => None,
    };
    book.pulled((now, wall), pull.cluster, end, held);
    Some(pull.cluster)
}

fn whole(sequence: u64, entries: u64) -> Pulled {
    Pulled::Whole { standing: Standing { epoch: 1, sequence }, entries }
}

#[test]
fn a_later_head_is_news_and_an_earlier_one_never_is() {
    let mut book = Book::new(limits());
    assert_eq!(hear(&mut book, 0, &head(1, 5), 1), Heard::New(id(1)));
    for sequence in [5, 4, 1] {
        assert_eq!(hear(&mut book, 60, &head(1, sequence), 1), Heard::Old, "{sequence}");
    }
    let earlier = Head { issued: WallTime::from_unix_millis(9_000_000), ..head(1, 4) };
    assert_eq!(hear(&mut book, 60, &earlier, 1), Heard::Old, "rolled back");
    assert!(matches!(hear(&mut book, 60, &head(1, 9), 2), Heard::Refused(_)));
    assert_eq!(hear(&mut book, 60, &head(1, 6), 1), Heard::New(id(1)));
    let begun_anew = Head { standing: Standing { epoch: 2, sequence: 1 }, ..head(1, 1) };
    assert_eq!(hear(&mut book, 61, &begun_anew, 1), Heard::New(id(1)));
}

#[test]
fn signs_of_life_are_taken_now_and_then_and_changes_at_once() {
    let mut book = Book::new(limits());
    let mut life = head(1, 5);
    hear(&mut book, 100, &life, 1);
    let pause = CATALOG_HEAD_PAUSE.as_secs();
    life.issued = WallTime::from_unix_millis(50_000);
    assert_eq!(hear(&mut book, 101, &life, 1), Heard::Old);
    assert_eq!(hear(&mut book, 101, &head(1, 6), 1), Heard::New(id(1)));
    let life = Head { issued: WallTime::from_unix_millis(60_000), ..head(1, 6) };
    assert_eq!(hear(&mut book, 101 + pause, &life, 1), Heard::New(id(1)));
}

#[test]
fn a_catalog_is_pulled_until_it_is_whole_and_again_when_it_changed() {
    let mut book = Book::new(limits());
    hear(&mut book, 0, &head(1, 5), 1);
    assert_eq!(known(&book, 0, 1).current_at, None);
    assert_eq!(pull(&mut book, 1, whole(5, 3)), Some(id(1)));
    assert_eq!(pull(&mut book, 2, whole(5, 3)), None, "nothing is new");
    let now = known(&book, 9, 1);
    assert_eq!((now.held, now.reach, now.current_at), (3, Reach::Reached, Some(at(1).1)));
    // A sign of life says that it is all still.
    let life = Head { issued: WallTime::from_unix_millis(60_000), ..head(1, 5) };
    hear(&mut book, 30, &life, 1);
    assert_eq!(known(&book, 30, 1).current_at, Some(at(30).1));
    hear(&mut book, 40, &head(1, 6), 1);
    assert_eq!(known(&book, 40, 1).current_at, Some(at(30).1));
    // One at a time of each.
    assert!(book.next_pull(at(41).0).is_some());
    assert!(book.next_pull(at(41).0).is_none());
}

#[test]
fn who_does_not_answer_is_asked_less_and_less_until_heard_of() {
    let mut book = Book::new(limits());
    hear(&mut book, 0, &head(1, 5), 1);
    let mut tries = 0;
    for second in 0..600 {
        tries += u64::from(pull(&mut book, second, Pulled::Unreached).is_some());
    }
    assert!((8..14).contains(&tries), "{tries} tries in ten minutes");
    assert_eq!(known(&book, 600, 1).reach, Reach::Unreached);
    let deadline = book.next_deadline().unwrap();
    assert!(deadline > at(600).0);
    hear(&mut book, 600, &head(1, 6), 1);
    assert_eq!(pull(&mut book, 600, whole(6, 1)), Some(id(1)));
    assert_eq!(known(&book, 600, 1).reach, Reach::Reached);
}

#[test]
fn who_is_silent_does_not_answer() {
    let mut book = Book::new(limits());
    hear(&mut book, 0, &head(1, 5), 1);
    pull(&mut book, 1, whole(5, 3));
    let late = CATALOG_SILENT.as_secs() + 1;
    assert_eq!(known(&book, late - 1, 1).reach, Reach::Reached);
    let silent = known(&book, late, 1);
    assert_eq!(
        (silent.reach, silent.current_at, silent.held),
        (Reach::Unreached, Some(at(1).1), 3)
    );
    let life = Head { issued: WallTime::from_unix_millis(60_000), ..head(1, 5) };
    hear(&mut book, late, &life, 1);
    assert_eq!(known(&book, late, 1).reach, Reach::Reached);
}

#[test]
fn who_lies_is_cut_off_for_a_while() {
    let mut book = Book::new(limits());
    hear(&mut book, 0, &head(1, 5), 1);
    let mut second = 0;
    for _ in 0..CATALOG_FAULTS_MAX {
        while pull(&mut book, second, Pulled::Lied).is_none() {
            second += 1;
        }
    }
    assert_eq!(known(&book, second, 1).reach, Reach::CutOff);
    hear(&mut book, second + 600, &head(1, 6), 1);
    assert_eq!(pull(&mut book, second + 600, whole(6, 1)), None);
    let after = second + CATALOG_CUT_OFF.as_secs();
    assert_eq!(book.next_deadline(), Some(at(second).0.after(CATALOG_CUT_OFF)));
    assert_eq!(pull(&mut book, after, whole(6, 1)), Some(id(1)));
}

#[test]
fn quotas_bound_what_is_pulled() {
    let mut book = Book::new(limits());
    for (seed, entries) in [(1, 90), (2, 90), (3, 90)] {
        hear(&mut book, 0, &head(seed, 1), seed);
        let pull = book.next_pull(at(0).0).unwrap();
        assert!(pull.entries_max <= 100);
        let room = 250 - 90 * (u64::from(seed) - 1);
        assert_eq!(pull.entries_max, room.min(100), "cluster {seed}");
        book.pulled(at(0), pull.cluster, whole(1, entries), None);
    }
    hear(&mut book, 1, &head(1, 2), 1);
    assert_eq!(pull(&mut book, 1, Pulled::TooLarge), Some(id(1)));
    assert_eq!(
        (pull(&mut book, 500, whole(2, 1)), known(&book, 500, 1).reach),
        (None, Reach::TooLarge)
    );
    // It says that it has become smaller.
    hear(&mut book, 600, &head(1, 3), 1);
    assert_eq!(pull(&mut book, 600, whole(3, 1)), Some(id(1)));
}

#[test]
fn new_names_do_not_push_out_who_is_kept() {
    let mut book = Book::new(limits());
    for seed in 1..=4 {
        hear(&mut book, 0, &head(seed, 1), seed);
    }
    for _ in 1..=4 {
        pull(&mut book, 0, whole(1, 3));
    }
    assert_eq!(hear(&mut book, 1, &head(5, 1), 5), Heard::Old, "all are in use");
    // One of them has not answered since.
    hear(&mut book, 1, &head(2, 2), 2);
    pull(&mut book, 1, Pulled::Unreached);
    book.take_changed();
    assert_eq!(hear(&mut book, 2, &head(5, 1), 5), Heard::New(id(5)));
    let gone: Vec<_> = book.take_changed().into_iter().filter(|(_, kept)| kept.is_none()).collect();
    assert_eq!(gone, [(id(2), None)], "its entries go as well");
    for seed in 6..100 {
        hear(&mut book, 3, &head(seed, 1), seed);
    }
    assert_eq!(book.known(at(3).0).len(), 4);
}

#[test]
fn own_blocked_and_unlisted_clusters_are_none_of_its_business() {
    let none = |limits: BookLimits| {
        let mut book = Book::new(limits);
        hear(&mut book, 0, &head(1, 1), 1) == Heard::Old
    };
    assert!(!none(limits()));
    assert!(none(BookLimits { own: id(1), ..limits() }));
    assert!(none(BookLimits { blocked: BTreeSet::from([id(1)]), ..limits() }));
    assert!(none(BookLimits { allowed: BTreeSet::from([id(2)]), ..limits() }));
    assert!(!none(BookLimits { allowed: BTreeSet::from([id(1)]), ..limits() }));
}

#[test]
fn a_book_is_the_same_after_a_start() {
    let mut book = Book::new(limits());
    hear(&mut book, 0, &head(1, 5), 1);
    pull(&mut book, 1, whole(5, 3));
    let kept: Vec<_> = book.take_changed().into_iter().filter_map(|(_, kept)| kept).collect();
    let mut again = Book::new(limits());
    for one in kept {
        assert!(again.take_in(at(0).0, one, true));
    }
    let now = known(&again, 0, 1);
    assert_eq!((now.held, now.current_at), (3, Some(at(1).1)));
    assert_eq!(hear(&mut again, 1, &head(1, 4), 1), Heard::Old, "no roll back across a start");
    assert_eq!(again.next_pull(Instant::ZERO.after(Duration::from_secs(9))), None);
    assert_eq!(again.heads(9), [head(1, 5).sign(&key(1)).unwrap()]);
    assert_eq!(again.heads(0), Vec::<Bytes>::new());
}
