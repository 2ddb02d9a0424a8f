//! In which order, and how fast, a peer reads again what it holds, to find what rotted.
//!
//! Blocks are read in the order of their digests: that order stays while they move between files, the place in it
//! is one number, and as digests are spread evenly that number is also the part that is done. The speed is what
//! it takes to end a pass in time, within bounds. Time counts while the peer runs: a peer that is switched
//! off is not in haste afterwards. A pass that somebody asked for is read at the highest speed. Owns the
//! place, which is kept across restarts ([`Scrub::encode`]); the shell reads and hashes. Never: reads a block;
//! repairs one (what it finds is no longer in the inventory, so that the next comparison does at the latest).

use core::time::Duration;

use bytes::Bytes;

use crate::limits::{BLOCK_BYTES_MAX, SCRUB_PASS};
use crate::record::{codec_byte, codec_of};
use crate::{Cid, Instant};

/// Version of a scrub's place on disk.
const VERSION: u8 = 1;

/// Bytes of a scrub's place on disk.
const ENCODED_BYTES: usize = 1 + 1 + 33 + 4 * 8;

/// Passes over little data, or none, in the time of one.
const PASSES_MAX: u32 = 100;

/// How fast to scrub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// In how much time everything is read once.
    pub pass: Duration,
    /// Bytes per second at most, however late a pass is.
    pub bytes_per_second_max: u64,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self { pass: SCRUB_PASS, bytes_per_second_max: 16 << 20 }
    }
}

/// How far a scrub has come: for `shoal repair status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubStatus {
    /// The part of the pass that is done, in millionths.
    pub done_millionths: u32,
    /// Blocks read in this pass.
    pub blocks: u64,
    /// Bytes read in this pass.
    pub bytes: u64,
    /// Blocks found corrupt in this pass.
    pub found: u64,
    /// Bytes per second that it reads at.
    pub bytes_per_second: u64,
    /// Until the end of the pass.
    pub left: Duration,
}

/// The scrub of one peer.
#[derive(Clone, Debug)]
pub struct Scrub {
    settings: ScrubSettings,
    /// The block that was read last in this pass.
    after: Option<Cid>,
    /// Running time since this pass began, up to `at`.
    elapsed: Duration,
    blocks: u64,
    bytes: u64,
    found: u64,
    /// Whether somebody asked for this pass, and waits for its end.
    is_hurried: bool,
    at: Instant,
    due: Instant,
}

impl Scrub {
    /// Returns a scrub at the beginning of a pass.
    #[must_use]
    pub fn new(now: Instant, settings: ScrubSettings) -> Self {
        Self {
            settings,
            after: None,
            elapsed: Duration::ZERO,
            blocks: 0,
            bytes: 0,
            found: 0,
            is_hurried: false,
            at: now,
            due: now,
        }
    }

    /// Returns the scrub that goes on where the one that was encoded stopped; at the beginning if those bytes
    /// are none that this version writes, since a place can always be found again.
    #[must_use]
    pub fn resume(now: Instant, settings: ScrubSettings, encoded: &[u8]) -> Self {
        decode(encoded).map_or_else(
            || Self::new(now, settings),
            |(after, [elapsed, blocks, bytes, found])| {
                let elapsed = Duration::from_millis(elapsed);
                Self { after, elapsed, blocks, bytes, found, ..Self::new(now, settings) }
            },
        )
    }

    /// Begins a pass now, at the highest speed, wherever the last one stood. After a restart it goes on at the
    /// usual speed.
    pub fn hurry(&mut self, now: Instant) {
        *self = Self { is_hurried: true, ..Self::new(now, self.settings) };
    }

