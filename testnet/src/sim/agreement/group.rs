//! The machines of a run, each with a peer that agrees with the others, and the members that they are.
//!
//! Never: decides when a fault happens.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use node::env::{Env as _, Membership, Net as _, NetEvent};
use node::meta::{Freshness, Meta, MetaSettings, Observer, Planted};
use node::rpc::{Handler, Rpc, RpcMetrics, dispatch};
use protocol::metadata::{
    Actor, Command, DisplayName, Label, Member, MemberState, Op, Outcome, RequestId, Source, query,
};
use protocol::topology::{ReplicaCount, Zone};
use protocol::wire::{Class, Reply, Request};
use protocol::{ClusterId, Fault, Kind, PeerId, WallTime};
use tokio::sync::{mpsc, oneshot};

use super::Plant;
use super::history::{History, INITIAL};
use super::plan::Plan;
use crate::sim::lock::lock;
use crate::sim::properties::Property;
use crate::sim::{Loss, Machine, SimEnv, World};

/// Room for gossip that nobody sends here.
const NOTICES_MAX: usize = 1;
/// How often a peer draws a mark: so often that faults meet it.
const MARK_PAUSE: Duration = Duration::from_secs(2);
/// How often a peer is told the addresses of all others.
const DIAL_PAUSE: Duration = Duration::from_secs(1);
/// The cluster that all of them are of.
const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
/// How long the calm before the storm may take.
const CALM: Duration = Duration::from_secs(60);
/// How long one command of the run itself may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine and the peer on it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) number: usize,
    pub(super) machine: Machine,
    meta: Mutex<Option<Meta<SimEnv>>>,
    /// Whether it left for good.
    retired: Mutex<bool>,
}

/// All machines of a run. Clones are handles to the same ones.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) world: World,
    pub(super) history: History,
    pub(super) plan: Plan,
    plant: Option<Plant>,
    hosts: Arc<Mutex<Vec<Arc<Host>>>>,
    /// Whether faults may happen now.
    pub(super) is_storm: Arc<Mutex<bool>>,
}

impl Host {
    pub(super) fn meta(&self) -> Option<Meta<SimEnv>> {
        lock(&self.meta).clone()
    }

    pub(super) fn is_retired(&self) -> bool {
        *lock(&self.retired)
    }

    /// Says whether the machine could run and does not.
    pub(super) fn is_down(&self) -> bool {
        !self.machine.is_running() && !self.is_retired()
    }

    /// Ends the process, if one runs.
    pub(super) fn end(&self, loss: Loss) {
        *lock(&self.meta) = None;
        if loss == Loss::Disk {
            *lock(&self.retired) = true;
        }
        self.machine.end(loss);
    }
}

/// Answers from the agreement.
#[derive(Clone)]
struct Doorman {
    meta: Meta<SimEnv>,
}

impl Handler for Doorman {
    fn work(&self, _: PeerId, _: Bytes) {}

    async fn handle(&self, from: PeerId, request: Request) -> Result<Reply, Fault> {
        let Request::Meta { body } = request else {
            return Err(Fault::new(Kind::Internal, "nothing else is asked here"));
        };
        Ok(Reply::Meta { body: self.meta.serve(from, body).await? })
    }
}

impl Group {
    /// Returns the machines of a plan, all switched off.
    pub(super) fn new(world: &World, history: &History, plan: Plan, plant: Option<Plant>) -> Self {
        let group = Self {
            world: world.clone(),
            history: history.clone(),
            plan,
            plant,
            hosts: Arc::default(),
            is_storm: Arc::default(),
        };
        for _ in 0..group.plan.peers {
            group.add();
        }
        group
    }

