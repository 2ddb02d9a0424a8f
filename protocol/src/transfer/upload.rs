//! Upload of one object: each block to its replica set, acknowledged at the write quorum.
//!
//! The shell feeds blocks with their candidates, performs the puts and reports what became of them.
//! Owns the progress of the blocks that are not finished; never their bytes. Never: decides where a
//! block belongs; acknowledges a block that fewer than a write quorum of distinct peers hold durably.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use super::candidate::{Candidate, distinct};
use super::copies::{Copies, Rule, Shunned};
use crate::limits::{
    BLOCK_BYTES_MAX, BLOCK_REQUEST_TIMEOUT, LATE_COPY_GRACE, UPLOAD_BLOCKS_MAX,
    UPLOAD_RECENT_BLOCKS_MAX, UPLOAD_WINDOW_BYTES,
};
use crate::topology::ReplicaCount;
use crate::{Cid, Fault, Instant, Kind, PeerId};

/// How an upload behaves.
#[derive(Clone, Debug)]
pub struct UploadConfig {
    /// Copies wanted of each block; a majority of them is the write quorum.
    pub replicas: ReplicaCount,
    /// Bytes of blocks below their write quorum, and again above it with copies on the way.
    pub window_bytes: u32,
    /// How long a put may take before another peer is asked. A late answer still counts.
    pub request_timeout: Duration,
    /// How long copies beyond the write quorum may hold up the acknowledgement, or a full window.
    pub late_copy_grace: Duration,
    /// A planted bug for tests of the tests: two answers of one holder count as two holders.
    #[doc(hidden)]
    pub counts_duplicates: bool,
}

impl UploadConfig {
    /// Returns the configuration that [`crate::limits`] gives for this many copies.
    #[must_use]
    pub const fn new(replicas: ReplicaCount) -> Self {
        Self {
            replicas,
            window_bytes: UPLOAD_WINDOW_BYTES,
            request_timeout: BLOCK_REQUEST_TIMEOUT,
            late_copy_grace: LATE_COPY_GRACE,
            counts_duplicates: false,
        }
    }
}

/// What happened to an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadInput {
    /// One more block. The same block may come again; it is stored once.
    Block {
        /// Its name.
        cid: Cid,
        /// Its length, in bytes.
        bytes_len: u32,
        /// Who should hold it, best first, then the spares.
        candidates: Vec<Candidate>,
    },
    /// `peer` holds the block durably: synced, not only received.
    Stored {
        /// The block.
        cid: Cid,
        /// The holder: one of the block's candidates.
        peer: PeerId,
    },
    /// `peer` did not take the block.
    Failed {
        /// The block.
        cid: Cid,
        /// Who failed.
        peer: PeerId,
        /// Why. [`Kind::Full`] is told to the user when no other peer is left.
        kind: Kind,
    },
    /// The connection to a peer is gone, or the failure detector declared it dead.
    PeerLost(PeerId),
    /// Time went by; see [`Upload::next_deadline`].
    Tick,
    /// There are no more blocks.
    End,
    /// Whoever uploads has gone.
    Abandon,
}

/// What an upload wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadOutput {
    /// Send the block to the peer, and report [`UploadInput::Stored`] or [`UploadInput::Failed`].
    /// May be asked again for the same peer, after a failure.
    Put {
        /// The block.
        cid: Cid,
        /// Who should store it.
        peer: PeerId,
    },
    /// The answer to this put matters no more: stop sending.
    Cancel {
        /// The block.
        cid: Cid,
        /// Who was asked.
        peer: PeerId,
    },
    /// Nothing more will be asked for this block: drop its bytes. It has its write quorum.
    BlockDone {
        /// The block.
        cid: Cid,
        /// Distinct peers that hold it.
        copies: usize,
    },
    /// A block will have fewer copies than wanted by this upload alone: somebody has to bring the others later. Comes before
    /// its [`UploadOutput::BlockDone`].
    CopiesLack {
        /// The block.
        cid: Cid,
        /// Its bytes.
        bytes_len: u32,
        /// Who holds it.
        stored: Vec<PeerId>,
    },
    /// Every block has its write quorum. Comes once, after [`UploadInput::End`].
    Durable,
    /// Tell the user that the object is stored. Comes once, after `Durable`: when all is complete, or
    /// the grace for late copies is over.
    Acknowledge,
    /// Every block has all its copies, or late ones were given up. The last output.
    Complete,
    /// A block can't reach its write quorum. The last output; never after `Durable`.
    FailedUpload {
        /// What to tell the user.
        fault: Fault,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Blocks may come.
    Open,
    /// All blocks came; some lack their quorum.
    Ended,
    /// Everything may be acknowledged; late copies are on their way.
    Durable { since: Instant },
    /// Was acknowledged; late copies are on their way.
    Acknowledged,
    /// Complete, failed or abandoned.
    Over,
}

