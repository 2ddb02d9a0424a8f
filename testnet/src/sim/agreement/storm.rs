//! The storm: crashes that take what was not synced, quick and slow restarts, cuts, bad weather, slow disks, members
//! that come and go.
//!
//! Never: loses the disk of more machines than the voters can do without.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::Prng;
use protocol::metadata::Op;

use super::group::{Group, Host};
use crate::sim::{DiskHabits, LinkHabits, Loss};

/// How far a clock jumps at once.
const CLOCK_JUMP_MILLIS_MAX: u64 = 600_000;

/// Members that may come and go in one run.
const CHURN_MAX: u64 = 4;

/// What happens later.
#[derive(Clone, Copy, Debug)]
enum Later {
    Boot(usize),
    Mend(usize, usize),
    MendDisk(usize),
}

struct Storm {
    group: Group,
    prng: Prng,
    later: BTreeMap<(u64, u64), Later>,
    count: u64,
    churned: u64,
    faults: u64,
    lost_disks: u64,
}

/// Rages until `until`, and returns the number of faults.
pub(super) async fn rage(group: Group, prng: Prng, until: u64) -> u64 {
    let mut storm = Storm {
        group,
        prng,
        later: BTreeMap::new(),
        count: 0,
        churned: 0,
        faults: 0,
        lost_disks: 0,
    };
    loop {
        let mean = super::nanos(storm.group.plan.fault_pause);
        let next = storm.now() + storm.prng.below(2 * mean);
        storm.pass_until(next.min(until)).await;
        if next >= until {
            return storm.faults;
        }
        storm.fault();
    }
}

impl Storm {
    fn now(&self) -> u64 {
        self.group.world.clock().nanos()
    }

    /// Lets time pass, doing what was put off.
    async fn pass_until(&mut self, end: u64) {
        while let Some((&(at, number), &later)) = self.later.iter().next() {
            if at > end {
                break;
            }
            self.later.remove(&(at, number));
            self.group.world.clock().sleep_until_nanos(at).await;
            let hosts = self.group.hosts();
            match later {
                Later::Boot(number) => self.group.boot(&hosts[number]),
                Later::MendDisk(number) => {
                    hosts[number].machine.device().set_habits(DiskHabits::default());
                }
                Later::Mend(a, b) => {
                    let world = &self.group.world;
                    let (a, b) = (hosts[a].machine.peer(), hosts[b].machine.peer());
                    world.network().mend(world, a, b);
                }
            }
        }
        self.group.world.clock().sleep_until_nanos(end).await;
    }

    fn put_off(&mut self, by: Duration, later: Later) {
        self.count += 1;
        let at = self.now() + self.prng.below(super::nanos(by));
        self.later.insert((at, self.count), later);
    }

    /// Picks a machine: often the leader's, on which most depends.
    fn pick(&mut self) -> Option<Arc<Host>> {
        if self.prng.chance(1, 2)
            && let Some(leader) = self.group.leader()
        {
            return Some(leader);
        }
        let hosts = self.group.present();
        self.prng.index(hosts.len()).and_then(|index| hosts.get(index)).cloned()
    }

    fn crash(&mut self, host: &Host, loss: Loss) {
        host.end(self.group.loss(loss));
        let down = Duration::from_millis(5 + self.group.plan.down_millis);
        self.put_off(down, Later::Boot(host.number));
    }

