//! Jobs of the queue, carried out: this peer's own, and those that it took from others.
//!
//! Tells the queue who is there and whom a job suits. Never: decides which job is next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::transfer::Bring;
use protocol::wire::Class;
use protocol::work::{JobKind, JobSpec, LeaseName, Outcome, Policy, Subject, Suits};
use protocol::{Fault, Kind, PeerId};
use tokio::sync::mpsc;
use tracing::{debug, error};

use super::upload::Copy;
use super::{Context, Root, download};
use crate::env::Env;
use crate::work::{Inbox, Suiting, Task, run};

/// Jobs that a peer works on at a time: they wait for the network and for disks, and hold a block each.
const SLOTS: usize = 8;
/// How often the queue is told who is there.
const ROUND: Duration = Duration::from_millis(250);

/// Runs the queue of this peer.
pub(crate) async fn queue<E: Env>(context: Context<E>, inbox: Inbox) {
    let peers = context.peers.clone();
    let suiting: Suiting = Arc::new(move |peer, spec| match spec.subject {
        Subject::Block(cid) => {
            let holds = peers.view().holders(&cid).iter().any(|candidate| candidate.peer == peer);
            if holds { Suits::Well } else { Suits::Enough }
        }
        Subject::Partition(_) | Subject::Everything => Suits::Enough,
    });
    let policy = Policy { slots: SLOTS, ..Policy::default() };
    if let Err(fault) = run(context.env.clone(), policy, inbox, suiting).await {
        error!(err = %fault, "the queue of work cannot be read: nothing is taken from it");
    }
}

/// Tells the queue who may be asked for work, for as long as this peer runs.
pub(crate) async fn follow_peers<E: Env>(context: Context<E>) {
    let mut told = BTreeSet::new();
    loop {
        let view = context.peers.view();
        let others = view.peers().keys().filter(|peer| **peer != view.own());
        let there: BTreeSet<PeerId> = others.copied().filter(|peer| view.is_there(*peer)).collect();
        if there != told {
            context.work.set_peers(there.iter().copied().collect()).await;
            told = there;
        }
        context.env.sleep_until(context.env.now().after(ROUND)).await;
    }
}

/// Carries out jobs, each in a task of its own: the queue says how many at a time.
pub(crate) async fn carry_out<E: Env>(context: Context<E>, mut tasks: mpsc::Receiver<Task>) {
    while let Some(Task { job, token }) = tasks.recv().await {
        let context = context.clone();
        context.env.clone().spawn("work.job", async move {
            let outcome = match one(&context, &job.spec).await {
                Ok(()) => Outcome::Done,
                Err(fault) => {
                    debug!(job = ?job.id, err = %fault, "job failed");
                    Outcome::Failed { reason: fault.to_string() }
                }
            };
            context.work.finished(LeaseName { job: job.id, token }, outcome).await;
        });
    }
}

async fn one<E: Env>(context: &Context<E>, spec: &JobSpec) -> Result<(), Fault> {
    match spec.kind {
        JobKind::Replicate => {
            let malformed =
                || Fault::new(Kind::Invalid, "the job does not say what to bring where");
            let (cid, Bring { owner, to }) = Bring::of(spec).ok_or_else(malformed)?;
            let bytes = match context.store.get(cid).await? {
                Some(bytes) => bytes,
                None => download::block(context, Root::Bare(cid)).await?,
            };
            let copy = Copy {
                context: context.clone(),
                cid,
                bytes: Some(bytes),
                owner,
                class: Class::Bulk,
            };
            copy.place(to).await.map(drop)
        }
        JobKind::Repair
        | JobKind::Rebalance
        | JobKind::Scrub
        | JobKind::Collect
        | JobKind::Index
        | JobKind::Import => {
            let detail = format!("this release has no {} jobs", spec.kind.name());
            Err(Fault::new(Kind::Invalid, detail))
        }
    }
}
