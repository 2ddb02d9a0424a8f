//! What goes into a queue and what comes out, and its settings.

use core::time::Duration;

use super::job::{Job, JobId, JobSpec, Row};
use super::message::{LeaseName, Message, Outcome};
use crate::{Fault, PeerId, WallTime};

/// Whether a job suits a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suits {
    /// It holds the block already, or part of the partition: less has to be moved.
    Well,
    /// It could do it.
    Enough,
    /// It must not have it, or could do nothing with it.
    Not,
}

/// Says whether a job suits a peer, going by the placement. Asked for each waiting job when a peer
/// asks for work.
pub type Fit<'a> = &'a dyn Fn(PeerId, &JobSpec) -> Suits;

/// How much of the waiting work a thief gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// One job.
    One,
    /// Half of the bytes.
    Half,
}

/// How a peer looks for work, and hands it over. The defaults are what simulation chose: see
/// `decisions/0013-stealing.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Jobs worked on at a time that somebody waits for: 1..=[`WORK_SLOTS_MAX`](crate::limits::WORK_SLOTS_MAX).
    pub slots: usize,
    /// Jobs in the background worked on at a time, beside those: 1..=[`WORK_SLOTS_MAX`](crate::limits::WORK_SLOTS_MAX).
    pub background_slots: usize,
    /// Peers that a search reaches, one after the other, until one of them has something: at most [`WORK_SEEK_PEERS_MAX`](crate::limits::WORK_SEEK_PEERS_MAX);
    /// 0 for a peer that never searches. A second makes up for many that have nothing; a third adds messages and little else.
    pub asked: u8,
    /// What a thief gets.
    pub share: Share,
    /// Searches in a row without success after which a peer says that it waits for work, and searches no more; 0 for one
    /// that never does. Without it, work that all comes to one peer of many is found by chance. Too soon costs messages
    /// where the work of all comes to its end.
    pub wait_after: u32,
    /// For how long an answer to a search is waited for before the next; twice as long after each further one. A job or
    /// two: in less, little changes. Guess: a tenth of a second for a block over a slow link; measured at that.
    pub pause: Duration,
    /// Longest pause, after it was doubled again and again: what an idle peer costs others.
    pub pause_max: Duration,
    /// How long the answer of a peer is waited for that said that it has work.
    pub patience: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            slots: 1,
            background_slots: 1,
            asked: 2,
            share: Share::Half,
            wait_after: 3,
            pause: Duration::from_millis(125),
            pause_max: Duration::from_secs(10),
            patience: Duration::from_secs(2),
        }
    }
}

/// Defects on purpose, to see that the checks find them.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// Whatever is reported of a job counts, under whichever token.
    pub lease_not_checked: bool,
    /// A job that is granted is forgotten.
    pub job_dropped_on_steal: bool,
    /// A grant is taken as often as it arrives.
    pub ask_not_checked: bool,
    /// Numbers are drawn anew after a crash.
    pub numbers_reused: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Put a job into the queue. Answered by [`Output::Accepted`] or [`Output::Refused`]. What the queue has already is the
    /// same job; a dead letter of [what is found again](super::JobKind::is_found_again) is tried anew.
    Enqueue {
        /// Comes back with the answer.
        tag: u64,
        /// What is to be done.
        spec: JobSpec,
        /// The time of day.
        created: WallTime,
    },
    /// A job of [`Output::Run`] came to an end, or was cut short.
    Finished {
        /// As in the output.
        lease: LeaseName,
        /// How.
        outcome: Outcome,
    },
    /// Take a job out of this peer's queue, whatever it is doing. If it is running, it may still have its effect.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// Try a dead letter again, from its first attempt.
    Revive {
        /// Which.
        job: JobId,
    },
    /// Another peer said something.
    Message {
        /// Who.
        from: PeerId,
        /// What.
        message: Message,
    },
    /// These peers may be asked for work: the members that are alive. Replaces those before.
    Peers {
        /// Who, this peer aside.
        peers: Vec<PeerId>,
    },
    /// A peer is gone, or has started again: what it was lent is to be done again without waiting for the leases.
    Gone {
        /// Who.
        peer: PeerId,
    },
    /// The time of [`super::Queue::next_deadline`] has come.
    Tick,
}

/// A change of what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row. To be synced.
    Add(Row),
    /// Another value of a row. Need not be synced: the former one is as true, only older.
    Update(Row),
    /// Takes a row out. Need not be synced: a job that comes back is done again, to the same effect.
    Remove(JobId),
    /// From here on numbers are drawn after a restart. To be synced.
    Numbers(u64),
}

impl Change {
    /// Says whether outputs that follow must wait until this one is durable.
    #[must_use]
    pub const fn needs_sync(&self) -> bool {
        match self {
            Self::Add(_) | Self::Numbers(_) => true,
            Self::Update(_) | Self::Remove(_) => false,
        }
    }
}

/// What is to be done, in this order: nothing after a [`Output::Store`] whose change
/// [needs a sync](Change::needs_sync) may begin before that change is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Change what is stored. Changes reach the disk in their order.
    Store(Change),
    /// A job is in the queue, and will be done whoever crashes.
    Accepted {
        /// Of the input.
        tag: u64,
        /// The job's name.
        job: JobId,
    },
    /// A job was not taken.
    Refused {
        /// Of the input.
        tag: u64,
        /// Why; busy when the queue is full.
        fault: Fault,
    },
    /// Begin a job. Report [`Input::Finished`].
    Run {
        /// What.
        job: Job,
        /// The token of its lease: where the effect is, whoever comes with a lower one than was seen before is
        /// refused.
        token: u64,
    },
    /// The lease of a running job is not valid any more. Whether it is stopped does not matter to others;
    /// [`Input::Finished`] is due in any case.
    Abandon {
        /// Which.
        lease: LeaseName,
    },
    /// A job was done, here or elsewhere, and is out of the queue.
    Done {
        /// Which.
        job: JobId,
    },
    /// A job was given up.
    Died {
        /// Which.
        job: JobId,
        /// Why its last attempt failed.
        reason: String,
    },
    /// Send a message; it may get lost.
    Send {
        /// To whom.
        to: PeerId,
        /// What.
        message: Message,
    },
}
