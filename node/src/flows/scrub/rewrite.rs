//! Writing corrupt copies anew, as soon as the store finds them.
//!
//! The references to a corrupt copy stand, so that bytes put in its place make it what it was. One copy at a time
//! and within a budget: a disk that is all wrong must not take the whole network for itself. Never: adds a
//! reference; waits for a copy that nobody has.

use protocol::repair::{Budget, BudgetSettings};
use protocol::{Cid, Fault, OwnerId, PeerId};
use tokio::sync::mpsc;
use tracing::debug;

use super::ScrubMetrics;
use crate::env::Env;
use crate::flows::heal::fetch;
use crate::flows::{Context, Heal};
use crate::store::StoreError;

/// Writes anew what is found, for as long as the peer runs.
pub(crate) async fn rewrite<E: Env>(
    context: Context<E>,
    heal: Heal,
    metrics: ScrubMetrics,
    mut corrupt: mpsc::Receiver<Cid>,
) {
    let mut budget = Budget::new(context.env.now(), BudgetSettings::default());
    while let Some(cid) = corrupt.recv().await {
        match rewrite_one(&context, &mut budget, cid).await {
            Ok(true) => {
                metrics.repaired_blocks.inc();
                debug!(%cid, "corrupt copy written anew");
            }
            // Nobody refers to it any more, or somebody wrote it meanwhile.
            Ok(false) => {}
            Err(fault) => {
                metrics.repair_failures.inc();
                debug!(%cid, err = %fault, "corrupt copy not written anew");
                // Comparing finds holders that nobody expects, and comes back until there is one.
                heal.call();
            }
        }
    }
}

async fn rewrite_one<E: Env>(
    context: &Context<E>,
    budget: &mut Budget,
    cid: Cid,
) -> Result<bool, Fault> {
    wait_for(context, budget).await;
    let sources = {
        let view = context.peers.view();
        let own = view.own();
        let holders = view.holders(&cid).into_iter();
        let usable = holders.filter(|holder| holder.usable && holder.peer != own);
        usable.map(|holder| holder.peer).collect::<Vec<PeerId>>()
    };
    let bytes = fetch(context, cid, &sources).await?;
    // What it cost is known only now; the next one waits for it.
    while budget.start(context.env.now(), bytes.len() as u64, false).is_err() {
        wait_for(context, budget).await;
    }
    match context.store.put(cid, bytes, OwnerId::REPAIR, false).await {
        Ok(outcome) => Ok(outcome == protocol::wire::BlockOutcome::Stored),
        Err(StoreError::Unreferenced { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns when the budget allows another one.
async fn wait_for<E: Env>(context: &Context<E>, budget: &mut Budget) {
    loop {
        let now = context.env.now();
        budget.foreground(now, &context.foreground());
        let at = budget.next_deadline();
        if at <= now {
            return;
        }
        context.env.sleep_until(at).await;
    }
}
