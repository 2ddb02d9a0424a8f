//! Faults, one round after the other: processes killed, paused, started again, and cut off; leaders and others.
//!
//! Never: takes away more than a minority, so that operations go on.

use std::time::Duration;

use anyhow::Context;
use protocol::Prng;

use super::super::stage::Stage;
use super::super::views::leader;
use super::super::wait::pause;
use crate::harness::cables::has_entered;

/// What was done to peers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// SIGKILL, and a new start.
    pub(super) killed: u32,
    /// SIGSTOP, and SIGCONT.
    pub(super) paused: u32,
    /// SIGTERM, and a new start.
    pub(super) ended: u32,
    /// Cut off from the other peers, but not from clients.
    pub(super) cut: u32,
    /// How many of all met whoever led.
    pub(super) leaders: u32,
}

/// Does something to one or two peers, and mends it after a while.
pub(super) async fn round(
    stage: &mut Stage,
    prng: &mut Prng,
    faults: &mut Faults,
) -> anyhow::Result<()> {
    let leader = leader(stage.net()).await?;
    let mut names = stage.names();
    prng.shuffle(&mut names);
    if prng.chance(1, 2) {
        // Whoever leads comes first.
        names.sort_by_key(|name| *name != leader);
    }
    names.truncate(if prng.chance(1, 3) { 2 } else { 1 });
    let (mut dead, mut still, mut cut) = (Vec::new(), Vec::new(), Vec::new());
    for name in &names {
        faults.leaders += u32::from(*name == leader);
        match prng.below(if has_entered() { 12 } else { 8 }) {
            0..4 => {
                stage.net().kill(name)?;
                faults.killed += 1;
                dead.push(name.as_str());
            }
            4..7 => {
                stage.net().pause(name)?;
                faults.paused += 1;
                still.push(name.as_str());
            }
            7 => {
                stage.net().stop(name)?;
                faults.ended += 1;
                dead.push(name.as_str());
            }
            _ => {
                faults.cut += 1;
                cut.push(name.as_str());
            }
        }
    }
    // Two that are cut off keep each other.
    stage.net().cut_off(&cut, true)?;
    // From less than a heartbeat to more than an election.
    pause(Duration::from_millis(100 + prng.below(2_900))).await;
    stage.net().cut_off(&cut, false)?;
    for name in &still {
        stage.net().resume(name)?;
    }
    stage.net().restart_all(&dead).await.with_context(|| format!("after {names:?} failed"))
}