/// The upload of one object.
///
/// Holds bookkeeping for at most twice [`UPLOAD_BLOCKS_MAX`] blocks and twice `window_bytes`, if the
/// shell feeds blocks only while [`Upload::wants_more`]; plus the blocks of one such feeding.
#[derive(Debug)]
pub struct Upload {
    config: UploadConfig,
    rule: Rule,
    phase: Phase,
    blocks: BTreeMap<Cid, Copies>,
    recent: Recent,
    shunned: Shunned,
}

impl Upload {
    /// Returns an upload without blocks.
    #[must_use]
    pub fn new(config: UploadConfig) -> Self {
        let rule = Rule {
            replicas: config.replicas,
            request_timeout: config.request_timeout,
            counts_duplicates: config.counts_duplicates,
        };
        Self {
            config,
            rule,
            phase: Phase::Open,
            blocks: BTreeMap::new(),
            recent: Recent::default(),
            shunned: BTreeMap::new(),
        }
    }

    /// Says whether another block should be fed now. Changes only with [`Upload::handle`].
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.phase == Phase::Open
            && self.has_room(self.below_quorum())
            && self.has_room(self.late())
    }

    /// Returns the bytes of blocks that were fed and not yet reported by `BlockDone`: what the shell
    /// keeps in memory for this upload.
    #[must_use]
    pub fn bytes_held(&self) -> u64 {
        self.blocks.values().map(|copies| u64::from(copies.bytes_len)).sum()
    }

    /// Says whether the upload has given its last output.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Returns when [`UploadInput::Tick`] is due, if nothing else happens first.
    ///
    /// Cost: O(blocks · candidates).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let acknowledge_at = match self.phase {
            Phase::Durable { since } => Some(since.after(self.config.late_copy_grace)),
            Phase::Open | Phase::Ended | Phase::Acknowledged | Phase::Over => None,
        };
        let stall_at = self.next_stall().map(|(at, _)| at);
        let blocks = self.blocks.values().filter_map(|copies| copies.next_deadline(&self.rule));
        blocks.chain(acknowledge_at).chain(stall_at).min()
    }

    /// Takes one input; adds what is to be done to `out`, in order.
    pub fn handle(&mut self, now: Instant, input: UploadInput, out: &mut Vec<UploadOutput>) {
        if self.phase == Phase::Over {
            return;
        }
        match input {
            UploadInput::Block { cid, bytes_len, candidates } => {
                self.accept(now, cid, bytes_len, candidates, out);
            }
            UploadInput::Stored { cid, peer } => {
                if self.blocks.get_mut(&cid).is_some_and(|copies| copies.stored(peer)) {
                    self.shunned.remove(&peer);
                    self.advance(now, cid, out);
                }
            }
            UploadInput::Failed { cid, peer, kind } => {
                if self.blocks.get_mut(&cid).is_some_and(|copies| copies.failed(now, peer, kind)) {
                    self.shun(now, peer, shun_time(kind, self.config.request_timeout));
                    self.advance(now, cid, out);
                }
            }
            UploadInput::PeerLost(peer) => self.lose(now, peer, out),
            UploadInput::Tick => self.tick(now, out),
            UploadInput::End => {
                if self.phase == Phase::Open {
                    self.phase = Phase::Ended;
                }
            }
            UploadInput::Abandon => self.stop(out),
        }
        self.conclude(now, out);
    }

    fn accept(
        &mut self,
        now: Instant,
        cid: Cid,
        bytes_len: u32,
        candidates: Vec<Candidate>,
        out: &mut Vec<UploadOutput>,
    ) {
        match self.phase {
            Phase::Open => {}
            // A block that comes too late would be missing from what is acknowledged.
            Phase::Ended | Phase::Durable { .. } => {
                let detail = format!("block {cid} was fed after the end of its upload");
                return self.fail(Fault::new(Kind::Internal, detail), out);
            }
            Phase::Acknowledged | Phase::Over => return,
        }
        if self.blocks.contains_key(&cid) {
            return;
        }
        if let Some(copies) = self.recent.copies(&cid) {
            out.push(UploadOutput::BlockDone { cid, copies });
            return;
        }
        let candidates = distinct(candidates);
        let (quorum, known) = (self.config.replicas.write_quorum(), candidates.len());
        if known < quorum {
            let detail = format!(
                "{} copies of a block need at least {quorum} peers that offer room, and there are {known}; \
                 add peers or ask for fewer copies",
                self.config.replicas.get()
            );
            return self.fail(Fault::new(Kind::Unavailable, detail), out);
        }
        self.blocks.insert(cid, Copies::new(bytes_len, candidates));
        self.advance(now, cid, out);
    }

    /// Asks for what `cid` needs now, and notes when it becomes durable, finished or hopeless.
    fn advance(&mut self, now: Instant, cid: Cid, out: &mut Vec<UploadOutput>) {
        let Some(copies) = self.blocks.get_mut(&cid) else { return };
        let mut targets = Vec::new();
        copies.choose(now, &self.rule, &self.shunned, &mut targets);
        out.extend(targets.into_iter().map(|peer| UploadOutput::Put { cid, peer }));
        // Once durable, always durable: a zone that comes back must not unmake a quorum.
        if copies.late_since.is_none() && copies.is_durable(now, &self.rule, &self.shunned) {
            copies.late_since = Some(now);
        }
        if copies.late_since.is_some() {
            if copies.is_settled(&self.rule) {
                self.finish(cid, out);
            }
        } else if copies.is_hopeless(&self.rule) {
            let fault = copies.fault(cid, &self.rule);
            self.fail(fault, out);
        }
    }

    fn finish(&mut self, cid: Cid, out: &mut Vec<UploadOutput>) {
        let Some(copies) = self.blocks.remove(&cid) else { return };
        out.extend(copies.outstanding().map(|peer| UploadOutput::Cancel { cid, peer }));
        self.recent.insert(cid, copies.stored_count());
        if copies.stored_count() < self.config.replicas.get() {
            let (bytes_len, stored) = (copies.bytes_len, copies.stored_peers().collect());
            out.push(UploadOutput::CopiesLack { cid, bytes_len, stored });
        }
        out.push(UploadOutput::BlockDone { cid, copies: copies.stored_count() });
    }

    fn lose(&mut self, now: Instant, peer: PeerId, out: &mut Vec<UploadOutput>) {
        self.shun(now, peer, self.config.request_timeout);
        let mut affected = Vec::new();
        for (cid, copies) in &mut self.blocks {
            if copies.lost(now, peer) {
                affected.push(*cid);
            }
        }
        for cid in affected {
            self.advance(now, cid, out);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<UploadOutput>) {
        let mut overdue = Vec::new();
        for copies in self.blocks.values_mut() {
            copies.expire(now, self.config.request_timeout, &mut overdue);
        }
        for peer in overdue {
            self.shun(now, peer, self.config.request_timeout);
        }
        let cids: Vec<Cid> = self.blocks.keys().copied().collect();
        for cid in cids {
            self.advance(now, cid, out);
        }
        while let Some((at, cid)) = self.next_stall() {
            if at > now {
                break;
            }
            self.stall(now, cid, out);
        }
    }

    /// Stops waiting for the copies of `cid` that are under way; asks spares instead, if there are any.
    fn stall(&mut self, now: Instant, cid: Cid, out: &mut Vec<UploadOutput>) {
        let Some(copies) = self.blocks.get_mut(&cid) else { return };
        let mut overdue = Vec::new();
        copies.expire(now, Duration::ZERO, &mut overdue);
        copies.give_up_busy();
        copies.late_since = Some(now);
        for peer in overdue {
            self.shun(now, peer, self.config.request_timeout);
        }
        self.advance(now, cid, out);
    }

    /// Returns the block whose late copies have held up the upload the longest, and until when they
    /// may. None while there is room for more late blocks.
    fn next_stall(&self) -> Option<(Instant, Cid)> {
        // After the end nothing is held up: the acknowledgement has its own grace.
        if self.phase != Phase::Open || self.has_room(self.late()) {
            return None;
        }
        let late = self.blocks.iter().filter_map(|(cid, copies)| Some((copies.late_since?, *cid)));
        late.min().map(|(since, cid)| (since.after(self.config.late_copy_grace), cid))
    }

    fn conclude(&mut self, now: Instant, out: &mut Vec<UploadOutput>) {
        if self.phase == Phase::Ended && self.below_quorum().next().is_none() {
            self.phase = Phase::Durable { since: now };
            out.push(UploadOutput::Durable);
        }
        let complete = self.blocks.is_empty();
        if let Phase::Durable { since } = self.phase
            && (complete || since.after(self.config.late_copy_grace) <= now)
        {
            self.phase = Phase::Acknowledged;
            out.push(UploadOutput::Acknowledge);
        }
        if self.phase == Phase::Acknowledged && complete {
            self.phase = Phase::Over;
            out.push(UploadOutput::Complete);
        }
    }

    fn fail(&mut self, fault: Fault, out: &mut Vec<UploadOutput>) {
        if self.phase != Phase::Over {
            self.stop(out);
            out.push(UploadOutput::FailedUpload { fault });
        }
    }

    fn stop(&mut self, out: &mut Vec<UploadOutput>) {
        self.phase = Phase::Over;
        for (cid, copies) in core::mem::take(&mut self.blocks) {
            out.extend(copies.outstanding().map(|peer| UploadOutput::Cancel { cid, peer }));
        }
    }

    fn shun(&mut self, now: Instant, peer: PeerId, time: Duration) {
        self.shunned.retain(|_, until| *until > now);
        let until = self.shunned.entry(peer).or_insert(now);
        *until = (*until).max(now.after(time));
    }

    fn below_quorum(&self) -> impl Iterator<Item = &Copies> {
        self.blocks.values().filter(|copies| copies.late_since.is_none())
    }

    fn late(&self) -> impl Iterator<Item = &Copies> {
        self.blocks.values().filter(|copies| copies.late_since.is_some())
    }

    /// Says whether one more block of the largest size fits the window beside `blocks`, or there are none.
    fn has_room<'a>(&self, blocks: impl Iterator<Item = &'a Copies>) -> bool {
        let (mut count, mut bytes) = (0, 0u64);
        for copies in blocks {
            count += 1;
            bytes += u64::from(copies.bytes_len);
        }
        let fits = bytes + u64::from(BLOCK_BYTES_MAX) <= u64::from(self.config.window_bytes);
        count == 0 || (fits && count < UPLOAD_BLOCKS_MAX)
    }
}

