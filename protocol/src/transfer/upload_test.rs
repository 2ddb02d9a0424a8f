//! What an upload does, input by input.

use super::testing::{A, B, C, D, E, apart, block, candidate, dead, ms};
use super::{Candidate, Upload, UploadConfig, UploadInput as In, UploadOutput as Out};
use crate::limits::{BLOCK_BYTES_MAX, CHUNK_BYTES, UPLOAD_BLOCKS_MAX};
use crate::topology::ReplicaCount;
use crate::{Cid, Fault, Instant, Kind, PeerId};

fn upload(replicas: u8) -> Upload {
    Upload::new(UploadConfig::new(ReplicaCount::new(replicas).unwrap()))
}

fn step(upload: &mut Upload, now: Instant, input: In) -> Vec<Out> {
    let mut out = Vec::new();
    upload.handle(now, input, &mut out);
    out
}

fn feed(cid: Cid, candidates: Vec<Candidate>) -> In {
    In::Block { cid, bytes_len: CHUNK_BYTES, candidates }
}

fn stored(cid: Cid, peer: PeerId) -> In {
    In::Stored { cid, peer }
}

fn failed(cid: Cid, peer: PeerId, kind: Kind) -> In {
    In::Failed { cid, peer, kind }
}

fn put(cid: Cid, peer: PeerId) -> Out {
    Out::Put { cid, peer }
}

fn cancel(cid: Cid, peer: PeerId) -> Out {
    Out::Cancel { cid, peer }
}

fn lack(cid: Cid, stored: &[PeerId]) -> Out {
    Out::CopiesLack { cid, bytes_len: CHUNK_BYTES, stored: stored.to_vec() }
}

fn done(cid: Cid, copies: usize) -> Out {
    Out::BlockDone { cid, copies }
}

/// Returns the fault of an upload whose last output says that it failed.
fn fault(out: &[Out]) -> Fault {
    let Some(Out::FailedUpload { fault }) = out.last() else { panic!("no failure in {out:?}") };
    fault.clone()
}

#[test]
fn a_block_goes_to_its_replica_set_at_once() {
    let mut upload = upload(3);
    let b = block(1);
    assert_eq!(
        step(&mut upload, ms(0), feed(b, apart(&[A, B, C, D]))),
        [put(b, A), put(b, B), put(b, C)]
    );
    assert_eq!(step(&mut upload, ms(1), stored(b, B)), []);
    assert_eq!(step(&mut upload, ms(2), stored(b, A)), []);
    assert_eq!(step(&mut upload, ms(3), stored(b, C)), [done(b, 3)]);
    assert_eq!(step(&mut upload, ms(4), In::End), [Out::Durable, Out::Acknowledge, Out::Complete]);
    assert!(upload.is_over());
}

#[test]
fn an_upload_without_blocks_is_complete_at_its_end() {
    let mut upload = upload(3);
    assert_eq!(step(&mut upload, ms(0), In::End), [Out::Durable, Out::Acknowledge, Out::Complete]);
}

#[test]
fn a_failed_target_is_replaced_by_a_spare() {
    let mut upload = upload(3);
    let b = block(1);
    step(&mut upload, ms(0), feed(b, apart(&[A, B, C, D, E])));
    assert_eq!(step(&mut upload, ms(9), failed(b, B, Kind::Unavailable)), [put(b, D)]);
    assert_eq!(step(&mut upload, ms(9), failed(b, C, Kind::Corrupt)), [put(b, E)]);
    assert_eq!(step(&mut upload, ms(9), failed(b, D, Kind::Invalid)), []);
}

#[test]
fn a_target_that_does_not_answer_is_replaced_and_its_late_answer_still_counts() {
    let mut upload = upload(3);
    let b = block(1);
    step(&mut upload, ms(0), feed(b, apart(&[A, B, C, D])));
    step(&mut upload, ms(1), stored(b, A));
    assert_eq!(upload.next_deadline(), Some(ms(10_000)));
    // B and C are late, and there is one spare.
    assert_eq!(step(&mut upload, ms(10_000), In::Tick), [put(b, D)]);
    step(&mut upload, ms(10_001), In::End);
    assert_eq!(step(&mut upload, ms(10_002), stored(b, B)), [Out::Durable]);
    assert_eq!(
        step(&mut upload, ms(10_003), stored(b, D)),
        [cancel(b, C), done(b, 3), Out::Acknowledge, Out::Complete]
    );
}

