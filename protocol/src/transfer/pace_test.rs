//! What downloads of one block each learn from one another.

use bytes::Bytes;

use super::testing::{A, B, C, D, apart, block, candidate, dead, ms, spare};
use super::{
    Candidate, Download, DownloadConfig, DownloadInput as In, DownloadOutput as Out, Pace,
};
use crate::dag::ByteRange;
use crate::limits::HEDGE_PRICE;
use crate::{Cid, Codec, Instant, PeerId, Prng};

/// A peer that reads one block after the other.
struct Reader {
    pace: Pace,
    prng: Prng,
    now: Instant,
    /// Requests that were sent, and those that were sent besides others.
    gets: u64,
    hedges: u64,
}

/// How one block was read.
struct Read {
    asked: Vec<PeerId>,
    took_ms: u64,
}

impl Reader {
    fn new(seed: u64) -> Self {
        let (pace, prng) = (Pace::default(), Prng::new(seed));
        Self { pace, prng, now: ms(0), gets: 0, hedges: 0 }
    }

    /// Reads a block of these candidates, each of which answers after its time, with the block or without one.
    fn read(&mut self, candidates: &[Candidate], answer: impl Fn(PeerId) -> (u64, bool)) -> Read {
        let bytes = Bytes::copy_from_slice(&self.prng.below(u64::MAX).to_be_bytes());
        let cid = Cid::of(Codec::Raw, &bytes);
        let config = DownloadConfig::new(None);
        let mut download = Download::new(config, cid, ByteRange::default(), self.prng.fork());
        let mut inputs = vec![
            (self.now, In::Start),
            (self.now, In::Holders { cid, candidates: candidates.to_vec() }),
        ];
        let (began, mut asked) = (self.now, Vec::new());
        while !download.is_over() {
            inputs.sort_by_key(|(at, _)| *at);
            let tick = download.next_deadline(&self.pace);
            let is_tick = tick.is_some_and(|tick| inputs.first().is_none_or(|(at, _)| tick < *at));
            let (at, input) = match is_tick {
                true => (tick.unwrap(), In::Tick),
                false => inputs.remove(0),
            };
            self.now = self.now.max(at);
            let mut out = Vec::new();
            download.handle(self.now, input, &mut self.pace, &mut out);
            for output in out {
                match output {
                    Out::Get { peer, .. } => {
                        self.gets += 1;
                        self.hedges += u64::from(!asked.is_empty() && answer(peer).1);
                        asked.push(peer);
                        let (after, has_it) = answer(peer);
                        let got = In::Got { cid, peer, bytes: bytes.clone() };
                        let input = if has_it { got } else { In::Missing { cid, peer } };
                        inputs.push((self.now.after(core::time::Duration::from_millis(after)), input));
                    }
                    Out::Cancel { peer, .. } => inputs.retain(|(_, input)| {
                        !matches!(input, In::Got { peer: other, .. } if *other == peer)
                    }),
                    Out::FailedDownload { fault } => panic!("{fault}"),
                    Out::Locate { .. }
                    | Out::Opened { .. }
                    | Out::Deliver { .. }
                    | Out::Repair { .. }
                    | Out::Done => {}
                }
            }
        }
        let took_ms = u64::try_from(self.now.since(began).as_millis()).unwrap();
        Read { asked, took_ms }
    }
}

/// C is a second late.
fn c_is_late(peer: PeerId) -> (u64, bool) {
    (if peer == C { 1_000 } else { 5 }, true)
}

#[test]
fn who_is_slow_is_known_to_all_downloads_and_tried_again_after_a_while() {
    for seed in 0..20 {
        let mut reader = Reader::new(seed);
        let holders = apart(&[B, C, D]);
        for _ in 0..30 {
            reader.read(&holders, c_is_late);
        }
        let late = (0..200).filter(|_| reader.read(&holders, c_is_late).asked.contains(&C)).count();
        assert!(late <= 1, "seed {seed}: asked {late} times again");
        // It has got better.
        reader.now = reader.now.after(core::time::Duration::from_secs(60));
        let asked =
            (0..30).filter(|_| reader.read(&holders, |_| (5, true)).asked.contains(&C)).count();
        assert!(asked >= 5, "seed {seed}: asked {asked} times after it got better");
    }
}

