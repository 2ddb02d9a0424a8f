//! The task that owns the queue: what it is told, in; what is stored, sent and carried out, out.
//!
//! What comes together is handled together, so that it shares a sync. Never: waits for another peer.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::wire::{Class, Message as Wire};
use protocol::work::{
    Change, Input, JobId, JobSpec, LeaseName, Message, Outcome, Output, Policy, Queue, Suits,
};
use protocol::{Fault, Kind, PeerId};
use tokio::sync::{Semaphore, oneshot};
use tracing::{debug, warn};

use super::handle::{Command, Ended, Inbox, LetterWish, Task};
use super::rows;
use crate::env::{Batch, Disk, DiskError, Durability, Env, Net};

/// Commands that are handled together.
const COMMANDS_TOGETHER: usize = 256;
/// Messages on their way out. More means that the network is stuck, and none of them has to arrive.
const SENDS_MAX: usize = 256;

/// Says whether a job suits a peer, going by the placement.
pub(crate) type Suiting = Arc<dyn Fn(PeerId, &JobSpec) -> Suits + Send + Sync>;

/// Whoever waits for a job to be accepted, and then for its end.
type Waiting = (oneshot::Sender<Result<JobId, Fault>>, Ended);

struct Shell<E: Env> {
    env: E,
    inbox: Inbox,
    queue: Queue,
    suiting: Suiting,
    /// Those that asked, by the tag of their question.
    asked: BTreeMap<u64, Waiting>,
    /// Those that wait for the end of a job. Whoever lets many wait for one bounds them.
    awaited: BTreeMap<JobId, Vec<Ended>>,
    tag: u64,
    /// From where on numbers are drawn after a restart, where the disk was too full to note it.
    numbers_owed: Option<Change>,
    sends: Arc<Semaphore>,
}

/// Runs the queue until the machine ends, or its disk fails.
///
/// # Errors
/// [`DiskError`] when the stored queue cannot be read.
pub(crate) async fn run<E: Env>(
    env: E,
    policy: Policy,
    inbox: Inbox,
    suiting: Suiting,
) -> Result<(), DiskError> {
    let rows::Stored { rows, numbers } = rows::read(env.disk()).await?;
    let own = env.net().local_peer();
    let queue = Queue::new(own, policy, env.prng(), numbers, rows);
    let shell = Shell {
        env,
        inbox,
        queue,
        suiting,
        asked: BTreeMap::new(),
        awaited: BTreeMap::new(),
        tag: 0,
        numbers_owed: None,
        sends: Arc::new(Semaphore::new(SENDS_MAX)),
    };
    shell.run().await;
    Ok(())
}

impl<E: Env> Shell<E> {
    async fn run(mut self) {
        loop {
            let deadline = self.queue.next_deadline();
            let mut out = Vec::new();
            tokio::select! {
                biased; // what is due; then what was said
                () = self.env.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {
                    self.handle(Input::Tick, &mut out);
                }
                command = self.inbox.commands.recv() => {
                    let Some(command) = command else { return };
                    self.take(command, &mut out);
                    for _ in 1..COMMANDS_TOGETHER {
                        let Ok(command) = self.inbox.commands.try_recv() else { break };
                        self.take(command, &mut out);
                    }
                }
            }
            if let Err(error) = self.perform(out).await {
                // The store fails in the same way, and stops the peer.
                warn!(err = %error, "the queue cannot be stored");
                return;
            }
        }
    }

    fn take(&mut self, command: Command, out: &mut Vec<Output>) {
        let input = match command {
            Command::Enqueue { spec, accepted, ended } => {
                self.tag += 1;
                let created = self.env.wall();
                self.asked.insert(self.tag, (accepted, ended));
                Input::Enqueue { tag: self.tag, spec, created }
            }
            Command::Cancel(job) => {
                if let Some(waiting) = self.awaited.get_mut(&job) {
                    waiting.retain(|ended| !ended.is_closed());
                    if !waiting.is_empty() {
                        return;
                    }
                }
                self.awaited.remove(&job);
                Input::Cancel { job }
            }
            Command::Finished(lease, outcome) => Input::Finished { lease, outcome },
            Command::Message(from, body) => match Message::decode(&body) {
                Ok(message) => Input::Message { from, message },
                Err(error) => {
                    self.inbox.metrics.messages_lost.inc();
                    debug!(peer = %from, err = %error, "a message about work does not read");
                    return;
                }
            },
            Command::Peers(peers) => Input::Peers { peers },
            Command::Gone(peer) => Input::Gone { peer },
            Command::Letter { number, wish, reply } => {
                let job = JobId { origin: self.env.net().local_peer(), number };
                if !self.queue.is_dead_letter(job) {
                    let detail = format!("this peer's queue has no job {number} that was given up");
                    reply.send(Err(Fault::new(Kind::NotFound, detail))).ok();
                    return;
                }
                reply.send(Ok(())).ok();
                match wish {
                    LetterWish::Retry => Input::Revive { job },
                    LetterWish::Forget => Input::Cancel { job },
                }
            }
            Command::Look(reply) => {
                let letters = self.queue.dead_letters().collect();
                // Whoever asked may have gone, here and below.
                reply.send((self.queue.summary(), letters)).ok();
                return;
            }
        };
        self.handle(input, out);
    }

