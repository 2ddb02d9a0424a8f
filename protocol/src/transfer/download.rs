//! Download of a range of one object: blocks from many holders, checked, in order, ahead of the reader.
//!
//! The shell says who may hold a block, performs the gets and checks that bytes hash to their CID.
//! Owns the blocks that were fetched and not yet delivered: at most the window. Never: delivers bytes
//! out of order, or before the shell has verified them.

use core::time::Duration;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use super::candidate::Candidate;
use super::fetch::{Fetch, Step};
use super::pace::Pace;

use crate::dag::{ByteRange, DagError, Reader, Wanted};
use crate::limits::{
    BLOCK_REQUEST_TIMEOUT, CHUNK_BYTES, DOWNLOAD_BLOCKS_MAX, DOWNLOAD_WINDOW_BYTES, HEDGE_AFTER_MAX,
};
use crate::{Cid, Fault, Instant, Kind, PeerId, Prng};

/// How a download behaves.
#[derive(Clone, Debug)]
pub struct DownloadConfig {
    /// The peer that runs this download: asked first for what it holds.
    pub local: Option<PeerId>,
    /// Bytes asked for, fetched or delivered that the consumer has not taken.
    pub window_bytes: u32,
    /// How long a request may take before another holder is asked. A late answer is still used.
    pub request_timeout: Duration,
}

impl DownloadConfig {
    /// Returns the configuration that [`crate::limits`] gives.
    #[must_use]
    pub const fn new(local: Option<PeerId>) -> Self {
        Self { local, window_bytes: DOWNLOAD_WINDOW_BYTES, request_timeout: BLOCK_REQUEST_TIMEOUT }
    }
}

/// What happened to a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadInput {
    /// The first input.
    Start,
    /// Answers [`DownloadOutput::Locate`].
    Holders {
        /// The block.
        cid: Cid,
        /// Who may hold it, best first. May be empty; another round comes later.
        candidates: Vec<Candidate>,
    },
    /// `peer` sent the block, and the shell found that its bytes hash to `cid`. Also answers
    /// [`DownloadOutput::Locate`], where the shell has the block at hand; `peer` is the local one then.
    Got {
        /// The block.
        cid: Cid,
        /// Who sent it.
        peer: PeerId,
        /// Its bytes.
        bytes: Bytes,
    },
    /// `peer` says that it hasn't got the block.
    Missing {
        /// The block.
        cid: Cid,
        /// Who was asked.
        peer: PeerId,
    },
    /// The bytes did not hash to `cid`, or `peer` says that its copy is corrupt.
    Corrupt {
        /// The block.
        cid: Cid,
        /// Who was asked.
        peer: PeerId,
    },
    /// `peer` did not answer with the block for another reason.
    Failed {
        /// The block.
        cid: Cid,
        /// Who was asked.
        peer: PeerId,
        /// Why. [`Kind::Busy`] is asked again after a pause.
        kind: Kind,
    },
    /// The connection to a peer is gone, or the failure detector declared it dead.
    PeerLost(PeerId),
    /// The consumer took this many delivered bytes.
    Taken {
        /// Bytes taken since the last such input.
        bytes: u32,
    },
    /// Time went by; see [`Download::next_deadline`].
    Tick,
    /// The consumer has gone.
    Abandon,
}

/// What a download wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownloadOutput {
    /// Say who may hold the block: [`DownloadInput::Holders`], or give it: [`DownloadInput::Got`]. May be asked
    /// again later.
    Locate {
        /// The block.
        cid: Cid,
    },
    /// Ask the peer for the block.
    Get {
        /// The block.
        cid: Cid,
        /// Who should send it.
        peer: PeerId,
    },
    /// The answer to this get matters no more.
    Cancel {
        /// The block.
        cid: Cid,
        /// Who was asked.
        peer: PeerId,
    },
    /// The object exists and is this long. Comes once, before the first bytes.
    Opened {
        /// Bytes of the whole object, not of the range.
        size: u64,
    },
    /// The next bytes of the range.
    Deliver {
        /// Never empty.
        bytes: Bytes,
    },
    /// The copy of this holder is corrupt, and here is a good one: write it back.
    Repair {
        /// The block.
        cid: Cid,
        /// Whose copy is corrupt.
        peer: PeerId,
        /// The block's bytes.
        bytes: Bytes,
    },
    /// Everything was delivered. The last output.
    Done,
    /// The rest can't be had. The last output.
    FailedDownload {
        /// What to tell the user.
        fault: Fault,
    },
}

