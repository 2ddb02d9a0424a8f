//! The task that owns the membership machine and performs its outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use protocol::membership::{Config, Input, Liveness, Membership, Output};
use protocol::topology::Topology;
use protocol::wire::{Class, Frame, GossipEntry, GossipState, Message, Notice};
use protocol::{Fault, Kind, PeerId};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{debug, info, warn};

use super::handle::PeersSettings;
use super::placements::EARLIER_MAX;
use super::roster::Roster;
use super::view::View;
use crate::env::{Batch, Disk, Durability, Env, Map, Net, NetEvent};
use crate::rpc::Rpc;

/// Gossip messages on their way out. More means that the network is stuck, and gossip repeats itself.
const SENDS_MAX: usize = 64;

/// What the rest of the program tells the task.
#[derive(Debug)]
pub(super) enum Command {
    /// This peer holds so many bytes.
    Used(u64),
    /// These are the members; says when it is done.
    Members(Roster, oneshot::Sender<()>),
}

/// Owns the peer table.
pub(super) struct Task<E: Env> {
    env: E,
    settings: PeersSettings,
    membership: Membership,
    rpc: Rpc<E>,
    view: Arc<RwLock<Arc<View>>>,
    sends: Arc<Semaphore>,
    used_bytes: u64,
    addresses: Vec<String>,
    disconnected: BTreeSet<PeerId>,
    /// Where blocks belong and belonged, once that was said.
    topologies: Option<(Topology, Vec<Topology>)>,
}

