//! Clients that write and read one register through random peers, and tell the history.
//!
//! A request runs inside the process that it asks, and dies with it: then nobody knows its outcome.

use std::time::Duration;

use node::meta::{Freshness, Meta};
use protocol::metadata::{Actor, Op, query};
use protocol::{Fault, Kind, Prng};

use super::group::{Group, Host, within};
use crate::sim::SimEnv;

/// How long a client waits for a write.
const PATIENCE: Duration = Duration::from_secs(8);
/// Values of one client, so that no value is written twice.
const VALUES: u64 = 1_000_000;

/// Keeps one client busy until `until`, in virtual nanoseconds.
pub(super) async fn work(group: Group, number: u64, mut prng: Prng, until: u64) {
    let mut value = 1_000 + number * VALUES;
    while group.world.clock().nanos() < until {
        let hosts = group.present();
        if let Some(host) = prng.index(hosts.len()).and_then(|index| hosts.get(index)) {
            if prng.chance(1, 2) {
                value += 1;
                write(&group, host, value, PATIENCE).await;
            } else {
                read(&group, host).await;
            }
        }
        group.world.clock().sleep(Duration::from_millis(prng.below(60))).await;
    }
}

/// Writes a value through a host, and says whether that was acknowledged.
pub(super) async fn write(group: &Group, host: &Host, value: u64, patience: Duration) -> bool {
    let Some(meta) = host.meta() else { return false };
    let floor = group.history.floor();
    let op = Op::SetCluster { name: None, replicas: None, grace_ms: Some(value) };
    let outcome =
        within(host, async move { meta.propose(op, Actor::System, patience).await }).await;
    match &outcome {
        Ok(_) => group.history.written(value, floor),
        Err(_) => group.history.write_failed(),
    }
    outcome.is_ok()
}

/// Reads the value through a host, and says whether that worked.
pub(super) async fn read(group: &Group, host: &Host) -> bool {
    let Some(meta) = host.meta() else { return false };
    let floor = group.history.floor();
    match within(host, async move { register(&meta).await }).await {
        Ok(value) => {
            group.history.read(value, floor);
            true
        }
        Err(_) => {
            group.history.read_failed();
            false
        }
    }
}

async fn register(meta: &Meta<SimEnv>) -> Result<u64, Fault> {
    let settings = meta.read(Freshness::Latest, |source| query::settings(source)).await?;
    let none = || Fault::new(Kind::NotFound, "the cluster is not founded");
    settings.map(|settings| settings.grace_ms).ok_or_else(none)
}