/// The download of a range of one object.
#[derive(Debug)]
pub struct Download {
    config: DownloadConfig,
    root: Cid,
    reader: Reader,
    prng: Prng,
    fetches: BTreeMap<Cid, Fetch>,
    /// Wanted next; waits for room in the window.
    next: Option<Wanted>,
    bytes_untaken: u64,
    /// Blocks that were wanted so far: numbers them in order of delivery.
    wanted_count: u64,
    is_opened: bool,
    is_over: bool,
}

impl Download {
    /// Returns a download that has not started. `prng` decides between equally good holders.
    #[must_use]
    pub fn new(config: DownloadConfig, root: Cid, range: ByteRange, prng: Prng) -> Self {
        Self {
            root,
            reader: Reader::new(root, range),
            prng,
            fetches: BTreeMap::new(),
            next: None,
            bytes_untaken: 0,
            wanted_count: 0,
            is_opened: false,
            is_over: false,
            config,
        }
    }

    /// Returns the bytes asked for, fetched, or delivered and not taken: what the window bounds.
    #[must_use]
    pub fn bytes_held(&self) -> u64 {
        let under_way: u64 = self.fetches.values().map(|fetch| fetch.bytes_reserved).sum();
        under_way + self.reader.bytes_ready() + self.bytes_untaken
    }

    /// Sets how far this may fetch ahead from now on, in bytes. What was fetched stays, and a block that the consumer
    /// waits for is always fetched.
    pub const fn set_window(&mut self, bytes: u32) {
        self.config.window_bytes = bytes;
    }

    /// Says whether the download has given its last output.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns when [`DownloadInput::Tick`] is due, if nothing else happens first.
    ///
    /// Cost: O(blocks under way · candidates).
    #[must_use]
    pub fn next_deadline(&self, pace: &Pace) -> Option<Instant> {
        let timeout = self.config.request_timeout;
        self.fetches.values().filter_map(|fetch| fetch.next_deadline(timeout, pace)).min()
    }

    /// Takes one input; adds what is to be done to `out`, in order. `pace` is what this peer knows of its holders: one that goes
    /// before its last output must be abandoned, or its requests count as open there.
    pub fn handle(
        &mut self,
        now: Instant,
        input: DownloadInput,
        pace: &mut Pace,
        out: &mut Vec<DownloadOutput>,
    ) {
        if self.is_over {
            return;
        }
        let mut call = Call { now, pace, out };
        match input {
            DownloadInput::Start => {}
            DownloadInput::Holders { cid, candidates } => {
                if let Some(fetch) = self.fetches.get_mut(&cid) {
                    fetch.locate(candidates);
                    self.drive(cid, &mut call);
                }
            }
            DownloadInput::Got { cid, peer, bytes } => self.receive(cid, peer, bytes, &mut call),
            DownloadInput::Missing { cid, peer } => {
                self.answer(cid, peer, &mut call, |fetch, pace| {
                    if fetch.missing(peer) {
                        pace.refund();
                    }
                });
            }
            DownloadInput::Corrupt { cid, peer } => {
                self.answer(cid, peer, &mut call, |fetch, _| fetch.corrupted(peer));
            }
            DownloadInput::Failed { cid, peer, kind } => self.fail_get(cid, peer, kind, &mut call),
            DownloadInput::PeerLost(peer) => {
                let cids: Vec<Cid> = self.fetches.keys().copied().collect();
                for cid in cids {
                    self.fail_get(cid, peer, Kind::Unavailable, &mut call);
                }
            }
            DownloadInput::Taken { bytes } => {
                self.bytes_untaken = self.bytes_untaken.saturating_sub(u64::from(bytes));
            }
            DownloadInput::Tick => self.tick(&mut call),
            DownloadInput::Abandon => self.stop(&mut call),
        }
        self.pass_on(&mut call);
        self.fetch_ahead(&mut call);
    }