#[test]
fn answers_of_one_holder_count_once() {
    let mut upload = upload(3);
    let b = block(1);
    step(&mut upload, ms(0), feed(b, apart(&[A, B, C])));
    step(&mut upload, ms(0), In::End);
    for now in 1..9 {
        assert_eq!(step(&mut upload, ms(now), stored(b, A)), []);
    }
    assert_eq!(step(&mut upload, ms(9), stored(b, C)), [Out::Durable]);
}

#[test]
fn answers_of_strangers_do_not_count() {
    let mut upload = upload(3);
    let b = block(1);
    step(&mut upload, ms(0), feed(b, apart(&[A, B, C])));
    step(&mut upload, ms(0), In::End);
    assert_eq!(step(&mut upload, ms(1), stored(b, D)), []);
    assert_eq!(step(&mut upload, ms(2), stored(b, E)), []);
    assert_eq!(step(&mut upload, ms(3), stored(block(2), A)), []);
}

#[test]
fn the_quorum_needs_distinct_zones_while_zones_last() {
    // Given two peers in one zone and a third elsewhere.
    let b = block(1);
    let candidates = vec![candidate(A, 1), candidate(B, 1), candidate(C, 2)];
    let mut upload = upload(3);
    step(&mut upload, ms(0), feed(b, candidates));
    step(&mut upload, ms(0), In::End);
    // When both of one zone have stored the block, then the other zone is waited for ...
    assert_eq!(step(&mut upload, ms(1), stored(b, A)), []);
    assert_eq!(step(&mut upload, ms(2), stored(b, B)), []);
    // ... until it turns out that there is nobody left in it.
    assert_eq!(
        step(&mut upload, ms(3), failed(b, C, Kind::Unavailable)),
        [lack(b, &[A, B]), done(b, 2), Out::Durable, Out::Acknowledge, Out::Complete]
    );
}

#[test]
fn a_zone_without_a_copy_goes_before_a_better_rank() {
    let b = block(1);
    let candidates = vec![candidate(A, 1), candidate(B, 1), candidate(C, 2), candidate(D, 3)];
    let mut upload = upload(2);
    assert_eq!(step(&mut upload, ms(0), feed(b, candidates)), [put(b, A), put(b, C)]);
    assert_eq!(step(&mut upload, ms(1), failed(b, A, Kind::Unavailable)), [put(b, B)]);
}

#[test]
fn the_dead_are_asked_only_when_the_quorum_needs_them() {
    let b = block(1);
    let [a, c, d] = [candidate(A, 1), candidate(C, 3), candidate(D, 4)];
    // Given a quorum of living peers, then the dead one is left alone.
    let mut one_dead = upload(3);
    assert_eq!(step(&mut one_dead, ms(0), feed(b, vec![dead(a), c, d])), [put(b, C), put(b, D)]);
    // Given too few, then the detector may be wrong.
    let mut two_dead = upload(3);
    assert_eq!(
        step(&mut two_dead, ms(0), feed(b, vec![dead(a), c, dead(d)])),
        [put(b, C), put(b, A)]
    );
}

#[test]
fn too_few_peers_for_a_quorum_are_refused_by_number() {
    let mut upload = upload(3);
    let out = step(&mut upload, ms(0), feed(block(1), apart(&[A, A])));
    let fault = fault(&out);
    assert_eq!(fault.kind, Kind::Unavailable);
    assert!(fault.detail.contains("at least 2 peers") && fault.detail.contains("there are 1"));
    assert!(upload.is_over());
}

#[test]
fn full_peers_are_replaced_and_named_when_nobody_has_room() {
    let mut upload = upload(3);
    let b = block(1);
    step(&mut upload, ms(0), feed(b, apart(&[A, B, C, D])));
    assert_eq!(step(&mut upload, ms(1), failed(b, A, Kind::Full)), [put(b, D)]);
    assert_eq!(step(&mut upload, ms(2), failed(b, B, Kind::Full)), []);
    let out = step(&mut upload, ms(3), failed(b, D, Kind::Full));
    assert_eq!(fault(&out).kind, Kind::Full);
    assert!(fault(&out).detail.starts_with("no room"), "{}", fault(&out));
    assert_eq!(out.first(), Some(&cancel(b, C)));
}

#[test]
fn a_full_peer_is_not_sent_the_next_block() {
    let mut upload = upload(3);
    step(&mut upload, ms(0), feed(block(1), apart(&[A, B, C, D])));
    step(&mut upload, ms(1), failed(block(1), A, Kind::Full));
    let b = block(2);
    assert_eq!(
        step(&mut upload, ms(2), feed(b, apart(&[A, B, C, D]))),
        [put(b, B), put(b, C), put(b, D)]
    );
}

