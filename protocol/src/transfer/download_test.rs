//! What a download does, input by input.

use bytes::Bytes;

use super::testing::{
    A, B, C, D, Object, Reading, apart, candidate, dead, ms, object, random_bytes,
};
use super::{Candidate, DownloadConfig, DownloadInput as In, DownloadOutput as Out};
use crate::dag::ByteRange;
use crate::{Cid, Codec, Fault, Instant, Kind, PeerId, Prng};

/// A download of one small block, and that block.
fn one_block() -> (Reading, Cid, Bytes) {
    let bytes = Bytes::from_static(b"one block");
    let cid = Cid::of(Codec::Raw, &bytes);
    (download(cid), cid, bytes)
}

fn download(root: Cid) -> Reading {
    Reading::new(DownloadConfig::new(Some(A)), root, ByteRange::default(), Prng::new(1))
}

fn step(download: &mut Reading, now: Instant, input: In) -> Vec<Out> {
    let mut out = Vec::new();
    download.handle(now, input, &mut out);
    out
}

/// Starts the download and names the holders of its root. A is this peer.
fn open(download: &mut Reading, root: Cid, candidates: Vec<Candidate>) -> Vec<Out> {
    assert_eq!(step(download, ms(0), In::Start), [Out::Locate { cid: root }]);
    step(download, ms(0), In::Holders { cid: root, candidates })
}

/// Ticks at the next deadline. Returns when that was.
fn tick(download: &mut Reading) -> (Instant, Vec<Out>) {
    let at = download.next_deadline().unwrap();
    let out = step(download, at, In::Tick);
    assert!(download.next_deadline().is_none_or(|next| next > at));
    (at, out)
}

fn get(cid: Cid, peer: PeerId) -> Out {
    Out::Get { cid, peer }
}

fn cancel(cid: Cid, peer: PeerId) -> Out {
    Out::Cancel { cid, peer }
}

fn got(cid: Cid, peer: PeerId, bytes: &Bytes) -> In {
    In::Got { cid, peer, bytes: bytes.clone() }
}

fn failed(cid: Cid, peer: PeerId, kind: Kind) -> In {
    In::Failed { cid, peer, kind }
}

/// Returns what a download says that ends with these bytes.
fn end(bytes: &Bytes) -> [Out; 3] {
    let size = bytes.len() as u64;
    [Out::Opened { size }, Out::Deliver { bytes: bytes.clone() }, Out::Done]
}

/// Returns the fault of a download whose last output says that it failed.
fn fault(out: &[Out]) -> Fault {
    let Some(Out::FailedDownload { fault }) = out.last() else { panic!("no failure in {out:?}") };
    fault.clone()
}

#[test]
fn the_local_copy_is_read_first_and_is_enough() {
    let (mut download, cid, bytes) = one_block();
    assert_eq!(open(&mut download, cid, apart(&[B, C, A])), [get(cid, A)]);
    assert_eq!(step(&mut download, ms(1), got(cid, A, &bytes)), end(&bytes));
    assert!(download.is_over());
}

#[test]
fn a_block_that_is_at_hand_is_asked_of_nobody() {
    let object = object(random_bytes(&mut Prng::new(1), 5_000), 1_000);
    let mut download = download(object.root);
    let (mut asked, mut delivered) = (step(&mut download, ms(0), In::Start), Vec::new());
    while let Some(out) = asked.pop() {
        match out {
            Out::Locate { cid } => {
                asked.extend(step(&mut download, ms(0), got(cid, A, &object.blocks[&cid])));
            }
            Out::Deliver { bytes } => delivered.push(bytes),
            Out::Opened { size } => assert_eq!(size, 5_000),
            Out::Done => {}
            asked @ (Out::Get { .. }
            | Out::Cancel { .. }
            | Out::Repair { .. }
            | Out::FailedDownload { .. }) => panic!("{asked:?}"),
        }
    }
    assert!(download.is_over());
    // Looked at from the last one on.
    let mut lengths: Vec<usize> = delivered.iter().map(Bytes::len).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1_000; 5]);
}