    /// Notes an answer of `peer` that brought no block, if one was expected, and asks the next holder.
    fn answer(
        &mut self,
        cid: Cid,
        peer: PeerId,
        call: &mut Call<'_>,
        note: impl FnOnce(&mut Fetch, &mut Pace),
    ) {
        let Some(fetch) = self.fetches.get_mut(&cid) else { return };
        if fetch.asked_since(peer).is_none() {
            return;
        }
        call.pace.closed(peer, fetch.bytes_expected);
        note(fetch, call.pace);
        self.drive(cid, call);
    }

    fn fail_get(&mut self, cid: Cid, peer: PeerId, kind: Kind, call: &mut Call<'_>) {
        let now = call.now;
        self.answer(cid, peer, call, |fetch, pace| match fetch.failed(now, peer, kind) {
            Some(until) => pace.set_aside(peer, until),
            // A peer that fails at once must not look fast.
            None => pace.lagged(now, peer, HEDGE_AFTER_MAX),
        });
    }

    fn receive(&mut self, cid: Cid, peer: PeerId, bytes: Bytes, call: &mut Call<'_>) {
        // Absent: the block came from another holder before.
        let Some(fetch) = self.fetches.remove(&cid) else { return };
        let now = call.now;
        if let Some(since) = fetch.asked_since(peer) {
            call.pace.closed(peer, fetch.bytes_expected);
            // What this very peer takes says nothing of the others.
            if self.config.local != Some(peer) {
                call.pace.answered(now, peer, now.since(since));
            }
        }
        for other in fetch.open().filter(|other| *other != peer) {
            call.pace.closed(other, fetch.bytes_expected);
            let since = fetch.asked_since(other).unwrap_or(now);
            call.pace.lagged(now, other, now.since(since));
            call.out.push(DownloadOutput::Cancel { cid, peer: other });
        }
        for corrupt in fetch.corrupt().iter().filter(|corrupt| **corrupt != peer) {
            let bytes = bytes.clone();
            call.out.push(DownloadOutput::Repair { cid, peer: *corrupt, bytes });
        }
        // The reader has named the place that waits for room, and serves it with the others.
        self.next = self.next.take().filter(|next| next.cid != cid);
        if let Err(error) = self.reader.supply(cid, bytes) {
            self.fail(fault_of(self.root, &error), call);
        }
    }

    fn tick(&mut self, call: &mut Call<'_>) {
        let (timeout, now) = (self.config.request_timeout, call.now);
        for fetch in self.fetches.values_mut() {
            fetch.expire(now, timeout, |peer| call.pace.lagged(now, peer, timeout));
        }
        // In order of delivery: what blocks the consumer has the first claim on the hedge budget.
        let mut wanted: Vec<(u64, Cid)> =
            self.fetches.iter().map(|(cid, fetch)| (fetch.order, *cid)).collect();
        wanted.sort_unstable();
        for (_, cid) in &wanted {
            self.drive(*cid, call);
        }
        for (_, cid) in wanted {
            let Some(fetch) = self.fetches.get_mut(&cid) else { continue };
            let slow: Vec<PeerId> = fetch.open().collect();
            if let Some(peer) = fetch.hedge(now, self.config.local, call.pace, &mut self.prng) {
                for slow in slow {
                    // Others need not find out by themselves.
                    let since = fetch.asked_since(slow).unwrap_or(now);
                    call.pace.lagged(now, slow, now.since(since));
                }
                call.pace.asked(peer, fetch.bytes_expected, true);
                call.out.push(DownloadOutput::Get { cid, peer });
            }
        }
    }

