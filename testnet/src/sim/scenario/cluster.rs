//! The machines of a run: all of them, those that come later, and harm that is done to their disks.
//!
//! Never: decides when a fault happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::meta::{Observed, Observer};
use node::peers::Placements;
use node::{Entry, MetaProbe, NodeSettings, Planted, WorkSettings};
use protocol::limits::LATE_COPY_GRACE;
use protocol::metadata::DisplayName;
use protocol::topology::Zone;

pub(super) use super::host::Host;
use super::operator;
use super::plan::Plan;
use crate::sim::lock::lock;
use crate::sim::oracle::Oracle;
use crate::sim::{Loss, Machine, World};

/// Bytes of a healthy device.
pub(super) const DEVICE_BYTES: u64 = 1 << 30;

/// All machines of a run.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) oracle: Oracle,
    pub(super) plan: Plan,
    pub(super) planted: Planted,
    hosts: Mutex<Vec<Arc<Host>>>,
    /// Disks lost and bits rotten so far.
    pub(super) losses: AtomicU64,
    placements: Placements,
    ambushed: AtomicBool,
    /// Whether the storm is over: uploads that end only now are not ambushed any more.
    pub(super) calm: AtomicBool,
}

impl Cluster {
    /// Returns the machines of a plan, all switched off.
    pub(super) fn new(
        world: &World,
        oracle: &Oracle,
        plan: Plan,
        planted: Planted,
        placements: Placements,
    ) -> Arc<Self> {
        let cluster = Self {
            world: world.clone(),
            oracle: oracle.clone(),
            planted,
            hosts: Mutex::default(),
            losses: AtomicU64::new(0),
            placements,
            ambushed: AtomicBool::new(false),
            calm: AtomicBool::new(false),
            plan,
        };
        for zone in cluster.plan.zones.clone() {
            cluster.add(zone);
        }
        Arc::new(cluster)
    }

    /// Adds a machine in a zone. The first one founds the cluster, others wait to be invited.
    pub(super) fn add(&self, zone: Zone) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        let number = hosts.len();
        let machine = Machine::new(&self.world, u32::try_from(number).unwrap_or(u32::MAX));
        let settings = NodeSettings {
            entry: Entry::Stay,
            name: DisplayName::new(&format!("n{number}")).expect("it keeps the rules"),
            zone,
            store: self.plan.store.clone(),
            cache_bytes: self.plan.cache_bytes,
            heal: self.plan.heal,
            work: WorkSettings::default(),
            scrub: self.plan.scrub,
            index: None,
            federation: None,
            spread: self.plan.spread,
            placements: self.placements.clone(),
            planted: self.planted,
            meta: MetaProbe { observer: self.observer(), ..MetaProbe::default() },
        };
        let host = Arc::new(Host::new(number, machine, settings, self.oracle.clone()));
        if number == 0 {
            host.invite(operator::founding(&self.plan));
        }
        host.mend_disk();
        hosts.push(Arc::clone(&host));
        host
    }

    /// Returns eyes on what peers carry out.
    fn observer(&self) -> Observer {
        let oracle = self.oracle.clone();
        Observer::new(move |observed| match observed {
            Observed::Applied { index, bytes, .. } => oracle.applied(index, bytes),
            Observed::Installed { .. } => {}
        })
    }

    /// Returns all machines, those with lost disks too.
    pub(super) fn hosts(&self) -> Vec<Arc<Host>> {
        lock(&self.hosts).clone()
    }

    /// Cuts the power of every machine at once.
    pub(super) fn blackout(&self) {
        self.oracle.fault("blackout");
        for host in self.hosts() {
            if !host.is_retired() {
                host.end(Loss::Power);
            }
        }
    }

    /// Loses the disk of the first doomed machine that still has one, and brings a new machine in its place.
    pub(super) fn lose_disk(&self) {
        let hosts = self.hosts();
        let doomed = self.plan.doomed.iter().filter_map(|number| hosts.get(*number));
        if let Some(host) = doomed.into_iter().find(|host| !host.is_retired()) {
            self.lose(host);
        }
    }

    fn lose(&self, host: &Host) {
        self.oracle.fault("disk lost");
        self.losses.fetch_add(1, Ordering::Relaxed);
        host.end(Loss::Disk);
        let zone = self.plan.zones.get(host.number).cloned().unwrap_or_default();
        self.add(zone);
    }

    /// Does what the plan has for the moment of an acknowledgement: of number `count`, given by `gateway`
    /// after `elapsed`.
    pub(super) fn ambush(&self, gateway: &Host, count: u64, elapsed: Duration) {
        if self.calm.load(Ordering::Relaxed) {
            return;
        }
        if self.plan.blackouts.contains(&count) {
            self.blackout();
        }
        let due = self.plan.disk_loss_from.is_some_and(|from| count >= from);
        // An upload that waited out its grace has fewer copies than it wanted.
        if due && elapsed >= LATE_COPY_GRACE && !self.ambushed.swap(true, Ordering::Relaxed) {
            self.lose(gateway);
        }
    }

    /// Flips bits on the disk of a doomed machine.
    pub(super) fn rot(&self, number: usize, flips: u64) {
        let Some(host) = self.hosts().get(number).cloned() else { return };
        for _ in 0..flips {
            if let Some(place) = host.machine.device().rot() {
                self.world.record(format_args!("rot {number} {place}"), &[]);
                self.oracle.fault("bit rotten");
                self.losses.fetch_add(1, Ordering::Relaxed);
            }
            if host.machine.device().rot_small() {
                self.oracle.fault("small block rotten");
                self.losses.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