    /// Adds a machine.
    pub(super) fn add(&self) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        let number = hosts.len();
        let machine = Machine::new(&self.world, u32::try_from(number).unwrap_or(u32::MAX));
        let host =
            Arc::new(Host { number, machine, meta: Mutex::default(), retired: Mutex::default() });
        hosts.push(Arc::clone(&host));
        host
    }

    pub(super) fn hosts(&self) -> Vec<Arc<Host>> {
        lock(&self.hosts).clone()
    }

    /// Returns the machines that did not leave.
    pub(super) fn present(&self) -> Vec<Arc<Host>> {
        self.hosts().into_iter().filter(|host| !host.is_retired()).collect()
    }

    /// Returns the peer that believes to lead in the highest term.
    pub(super) fn leader(&self) -> Option<Arc<Host>> {
        let leading = self.present().into_iter().filter_map(|host| {
            let status = host.meta()?.status();
            status.is_leader.then_some((status.term, host))
        });
        leading.max_by_key(|(term, host)| (*term, host.number)).map(|(_, host)| host)
    }

    /// Starts a peer, unless it runs or left.
    pub(super) fn boot(&self, host: &Arc<Host>) {
        if !host.is_down() {
            return;
        }
        let env = host.machine.boot();
        let (group, host) = (self.clone(), Arc::clone(host));
        env.clone().spawn("peer", async move {
            group.clone().live(env, Arc::clone(&host)).await;
            // What the kernel forgot at a failed sync is not to be trusted by the next process.
            host.end(Loss::Power);
        });
    }

    /// Runs a peer until its agreement fails.
    async fn live(self, env: SimEnv, host: Arc<Host>) {
        let rpc = Rpc::new(env.clone(), RpcMetrics::default());
        let (Some(inbox), Some(events)) =
            (env.net().take_inbox(Class::Control), env.net().take_events())
        else {
            return;
        };
        let meta = match Meta::start(env.clone(), self.settings(host.number), rpc.clone()).await {
            Ok(meta) => meta,
            Err(fault) => {
                let number = host.number;
                self.world.record(format_args!("start of {number} failed: {fault}"), &[]);
                if fault.kind != Kind::Unavailable && !fault.detail.contains("closed") {
                    let detail = format!("n{number} cannot start: {fault}");
                    self.history.violated(Property::Heals, detail);
                }
                return;
            }
        };
        let (notices, _unheard) = mpsc::channel(NOTICES_MAX);
        let doorman = Doorman { meta: meta.clone() };
        let task = dispatch(env.clone(), Class::Control, inbox, rpc.clone(), doorman, notices);
        env.spawn("rpc.dispatch", task);
        env.spawn("net.events", watch_events(rpc, events));
        env.spawn("dial", self.clone().dial(env.clone(), host.machine.peer()));
        env.spawn("ambush", self.clone().lie_in_wait(meta.clone(), Arc::clone(&host)));
        *lock(&host.meta) = Some(meta.clone());
        let reason = meta.failed().await;
        self.history.violated(Property::Heals, format!("n{} stopped: {reason}", host.number));
    }

    /// Waylays a peer whenever it becomes the leader, if the plan says so: whatever its voters did not sync
    /// before they voted is lost, and they may elect another while it still believes in itself.
    async fn lie_in_wait(self, meta: Meta<SimEnv>, host: Arc<Host>) {
        let mut watch = meta.watch_status();
        let mut led = 0;
        let mut prng = self.world.prng();
        while watch.changed().await {
            let status = meta.status();
            if !status.is_leader || status.term == led {
                continue;
            }
            led = status.term;
            let is_storm = *lock(&self.is_storm);
            if !self.plan.ambushes || !is_storm || !prng.chance(1, 2) {
                continue;
            }
            self.world.record(format_args!("ambush of {}", host.number), &[]);
            for other in self.present() {
                if other.number == host.number {
                    continue;
                }
                let (a, b) = (host.machine.peer(), other.machine.peer());
                self.world.network().cut(&self.world, a, b);
                self.world.network().cut(&self.world, b, a);
                other.end(self.loss(Loss::Power));
                let (up, apart) = (5 + prng.below(60), 3_000 + prng.below(3_000));
                let group = self.clone();
                self.world.spawn(async move {
                    group.world.clock().sleep(Duration::from_millis(up)).await;
                    group.boot(&other);
                    group.world.clock().sleep(Duration::from_millis(apart)).await;
                    group.world.network().mend(&group.world, a, b);
                    group.world.network().mend(&group.world, b, a);
                });
            }
        }
    }

    /// Returns what a machine loses that is to lose this.
    pub(super) fn loss(&self, loss: Loss) -> Loss {
        let is_reborn = loss == Loss::Power && self.plant == Some(Plant::ReusedId);
        if is_reborn { Loss::Agreement } else { loss }
    }

    fn settings(&self, number: usize) -> MetaSettings {
        let history = self.history.clone();
        MetaSettings {
            snapshot_entries: self.plan.snapshot_entries,
            log_entries_kept: self.plan.log_entries_kept,
            sync_before_return: self.plan.sync_before_return,
            mark_pause: MARK_PAUSE,
            planted: Planted {
                vote_not_synced: self.plant == Some(Plant::VoteNotSynced),
                leader_restore_on: self.plant == Some(Plant::LeaderRestoreOn),
                stale_read: self.plant == Some(Plant::StaleRead),
                lease_cut_short: self.plant == Some(Plant::LeaseCutShort),
                copies_unnoticed: self.plant == Some(Plant::ReusedId),
            },
            observer: Observer::new(move |observed| history.observed(number, observed)),
            ..MetaSettings::new(CLUSTER)
        }
    }

    /// Keeps telling a peer who the others are, and where. Who left is still let in: what the group makes of it is
    /// to be seen here, not that nobody hears it.
    async fn dial(self, env: SimEnv, own: PeerId) {
        loop {
            let members = self.hosts().iter().map(|host| host.machine.peer()).collect();
            env.net().set_membership(Some(Membership { cluster: CLUSTER, members }));
            for host in self.present() {
                if host.machine.peer() != own {
                    let address = host.machine.address().to_owned();
                    env.net().dial(host.machine.peer(), vec![address]);
                }
            }
            env.sleep_until(env.now().after(DIAL_PAUSE)).await;
        }
    }

    /// Starts all peers, founds the cluster on the first and has the others join.
    pub(super) async fn found(&self) {
        let hosts = self.hosts();
        hosts.iter().for_each(|host| self.boot(host));
        let Some(first) = self.started(&hosts[0]).await else { return };
        let command = Command {
            request: RequestId([9; 16]),
            at: first.env().wall(),
            actor: Actor::System,
            op: Op::Found {
                cluster: first.cluster(),
                name: DisplayName::new("simulated").expect("the name is short"),
                first: member(&hosts[0], first.raft_id().0),
                admin_token_hash: [0xAD; 32],
                replicas: ReplicaCount::new(1).expect("one is a count"),
                grace_ms: INITIAL,
            },
        };
        let founded = {
            let first = first.clone();
            within(&hosts[0], async move { first.found(command).await }).await
        };
        if let Err(fault) = founded {
            let detail = format!("the cluster was not founded: {fault}");
            self.history.violated(Property::Heals, detail);
        }
        for host in &hosts[1..] {
            self.join(host).await;
        }
        // Until the voters are as many as they should be.
        let end = self.world.clock().nanos() + super::nanos(CALM);
        let wanted = protocol::metadata::voters::voter_count(hosts.len());
        while first.status().voters().len() != wanted {
            if self.world.clock().nanos() >= end {
                let detail = "the voters were never complete".to_owned();
                self.history.violated(Property::Heals, detail);
                return;
            }
            self.world.clock().sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a peer has started.
    pub(super) async fn started(&self, host: &Arc<Host>) -> Option<Meta<SimEnv>> {
        for _ in 0..1_000 {
            if let Some(meta) = host.meta() {
                return Some(meta);
            }
            self.world.clock().sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// Makes a machine a member, by a ticket, through whoever leads.
    pub(super) async fn join(&self, host: &Arc<Host>) {
        let Some(meta) = self.started(host).await else { return };
        let mut secret_hash = [0; 32];
        secret_hash[0] = u8::try_from(host.number).unwrap_or(u8::MAX);
        let expires = WallTime::from_unix_millis(u64::MAX / 2);
        let label = Label::default();
        let invite = Op::Invite { secret_hash, expires, label };
        let raft_id = meta.raft_id().0;
        let join = Op::Join { secret_hash, member: member(host, raft_id) };
        drop(meta);
        // Commands get lost on the way, as do answers: a ticket or a member that is there already is refused.
        loop {
            for op in [&invite, &join] {
                self.command(op.clone()).await;
            }
            if !self.has_left(raft_id).await {
                return;
            }
        }
    }

    /// Says whether there is no such member, once somebody can say.
    pub(super) async fn has_left(&self, raft_id: u64) -> bool {
        loop {
            if let Some(host) = self.leader()
                && let Some(meta) = host.meta()
            {
                let found = within(&host, async move {
                    let ask = move |source: &dyn Source| query::member(source, raft_id);
                    meta.read(Freshness::Latest, ask).await
                });
                if let Ok(found) = found.await {
                    return found.is_none();
                }
            }
            self.world.clock().sleep(Duration::from_millis(500)).await;
        }
    }

    /// Has a command carried out through whoever leads; gives up in time.
    pub(super) async fn command(&self, op: Op) -> Option<Outcome> {
        for _ in 0..20 {
            if let Some(host) = self.leader()
                && let Some(meta) = host.meta()
            {
                let op = op.clone();
                let outcome =
                    within(&host, async move { meta.propose(op, Actor::System, PATIENCE).await });
                match outcome.await {
                    Ok(outcome) => return Some(outcome),
                    Err(fault) if fault.kind == Kind::Unavailable => {}
                    // Done before, or refused: for the storm both are as good.
                    Err(_) => return None,
                }
            }
            self.world.clock().sleep(Duration::from_millis(500)).await;
        }
        None
    }
}

/// Runs a request inside the process of a host.
pub(super) async fn within<T: Send + 'static>(
    host: &Host,
    request: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, Fault> {
    let gone = || Fault::new(Kind::Unavailable, "the process went away");
    let Some(meta) = host.meta() else { return Err(gone()) };
    let (done, outcome) = oneshot::channel();
    meta.env().spawn("client", async move {
        // Whoever asked may have lost patience.
        drop(done.send(request.await));
    });
    drop(meta);
    outcome.await.unwrap_or_else(|_| Err(gone()))
}

async fn watch_events(rpc: Rpc<SimEnv>, mut events: mpsc::Receiver<NetEvent>) {
    while let Some(event) = events.recv().await {
        if let NetEvent::Disconnected(peer) = event {
            rpc.disconnected(peer);
        }
    }
}

fn member(host: &Host, raft_id: u64) -> Member {
    Member {
        raft_id,
        peer: host.machine.peer(),
        name: DisplayName::new(&format!("n{}", host.number)).expect("the name is short"),
        zone: Zone::new(&format!("z{}", host.number % 3)).unwrap_or_default(),
        capacity_bytes: 1 << 30,
        addresses: Vec::new(),
        state: MemberState::Active,
        joined: WallTime::default(),
    }
}