    /// Does what `cid` needs now.
    fn drive(&mut self, cid: Cid, call: &mut Call<'_>) {
        let Some(fetch) = self.fetches.get_mut(&cid) else { return };
        let open: Vec<PeerId> = fetch.open().collect();
        match fetch.step(call.now, cid, self.config.local, call.pace, &mut self.prng) {
            Step::Wait => {}
            Step::Ask(peer) => {
                call.pace.asked(peer, fetch.bytes_expected, false);
                call.out.push(DownloadOutput::Get { cid, peer });
            }
            Step::Locate => {
                // The same holders may be asked again, and one answer must not count for two requests.
                for peer in open {
                    call.pace.closed(peer, fetch.bytes_expected);
                    call.out.push(DownloadOutput::Cancel { cid, peer });
                }
                fetch.forget();
                call.out.push(DownloadOutput::Locate { cid });
            }
            Step::GiveUp(fault) => self.fail(fault, call),
        }
    }

    /// Delivers what is next in order, and says what has become known.
    fn pass_on(&mut self, call: &mut Call<'_>) {
        if self.is_over {
            return;
        }
        if !self.is_opened
            && let Some(size) = self.reader.size()
        {
            self.is_opened = true;
            call.out.push(DownloadOutput::Opened { size });
        }
        while let Some(bytes) = self.reader.next_bytes() {
            self.bytes_untaken += bytes.len() as u64;
            call.out.push(DownloadOutput::Deliver { bytes });
        }
        if self.reader.is_finished() {
            self.stop(call);
            call.out.push(DownloadOutput::Done);
        }
    }

    /// Begins to fetch the blocks that fit the window.
    fn fetch_ahead(&mut self, call: &mut Call<'_>) {
        while !self.is_over {
            let Some(wanted) = self.next.take().or_else(|| self.reader.next_wanted()) else {
                return;
            };
            let bytes = match wanted.bytes_hint {
                0 => u64::from(CHUNK_BYTES),
                hint => hint,
            };
            if !self.has_room(bytes) {
                self.next = Some(wanted);
                return;
            }
            let cid = wanted.cid;
            match self.fetches.entry(cid) {
                Entry::Occupied(mut entry) => entry.get_mut().want_again(bytes),
                Entry::Vacant(entry) => {
                    entry.insert(Fetch::new(self.wanted_count, bytes, cid == self.root));
                    self.wanted_count += 1;
                    call.out.push(DownloadOutput::Locate { cid });
                }
            }
        }
    }

    /// Says whether a block of `bytes` fits the window, or has to be fetched all the same.
    fn has_room(&self, bytes: u64) -> bool {
        // The consumer took everything and nothing is under way: what is held comes after this block.
        if self.fetches.is_empty() && self.bytes_untaken == 0 {
            return true;
        }
        let places: usize = self.fetches.values().map(|fetch| fetch.places).sum();
        places < DOWNLOAD_BLOCKS_MAX
            && self.bytes_held().saturating_add(bytes) <= u64::from(self.config.window_bytes)
    }

    fn fail(&mut self, fault: Fault, call: &mut Call<'_>) {
        self.stop(call);
        call.out.push(DownloadOutput::FailedDownload { fault });
    }

    fn stop(&mut self, call: &mut Call<'_>) {
        self.is_over = true;
        for (cid, fetch) in core::mem::take(&mut self.fetches) {
            for peer in fetch.open() {
                call.pace.closed(peer, fetch.bytes_expected);
                call.out.push(DownloadOutput::Cancel { cid, peer });
            }
        }
    }
}

/// What comes with an input.
struct Call<'a> {
    now: Instant,
    pace: &'a mut Pace,
    out: &'a mut Vec<DownloadOutput>,
}

/// Returns what to tell the user about blocks that are genuine, but make no readable file.
#[must_use]
pub fn fault_of(root: Cid, error: &DagError) -> Fault {
    Fault::new(error.kind(), format!("{root} can't be read: {error}"))
}
