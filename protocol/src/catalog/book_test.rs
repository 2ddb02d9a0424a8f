//! What a book takes from clusters of every kind, honest or not.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;

use super::catalog_test::{head, key};
use super::pace::silent_after;
use super::{Book, BookLimits, ClusterKey, Head, Heard, Known, Pulled, Reach, Standing};
use crate::limits::{
    CATALOG_CLOCKS_APART, CATALOG_CUT_OFF, CATALOG_FAULTS_MAX, CATALOG_HEAD_PAUSE, CATALOG_KEPT,
    CATALOG_NEW_BURST, CATALOG_RETRY_HEARD,
};
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
    // Heard of, it is asked soon, and not as often as it speaks.
    let soon = 600 + CATALOG_RETRY_HEARD.as_secs();
    for sequence in 6..16 {
        hear(&mut book, 600, &head(1, sequence), 1);
        assert_eq!(pull(&mut book, 600, whole(6, 1)), None);
    }
    assert_eq!(pull(&mut book, soon, whole(15, 1)), Some(id(1)));
    assert_eq!(known(&book, soon, 1).reach, Reach::Reached);
}

#[test]
fn what_was_pulled_is_never_asked_for_as_it_was_before() {
    let mut book = Book::new(limits());
    hear(&mut book, 0, &head(1, 5), 1);
    // The one that was asked was ahead of what was told.
    assert_eq!(pull(&mut book, 1, whole(9, 3)), Some(id(1)));
    hear(&mut book, 20, &head(1, 7), 1);
    assert_eq!(book.next_pull(at(30).0), None, "it has that already");
    hear(&mut book, 40, &head(1, 10), 1);
    assert_eq!(book.next_pull(at(40).0).unwrap().standing, Standing { epoch: 1, sequence: 10 });
    let mut book = Book::new(limits());
    hear(&mut book, 0, &head(1, 5), 1);
    let first = book.next_pull(at(0).0).unwrap();
    hear(&mut book, 1, &head(1, 6), 1);
    book.pulled(at(1), first.cluster, whole(5, 3), None);
    assert_eq!(book.next_pull(at(1).0), None, "one that was behind is not asked at once");
    assert_eq!(book.next_pull(at(3).0).unwrap().standing, Standing { epoch: 1, sequence: 6 });
}

#[test]
fn many_new_names_at_once_are_not_all_taken() {
    let mut book = Book::new(BookLimits { clusters: 10_000, ..limits() });
    let mut news = 0;
    for seed in 0..2_000_u16 {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&seed.to_be_bytes());
        let secret = ClusterKey::from_seed(bytes);
        let head = Head { key: secret.public(), ..head(1, 1) };
        let heard = book.hear(at(1).0, at(1).1, &head.sign(&secret).unwrap());
        news += u32::from(matches!(heard, Heard::New(_)));
    }
    assert!((CATALOG_NEW_BURST..CATALOG_NEW_BURST + 2).contains(&news), "{news}");
}

#[test]
fn changes_that_follow_each_other_closely_are_taken_and_not_all_passed_on() {
    let mut book = Book::new(limits());
    hear(&mut book, 1, &head(1, 1), 1);
    assert_eq!(hear(&mut book, 1, &head(1, 2), 1), Heard::Soon);
    assert_eq!(book.next_pull(at(1).0).unwrap().standing.sequence, 2);
    assert_eq!(hear(&mut book, 2, &head(1, 3), 1), Heard::New(id(1)));
}

#[test]
fn a_clock_that_is_ahead_is_not_believed() {
    let mut book = Book::new(limits());
    let ahead = CATALOG_CLOCKS_APART.as_secs() + 2;
    let head_of = |seconds: u64| Head { issued: at(seconds).1, ..head(1, 1) };
    assert_eq!(hear(&mut book, 1, &head_of(ahead), 1), Heard::Old);
    assert_eq!(hear(&mut book, 1, &head_of(ahead - 1), 1), Heard::New(id(1)));
}

#[test]
fn pulls_under_way_count_towards_the_quota() {
    let mut book = Book::new(limits());
    for seed in 1..=4 {
        hear(&mut book, 0, &Head { entries: 90, ..head(seed, 1) }, seed);
    }
    let room: Vec<u64> = (0..4).map(|_| book.next_pull(at(0).0).unwrap().entries_max).collect();
    assert_eq!(room, [100, 100, 70, 0]);
}

#[test]
fn what_is_kept_of_a_cluster_is_not_believed_without_its_entries() {
    let mut book = Book::new(limits());
    hear(&mut book, 0, &head(1, 5), 1);
    pull(&mut book, 1, whole(5, 3));
    let (_, kept) = book.take_changed().pop().unwrap();
    let mut again = Book::new(limits());
    assert!(again.take_in(at(0).0, kept.clone().unwrap(), false));
    assert_eq!((known(&again, 0, 1).held, known(&again, 0, 1).current_at), (0, None));
    assert_eq!(pull(&mut again, 0, whole(5, 3)), Some(id(1)));
    let blocked = BookLimits { blocked: BTreeSet::from([id(1)]), ..limits() };
    assert!(!Book::new(blocked).take_in(at(0).0, kept.unwrap(), true));
}

#[test]
fn who_is_silent_does_not_answer() {
    let mut book = Book::new(limits());
    hear(&mut book, 0, &head(1, 5), 1);
    pull(&mut book, 1, whole(5, 3));
    let late = silent_after(2).as_secs() + 1;
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
    // One of them has not been heard of for a long time.
    let later = CATALOG_KEPT.as_secs() + 1;
    for seed in [1, 3, 4] {
        hear(&mut book, later, &head(seed, 2), seed);
    }
    book.take_changed();
    assert_eq!(hear(&mut book, later, &head(5, 1), 5), Heard::New(id(5)));
    let gone: Vec<_> = book.take_changed().into_iter().filter(|(_, kept)| kept.is_none()).collect();
    assert_eq!(gone, [(id(2), None)], "its entries go as well");
    for seed in 6..100 {
        hear(&mut book, later, &head(seed, 1), seed);
    }
    let known = book.known(at(later).0);
    assert_eq!(known.len(), 4);
    assert_eq!(known.iter().filter(|known| known.held > 0).count(), 3);
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