#[test]
fn a_busy_peer_is_asked_again_when_the_quorum_needs_it() {
    let mut upload = upload(3);
    let b = block(1);
    step(&mut upload, ms(0), feed(b, apart(&[A, B, C])));
    step(&mut upload, ms(0), stored(b, A));
    assert_eq!(step(&mut upload, ms(0), failed(b, B, Kind::Busy)), []);
    assert_eq!(step(&mut upload, ms(0), failed(b, C, Kind::Full)), []);
    let retry_at = upload.next_deadline().unwrap();
    assert_eq!(step(&mut upload, retry_at, In::Tick), [put(b, B)]);
    // Every further pause is longer, and the third failure is the last.
    assert_eq!(step(&mut upload, retry_at, failed(b, B, Kind::Busy)), []);
    let second = upload.next_deadline().unwrap();
    assert!(second.since(retry_at) > retry_at.since(ms(0)));
    assert_eq!(step(&mut upload, second, In::Tick), [put(b, B)]);
    let out = step(&mut upload, second, failed(b, B, Kind::Busy));
    assert_eq!(fault(&out).kind, Kind::Full);
}

#[test]
fn the_last_copy_waits_for_a_busy_peer() {
    let mut upload = upload(3);
    let b = block(1);
    step(&mut upload, ms(0), feed(b, apart(&[A, B, C])));
    step(&mut upload, ms(0), In::End);
    step(&mut upload, ms(0), stored(b, A));
    assert_eq!(step(&mut upload, ms(0), failed(b, C, Kind::Busy)), []);
    assert_eq!(step(&mut upload, ms(0), stored(b, B)), [Out::Durable]);
    assert_eq!(step(&mut upload, ms(250), In::Tick), [put(b, C)]);
    assert_eq!(
        step(&mut upload, ms(251), stored(b, C)),
        [done(b, 3), Out::Acknowledge, Out::Complete]
    );
}

#[test]
fn a_busy_zone_still_lasts() {
    let mut upload = upload(3);
    let b = block(1);
    let candidates = vec![candidate(A, 1), candidate(B, 1), candidate(C, 2)];
    step(&mut upload, ms(0), feed(b, candidates));
    step(&mut upload, ms(0), In::End);
    step(&mut upload, ms(0), failed(b, C, Kind::Busy));
    step(&mut upload, ms(0), stored(b, A));
    assert_eq!(step(&mut upload, ms(0), stored(b, B)), []);
    assert_eq!(step(&mut upload, ms(250), In::Tick), [put(b, C)]);
}

#[test]
fn a_lost_peer_fails_all_its_puts_at_once() {
    let mut upload = upload(2);
    for number in 1..=3 {
        step(&mut upload, ms(0), feed(block(number), apart(&[A, B, C])));
    }
    let mut out = step(&mut upload, ms(1), In::PeerLost(B));
    out.sort_by_key(|out| format!("{out:?}"));
    let mut expected = [1, 2, 3].map(|number| put(block(number), C));
    expected.sort_by_key(|out| format!("{out:?}"));
    assert_eq!(out, expected);
}

#[test]
fn nothing_is_acknowledged_when_one_block_lacks_its_quorum() {
    let mut upload = upload(3);
    let (one, two) = (block(1), block(2));
    step(&mut upload, ms(0), feed(one, apart(&[A, B, C])));
    step(&mut upload, ms(0), feed(two, apart(&[A, B, C])));
    for peer in [A, B, C] {
        step(&mut upload, ms(1), stored(one, peer));
    }
    step(&mut upload, ms(1), stored(two, A));
    assert_eq!(step(&mut upload, ms(2), In::End), []);
    step(&mut upload, ms(3), failed(two, B, Kind::Denied));
    let out = step(&mut upload, ms(4), failed(two, C, Kind::Denied));
    assert_eq!(fault(&out).kind, Kind::Unavailable);
    assert!(fault(&out).detail.contains("1 stored it, 2 said denied"), "{}", fault(&out));
    assert_eq!(step(&mut upload, ms(5), stored(two, B)), []);
}

