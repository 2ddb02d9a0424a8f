//! Jobs, carried out, each in a task of its own: the queue says how many at a time.
//!
//! Those in the background begin when the budget of this peer allows. It is one for all of them, since clients notice the
//! disk and the network, and not what for. Owns the budget. Never: decides which job is next, but for the few that
//! have begun.

use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protocol::repair::{Budget, BudgetSettings, Restore};
use protocol::transfer::Bring;
use protocol::wire::Class;
use protocol::work::{JobSpec, LeaseName, Outcome, Priority};
use protocol::{Fault, Instant, Kind};
use tokio::sync::mpsc;
use tracing::debug;

use super::restore::{Restored, restore};
use crate::env::Env;
use crate::flows::upload::Copy;
use crate::flows::{Context, HealMetrics, Root, download};
use crate::work::Task;

/// How often this peer looks how busy it is.
const LOOK: Duration = Duration::from_millis(250);

/// Carries out jobs for as long as the peer runs.
pub(crate) async fn carry_out<E: Env>(
    context: Context<E>,
    settings: BudgetSettings,
    metrics: HealMetrics,
    mut tasks: mpsc::Receiver<Task>,
) {
    let env = context.env.clone();
    let now = env.now();
    let budget = Budget::new(now, settings);
    let running = FuturesUnordered::new();
    let mut background = Background { context, metrics, budget, waiting: Vec::new(), running };
    let mut next_look = now;
    loop {
        let now = env.now();
        if now >= next_look {
            background.look(now);
            next_look = now.after(LOOK);
        }
        let wake = background.begin(now).map_or(next_look, |at| at.min(next_look));
        tokio::select! {
            biased; // what is done says what it cost; what is new comes before the clock
            Some(bytes) = background.running.next(), if !background.running.is_empty() => {
                background.budget.charge(env.now(), bytes);
            }
            task = tasks.recv() => match task {
                Some(task) if task.job.spec.kind.is_background() => background.waiting.push(task),
                Some(task) => {
                    let context = background.context.clone();
                    env.spawn("work.job", async move {
                        let outcome = bring(&context, &task.job.spec).await;
                        end(&context, &task, outcome).await;
                    });
                }
                None => return,
            },
            () = env.sleep_until(wake) => {}
        }
    }
}

/// The jobs in the background that have begun.
struct Background<E: Env> {
    context: Context<E>,
    metrics: HealMetrics,
    budget: Budget,
    /// Those that wait for the budget. No more than the queue begins at a time.
    waiting: Vec<Task>,
    /// Those on their way; each returns the bytes that it moved and had not said before.
    running: FuturesUnordered<BoxFuture<'static, u64>>,
}

impl<E: Env> Background<E> {
    fn look(&mut self, now: Instant) {
        self.budget.foreground(now, &self.context.foreground());
    }

    /// Begins what may begin, the most urgent first, and returns when the next may, if there is one.
    fn begin(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let rank = |(at, task): &(usize, &Task)| (task.job.spec.priority, *at);
            let (at, task) = self.waiting.iter().enumerate().min_by_key(rank)?;
            let (bytes, is_urgent) = (task.job.spec.bytes, is_urgent(&task.job.spec));
            if let Err(later) = self.budget.start(now, bytes, is_urgent) {
                return Some(later);
            }
            let task = self.waiting.remove(at);
            let (context, metrics) = (self.context.clone(), self.metrics.clone());
            self.running.push(Box::pin(async move {
                let (outcome, moved) = match upkeep(&context, &task.job.spec).await {
                    Ok(restored) => (Ok(()), metrics.note(restored)),
                    Err(fault) => {
                        metrics.failures.inc();
                        (Err(fault), 0)
                    }
                };
                end(&context, &task, outcome).await;
                moved.saturating_sub(bytes)
            }));
        }
    }
}

fn is_urgent(spec: &JobSpec) -> bool {
    spec.priority == Priority::Urgent
}

/// Tells the queue how a job ended.
async fn end<E: Env>(context: &Context<E>, task: &Task, outcome: Result<(), Fault>) {
    let Task { job, token } = task;
    let outcome = match outcome {
        Ok(()) => Outcome::Done,
        Err(fault) => {
            debug!(job = ?job.id, kind = job.spec.kind.name(), err = %fault, "job failed");
            Outcome::Failed { reason: fault.to_string() }
        }
    };
    context.work.finished(LeaseName { job: job.id, token: *token }, outcome).await;
}

/// Does a job in the background.
async fn upkeep<E: Env>(context: &Context<E>, spec: &JobSpec) -> Result<Restored, Fault> {
    let (cid, job) = Restore::of(spec).ok_or_else(|| unknown(spec))?;
    restore(context, cid, &job).await
}

/// Does a job that somebody waits for.
async fn bring<E: Env>(context: &Context<E>, spec: &JobSpec) -> Result<(), Fault> {
    let (cid, Bring { owner, to }) = Bring::of(spec).ok_or_else(|| unknown(spec))?;
    let bytes = match context.store.get(cid).await? {
        Some(bytes) => bytes,
        None => download::block(context, Root::Bare(cid)).await?,
    };
    let context = context.clone();
    let copy = Copy { context, cid, bytes: Some(bytes), owner, class: Class::Bulk };
    copy.place(to).await.map(drop)
}

fn unknown(spec: &JobSpec) -> Fault {
    let kind = spec.kind.name();
    Fault::new(Kind::Invalid, format!("this release knows no {kind} job of this form"))
}