/// Returns how long a peer that failed so is a last resort for the other blocks of the upload.
const fn shun_time(kind: Kind, request_timeout: Duration) -> Duration {
    match kind {
        // Room does not come back while an upload is waiting for it.
        Kind::Full
        | Kind::Denied
        | Kind::Invalid
        | Kind::Conflict
        | Kind::Precondition
        | Kind::NotFound => request_timeout.saturating_mul(3),
        Kind::Unavailable | Kind::Corrupt | Kind::Internal => Duration::from_secs(1),
        // It comes back soon, and a spare that took its blocks would hold them in the wrong place.
        Kind::Busy => Duration::ZERO,
    }
}

/// The blocks that were finished last, at most [`UPLOAD_RECENT_BLOCKS_MAX`].
#[derive(Debug, Default)]
struct Recent {
    copies: BTreeMap<Cid, usize>,
    order: VecDeque<Cid>,
}

impl Recent {
    fn insert(&mut self, cid: Cid, copies: usize) {
        if self.order.len() == UPLOAD_RECENT_BLOCKS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.copies.remove(&oldest);
        }
        if self.copies.insert(cid, copies).is_none() {
            self.order.push_back(cid);
        }
    }

    fn copies(&self, cid: &Cid) -> Option<usize> {
        self.copies.get(cid).copied()
    }
}