#[test]
fn a_block_at_hand_also_ends_a_later_round_and_repairs_the_corrupt_copy() {
    let (mut download, cid, bytes) = one_block();
    open(&mut download, cid, apart(&[B]));
    step(&mut download, ms(1), In::Corrupt { cid, peer: B });
    assert_eq!(tick(&mut download).1, [Out::Locate { cid }]);
    let out = step(&mut download, ms(3_000), got(cid, A, &bytes));
    assert_eq!(out.first(), Some(&Out::Repair { cid, peer: B, bytes: bytes.clone() }));
    assert_eq!(out.get(1..), Some(end(&bytes).as_slice()));
}

#[test]
fn an_empty_object_is_opened_and_done() {
    let cid = Cid::of(Codec::Raw, b"");
    let mut download = download(cid);
    open(&mut download, cid, apart(&[A]));
    let out = step(&mut download, ms(1), got(cid, A, &Bytes::new()));
    assert_eq!(out, [Out::Opened { size: 0 }, Out::Done]);
}

#[test]
fn each_bad_answer_leads_to_the_next_holder() {
    for bad in [
        |cid| In::Missing { cid, peer: A },
        |cid| In::Corrupt { cid, peer: A },
        |cid| In::Failed { cid, peer: A, kind: Kind::Internal },
        |_| In::PeerLost(A),
    ] {
        let (mut download, cid, _) = one_block();
        assert_eq!(open(&mut download, cid, apart(&[A, B])), [get(cid, A)]);
        assert_eq!(step(&mut download, ms(1), bad(cid)), [get(cid, B)]);
    }
}

#[test]
fn a_corrupt_copy_is_repaired_from_the_good_one() {
    let (mut download, cid, bytes) = one_block();
    open(&mut download, cid, apart(&[A, B]));
    step(&mut download, ms(1), In::Corrupt { cid, peer: A });
    let out = step(&mut download, ms(2), got(cid, B, &bytes));
    assert_eq!(out.first(), Some(&Out::Repair { cid, peer: A, bytes: bytes.clone() }));
    assert_eq!(out.get(1..), Some(end(&bytes).as_slice()));
}

#[test]
fn a_holder_that_is_late_is_overtaken_and_its_answer_is_still_used() {
    let (mut download, cid, bytes) = one_block();
    open(&mut download, cid, vec![candidate(A, 1), dead(candidate(B, 2))]);
    assert_eq!(download.next_deadline(), Some(ms(10_000)));
    assert_eq!(tick(&mut download), (ms(10_000), vec![get(cid, B)]));
    let out = step(&mut download, ms(10_001), got(cid, A, &bytes));
    assert_eq!(out.first(), Some(&cancel(cid, B)));
    assert_eq!(out.get(1..), Some(end(&bytes).as_slice()));
}

#[test]
fn a_second_holder_is_asked_when_the_first_is_slow_and_the_first_answer_wins() {
    let (mut download, cid, bytes) = one_block();
    open(&mut download, cid, apart(&[A, B, C]));
    let (at, out) = tick(&mut download);
    assert_eq!(at, ms(2_000));
    let [Out::Get { peer: second, .. }] = out[..] else { panic!("no hedge in {out:?}") };
    // Only one hedge for a block: the next deadline is the time-out of the first request.
    assert_eq!(download.next_deadline(), Some(ms(10_000)));
    let out = step(&mut download, ms(2_100), got(cid, second, &bytes));
    assert_eq!(out.first(), Some(&cancel(cid, A)));
    assert_eq!(step(&mut download, ms(2_101), got(cid, A, &bytes)), []);
}

#[test]
fn a_busy_holder_is_asked_again_after_a_pause() {
    let (mut download, cid, bytes) = one_block();
    open(&mut download, cid, apart(&[B]));
    let mut pauses = Vec::new();
    let mut now = ms(1);
    for _ in 0..3 {
        assert_eq!(step(&mut download, now, failed(cid, B, Kind::Busy)), []);
        let (at, out) = tick(&mut download);
        assert_eq!(out, [get(cid, B)]);
        pauses.push(at.since(now).as_millis());
        now = at;
    }
    assert_eq!(pauses, [50, 100, 200]);
    assert_eq!(step(&mut download, now, got(cid, B, &bytes)), end(&bytes));
}