impl<E: Env> Task<E> {
    pub(super) fn new(
        env: E,
        settings: PeersSettings,
        membership: Membership,
        rpc: Rpc<E>,
        view: Arc<RwLock<Arc<View>>>,
    ) -> Self {
        let sends = Arc::new(Semaphore::new(SENDS_MAX));
        Self {
            env,
            settings,
            membership,
            rpc,
            view,
            sends,
            used_bytes: 0,
            addresses: Vec::new(),
            disconnected: BTreeSet::new(),
            topologies: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: mpsc::Receiver<NetEvent>,
        mut notices: mpsc::Receiver<(PeerId, Notice)>,
    ) {
        self.step(Input::Tick).await;
        loop {
            let deadline = self.membership.next_deadline();
            tokio::select! {
                biased; // what the program wants; the clock, so that gossip cannot starve it; then the network
                command = commands.recv() => match command {
                    Some(Command::Used(used_bytes)) => {
                        self.used_bytes = used_bytes;
                        self.own_changed().await;
                    }
                    Some(Command::Members(roster, done)) => {
                        self.set_members(roster).await;
                        let _has_gone = done.send(()).is_err();
                    }
                    None => return,
                },
                () = self.env.sleep_until(deadline) => {
                    self.step(Input::Tick).await;
                    // What peers hold changes without an event of its own.
                    self.refresh();
                }
                event = events.recv() => match event {
                    Some(event) => self.event(event).await,
                    None => return,
                },
                notice = notices.recv() => match notice {
                    Some((from, Notice::Gossip { entries, answer })) => {
                        self.step(Input::Gossip { from, entries, answer }).await;
                    }
                    None => return,
                },
            }
        }
    }

    async fn event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Connected(peer) => {
                if self.disconnected.remove(&peer) {
                    self.refresh();
                }
                self.step(Input::Contact { peer }).await;
            }
            NetEvent::Disconnected(peer) => {
                self.rpc.disconnected(peer);
                if self.membership.get(peer).is_some() {
                    self.disconnected.insert(peer);
                    self.refresh();
                }
                self.step(Input::Disconnected { peer }).await;
            }
            NetEvent::Interrupted { peer, class } => self.rpc.interrupted(peer, class),
            NetEvent::Unreachable(peer) => self.step(Input::Unreachable { peer }).await,
            NetEvent::Discovered { peer, addresses } => self.env.net().dial(peer, addresses),
            NetEvent::Listening(addresses) => {
                self.addresses = addresses;
                self.own_changed().await;
            }
        }
    }

    async fn set_members(&mut self, roster: Roster) {
        let Roster { members, topology, mut earlier } = roster;
        earlier.truncate(EARLIER_MAX);
        self.topologies = Some((topology, earlier));
        let before: BTreeSet<PeerId> = self.membership.peers().map(|info| info.id).collect();
        self.step(Input::Members { members }).await;
        self.disconnected.retain(|peer| self.membership.get(*peer).is_some());
        self.forget(before).await;
        self.place().await;
    }

    /// Publishes where blocks belong now.
    async fn place(&mut self) {
        let view = view(
            &self.env,
            &self.membership,
            &self.settings,
            self.disconnected.clone(),
            self.topologies.clone(),
        )
        .await;
        let before = Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner));
        if before.placement().topology() != view.placement().topology() {
            info!(
                epoch = view.placement().topology().epoch().0,
                peers = view.placement().topology().peers().len(),
                "topology changed"
            );
        }
        self.publish(view);
    }

    async fn own_changed(&mut self) {
        let input = Input::Own {
            capacity_bytes: self.settings.capacity_bytes,
            used_bytes: self.used_bytes,
            addresses: self.addresses.clone(),
        };
        self.step(input).await;
    }

    /// Gives the machine an input and performs what it answers.
    async fn step(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.membership.handle(self.env.now(), input, &mut outputs);
        let mut changed = Vec::new();
        let mut topology_changed = false;
        for output in outputs {
            match output {
                Output::Send { to, notice } => self.send(to, notice),
                Output::Changed { peer } => changed.push(peer),
                Output::Dial { peer, addresses } => self.env.net().dial(peer, addresses),
                Output::TopologyChanged => topology_changed = true,
            }
        }
        if topology_changed {
            self.place().await;
        } else if !changed.is_empty() {
            self.refresh();
        }
        if !changed.is_empty() {
            self.remember(&changed).await;
        }
    }

    /// Publishes the table as it is now, with the placement as it was.
    fn refresh(&self) {
        let before = Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner));
        self.publish(before.with_peers(&self.membership, self.disconnected.clone()));
    }

    fn publish(&self, view: View) {
        let before = {
            let mut slot = self.view.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *slot, Arc::new(view.clone()))
        };
        for (peer, info) in view.peers() {
            let was = before.peers().get(peer).map(|info| info.liveness);
            if was != Some(info.liveness) {
                info!(%peer, name = %info.name, state = ?info.liveness, "peer changed its state");
            }
        }
    }

    fn send(&self, to: PeerId, notice: Notice) {
        let Ok(frame) = Message::Notice(notice).encode() else {
            warn!(peer = %to, "gossip not encoded");
            return;
        };
        let Ok(permit) = Arc::clone(&self.sends).try_acquire_owned() else { return };
        let env = self.env.clone();
        self.env.spawn("peers.send", async move {
            if let Err(error) = env.net().send(to, Class::Control, frame).await {
                debug!(peer = %to, err = %error, "gossip not sent");
            }
            drop(permit);
        });
    }

    /// Keeps what is known of these peers, so that a restart finds them without a bootstrap peer.
    async fn remember(&self, changed: &[PeerId]) {
        let own = self.env.net().local_peer();
        let mut batch = Batch::default();
        for info in changed
            .iter()
            .filter(|peer| **peer != own)
            .filter_map(|peer| self.membership.get(*peer))
        {
            let key = key(info.id);
            if info.liveness == Liveness::Left {
                batch.delete(Map::Peers, key);
            } else if let Some(value) = encode_entry(info.to_entry()) {
                batch.put(Map::Peers, key, value);
            }
        }
        self.write(batch).await;
    }

    /// Forgets on disk whoever of `before` is not known any more.
    async fn forget(&self, before: BTreeSet<PeerId>) {
        let mut batch = Batch::default();
        for peer in before.into_iter().filter(|peer| self.membership.get(*peer).is_none()) {
            batch.delete(Map::Peers, key(peer));
        }
        self.write(batch).await;
    }

    async fn write(&self, batch: Batch) {
        if batch.changes.is_empty() {
            return;
        }
        // Lost in a crash, it is learned again; a full disk must not stop gossip.
        if let Err(error) = self.env.disk().write(batch, Durability::Buffered).await {
            warn!(err = %error, "known peers not saved");
        }
    }
}