    /// Returns its place, to be kept: some times an hour is often enough.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        out.push(u8::from(self.after.is_some()));
        let (digest, codec) =
            self.after.map_or(([0; 32], 0), |cid| (*cid.digest(), codec_byte(cid.codec())));
        out.extend(digest);
        out.push(codec);
        let elapsed = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX);
        for number in [elapsed, self.blocks, self.bytes, self.found] {
            out.extend(number.to_be_bytes());
        }
        out.into()
    }

    /// Returns the block behind which the next one to read lies, in the order of CIDs. `None`: read the first.
    #[must_use]
    pub const fn after(&self) -> Option<Cid> {
        self.after
    }

    /// Returns when the next block may be read.
    #[must_use]
    pub const fn next_deadline(&self) -> Instant {
        self.due
    }

    /// Notes that the next block was read, of so many bytes on the disk, and whether its bytes hash to its CID.
    /// `held_bytes`: all that the peer holds, by which the next one is timed. A block that is not behind the last
    /// one is passed over.
    pub fn read(&mut self, now: Instant, cid: Cid, bytes: u64, is_sound: bool, held_bytes: u64) {
        if self.after.is_some_and(|after| cid <= after) {
            return;
        }
        self.pass_time(now);
        self.after = Some(cid);
        self.blocks = self.blocks.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.found = self.found.saturating_add(u64::from(!is_sound));
        self.due = now.after(time_of(bytes, self.bytes_per_second(held_bytes)));
    }

    /// Notes that there was no block behind the last one: the pass is over, and the next one begins. It does so soon, since
    /// it comes to a block as late as it may: were it to wait for the rest of the time, a block could be left alone for twice as
    /// long. Little data is read a hundred times in the time of a pass at most.
    pub fn ended(&mut self, now: Instant) {
        self.pass_time(now);
        let due = now.after((self.settings.pass / PASSES_MAX).saturating_sub(self.elapsed));
        *self = Self { at: due, due, ..Self::new(due, self.settings) };
    }

    /// Returns how far it has come.
    #[must_use]
    pub fn status(&self, held_bytes: u64) -> ScrubStatus {
        let part = (u128::from(self.position()) * 1_000_000) >> 64;
        let bytes_per_second = self.bytes_per_second(held_bytes);
        ScrubStatus {
            done_millionths: u32::try_from(part).unwrap_or(1_000_000),
            blocks: self.blocks,
            bytes: self.bytes,
            found: self.found,
            bytes_per_second,
            left: time_of(self.bytes_left(held_bytes), bytes_per_second),
        }
    }

    /// Returns the place in the order of digests, in parts of 2^64.
    fn position(&self) -> u64 {
        let digest = self.after.map_or([0; 32], |cid| *cid.digest());
        digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }

    fn bytes_left(&self, held_bytes: u64) -> u64 {
        let left = (u128::from(held_bytes) * u128::from(u64::MAX - self.position())) >> 64;
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    /// Returns the speed that ends the pass in time.
    fn bytes_per_second(&self, held_bytes: u64) -> u64 {
        let time_left = self.settings.pass.saturating_sub(self.elapsed);
        let max = self.settings.bytes_per_second_max.max(1);
        // Within the last thousandth, and beyond the time, at the highest speed.
        if self.is_hurried || time_left <= self.settings.pass / 1000 {
            return max;
        }
        let seconds = time_left.as_secs().max(1);
        // Not slower than a block in an hour, so that little data does not make a pass endless.
        let min = (u64::from(BLOCK_BYTES_MAX) / 3600).min(max);
        self.bytes_left(held_bytes).div_ceil(seconds).clamp(min, max)
    }

    fn pass_time(&mut self, now: Instant) {
        self.elapsed = self.elapsed.saturating_add(now.since(self.at));
        self.at = self.at.max(now);
    }
}

fn time_of(bytes: u64, bytes_per_second: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn decode(bytes: &[u8]) -> Option<(Option<Cid>, [u64; 4])> {
    let bytes: &[u8; ENCODED_BYTES] = bytes.try_into().ok()?;
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let (digest, rest) = rest.split_first_chunk::<32>()?;
    let (codec, rest) = rest.split_first()?;
    let after = match head {
        [VERSION, 0] => None,
        [VERSION, 1] => Some(Cid::from_digest(codec_of(*codec)?, *digest)),
        _ => return None,
    };
    let mut numbers = [0; 4];
    for (number, bytes) in numbers.iter_mut().zip(rest.chunks_exact(8)) {
        *number = u64::from_be_bytes(bytes.try_into().ok()?);
    }
    Some((after, numbers))
}

#[cfg(test)]
#[path = "scrub_test.rs"]
mod tests;
