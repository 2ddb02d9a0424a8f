//! One simulated machine: what survives its crashes, and the processes that run on it, one after the other.
//!
//! A crash drops every task of the process at once, wherever it waits. [`SimEnv`] is the machine as the
//! daemon's code sees it. Never: lets a task of one process touch the next one's state.
#![expect(clippy::disallowed_methods, reason = "the simulated machine is the driver that spawns")]

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use node::env::Env;
use protocol::{Instant, PeerId, Prng, WallTime};
use tokio::task::AbortHandle;

use super::chance::Chance;
use super::clock::Clock;
use super::disk::{Device, SimDisk};
use super::lock::lock;
use super::net::SimNet;
use super::world::{World, panic_text};

/// Civil time at the start of every run: 2026-01-01.
const EPOCH_UNIX_MILLIS: u64 = 1_767_225_600_000;
/// Clocks of machines are wrong by up to this much.
const SKEW_MILLIS_MAX: u64 = 5_000;

/// How a process ends without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process is killed; what it wrote survives in the kernel's cache.
    Process,
    /// The power fails; what was not synced is in doubt.
    Power,
    /// The disk is lost with all it held.
    Disk,
    /// What was agreed on is lost, and the directory's ids are not: no daemon may get into this by itself.
    Agreement,
}

/// A machine. It belongs to one run.
#[derive(Debug)]
pub struct Machine {
    world: World,
    peer: PeerId,
    address: String,
    device: Arc<Device>,
    /// How far its civil clock is ahead of the slowest one there may be.
    skew_millis: Arc<AtomicU64>,
    chance: Chance,
    life: Mutex<Option<Arc<Life>>>,
}

/// One process, from its start to its end.
#[derive(Debug)]
pub(crate) struct Life {
    world: World,
    peer: PeerId,
    origin: u64,
    skew_millis: Arc<AtomicU64>,
    chance: Chance,
    running: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Machine {
    /// Returns a new machine with an empty disk, at the address `/sim/<number>`. Numbers are not used twice.
    #[must_use]
    pub fn new(world: &World, number: u32) -> Self {
        let mut prng = world.prng();
        // The same peers in every run: where blocks belong among them need not be computed anew.
        let mut key = [0; 32];
        fill(&mut Prng::new(number.into()), &mut key);
        let address = format!("/sim/{number}");
        let peer = PeerId::from_public_key(key);
        world.network().install(peer, address.clone());
        Self {
            world: world.clone(),
            peer,
            device: Arc::new(Device::new(address.clone(), prng.fork())),
            address,
            skew_millis: Arc::new(AtomicU64::new(prng.below(2 * SKEW_MILLIS_MAX))),
            chance: Chance::new(prng),
            life: Mutex::default(),
        }
    }

    /// Returns the peer's id, which the machine keeps.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Returns the address at which other machines reach it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the disk.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Moves its civil clock, as an operator or a time server does; not before the epoch of the run.
    pub fn jump_clock(&self, millis: i64) {
        self.world.record(format_args!("jump {} {millis}", self.address), &[]);
        let skew = self.skew_millis.load(Ordering::Relaxed);
        self.skew_millis.store(skew.saturating_add_signed(millis), Ordering::Relaxed);
    }

    /// Says whether a process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        lock(&self.life).as_ref().is_some_and(|life| life.is_running())
    }

    /// Starts a process and returns its environment. One that still runs is killed.
    #[must_use]
    pub fn boot(&self) -> SimEnv {
        self.end(Loss::Process);
        // Clocks of a process start anywhere, so that no two peers can mistake each other's for their own.
        let lead = self.chance.below(3_600_000_000_000);
        let life = Arc::new(Life {
            world: self.world.clone(),
            peer: self.peer,
            origin: lead.wrapping_sub(self.world.clock().nanos()),
            skew_millis: Arc::clone(&self.skew_millis),
            chance: Chance::new(self.chance.fork()),
            running: AtomicBool::new(true),
            tasks: Mutex::default(),
        });
        self.world.record(format_args!("boot {}", self.address), &[]);
        *lock(&self.life) = Some(Arc::clone(&life));
        let net = SimNet::attach(&life);
        SimEnv { net, disk: SimDisk::new(Arc::clone(&self.device), Arc::clone(&life)), life }
    }

