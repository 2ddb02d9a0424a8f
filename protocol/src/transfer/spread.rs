//! How the copies of a block spread without all leaving the gateway: it sends one, and a holder brings the others.
//!
//! A copy that a holder brings costs two messages and some milliseconds more, and the gateway's uplink nothing: worth it
//! once an upload is long. Never: chooses who holds a block.

use core::time::Duration;

use crate::work::{JobKind, JobSpec, Priority, Subject};
use crate::{Cid, OwnerId, PeerId};

/// Which blocks spread from holder to holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpreadRule {
    /// Bytes at the beginning of an upload that the gateway sends to all holders itself: whoever uploads little waits for
    /// every message.
    pub after_bytes: u64,
    /// Blocks smaller than this, in bytes, it always sends itself.
    pub block_bytes_min: u32,
    /// How long the other copies wait for the first one.
    pub first_patience: Duration,
    /// How long a holder may take to bring a copy. After that the gateway sends it.
    pub bring_patience: Duration,
}

impl Default for SpreadRule {
    fn default() -> Self {
        Self {
            after_bytes: 8 << 20,
            block_bytes_min: 64 << 10,
            first_patience: Duration::from_millis(500),
            bring_patience: Duration::from_secs(1),
        }
    }
}

impl SpreadRule {
    /// Says whether a block spreads that comes after `offered_bytes` of its upload.
    #[must_use]
    pub const fn applies(&self, offered_bytes: u64, bytes_len: u32) -> bool {
        offered_bytes >= self.after_bytes && bytes_len >= self.block_bytes_min
    }
}

/// What a job needs to know besides the block that is to be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bring {
    /// On whose behalf it is kept.
    pub owner: OwnerId,
    /// Who gets it.
    pub to: PeerId,
}

impl Bring {
    /// Returns the job of bringing a block of `bytes_len` bytes that `holder` holds.
    #[must_use]
    pub fn job(self, cid: Cid, bytes_len: u32, holder: PeerId) -> JobSpec {
        let mut payload = self.owner.as_bytes().to_vec();
        payload.extend_from_slice(self.to.public_key());
        JobSpec {
            kind: JobKind::Replicate,
            priority: Priority::Urgent,
            subject: Subject::Block(cid),
            holder: Some(holder),
            bytes: bytes_len.into(),
            payload,
        }
    }

    /// Reads what [`Self::job`] wrote; `None` for a job that it did not.
    #[must_use]
    pub fn of(spec: &JobSpec) -> Option<(Cid, Self)> {
        let (JobKind::Replicate, Subject::Block(cid)) = (spec.kind, spec.subject) else {
            return None;
        };
        let (owner, to) = spec.payload.split_first_chunk()?;
        let to = <[u8; 32]>::try_from(to).ok()?;
        let (owner, to) = (OwnerId::from_bytes(*owner), PeerId::from_public_key(to));
        Some((cid, Self { owner, to }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Bring, SpreadRule};
    use crate::work::{JobKind, JobSpec};
    use crate::{Cid, Codec, OwnerId, PeerId};

    #[test]
    fn a_job_says_what_is_to_be_brought_where() {
        let cid = Cid::of(Codec::Raw, b"block");
        let [holder, to] = [1, 2].map(|byte| PeerId::from_public_key([byte; 32]));
        let bring = Bring { owner: OwnerId::from_bytes([3; 16]), to };
        let job = bring.job(cid, 5, holder);
        assert!(job.is_valid() && job.holder == Some(holder) && job.bytes == 5);
        assert_eq!(Bring::of(&job), Some((cid, bring)));
        let mut short = job.clone();
        short.payload.pop();
        let mut long = job.clone();
        long.payload.push(0);
        let other = JobSpec { kind: JobKind::Repair, ..job };
        assert!([short, long, other].iter().all(|job| Bring::of(job).is_none()));
    }

    #[test]
    fn large_blocks_spread_once_an_upload_is_long() {
        let rule = SpreadRule { after_bytes: 100, block_bytes_min: 10, ..SpreadRule::default() };
        assert!(rule.applies(100, 10));
        assert!(!rule.applies(99, 10) && !rule.applies(100, 9));
    }
}