#[test]
fn a_busy_holder_is_waited_for_before_the_dead_are_asked() {
    let (mut download, cid, _) = one_block();
    open(&mut download, cid, vec![candidate(B, 1), dead(candidate(C, 2))]);
    step(&mut download, ms(1), failed(cid, B, Kind::Busy));
    assert_eq!(tick(&mut download).1, [get(cid, B)]);
    assert_eq!(step(&mut download, ms(60), failed(cid, B, Kind::Unavailable)), [get(cid, C)]);
}

#[test]
fn a_holder_that_stays_busy_counts_as_failed_in_the_end() {
    let (mut download, cid, _) = one_block();
    open(&mut download, cid, apart(&[B]));
    let mut gets = 1;
    let mut now = ms(0);
    let mut out = Vec::new();
    while !download.is_over() {
        out = step(&mut download, now, failed(cid, B, Kind::Busy));
        if out.is_empty() {
            (now, out) = tick(&mut download);
        }
        if out == [Out::Locate { cid }] {
            out = step(&mut download, now, In::Holders { cid, candidates: apart(&[B]) });
        }
        gets += usize::from(out == [get(cid, B)]);
    }
    assert_eq!(fault(&out).kind, Kind::Unavailable);
    assert_eq!(gets, 3 * 7);
    assert!(now < ms(30_000), "{now:?}");
}

#[test]
fn holders_get_three_rounds_before_the_download_fails() {
    let (mut download, cid, _) = one_block();
    let mut out = open(&mut download, cid, apart(&[B]));
    let mut now = ms(0);
    for round in 1..=3 {
        assert_eq!(out, [get(cid, B)], "round {round}");
        out = step(&mut download, now, failed(cid, B, Kind::Unavailable));
        if round < 3 {
            assert_eq!(out, []);
            (now, out) = tick(&mut download);
            assert_eq!(out, [Out::Locate { cid }]);
            out = step(&mut download, now, In::Holders { cid, candidates: apart(&[B]) });
        }
    }
    assert_eq!(fault(&out).kind, Kind::Unavailable);
    assert!(fault(&out).detail.contains("of 1 possible holders"), "{}", fault(&out));
    assert_eq!(now, ms(2_100));
}

#[test]
fn a_new_round_cancels_what_was_late_before_it_asks_again() {
    let (mut download, cid, bytes) = one_block();
    open(&mut download, cid, apart(&[B]));
    assert_eq!(tick(&mut download), (ms(10_000), vec![]));
    assert_eq!(tick(&mut download).1, [cancel(cid, B), Out::Locate { cid }]);
    // An answer that crossed the cancellation is the block all the same.
    assert_eq!(step(&mut download, ms(10_701), got(cid, B, &bytes)), end(&bytes));
}

#[test]
fn an_object_that_everybody_denies_is_not_found_at_once() {
    let (mut download, cid, _) = one_block();
    open(&mut download, cid, apart(&[A, B]));
    assert_eq!(step(&mut download, ms(1), In::Missing { cid, peer: A }), [get(cid, B)]);
    let out = step(&mut download, ms(2), In::Missing { cid, peer: B });
    assert_eq!(fault(&out).kind, Kind::NotFound);
}

#[test]
fn an_object_that_is_denied_by_some_and_unreachable_on_others_is_unavailable() {
    let (mut download, cid, _) = one_block();
    let mut now = ms(0);
    let mut out = open(&mut download, cid, apart(&[A, B]));
    while !download.is_over() {
        out = match out[..] {
            [Out::Get { peer: A, .. }] => step(&mut download, now, In::Missing { cid, peer: A }),
            [Out::Get { peer: B, .. }] => {
                step(&mut download, now, failed(cid, B, Kind::Unavailable))
            }
            [Out::Locate { .. }] => {
                step(&mut download, now, In::Holders { cid, candidates: apart(&[A, B]) })
            }
            _ => {
                let (at, out) = tick(&mut download);
                now = at;
                out
            }
        };
    }
    assert_eq!(fault(&out).kind, Kind::Unavailable);
}

