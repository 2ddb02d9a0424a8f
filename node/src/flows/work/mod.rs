//! The queue of work at this peer: who is there, whom a job suits, and the jobs themselves, carried out (`carry`), be they
//! this peer's own or taken from others. What has a peer hold a block is in `restore`.
//!
//! Never: decides which job is next.

mod carry;
mod restore;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::PeerId;
use protocol::repair::{BudgetSettings, Restore};
use protocol::work::{JobKind, JobSpec, Policy, Subject, Suits};
use tracing::error;

use super::Context;
use crate::env::Env;
use crate::work::{Inbox, Suiting, run};

pub(crate) use carry::carry_out;
pub(super) use restore::Restored;

/// Jobs that a peer works on at a time, of those that somebody waits for: they wait for the network and for disks, and hold a
/// block each.
const SLOTS: usize = 8;
/// The same in the background: enough to keep a link busy, and half of what holds up those who are served.
const BACKGROUND_SLOTS: usize = 4;
/// How often the queue is told who is there.
const ROUND: Duration = Duration::from_millis(250);

/// How a peer works off queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkSettings {
    /// What jobs in the background may take.
    pub budget: BudgetSettings,
    /// Whether it takes work from others that is not meant for it alone.
    pub steals: bool,
}

impl Default for WorkSettings {
    fn default() -> Self {
        Self { budget: BudgetSettings::default(), steals: true }
    }
}

/// Runs the queue of this peer. One that does not steal comes only for what is meant for it alone.
pub(crate) async fn queue<E: Env>(context: Context<E>, inbox: Inbox, steals: bool) {
    let peers = context.peers.clone();
    let suiting: Suiting = Arc::new(move |peer, spec| suits(&peers, peer, spec));
    let mut policy =
        Policy { slots: SLOTS, background_slots: BACKGROUND_SLOTS, ..Policy::default() };
    if !steals {
        (policy.asked, policy.wait_after) = (0, 0);
    }
    if let Err(fault) = run(context.env.clone(), policy, inbox, suiting).await {
        error!(err = %fault, "the queue of work cannot be read: nothing is taken from it");
    }
}

fn suits(peers: &crate::peers::Peers, peer: PeerId, spec: &JobSpec) -> Suits {
    match (spec.kind, spec.subject) {
        (JobKind::Repair | JobKind::Rebalance | JobKind::Scrub, _) => {
            Restore::of(spec).map_or(Suits::Not, |(_, restore)| restore.suits(peer))
        }
        (_, Subject::Block(cid)) => {
            let holds = peers.view().holders(&cid).iter().any(|candidate| candidate.peer == peer);
            if holds { Suits::Well } else { Suits::Enough }
        }
        (_, Subject::Partition(_) | Subject::Everything) => Suits::Enough,
    }
}

/// Tells the queue who may be asked for work, and who has lost what it was lent, for as long as this peer runs.
pub(crate) async fn follow_peers<E: Env>(context: Context<E>) {
    // Each with what tells one of its starts from others.
    let mut told: BTreeMap<PeerId, u64> = BTreeMap::new();
    loop {
        let there: BTreeMap<PeerId, u64> = {
            let view = context.peers.view();
            let others = view.peers().iter().filter(|(peer, _)| **peer != view.own());
            let there = others.filter(|(peer, _)| view.is_there(**peer));
            there.map(|(peer, info)| (*peer, info.incarnation)).collect()
        };
        if there != told {
            context.work.set_peers(there.keys().copied().collect()).await;
            for (peer, start) in &told {
                if there.get(peer) != Some(start) {
                    context.work.gone(*peer).await;
                }
            }
            told = there;
        }
        context.env.sleep_until(context.env.now().after(ROUND)).await;
    }
}