/// Returns the key under which a peer is remembered.
fn key(peer: PeerId) -> Bytes {
    Bytes::copy_from_slice(peer.public_key())
}

fn encode_entry(entry: GossipEntry) -> Option<Bytes> {
    let message = Message::Notice(Notice::Gossip { entries: vec![entry], answer: false });
    message.encode().ok().map(|frame| frame.head)
}

fn decode_entry(value: Bytes) -> Option<GossipEntry> {
    match Message::decode(&Frame { head: value, body: Bytes::new() }) {
        Ok(Message::Notice(Notice::Gossip { mut entries, .. })) => entries.pop(),
        Ok(Message::Request { .. } | Message::Reply { .. } | Message::Work { .. }) | Err(_) => None,
    }
}

/// Returns the machine of a fresh start; see [`restored`].
fn membership<E: Env>(env: &E, settings: &PeersSettings) -> Result<Membership, Fault> {
    let own = GossipEntry {
        peer: env.net().local_peer(),
        incarnation: env.wall().as_unix_millis(),
        heartbeat: 0,
        state: GossipState::Alive,
        name: settings.name.clone(),
        zone: settings.zone.clone(),
        capacity_bytes: settings.capacity_bytes,
        used_bytes: 0,
        addresses: Vec::new(),
    };
    Membership::new(own, Config::default(), env.prng(), env.now()).map_err(|error| {
        Fault::new(Kind::Invalid, format!("this peer cannot join a cluster: {error}"))
    })
}

/// Returns the machine of this start, with the peers that were known before.
pub(super) async fn restored<E: Env>(
    env: &E,
    settings: &PeersSettings,
) -> Result<Membership, Fault> {
    let mut machine = membership(env, settings)?;
    let limit = protocol::limits::CLUSTER_PEERS_MAX;
    match env.disk().scan(Map::Peers, Bytes::new(), None, limit).await {
        Ok(known) => {
            for entry in known.into_iter().filter_map(|(_, value)| decode_entry(value)) {
                machine.remember(env.now(), entry);
            }
        }
        // The peers are found again by bootstrap addresses or by their own dialling.
        Err(error) => warn!(err = %error, "known peers not read"),
    }
    Ok(machine)
}

/// Returns the view of the machine's table, placed by the topologies that are agreed on (the present one and
/// the earlier ones), or by the table while there are none. Cost: a placement for each that is not remembered,
/// 30 ms for twenty peers.
pub(super) async fn view<E: Env>(
    env: &E,
    membership: &Membership,
    settings: &PeersSettings,
    disconnected: BTreeSet<PeerId>,
    topologies: Option<(Topology, Vec<Topology>)>,
) -> View {
    let (topology, earlier) =
        topologies.unwrap_or_else(|| (membership.topology(settings.replicas), Vec::new()));
    let placements = settings.placements.clone();
    let placed = env.compute(move || {
        let earlier = earlier.iter().map(|topology| placements.of(topology)).collect();
        (placements.of(&topology), earlier)
    });
    let (placement, earlier) = placed.await;
    let peers = membership.peers().map(|info| (info.id, info.clone())).collect();
    View::new(env.net().local_peer(), placement, earlier, peers, disconnected)
}

impl View {
    /// Returns this view with the table as it is now, and the same placements.
    fn with_peers(&self, membership: &Membership, disconnected: BTreeSet<PeerId>) -> Self {
        let peers: BTreeMap<_, _> =
            membership.peers().map(|info| (info.id, info.clone())).collect();
        let (placement, earlier) = self.placements();
        Self::new(self.own(), placement, earlier, peers, disconnected)
    }
}