#[test]
fn an_object_of_which_only_corrupt_copies_exist_is_corrupt() {
    let (mut download, cid, _) = one_block();
    open(&mut download, cid, apart(&[A, B]));
    step(&mut download, ms(1), In::Corrupt { cid, peer: A });
    step(&mut download, ms(2), In::Missing { cid, peer: B });
    let mut last = Vec::new();
    while !download.is_over() {
        let (at, out) = tick(&mut download);
        assert_eq!(out, [Out::Locate { cid }]);
        // A is not read again: its copy is what it is.
        last = step(&mut download, at, In::Holders { cid, candidates: apart(&[A, B]) });
        assert_eq!(last, [get(cid, B)]);
        last = step(&mut download, at, In::Missing { cid, peer: B });
    }
    assert_eq!(fault(&last).kind, Kind::Corrupt);
}

#[test]
fn a_corrupt_copy_beside_a_holder_out_of_reach_is_unavailable() {
    let (mut download, cid, _) = one_block();
    open(&mut download, cid, apart(&[A, B]));
    step(&mut download, ms(1), In::Corrupt { cid, peer: A });
    let mut last = step(&mut download, ms(2), failed(cid, B, Kind::Unavailable));
    while !download.is_over() {
        let (at, _) = tick(&mut download);
        step(&mut download, at, In::Holders { cid, candidates: apart(&[A, B]) });
        last = step(&mut download, at, failed(cid, B, Kind::Unavailable));
    }
    // The good copy may be on the one that does not answer.
    assert_eq!(fault(&last).kind, Kind::Unavailable);
}

#[test]
fn nobody_to_ask_is_unavailable_after_all_rounds() {
    let (mut download, cid, _) = one_block();
    let mut out = open(&mut download, cid, vec![]);
    while !download.is_over() {
        let (at, _) = tick(&mut download);
        out = step(&mut download, at, In::Holders { cid, candidates: vec![] });
    }
    assert_eq!(fault(&out).kind, Kind::Unavailable);
}

#[test]
fn genuine_blocks_that_make_no_file_are_invalid() {
    let bytes = Bytes::from_static(b"\xff\xff not a node");
    let cid = Cid::of(Codec::DagPb, &bytes);
    let mut download = download(cid);
    open(&mut download, cid, apart(&[A]));
    let out = step(&mut download, ms(1), got(cid, A, &bytes));
    assert_eq!(fault(&out).kind, Kind::Invalid);
}

#[test]
fn a_range_outside_the_object_is_invalid() {
    let bytes = Bytes::from_static(b"one block");
    let cid = Cid::of(Codec::Raw, &bytes);
    let range = ByteRange { start: 10, end: None };
    let mut download = Reading::new(DownloadConfig::new(None), cid, range, Prng::new(1));
    open(&mut download, cid, apart(&[A]));
    let out = step(&mut download, ms(1), got(cid, A, &bytes));
    assert_eq!(fault(&out).kind, Kind::Invalid);
}

/// A download whose root came, and what it asked for then.
fn opened(object: &Object, window_bytes: u32) -> (Reading, Vec<Cid>) {
    let config = DownloadConfig { window_bytes, ..DownloadConfig::new(None) };
    let mut download = Reading::new(config, object.root, ByteRange::default(), Prng::new(1));
    open(&mut download, object.root, apart(&[B]));
    let out = step(&mut download, ms(1), got(object.root, B, &object.blocks[&object.root]));
    (download, located(&out))
}

fn located(out: &[Out]) -> Vec<Cid> {
    let cid = |out: &Out| if let Out::Locate { cid } = out { Some(*cid) } else { None };
    out.iter().filter_map(cid).collect()
}

