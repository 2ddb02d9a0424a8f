//! Having corrupt copies written anew, as soon as the store finds them.
//!
//! The references to a corrupt copy stand, so that bytes put in its place make it what it was. Each is a job of the queue: this
//! peer fetches the bytes, or another holder that has time sends them. Never: adds a reference; waits for a copy that
//! nobody has.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::limits::WORK_JOBS_MAX;
use protocol::repair::Restore;
use protocol::work::JobKind;
use protocol::{Cid, Fault, OwnerId, PeerId};
use tokio::sync::mpsc;
use tracing::debug;

use super::ScrubMetrics;
use crate::env::Env;
use crate::flows::{Context, Heal};

/// Corrupt copies whose jobs are in the queue at a time: a quarter of what it takes, so that a disk that is all wrong leaves
/// room for others.
const JOBS_MAX: usize = WORK_JOBS_MAX / 4;

/// Has written anew what is found, for as long as the peer runs.
pub(crate) async fn rewrite<E: Env>(
    context: Context<E>,
    heal: Heal,
    metrics: ScrubMetrics,
    mut corrupt: mpsc::Receiver<Cid>,
) {
    let mut under_way = BTreeSet::new();
    let mut jobs = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased; // what has ended makes room
            Some((cid, outcome)) = jobs.next(), if !jobs.is_empty() => {
                under_way.remove(&cid);
                match outcome {
                    Ok(true) => {
                        metrics.repaired_blocks.inc();
                        debug!(%cid, "corrupt copy written anew");
                    }
                    // Nobody refers to it any more.
                    Ok(false) => {}
                    Err(fault) => {
                        metrics.repair_failures.inc();
                        debug!(%cid, err = %fault, "corrupt copy not written anew");
                        // Comparing finds holders that nobody expects, and comes back until there is one.
                        heal.call();
                    }
                }
            }
            found = corrupt.recv(), if under_way.len() < JOBS_MAX => {
                let Some(cid) = found else { return };
                if under_way.insert(cid) {
                    let context = context.clone();
                    jobs.push(async move { (cid, rewrite_one(&context, cid).await) });
                }
            }
        }
    }
}

/// Has one written anew, and says whether it is.
async fn rewrite_one<E: Env>(context: &Context<E>, cid: Cid) -> Result<bool, Fault> {
    let (own, sources) = {
        let view = context.peers.view();
        let own = view.own();
        // Whoever is away may be back when the job is done.
        let holders = view.holders(&cid).into_iter().map(|holder| holder.peer);
        (own, holders.filter(|holder| *holder != own).collect::<Vec<PeerId>>())
    };
    let copies = u8::try_from(sources.len()).unwrap_or(u8::MAX);
    let restore = Restore { owner: OwnerId::REPAIR, target: own, sources };
    // How long it was is not known; what it costs is charged afterwards.
    context.work.do_now(restore.job(JobKind::Scrub, cid, 0, copies)).await?;
    Ok(context.store.has(vec![cid]).await? == [true])
}