#[test]
fn a_slow_answer_is_not_waited_for_where_others_have_the_block() {
    for seed in 0..20 {
        let mut reader = Reader::new(seed);
        let holders = apart(&[B, C, D]);
        for _ in 0..100 {
            reader.read(&holders, |_| (5, true));
        }
        let slowest = (0..300).map(|_| reader.read(&holders, c_is_late).took_ms).max();
        assert!(slowest <= Some(60), "seed {seed}: {slowest:?} ms");
    }
}

#[test]
fn extra_reads_stay_below_five_per_cent_over_all_downloads() {
    for seed in 0..20 {
        let mut reader = Reader::new(seed);
        let holders = apart(&[A, B, C, D]);
        for _ in 0..200 {
            reader.read(&holders, |_| (5, true));
        }
        for round in 0..2_000_u64 {
            // Another one is slow each time, so that nothing that was learned helps.
            let slow = [A, B, C, D][usize::try_from(round / 3 % 4).unwrap()];
            reader.read(&holders, |peer| (if peer == slow { 400 } else { 5 }, true));
        }
        let extra = reader.hedges * u64::from(HEDGE_PRICE);
        assert!(
            extra <= reader.gets + u64::from(HEDGE_PRICE),
            "seed {seed}: {} hedges",
            reader.hedges
        );
        assert!(reader.hedges >= 10, "seed {seed}: {} hedges", reader.hedges);
    }
}

#[test]
fn one_that_has_nothing_is_no_help_and_costs_nothing() {
    let mut reader = Reader::new(1);
    let holders = apart(&[B, C]);
    for _ in 0..100 {
        reader.read(&holders, |_| (5, true));
    }
    // B is slow, C has nothing, and the block lies with D besides.
    let holders = vec![candidate(B, 2), dead(candidate(C, 3)), spare(candidate(D, 4))];
    let holders = [holders, vec![spare(candidate(A, 1))]].concat();
    let before = reader.gets;
    let read = reader.read(&holders, |peer| (if peer == B { 1_000 } else { 5 }, peer != A));
    assert_eq!(read.asked.first(), Some(&B), "it is there that the block belongs");
    assert!(read.took_ms <= 70, "{} ms through {:?}", read.took_ms, read.asked);
    assert!(reader.gets - before <= 3);

    // Who has read nothing yet may hedge once, and still may after one that met nobody with the block.
    for seed in 0..20 {
        let mut reader = Reader::new(seed);
        let answer = |peer| (if peer == B { 60_000 } else { 5 }, ![A, C].contains(&peer));
        let read = reader.read(&holders, answer);
        assert!(read.took_ms < 3_000, "seed {seed}: {} ms, {:?}", read.took_ms, read.asked);
    }
}

#[test]
fn where_a_block_does_not_belong_is_asked_last() {
    let mut reader = Reader::new(1);
    let holders =
        vec![spare(candidate(A, 1)), candidate(B, 2), spare(candidate(C, 3)), candidate(D, 4)];
    for _ in 0..100 {
        let read = reader.read(&holders, |_| (5, true));
        assert!([B, D].contains(&read.asked[0]) && read.asked.len() == 1, "{:?}", read.asked);
    }
    let read = reader.read(&holders, |peer| (5, ![B, D].contains(&peer)));
    assert_eq!(read.asked.len(), 3, "{:?}", read.asked);
}

#[test]
fn what_an_abandoned_download_asked_for_is_open_no_more() {
    let (mut pace, mut prng) = (Pace::default(), Prng::new(1));
    let mut asked = [0, 0];
    for number in 0..100 {
        let cid = block(number);
        let config = DownloadConfig::new(None);
        let mut download = Download::new(config, cid, ByteRange::default(), prng.fork());
        let mut out = Vec::new();
        download.handle(ms(0), In::Start, &mut pace, &mut out);
        let candidates = apart(&[A, B]);
        download.handle(ms(0), In::Holders { cid, candidates }, &mut pace, &mut out);
        let to_a = out.iter().any(|output| matches!(output, Out::Get { peer, .. } if *peer == A));
        asked[usize::from(to_a)] += 1;
        // Only those to A are given up at once; with the others, B has more and more to do.
        if to_a {
            download.handle(ms(0), In::Abandon, &mut pace, &mut out);
        }
    }
    assert!(asked[1] >= 98, "{asked:?} to B and A");
}