    /// Ends the process, if one runs; its disk keeps what `loss` leaves.
    pub fn end(&self, loss: Loss) {
        let life = lock(&self.life).take();
        if let Some(life) = life {
            self.world.record(format_args!("end {} {loss:?}", self.address), &[]);
            life.end();
        }
        match loss {
            Loss::Process => self.device.kill_process(),
            Loss::Power => self.device.cut_power(),
            Loss::Disk => self.device.wipe(),
            Loss::Agreement => self.device.forget_agreement(),
        }
    }
}

impl Life {
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    pub(crate) fn clock(&self) -> Clock {
        self.world.clock()
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    pub(crate) fn record(&self, event: fmt::Arguments<'_>, payload: &[&[u8]]) {
        self.world.record(event, payload);
    }

    /// Runs a task of this process until it ends or the process does. A panic in it ends the process.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        if !self.is_running() {
            return;
        }
        let life = Arc::clone(self);
        let guarded = async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let text = panic_text(panic.as_ref());
                life.world.fail(format!("task {name} of {} panicked: {text}", life.peer));
                life.end();
            }
        };
        let handle = tokio::spawn(guarded).abort_handle();
        let mut tasks = lock(&self.tasks);
        // Forget finished tasks whenever the list would grow, so that its length follows the running ones.
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(handle);
    }

    fn end(&self) {
        self.running.store(false, Ordering::Relaxed);
        for task in std::mem::take(&mut *lock(&self.tasks)) {
            task.abort();
        }
        self.world.network().detach(&self.world, self.peer);
    }
}

fn fill(prng: &mut Prng, bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        let random = prng.next_u64().to_le_bytes();
        chunk.copy_from_slice(&random[..chunk.len()]);
    }
}

/// The machine as a process on it sees it.
#[derive(Clone, Debug)]
pub struct SimEnv {
    life: Arc<Life>,
    net: SimNet,
    disk: SimDisk,
}

impl SimEnv {
    /// Returns the run it is part of.
    #[must_use]
    pub fn world(&self) -> &World {
        self.life.world()
    }

    /// Says whether the process still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.life.is_running()
    }
}

impl Env for SimEnv {
    type Net = SimNet;
    type Disk = SimDisk;

    fn now(&self) -> Instant {
        Instant::from_nanos(self.life.clock().nanos().wrapping_add(self.life.origin))
    }

    fn wall(&self) -> WallTime {
        let run = self.life.clock().nanos() / 1_000_000;
        let skew = self.life.skew_millis.load(Ordering::Relaxed);
        let skewed = EPOCH_UNIX_MILLIS - SKEW_MILLIS_MAX + skew;
        WallTime::from_unix_millis(skewed + run)
    }

    async fn sleep_until(&self, at: Instant) {
        let left = at.since(self.now());
        self.life.clock().sleep(left).await;
    }

    fn prng(&self) -> Prng {
        self.life.chance.fork()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        fill(&mut self.life.chance.fork(), bytes);
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.life.spawn(name, task);
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // Other tasks may run first, and sometimes the processor is busy elsewhere.
        if self.life.chance.happens(100_000) {
            let busy = self.life.chance.between(Duration::ZERO, Duration::from_millis(3));
            self.life.clock().sleep(busy).await;
        } else {
            tokio::task::yield_now().await;
        }
        work()
    }

    fn net(&self) -> &SimNet {
        &self.net
    }

    fn disk(&self) -> &SimDisk {
        &self.disk
    }
}