    fn handle(&mut self, input: Input, out: &mut Vec<Output>) {
        let suiting = Arc::clone(&self.suiting);
        self.queue.handle(self.env.now(), input, &|peer, spec| suiting(peer, spec), out);
    }

    /// Stores what is to be stored, then does the rest in its order, and what comes of that.
    async fn perform(&mut self, mut out: Vec<Output>) -> Result<(), DiskError> {
        while !out.is_empty() {
            out = self.perform_some(out).await?;
        }
        let depth = i64::try_from(self.queue.depth()).unwrap_or(i64::MAX);
        self.inbox.metrics.depth.set(depth);
        Ok(())
    }

    async fn perform_some(&mut self, out: Vec<Output>) -> Result<Vec<Output>, DiskError> {
        let mut more = Vec::new();
        let is_change = |output: &Output| matches!(output, Output::Store(_));
        let (changes, rest): (Vec<_>, Vec<_>) = out.into_iter().partition(is_change);
        let owed = self.numbers_owed.take().into_iter();
        let changes: Vec<Change> = owed.chain(changes.into_iter().filter_map(change_of)).collect();
        let is_stored = changes.is_empty() || self.store(&changes).await?;
        if !is_stored {
            // A number that was drawn before a crash is never drawn again, whatever else was lost.
            let is_numbers = |change: &&Change| matches!(change, Change::Numbers(_));
            self.numbers_owed = changes.iter().rfind(is_numbers).cloned();
        }
        let is_new = |job: JobId| {
            let adds = |change: &Change| matches!(change, Change::Add(row) if row.job.id == job);
            changes.iter().any(adds)
        };
        for output in rest {
            // What a crash would lose was not accepted.
            if let Output::Accepted { tag, job } = output
                && !is_stored
                && is_new(job)
            {
                self.handle(Input::Cancel { job }, &mut more);
                let fault = Fault::new(Kind::Full, "no space is left for the queue of work");
                self.output(Output::Refused { tag, fault });
            } else {
                self.output(output);
            }
        }
        Ok(more)
    }

    /// Stores changes, and says whether there was room for them.
    async fn store(&self, changes: &[Change]) -> Result<bool, DiskError> {
        let mut batch = Batch::default();
        rows::put(changes, &mut batch);
        let is_synced = changes.iter().any(Change::needs_sync);
        let durability = if is_synced { Durability::Synced } else { Durability::Buffered };
        match self.env.disk().write(batch, durability).await {
            Err(DiskError::Full) => {
                warn!("disk is full: no job is taken");
                Ok(false)
            }
            outcome => outcome.map(|()| true),
        }
    }

    fn output(&mut self, output: Output) {
        let metrics = &self.inbox.metrics;
        match output {
            Output::Store(_) => {}
            Output::Accepted { tag, job } => {
                metrics.enqueued.inc();
                let Some((accepted, ended)) = self.asked.remove(&tag) else { return };
                // Whoever has gone since waits for nothing; the job is done all the same, which harms nobody.
                if accepted.send(Ok(job)).is_ok() {
                    self.awaited.entry(job).or_default().push(ended);
                }
            }
            Output::Refused { tag, fault } => {
                if let Some((accepted, _)) = self.asked.remove(&tag) {
                    accepted.send(Err(fault)).ok();
                }
            }
            Output::Run { job, token } => {
                metrics.begun.inc();
                if job.id.origin != self.env.net().local_peer() {
                    metrics.stolen.inc();
                }
                let lease = LeaseName { job: job.id, token };
                // There is room for as many as run at a time.
                if self.inbox.tasks.try_send(Task { job, token }).is_err() {
                    // What would begin in its place would find nobody either.
                    let mut ignored = Vec::new();
                    self.handle(
                        Input::Finished { lease, outcome: Outcome::Returned },
                        &mut ignored,
                    );
                    debug!(?lease, "nobody carries out jobs any more");
                }
            }
            // It goes on, in vain and without harm.
            Output::Abandon { .. } => {}
            Output::Done { job } => {
                metrics.done.inc();
                for ended in self.awaited.remove(&job).unwrap_or_default() {
                    ended.send(Ok(())).ok();
                }
            }
            Output::Died { job, reason } => {
                metrics.died.inc();
                for ended in self.awaited.remove(&job).unwrap_or_default() {
                    ended.send(Err(reason.clone())).ok();
                }
            }
            Output::Send { to, message } => self.send(to, &message),
        }
    }

    fn send(&self, to: PeerId, message: &Message) {
        let lost = self.inbox.metrics.messages_lost.clone();
        let frame = message.encode().map(|body| Wire::Work { body }.encode());
        let Ok(Ok(frame)) = frame else {
            lost.inc();
            return warn!(peer = %to, "a message about work cannot be encoded");
        };
        let Ok(permit) = Arc::clone(&self.sends).try_acquire_owned() else {
            lost.inc();
            return;
        };
        self.inbox.metrics.messages.inc();
        let env = self.env.clone();
        self.env.spawn("work.send", async move {
            if let Err(error) = env.net().send(to, Class::Control, frame).await {
                lost.inc();
                debug!(peer = %to, err = %error, "a message about work was not sent");
            }
            drop(permit);
        });
    }
}

fn change_of(output: Output) -> Option<Change> {
    if let Output::Store(change) = output { Some(change) } else { None }
}
