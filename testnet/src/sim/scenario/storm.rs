//! The storm: faults of the network, the disks and the processes, one after the other, as the seed has it.
//!
//! Whatever is broken for a while is mended by the storm itself or by the calm after it.
//! Never: harms the disks of more peers than the plan dooms.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::Prng;

use super::cluster::{Cluster, Host};
use super::plan::{slow_disk, weather};
use crate::sim::{DiskHabits, Loss};

/// How far a civil clock jumps: a wrong time zone.
const CLOCK_JUMP_MILLIS_MAX: u64 = 12 * 3_600_000;

/// What is still to come.
#[derive(Clone, Debug)]
enum Later {
    Boot(usize),
    MendLink(usize, usize),
    MendDisk(usize),
}

struct Storm {
    cluster: Arc<Cluster>,
    prng: Prng,
    later: BTreeMap<(u64, u64), Later>,
    count: u64,
}

/// Lets faults happen until `until`, in virtual nanoseconds. All machines run when it begins.
pub(super) async fn rage(cluster: Arc<Cluster>, prng: Prng, until: u64) {
    let clock = cluster.world.clock();
    let mut storm = Storm { cluster, prng, later: BTreeMap::new(), count: 0 };
    storm.change_weather();
    let mut next_fault = clock.nanos() + storm.pause();
    while clock.nanos() < until {
        let due = storm.later.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
        // Half a second at most, to start again what ended by itself.
        let wake = due.min(next_fault).min(until).min(clock.nanos() + 500_000_000);
        clock.sleep_until_nanos(wake).await;
        let now = clock.nanos();
        storm.mend(now);
        if now >= next_fault {
            storm.fault();
            next_fault = now + storm.pause();
        }
        storm.revive();
    }
}

impl Storm {
    fn pause(&mut self) -> u64 {
        let mean = u64::try_from(self.cluster.plan.fault_pause.as_nanos()).unwrap_or(u64::MAX);
        self.prng.below(2 * mean)
    }

    fn schedule(&mut self, within: Duration, later: Later) {
        let now = self.cluster.world.clock().nanos();
        let at = now + self.prng.below(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX));
        self.count += 1;
        self.later.insert((at, self.count), later);
    }

    /// Does what is due.
    fn mend(&mut self, now: u64) {
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            let hosts = self.cluster.hosts();
            match entry.remove() {
                Later::Boot(number) => hosts[number].boot(),
                Later::MendDisk(number) => hosts[number].mend_disk(),
                Later::MendLink(a, b) => {
                    let (a, b) = (hosts[a].machine.peer(), hosts[b].machine.peer());
                    self.cluster.world.network().mend(&self.cluster.world, a, b);
                }
            }
        }
    }

    /// Starts again, in a while, what is down and not yet to be started.
    fn revive(&mut self) {
        for host in self.cluster.hosts() {
            let is_planned = |later: &Later| matches!(later, Later::Boot(n) if *n == host.number);
            if host.is_down() && !self.later.values().any(is_planned) {
                self.schedule(Duration::from_secs(4), Later::Boot(host.number));
            }
        }
    }

    fn pick(&mut self) -> Option<Arc<Host>> {
        let hosts = self.cluster.hosts();
        let index = self.prng.index(hosts.len())?;
        hosts.get(index).filter(|host| !host.is_retired()).cloned()
    }

    fn fault(&mut self) {
        let Some(host) = self.pick() else { return };
        let oracle = self.cluster.oracle.clone();
        let secs = Duration::from_secs;
        match self.prng.below(16) {
            0..=2 => {
                oracle.fault("power cut");
                host.end(Loss::Power);
            }
            3 | 4 => {
                oracle.fault("process killed");
                host.end(Loss::Process);
            }
            5 | 6 => {
                oracle.fault("link cut");
                if let Some(other) = self.pick() {
                    self.cut(host.number, other.number, secs(12));
                }
            }
            7 => {
                oracle.fault("peer isolated");
                for other in 0..self.cluster.hosts().len() {
                    self.cut(host.number, other, secs(8));
                    self.cut(other, host.number, secs(8));
                }
            }
            8 | 9 => {
                oracle.fault("weather changed");
                self.change_weather();
            }
            10 => {
                oracle.fault("disk slow");
                host.machine.device().set_habits(slow_disk(&mut self.prng));
                self.schedule(secs(6), Later::MendDisk(host.number));
            }
            11 => {
                oracle.fault("disk full");
                let space = host.machine.device().space();
                let used = space.total_bytes - space.free_bytes;
                host.machine.device().set_capacity(used + self.prng.below(400 << 10));
                self.schedule(secs(6), Later::MendDisk(host.number));
            }
            12 => {
                oracle.fault("sync fails");
                let failing = DiskHabits { sync_failures: 300_000, ..DiskHabits::default() };
                host.machine.device().set_habits(failing);
                self.schedule(secs(1), Later::MendDisk(host.number));
            }
            13 => {
                oracle.fault("clock jumped");
                let millis = self.prng.below(CLOCK_JUMP_MILLIS_MAX).cast_signed();
                let back = self.prng.chance(1, 2);
                host.machine.jump_clock(if back { -millis } else { millis });
            }
            _ => self.harm(),
        }
    }

    /// Rots or loses the disk of a doomed machine.
    fn harm(&mut self) {
        let doomed = self.cluster.plan.doomed.clone();
        if let Some(number) = self.prng.index(doomed.len()).and_then(|i| doomed.get(i)) {
            if self.prng.chance(1, 6) {
                self.cluster.lose_disk();
            } else {
                let flips = 1 + self.prng.below(20);
                self.cluster.rot(*number, flips);
            }
        }
    }

    fn cut(&mut self, from: usize, to: usize, within: Duration) {
        let hosts = self.cluster.hosts();
        if from != to {
            let (a, b) = (hosts[from].machine.peer(), hosts[to].machine.peer());
            self.cluster.world.network().cut(&self.cluster.world, a, b);
            self.schedule(within, Later::MendLink(from, to));
        }
    }

    fn change_weather(&mut self) {
        let hosts = self.cluster.hosts();
        let fine = self.prng.chance(1, 4);
        for a in &hosts {
            for b in &hosts {
                let habits = if fine { <_>::default() } else { weather(&mut self.prng) };
                self.cluster.world.network().set_habits(a.machine.peer(), b.machine.peer(), habits);
            }
        }
    }
}