#[test]
fn blocks_are_delivered_in_order_and_fetched_as_the_consumer_takes_them() {
    // Given ten leaves of 1,000 bytes and room for three.
    let object = object(random_bytes(&mut Prng::new(1), 10_000), 1_000);
    let (mut download, asked) = opened(&object, 3_000);
    assert_eq!(asked.len(), 3);
    let leaf = |at: usize| Bytes::copy_from_slice(&object.bytes[at * 1_000..(at + 1) * 1_000]);
    let receive = |download: &mut Reading, at: usize| {
        let cid = Cid::of(Codec::Raw, &leaf(at));
        step(download, ms(2), In::Holders { cid, candidates: apart(&[B]) });
        step(download, ms(2), got(cid, B, &leaf(at)))
    };
    assert_eq!(receive(&mut download, 1), []);
    assert_eq!(receive(&mut download, 2), []);
    let delivered = [0, 1, 2].map(|at| Out::Deliver { bytes: leaf(at) });
    assert_eq!(receive(&mut download, 0), delivered);
    // Nothing more is fetched until the consumer takes what it was given.
    assert_eq!(download.download.bytes_held(), 3_000);
    assert_eq!(step(&mut download, ms(3), In::Taken { bytes: 999 }), []);
    let next = Cid::of(Codec::Raw, &leaf(3));
    assert_eq!(step(&mut download, ms(3), In::Taken { bytes: 1 }), [Out::Locate { cid: next }]);
}

#[test]
fn one_block_that_occurs_in_many_places_is_fetched_once_for_those_in_the_window() {
    let object = object(vec![0; 10_000], 1_000);
    let (mut download, asked) = opened(&object, 4_000);
    let leaf = Bytes::from(vec![0; 1_000]);
    let cid = Cid::of(Codec::Raw, &leaf);
    assert_eq!(asked, [cid]);
    step(&mut download, ms(2), In::Holders { cid, candidates: apart(&[B]) });
    let out = step(&mut download, ms(2), got(cid, B, &leaf));
    // One more than fits: the place that waits for room costs no further memory.
    assert_eq!(out.len(), 5);
    assert!(out.iter().all(|out| *out == Out::Deliver { bytes: leaf.clone() }));
    assert_eq!(download.download.bytes_held(), 5_000);
    assert_eq!(step(&mut download, ms(3), In::Taken { bytes: 5_000 }), [Out::Locate { cid }]);
    // The second time serves the rest: no place was counted twice.
    step(&mut download, ms(4), In::Holders { cid, candidates: apart(&[B]) });
    let out = step(&mut download, ms(4), got(cid, B, &leaf));
    assert_eq!((out.len(), out.last()), (6, Some(&Out::Done)));
}

#[test]
fn a_lost_peer_is_replaced_for_every_block_at_once() {
    let object = object(random_bytes(&mut Prng::new(1), 3_000), 1_000);
    let (mut download, asked) = opened(&object, 1 << 20);
    for cid in &asked {
        let candidates = vec![candidate(B, 1), dead(candidate(D, 2))];
        let out = step(&mut download, ms(2), In::Holders { cid: *cid, candidates });
        assert_eq!(out, [get(*cid, B)]);
    }
    let mut expected: Vec<Cid> = asked;
    expected.sort_unstable();
    let expected: Vec<Out> = expected.into_iter().map(|cid| get(cid, D)).collect();
    assert_eq!(step(&mut download, ms(3), In::PeerLost(B)), expected);
}

#[test]
fn an_abandoned_download_cancels_what_is_under_way_and_is_silent() {
    let (mut download, cid, bytes) = one_block();
    open(&mut download, cid, apart(&[B]));
    assert_eq!(step(&mut download, ms(1), In::Abandon), [cancel(cid, B)]);
    assert_eq!(step(&mut download, ms(2), got(cid, B, &bytes)), []);
    assert_eq!(download.next_deadline(), None);
}

#[test]
fn load_spreads_over_equal_holders() {
    let object = object(random_bytes(&mut Prng::new(1), 90_000), 1_000);
    let (mut download, asked) = opened(&object, 1 << 20);
    let mut counts = [0; 3];
    for cid in asked {
        let candidates = apart(&[B, C, D]);
        let out = step(&mut download, ms(2), In::Holders { cid, candidates });
        let [Out::Get { peer, .. }] = out[..] else { panic!("no get in {out:?}") };
        counts[[B, C, D].iter().position(|other| *other == peer).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (27..=33).contains(count)), "{counts:?}");
}
