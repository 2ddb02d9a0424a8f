//! What the rest of the program holds of the queue.

use std::time::Duration;

use bytes::Bytes;
use protocol::limits::WORK_SLOTS_MAX;
use protocol::work::{DeadLetter, Job, JobId, JobSpec, LeaseName, Outcome, Summary};
use protocol::{Fault, Kind, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::WorkMetrics;

/// Commands that wait for the task: what one upload has under way, and what comes from other peers meanwhile.
const COMMANDS_MAX: usize = 1_024;

/// What the task is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Put a job into the queue, and say how it came to its end.
    Enqueue { spec: JobSpec, accepted: oneshot::Sender<Result<JobId, Fault>>, ended: Ended },
    /// One who waited for a job waits no more: forget the job, unless another one does.
    Cancel(JobId),
    /// A task came to its end.
    Finished(LeaseName, Outcome),
    /// Another peer said something.
    Message(PeerId, Bytes),
    /// These peers are there, this one aside.
    Peers(Vec<PeerId>),
    /// This one is gone, or has started again.
    Gone(PeerId),
    /// Do something with a job that was given up, by its number.
    Letter { number: u64, wish: LetterWish, reply: oneshot::Sender<Result<(), Fault>> },
    /// How does it look?
    Look(oneshot::Sender<(Summary, Vec<DeadLetter>)>),
}

/// What somebody wants of a job that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterWish {
    /// That it is tried again, from its first attempt.
    Retry,
    /// That it is forgotten.
    Forget,
}

/// Who waits for the end of a job: why it was given up, if it was.
pub(super) type Ended = oneshot::Sender<Result<(), String>>;

/// A job that is to be carried out by this peer now.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) job: Job,
    pub(crate) token: u64,
}

/// The queue of this peer. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Work {
    commands: mpsc::Sender<Command>,
    metrics: WorkMetrics,
}

/// What the handles were told, and the task takes up once it runs; and where the jobs go.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) tasks: mpsc::Sender<Task>,
    pub(super) metrics: WorkMetrics,
}

/// A job that somebody waits for. Dropped before its end, it is taken out of the queue.
struct Awaited<'a> {
    work: &'a Work,
    job: Option<JobId>,
    end: oneshot::Receiver<Result<(), String>>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            // The task sees by it who has gone.
            self.end.close();
            // Where there is no room the job is done in vain, which harms nobody.
            self.work.commands.try_send(Command::Cancel(job)).ok();
        }
    }
}

impl Work {
    /// Returns a handle before there is anything behind it, and where its jobs come out.
    pub(crate) fn new() -> (Self, Inbox, mpsc::Receiver<Task>) {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (tasks, to_do) = mpsc::channel(WORK_SLOTS_MAX);
        let metrics = WorkMetrics::default();
        let inbox = Inbox { commands: inbox, tasks, metrics: metrics.clone() };
        (Self { commands, metrics }, inbox, to_do)
    }

    /// Has a job done by whoever can, and returns when it is. A dropped call takes the job back, unless somebody else
    /// waits for the same one.
    ///
    /// # Errors
    /// [`Kind::Busy`] when the queue is full; [`Kind::Unavailable`] when the job was given up.
    pub async fn do_now(&self, spec: JobSpec) -> Result<(), Fault> {
        let (accepted, job) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        self.tell(Command::Enqueue { spec, accepted, ended }).await?;
        let job = job.await.map_err(|_| stopping())??;
        let mut awaited = Awaited { work: self, job: Some(job), end };
        let ended = (&mut awaited.end).await.map_err(|_| stopping())?;
        awaited.job = None;
        ended.map_err(|reason| {
            Fault::new(
                Kind::Unavailable,
                format!("the job failed too often, the last time: {reason}"),
            )
        })
    }

    /// Leaves a job to whoever can do it. One for which there is no room is forgotten: for work that is found again.
    pub fn leave(&self, spec: JobSpec) {
        let ((accepted, _), (ended, _)) = (oneshot::channel(), oneshot::channel());
        self.commands.try_send(Command::Enqueue { spec, accepted, ended }).ok();
    }

    /// Takes a message of another peer. One that finds no room is lost, as any may be.
    pub fn listen(&self, from: PeerId, body: Bytes) {
        self.commands.try_send(Command::Message(from, body)).ok();
    }

    /// Says who may be asked for work: the members that are there, this peer aside.
    pub(crate) async fn set_peers(&self, peers: Vec<PeerId>) {
        self.tell(Command::Peers(peers)).await.ok();
    }

    /// Says that a peer is gone, or has started again: what it was lent, it has no more.
    pub(crate) async fn gone(&self, peer: PeerId) {
        self.tell(Command::Gone(peer)).await.ok();
    }

    /// Says how a task ended.
    pub(crate) async fn finished(&self, lease: LeaseName, outcome: Outcome) {
        self.tell(Command::Finished(lease, outcome)).await.ok();
    }

    /// Returns what people see of the queue, and the jobs that were given up. Cost: O(jobs).
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the peer shuts down.
    pub async fn look(&self) -> Result<(Summary, Vec<DeadLetter>), Fault> {
        let (reply, seen) = oneshot::channel();
        self.tell(Command::Look(reply)).await?;
        seen.await.map_err(|_| stopping())
    }

    /// Tries a job again that was given up, or forgets it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when this peer's queue has no such job; [`Kind::Unavailable`] when the peer shuts down.
    pub async fn settle_letter(&self, number: u64, wish: LetterWish) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Letter { number, wish, reply }).await?;
        answer.await.map_err(|_| stopping())?
    }

    /// Returns what is counted, to be registered.
    #[must_use]
    pub fn metrics(&self) -> &WorkMetrics {
        &self.metrics
    }

    async fn tell(&self, command: Command) -> Result<(), Fault> {
        self.commands.send(command).await.map_err(|_| stopping())
    }
}

fn stopping() -> Fault {
    let mut fault = Fault::new(Kind::Unavailable, "this peer is shutting down");
    fault.retry_after = Some(Duration::from_secs(1));
    fault
}
