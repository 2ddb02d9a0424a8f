//! One round: this peer compares itself with all others, concludes what is to be copied, and lets go of what others
//! hold in its stead.
//!
//! Owns what it found. Never: copies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::limits::{INVENTORY_PARTITIONS_MAX, REPAIR_ROWS_MAX};
use protocol::placement::Partition;
use protocol::repair::{Desired, Findings, Repair, Scope};
use protocol::{Fault, PeerId};
use tracing::debug;

use super::ask::Asking;
use super::depart::{CorruptBefore, Departing, Outcome, Strays};
use super::inventory::{Age, Snapshot};
use crate::env::Env;
use crate::flows::Context;
use crate::store::Departed;

/// What a round found.
#[derive(Debug)]
pub(super) struct Round {
    /// By what it went.
    pub(super) desired: Arc<Desired>,
    /// What lacks where this peer is the steward.
    pub(super) repairs: Vec<Repair>,
    /// Partitions that this peer should not hold, in order, and what it has to hand over of them.
    pub(super) strays: Vec<Partition>,
    /// See [`Self::strays`].
    pub(super) hand_overs: Vec<Repair>,
    /// Whether everybody who is there was compared with.
    pub(super) is_complete: bool,
    /// Whether there was more than is remembered.
    pub(super) is_cut: bool,
    /// How long the scan of the own store took: what the round cost, others' patience aside.
    pub(super) scan: Duration,
    /// What this peer let go of.
    pub(super) departed: Departed,
    /// Whether it may let go of more soon.
    pub(super) is_open: bool,
}

/// Runs a round. Cost: a scan of the own store, and of each other one unless that was done a moment ago.
///
/// # Errors
/// Whatever keeps the own store from being read.
pub(super) async fn round<E: Env>(
    context: Context<E>,
    departing: Departing,
    scope: Scope,
) -> Result<Round, Fault> {
    let corrupt_before = CorruptBefore(context.store.corrupt_found());
    let begun = context.env.now();
    let snapshot = departing.inventory.snapshot(scope, Age::Fresh).await?;
    let scan = context.env.now().since(begun);
    let mut round = Round {
        desired: Arc::clone(&snapshot.desired),
        repairs: Vec::new(),
        strays: Vec::new(),
        hand_overs: Vec::new(),
        is_complete: true,
        is_cut: false,
        scan,
        departed: Departed::default(),
        is_open: false,
    };
    survey(&context, &snapshot, &mut round).await;
    hand_over(&context, &snapshot, (&departing, corrupt_before), &mut round).await;
    Ok(round)
}

/// As a steward: compares with everybody who is there.
async fn survey<E: Env>(context: &Context<E>, snapshot: &Snapshot, round: &mut Round) {
    let topology = snapshot.desired.placement().topology();
    if topology.peer(snapshot.own).is_none() {
        return;
    }
    let others = topology.peers().iter().map(|member| member.id);
    let others = others.filter(|peer| *peer != snapshot.own && snapshot.desired.is_live(*peer));
    let mut findings = Findings::default();
    for peer in others {
        if is_outdated(context, snapshot) {
            round.is_complete = false;
            break;
        }
        let asking = Asking { context, snapshot, peer };
        let compared = match asking.differing().await {
            Ok(differing) => asking.rows(&differing, &mut findings).await,
            Err(fault) => Err(fault),
        };
        note(round, &mut findings, peer, compared.map(drop));
    }
    round.is_cut |= findings.is_cut();
    round.repairs = findings.repairs(&snapshot.view());
}

/// As one that should not hold something: asks those who should whether they have it, and lets go of what all of
/// them have.
async fn hand_over<E: Env>(
    context: &Context<E>,
    snapshot: &Snapshot,
    (departing, corrupt_before): (&Departing, CorruptBefore),
    round: &mut Round,
) {
    let desired = &snapshot.desired;
    let held = snapshot.summary.partitions().map(|(partition, _)| partition);
    let is_stray = |partition: &Partition| !desired.should_hold(*partition, snapshot.own);
    let strays: Vec<Partition> = held.filter(is_stray).collect();
    for part in strays.chunks(INVENTORY_PARTITIONS_MAX) {
        if round.hand_overs.len() >= REPAIR_ROWS_MAX {
            round.is_cut = true;
            break;
        }
        if is_outdated(context, snapshot) {
            round.is_complete = false;
            break;
        }
        let holders: BTreeSet<PeerId> =
            part.iter().flat_map(|partition| desired.live(*partition)).collect();
        let mut findings = Findings::default();
        let mut said = Strays::new(snapshot, part, corrupt_before);
        for peer in holders {
            let shared = part.iter().filter(|partition| desired.should_hold(**partition, peer));
            let shared: Vec<Partition> = shared.copied().collect();
            let asking = Asking { context, snapshot, peer };
            let asked = context.env.now();
            let compared = match asking.checked(&shared).await {
                Ok(differing) => asking.rows(&differing, &mut findings).await,
                Err(fault) => Err(fault),
            };
            if let Ok(lacking) = &compared {
                said.confirm(asked, peer, &shared, lacking);
            }
            note(round, &mut findings, peer, compared.map(drop));
        }
        round.is_cut |= findings.is_cut();
        round.hand_overs.extend(findings.hand_overs(&snapshot.view()));
        round.strays.extend_from_slice(part);
        match said.depart(context, departing).await {
            Ok(Outcome { departed, is_open }) => {
                round.departed.partitions += departed.partitions;
                round.departed.blocks += departed.blocks;
                round.departed.bytes += departed.bytes;
                round.is_open |= is_open;
            }
            Err(fault) => {
                round.is_complete = false;
                debug!(err = %fault, "partitions that others hold were not dropped");
            }
        }
    }
}

/// Says whether there is another topology by now. Nobody answers what is asked by this one any more, and waiting for
/// those who are silent would only hold up the next round.
fn is_outdated<E: Env>(context: &Context<E>, snapshot: &Snapshot) -> bool {
    context.peers.view().placement().topology().epoch() != snapshot.desired.epoch()
}

fn note(round: &mut Round, findings: &mut Findings, peer: PeerId, compared: Result<(), Fault>) {
    match compared {
        Ok(()) => findings.compared(peer),
        Err(fault) => {
            round.is_complete = false;
            debug!(%peer, err = %fault, "inventories not compared");
        }
    }
}
