//! The machines of a run and the nodes on them: started, ended and started again.
//!
//! A node that gives up by itself, because its disk failed, is started again as a service manager would.
//! Never: decides when a fault happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::env::{Env as _, Net as _};
use node::peers::Placements;
use node::{Node, NodeSettings, Planted};
use protocol::limits::LATE_COPY_GRACE;
use protocol::topology::Zone;
use protocol::{ClusterId, PeerId};

use super::plan::Plan;
use crate::sim::lock::lock;
use crate::sim::oracle::Oracle;
use crate::sim::{DiskHabits, Loss, Machine, SimEnv, World};

/// How often a peer that knows nobody dials its bootstrap peers.
const BOOTSTRAP_PAUSE: Duration = Duration::from_secs(3);
/// Bytes of a healthy device.
pub(super) const DEVICE_BYTES: u64 = 1 << 30;

/// A machine and the node on it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) number: usize,
    pub(super) machine: Machine,
    settings: NodeSettings,
    bootstrap: Vec<(PeerId, String)>,
    node: Mutex<Option<Node<SimEnv>>>,
    /// Whether its disk was lost: it never comes back, another one takes its place.
    retired: Mutex<bool>,
}

/// All machines of a run.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) oracle: Oracle,
    pub(super) plan: Plan,
    planted: Planted,
    hosts: Mutex<Vec<Arc<Host>>>,
    /// Disks lost and bits rotten so far.
    pub(super) losses: AtomicU64,
    placements: Placements,
    ambushed: AtomicBool,
    /// Whether the storm is over: uploads that end only now are not ambushed any more.
    pub(super) calm: AtomicBool,
}

impl Host {
    /// Returns the node, if one runs and has recovered.
    pub(super) fn node(&self) -> Option<Node<SimEnv>> {
        lock(&self.node).clone()
    }

    /// Says whether the machine's disk was lost.
    pub(super) fn is_retired(&self) -> bool {
        *lock(&self.retired)
    }

    /// Says whether the machine could run and does not.
    pub(super) fn is_down(&self) -> bool {
        !self.machine.is_running() && !self.is_retired()
    }

    /// Starts the node, unless it runs or its disk was lost.
    pub(super) fn boot(self: &Arc<Self>) {
        if !self.is_down() {
            return;
        }
        let env = self.machine.boot();
        let host = Arc::clone(self);
        env.clone().spawn("node", async move {
            match Node::start(env.clone(), host.settings.clone()).await {
                Ok(node) => {
                    *lock(&host.node) = Some(node.clone());
                    env.spawn("bootstrap", bootstrap(node.clone(), host.bootstrap.clone()));
                    node.failed().await;
                }
                Err(fault) => {
                    let number = host.number;
                    env.world().record(format_args!("start of {number} failed: {fault}"), &[]);
                }
            }
            // What the kernel forgot at a failed sync is not to be trusted by the next process: the operator
            // starts the machine again, not only the process.
            host.end(Loss::Power);
        });
    }

    /// Ends the node, if one runs.
    pub(super) fn end(&self, loss: Loss) {
        *lock(&self.node) = None;
        if loss == Loss::Disk {
            *lock(&self.retired) = true;
        }
        self.machine.end(loss);
    }

    /// Makes the disk a healthy one again.
    pub(super) fn mend_disk(&self) {
        self.machine.device().set_habits(DiskHabits::default());
        self.machine.device().set_capacity(DEVICE_BYTES);
    }
}

/// Dials the bootstrap peers for as long as nobody else is known.
async fn bootstrap(node: Node<SimEnv>, peers: Vec<(PeerId, String)>) {
    let env = node.env().clone();
    loop {
        if node.peers().view().peers().len() <= 1 {
            for (peer, address) in &peers {
                env.net().dial(*peer, vec![address.clone()]);
            }
        }
        env.sleep_until(env.now().after(BOOTSTRAP_PAUSE)).await;
    }
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

    /// Adds a machine in a zone, which knows the addresses of two others.
    pub(super) fn add(&self, zone: Zone) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        let number = hosts.len();
        let machine = Machine::new(&self.world, u32::try_from(number).unwrap_or(u32::MAX));
        let others = hosts.iter().filter(|host| !host.is_retired()).take(2);
        let bootstrap =
            others.map(|h| (h.machine.peer(), h.machine.address().to_owned())).collect();
        let host = Arc::new(Host {
            number,
            machine,
            settings: NodeSettings {
                cluster: ClusterId::from_bytes([7; 16]),
                cluster_name: "simulated".to_owned(),
                name: format!("n{number}"),
                zone,
                replicas: self.plan.replicas,
                store: self.plan.store.clone(),
                founder: false,
                placements: self.placements.clone(),
                planted: self.planted,
            },
            bootstrap,
            node: Mutex::default(),
            retired: Mutex::default(),
        });
        host.mend_disk();
        hosts.push(Arc::clone(&host));
        host
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
