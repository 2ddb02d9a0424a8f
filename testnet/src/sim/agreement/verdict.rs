//! After the storm: everything mended and running again, every promise looked after.

use std::sync::Arc;
use std::time::Duration;

use protocol::Prng;
use protocol::metadata::voters::voter_count;

use super::clients;
use super::group::{Group, Host};
use crate::sim::properties::Property;
use crate::sim::{DiskHabits, Loss};

/// How long after the last fault every peer must answer again, and the voters be complete.
const HEAL_WITHIN: Duration = Duration::from_secs(90);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// Patience of one try.
const PATIENCE: Duration = Duration::from_secs(10);
/// Values that the verdict writes.
const VALUES: u64 = 900_000_000;

/// Mends everything, tries everything, and tells the history what is not as it should be.
pub(super) async fn judge(group: &Group, mut prng: Prng) {
    let world = &group.world;
    world.network().calm(world);
    for host in group.hosts() {
        host.machine.device().set_habits(DiskHabits::default());
    }
    if group.plan.ends_in_blackout {
        group.present().iter().for_each(|host| host.end(Loss::Power));
    }
    let end = world.clock().nanos() + super::nanos(HEAL_WITHIN);
    let mut value = VALUES + prng.below(1_000);
    for host in group.present() {
        value += 1_000;
        answers(group, &host, value, end).await;
    }
    complete(group, end).await;
    // The last word: what every peer has applied by itself is what the log says.
    for host in group.present() {
        clients::read(group, &host).await;
    }
}

/// Tries until a peer takes a write and answers a read.
async fn answers(group: &Group, host: &Arc<Host>, value: u64, end: u64) {
    let mut tries = 0;
    loop {
        group.present().iter().for_each(|host| group.boot(host));
        // Removed meanwhile: it need not answer.
        if host.is_retired() {
            return;
        }
        tries += 1;
        if clients::write(group, host, value + tries, PATIENCE).await
            && clients::read(group, host).await
        {
            return;
        }
        if group.world.clock().nanos() >= end {
            let status = host.meta().map(|meta| meta.status());
            let detail = format!("n{} does not heal: {status:?}", host.number);
            group.history.violated(Property::Heals, detail);
            return;
        }
        group.world.clock().sleep(PAUSE).await;
    }
}

/// Waits until as many vote as should, none of them gone, and no joint configuration is left.
async fn complete(group: &Group, end: u64) {
    loop {
        group.present().iter().for_each(|host| group.boot(host));
        let status = group.leader().and_then(|host| host.meta()).map(|meta| meta.status());
        if let Some(status) = &status {
            let wanted = voter_count(status.members.len());
            if status.voters().len() == wanted && !status.is_joint {
                return;
            }
        }
        if group.world.clock().nanos() >= end {
            let detail = format!("the voters are not complete: {status:?}");
            group.history.violated(Property::Heals, detail);
            return;
        }
        group.world.clock().sleep(PAUSE).await;
    }
}