    fn fault(&mut self) {
        let Some(host) = self.pick() else { return };
        self.faults += 1;
        let secs = Duration::from_secs;
        match self.prng.below(15) {
            0..=3 => self.crash(&host, Loss::Power),
            4 => self.crash(&host, Loss::Process),
            5 => {
                // All at once: only what was synced is left anywhere.
                for host in self.group.present() {
                    self.crash(&host, Loss::Power);
                }
            }
            6 | 7 => {
                for other in 0..self.group.hosts().len() {
                    self.cut(host.number, other, secs(4));
                    self.cut(other, host.number, secs(4));
                }
            }
            8 => {
                let other = self.pick().map_or(host.number, |other| other.number);
                self.cut(host.number, other, secs(6));
            }
            9 => self.split(),
            10 => self.change_weather(),
            11 => {
                let slowness = 5 + u32::try_from(self.prng.below(40)).unwrap_or(0);
                let habits = DiskHabits { slowness, ..DiskHabits::default() };
                host.machine.device().set_habits(habits);
                self.put_off(secs(4), Later::MendDisk(host.number));
            }
            12 => {
                let millis = self.prng.below(CLOCK_JUMP_MILLIS_MAX).cast_signed();
                let is_back = self.prng.chance(1, 2);
                host.machine.jump_clock(if is_back { -millis } else { millis });
            }
            _ => self.churn(&host),
        }
    }

    fn cut(&mut self, from: usize, to: usize, within: Duration) {
        if from != to {
            let hosts = self.group.hosts();
            let world = self.group.world.clone();
            world.network().cut(&world, hosts[from].machine.peer(), hosts[to].machine.peer());
            self.put_off(within, Later::Mend(from, to));
        }
    }

    /// Cuts the machines in two.
    fn split(&mut self) {
        let mut numbers: Vec<usize> = self.group.hosts().iter().map(|host| host.number).collect();
        self.prng.shuffle(&mut numbers);
        let (one, other) = numbers.split_at(numbers.len() / 2);
        for a in one {
            for b in other {
                self.cut(*a, *b, Duration::from_secs(5));
                self.cut(*b, *a, Duration::from_secs(5));
            }
        }
    }

    fn change_weather(&mut self) {
        let hosts = self.group.hosts();
        let fine = self.prng.chance(1, 3);
        for a in &hosts {
            for b in &hosts {
                let habits = if fine { LinkHabits::default() } else { weather(&mut self.prng) };
                let network = self.group.world.network();
                network.set_habits(a.machine.peer(), b.machine.peer(), habits);
            }
        }
    }

    /// Has a new member come, and sometimes one go, or a disk be lost for good.
    fn churn(&mut self, host: &Arc<Host>) {
        if !self.group.plan.churn || self.churned >= CHURN_MAX {
            return;
        }
        self.churned += 1;
        if self.prng.chance(1, 2) {
            let new = self.group.add();
            self.group.boot(&new);
            let group = self.group.clone();
            self.group.world.spawn(async move { group.join(&new).await });
        } else if self.group.present().len() > 3 && self.lost_disks == 0 {
            // One disk at most: with the tails that crashes take, two could be a majority.
            self.lost_disks += 1;
            let raft_id = host.meta().map(|meta| meta.raft_id().0);
            let loss = if self.prng.chance(1, 2) { Loss::Disk } else { Loss::Power };
            if loss == Loss::Disk {
                host.end(Loss::Disk);
            }
            if let Some(raft_id) = raft_id {
                let (group, host) = (self.group.clone(), Arc::clone(host));
                self.group.world.spawn(async move {
                    group.command(Op::RemoveMember { raft_id }).await;
                    if group.has_left(raft_id).await {
                        // It learns of it from nobody: whoever removed it switches it off.
                        group.world.clock().sleep(Duration::from_secs(3)).await;
                        host.end(Loss::Disk);
                    }
                });
            }
        }
    }
}

/// Draws how one direction of a link behaves while faults happen.
fn weather(prng: &mut Prng) -> LinkHabits {
    let mut up_to = |most: u64| if prng.chance(1, 2) { 0 } else { prng.below(most) };
    let (losses, repeats, overtaken) = (up_to(50_000), up_to(50_000), up_to(50_000));
    let resets = up_to(3_000);
    let least = Duration::from_micros(100 + up_to(5_000));
    LinkHabits {
        delay: (least, least + Duration::from_micros(up_to(30_000))),
        bytes_per_second: 1 << (20 + prng.below(9)),
        losses,
        repeats,
        overtaken,
        resets,
        garbles: 0,
    }
}