#[test]
fn late_copies_delay_the_acknowledgement_by_the_grace_and_no_more() {
    let mut upload = upload(3);
    let b = block(1);
    step(&mut upload, ms(0), feed(b, apart(&[A, B, C])));
    step(&mut upload, ms(0), In::End);
    step(&mut upload, ms(1), stored(b, A));
    assert_eq!(step(&mut upload, ms(2), stored(b, B)), [Out::Durable]);
    assert_eq!(upload.next_deadline(), Some(ms(2_002)));
    assert_eq!(step(&mut upload, ms(2_001), In::Tick), []);
    assert_eq!(step(&mut upload, ms(2_002), In::Tick), [Out::Acknowledge]);
    // The copy goes on in the background, until it comes or its time is over.
    assert_eq!(upload.next_deadline(), Some(ms(10_000)));
    let end = [cancel(b, C), lack(b, &[A, B]), done(b, 2), Out::Complete];
    assert_eq!(step(&mut upload, ms(10_000), In::Tick), end);
}

#[test]
fn the_window_closes_on_blocks_below_their_quorum() {
    let mut upload = upload(3);
    let mut number = 0;
    while upload.wants_more() {
        step(&mut upload, ms(0), feed(block(number), apart(&[A, B, C])));
        number += 1;
    }
    assert_eq!(number, 15);
    for peer in [A, B] {
        step(&mut upload, ms(1), stored(block(0), peer));
    }
    assert!(upload.wants_more());
}

#[test]
fn a_hung_target_stalls_the_stream_for_the_grace_and_no_longer() {
    let mut upload = upload(3);
    let mut number = 0;
    // Given a C that never answers, and peers that answer at once.
    let mut feed_all = |upload: &mut Upload, now: Instant| {
        let before = number;
        while upload.wants_more() && number < 100 {
            let puts = step(upload, now, feed(block(number), apart(&[A, B, C, D])));
            for put in puts {
                let Out::Put { cid, peer } = put else { continue };
                if peer != C {
                    step(upload, now, stored(cid, peer));
                }
            }
            number += 1;
        }
        number - before
    };
    assert_eq!(feed_all(&mut upload, ms(0)), 15);
    // When the grace is over, then the late copies go to the spare, and C is left alone.
    assert_eq!(upload.next_deadline(), Some(ms(2_000)));
    let puts = step(&mut upload, ms(2_000), In::Tick);
    assert!(
        puts.contains(&put(block(0), D))
            || puts.iter().any(|out| matches!(out, Out::Put { peer: D, .. }))
    );
    for out in puts {
        if let Out::Put { cid, peer: D } = out {
            step(&mut upload, ms(2_001), stored(cid, D));
        }
    }
    assert_eq!(feed_all(&mut upload, ms(2_001)), 85);
}

#[test]
fn small_blocks_close_the_window_by_their_number() {
    let mut upload = upload(1);
    let mut number = 0;
    while upload.wants_more() {
        let input = In::Block { cid: block(number), bytes_len: 1, candidates: apart(&[A]) };
        step(&mut upload, ms(0), input);
        number += 1;
    }
    assert_eq!(number, UPLOAD_BLOCKS_MAX as u64);
}

#[test]
fn a_block_that_comes_again_is_stored_once() {
    let mut upload = upload(1);
    let b = block(0);
    assert_eq!(step(&mut upload, ms(0), feed(b, apart(&[A]))), [put(b, A)]);
    assert_eq!(step(&mut upload, ms(0), feed(b, apart(&[B]))), []);
    assert_eq!(step(&mut upload, ms(1), stored(b, A)), [done(b, 1)]);
    assert_eq!(step(&mut upload, ms(2), feed(b, apart(&[B]))), [done(b, 1)]);
    assert_eq!(upload.bytes_held(), 0);
}

#[test]
fn a_block_after_the_end_fails_the_upload() {
    let mut upload = upload(2);
    step(&mut upload, ms(0), feed(block(1), apart(&[A, B])));
    step(&mut upload, ms(0), In::End);
    let out = step(&mut upload, ms(1), feed(block(2), apart(&[A, B])));
    assert_eq!(fault(&out).kind, Kind::Internal);
}

#[test]
fn an_abandoned_upload_cancels_what_is_under_way_and_is_silent() {
    let mut upload = upload(2);
    let b = block(1);
    step(&mut upload, ms(0), feed(b, apart(&[A, B])));
    step(&mut upload, ms(1), stored(b, A));
    assert_eq!(step(&mut upload, ms(2), In::Abandon), [cancel(b, B)]);
    assert_eq!(step(&mut upload, ms(3), stored(b, B)), []);
    assert_eq!(upload.next_deadline(), None);
}

#[test]
fn one_block_of_the_largest_size_fits_any_window() {
    let mut config = UploadConfig::new(ReplicaCount::new(1).unwrap());
    config.window_bytes = BLOCK_BYTES_MAX / 2;
    let upload = Upload::new(config);
    assert!(upload.wants_more());
}
