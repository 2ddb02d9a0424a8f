//! A job that has a peer hold a block: what it says, and whom it suits.
//!
//! Never: finds out what lacks, see [`super::Findings`]; moves a block.

use super::findings::Repair;
use crate::limits::JOB_PAYLOAD_BYTES_MAX;
use crate::work::{JobKind, JobSpec, Priority, Subject, Suits};
use crate::{Cid, OwnerId, PeerId};

/// Bytes of a peer's name in a payload.
const PEER_BYTES: usize = 32;
/// Bytes of an owner's.
const OWNER_BYTES: usize = 16;

/// Sources that a job names: as many as fit. Each was seen to have the block, so that one is enough nearly always.
const SOURCES_MAX: usize = (JOB_PAYLOAD_BYTES_MAX - OWNER_BYTES - PEER_BYTES) / PEER_BYTES;

/// What a job needs to know besides the block that is to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// On whose behalf; [`OwnerId::REPAIR`] to write a corrupt copy anew, whose references stand.
    pub owner: OwnerId,
    /// Who is to hold it.
    pub target: PeerId,
    /// Who has it, best first.
    pub sources: Vec<PeerId>,
}

impl From<&Repair> for Restore {
    fn from(repair: &Repair) -> Self {
        let Repair { row, sources, target, .. } = repair;
        Self { owner: row.owner, target: *target, sources: sources.clone() }
    }
}

impl Restore {
    /// Returns the job for a block of `bytes_len` bytes of which there are `copies` copies: the fewer, the more urgent.
    /// Sources beyond the first few are left out.
    #[must_use]
    pub fn job(&self, kind: JobKind, cid: Cid, bytes_len: u32, copies: u8) -> JobSpec {
        let mut payload = self.owner.as_bytes().to_vec();
        payload.extend_from_slice(self.target.public_key());
        for source in self.sources.iter().take(SOURCES_MAX) {
            payload.extend_from_slice(source.public_key());
        }
        let priority = match copies {
            0 | 1 => Priority::Urgent,
            2 => Priority::Normal,
            _ => Priority::Idle,
        };
        let subject = Subject::Block(cid);
        JobSpec { kind, priority, subject, holder: None, bytes: bytes_len.into(), payload }
    }

    /// Reads what [`Self::job`] wrote; `None` for a job that it did not.
    #[must_use]
    pub fn of(spec: &JobSpec) -> Option<(Cid, Self)> {
        let Subject::Block(cid) = spec.subject else { return None };
        if !matches!(spec.kind, JobKind::Repair | JobKind::Rebalance | JobKind::Scrub) {
            return None;
        }
        let (owner, peers) = spec.payload.split_first_chunk::<OWNER_BYTES>()?;
        let (peers, rest) = peers.as_chunks::<PEER_BYTES>();
        let mut peers = peers.iter().map(|key| PeerId::from_public_key(*key));
        let target = peers.next().filter(|_| rest.is_empty())?;
        let owner = OwnerId::from_bytes(*owner);
        Some((cid, Self { owner, target, sources: peers.collect() }))
    }

    /// Says whether a peer should do it: one that has the block or gets it moves its bytes once, any other twice.
    #[must_use]
    pub fn suits(&self, peer: PeerId) -> Suits {
        let takes_part = self.target == peer || self.sources.contains(&peer);
        if takes_part { Suits::Well } else { Suits::Not }
    }
}

#[cfg(test)]
mod tests {
    use super::{Restore, SOURCES_MAX};
    use crate::limits::REPLICAS_MAX;
    use crate::work::{JobKind, JobSpec, Priority, Subject, Suits};
    use crate::{Cid, Codec, OwnerId, PeerId};

    fn peer(byte: u8) -> PeerId {
        PeerId::from_public_key([byte; 32])
    }

    fn restore(sources: u8) -> Restore {
        let sources = (10..10 + sources).map(peer).collect();
        Restore { owner: OwnerId::from_bytes([3; 16]), target: peer(1), sources }
    }

    #[test]
    fn a_job_says_who_is_to_hold_the_block_and_who_has_it() {
        let cid = Cid::of(Codec::Raw, b"block");
        for kind in [JobKind::Repair, JobKind::Rebalance, JobKind::Scrub] {
            for sources in 0..=REPLICAS_MAX {
                let restore = restore(sources);
                let job = restore.job(kind, cid, 5, 2);
                assert!(job.is_valid() && job.holder.is_none() && job.bytes == 5);
                let (of, mut read) = Restore::of(&job).unwrap();
                assert_eq!(of, cid);
                read.sources.extend(restore.sources.iter().skip(SOURCES_MAX));
                assert_eq!(read, restore, "the first sources, in their order");
            }
        }
    }

    #[test]
    fn what_is_no_such_job_is_not_taken_for_one() {
        let job = restore(2).job(JobKind::Repair, Cid::of(Codec::Raw, b"block"), 5, 2);
        let with = |payload: &[u8]| JobSpec { payload: payload.to_vec(), ..job.clone() };
        let short = with(&job.payload[..job.payload.len() - 1]);
        let long = with(&[&job.payload[..], &[0]].concat());
        let bare = with(&job.payload[..16]);
        let of_all = JobSpec { subject: Subject::Everything, ..job.clone() };
        let other = JobSpec { kind: JobKind::Replicate, ..job.clone() };
        for job in [short, long, bare, of_all, other] {
            assert_eq!(Restore::of(&job), None, "{job:?}");
        }
    }

    #[test]
    fn the_fewer_copies_there_are_the_more_urgent_it_is() {
        let cid = Cid::of(Codec::Raw, b"block");
        let urgency = |copies| restore(1).job(JobKind::Repair, cid, 5, copies).priority;
        assert_eq!([0, 1].map(urgency), [Priority::Urgent; 2]);
        assert_eq!(urgency(2), Priority::Normal);
        assert_eq!([3, 7].map(urgency), [Priority::Idle; 2]);
    }

    #[test]
    fn only_those_do_it_who_have_the_block_or_get_it() {
        let restore = restore(2);
        assert_eq!([1, 10, 11].map(|byte| restore.suits(peer(byte))), [Suits::Well; 3]);
        assert_eq!(restore.suits(peer(2)), Suits::Not);
    }
}
