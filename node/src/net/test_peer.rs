//! A peer on loopback, for tests: the real network with its ends taken.

#![expect(clippy::disallowed_methods, reason = "tests of a driver wait by the real clock")]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use libp2p::Swarm;
use libp2p::swarm::SwarmEvent;
use protocol::wire::{Class, Frame};
use protocol::{ClusterId, PeerId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::identity::{SecretKey, generate};
use super::links::PerClass;
use super::sessions::{Admission, SessionEvent, Sessions};
use super::transport::{self, Stack};
use super::{NetSettings, RealNet};
use crate::env::{Inbound, Membership, Net, NetEvent};

/// Nothing in these tests takes a tenth of this, unless the machine is very busy.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(super) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Returns what `wanted` returns, which must be soon.
pub(super) async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    timeout(DEADLINE, wanted).await.unwrap_or_else(|_| panic!("{what}: took too long"))
}

pub(super) fn cluster(number: u8) -> ClusterId {
    ClusterId::from_bytes([number; 16])
}

pub(super) fn frame(head: &str, body_bytes: usize) -> Frame {
    Frame { head: Bytes::copy_from_slice(head.as_bytes()), body: Bytes::from(vec![7; body_bytes]) }
}

/// How a test peer is to be.
pub(super) struct Plan {
    pub(super) key: SecretKey,
    pub(super) cluster: u8,
    /// Who is a member from the start.
    pub(super) members: BTreeSet<PeerId>,
    pub(super) listen: String,
    pub(super) bootstrap: Vec<String>,
    pub(super) stack: Stack,
    pub(super) connections_max: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            key: generate(),
            cluster: 1,
            members: BTreeSet::new(),
            listen: TCP.to_owned(),
            bootstrap: Vec::new(),
            stack: Stack::fastest(),
            connections_max: 100,
        }
    }
}

pub(super) struct TestPeer {
    pub(super) net: RealNet,
    pub(super) id: PeerId,
    /// Where it listens, without its id.
    pub(super) address: String,
    cluster: ClusterId,
    members: BTreeSet<PeerId>,
    inboxes: PerClass<mpsc::Receiver<Inbound>>,
    events: mpsc::Receiver<NetEvent>,
    /// Events that came while another one was awaited.
    seen: Vec<NetEvent>,
}

impl TestPeer {
    pub(super) async fn start(plan: Plan) -> Self {
        let settings = NetSettings {
            key: plan.key,
            listen: vec![plan.listen],
            bootstrap: plan.bootstrap,
            mdns: false,
            connections_max: plan.connections_max,
            memory_bytes_max: usize::MAX,
            guest_rate: 1 << 30,
            agent_version: "test".to_owned(),
        };
        let net = RealNet::start_with(&settings, plan.stack).unwrap();
        let cluster = cluster(plan.cluster);
        net.set_membership(Some(Membership { cluster, members: plan.members.clone() }));
        let inboxes = PerClass::from_fn(|class| net.take_inbox(class).unwrap());
        let events = net.take_events().unwrap();
        assert!(net.take_events().is_none() && net.take_inbox(Class::Bulk).is_none());
        let id = net.local_peer();
        let mut peer = Self {
            net,
            id,
            address: String::new(),
            cluster,
            members: plan.members,
            inboxes,
            events,
            seen: Vec::new(),
        };
        let listening = peer.event(|event| matches!(event, NetEvent::Listening(_))).await;
        let NetEvent::Listening(addresses) = listening else { unreachable!() };
        peer.address = addresses[0].clone();
        peer
    }

    /// Returns the first event, seen or to come, that is the wanted one; others are kept.
    pub(super) async fn event(&mut self, is_wanted: impl Fn(&NetEvent) -> bool) -> NetEvent {
        if let Some(at) = self.seen.iter().position(&is_wanted) {
            return self.seen.remove(at);
        }
        loop {
            let event = soon("event", self.events.recv()).await.expect("the network runs");
            if is_wanted(&event) {
                return event;
            }
            self.seen.push(event);
        }
    }

    pub(super) async fn expect(&mut self, wanted: NetEvent) {
        self.event(|event| *event == wanted).await;
    }

    /// Returns the events that came and were not awaited.
    pub(super) fn other_events(&mut self) -> &[NetEvent] {
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
        &self.seen
    }

    pub(super) async fn receive(&mut self, class: Class) -> Inbound {
        soon("frame", self.inboxes.get_mut(class).recv()).await.expect("the network runs")
    }

    /// Takes the inbox of a class, so that it can be read beside the others.
    pub(super) fn take(&mut self, class: Class) -> mpsc::Receiver<Inbound> {
        std::mem::replace(self.inboxes.get_mut(class), mpsc::channel(1).1)
    }

    /// Returns how many frames of a class wait.
    pub(super) fn waiting(&self, class: Class) -> usize {
        self.inboxes.get(class).len()
    }

    pub(super) async fn send(&self, to: PeerId, class: Class, frame: Frame) {
        soon("send", self.net.send(to, class, frame)).await.unwrap();
    }

    /// Takes a peer for a member from now on, or for none.
    pub(super) fn admit(&mut self, peer: PeerId, is_member: bool) {
        if is_member {
            self.members.insert(peer);
        } else {
            self.members.remove(&peer);
        }
        let (cluster, members) = (self.cluster, self.members.clone());
        self.net.set_membership(Some(Membership { cluster, members }));
    }

    /// Returns where it listens, with its id.
    pub(super) fn named_address(&self) -> String {
        format!("{}/p2p/{}", self.address, self.id)
    }

    /// Connects with another peer as members of one cluster, and waits until both know.
    pub(super) async fn meet(&mut self, other: &mut Self) {
        self.admit(other.id, true);
        other.admit(self.id, true);
        self.net.dial(other.id, vec![other.address.clone()]);
        self.expect(NetEvent::Connected(other.id)).await;
        other.expect(NetEvent::Connected(self.id)).await;
    }
}

/// Returns a peer of the cluster, which admits `other`, and whose streams and connections are the test's to use; it dials
/// no second connection by itself.
pub(super) fn bare_member(other: PeerId) -> Swarm<Sessions> {
    let key = generate().keypair();
    let config =
        libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(DEADLINE);
    let mut sessions = Sessions::new(key.public().to_peer_id(), 0);
    let membership = Membership { cluster: cluster(1), members: BTreeSet::from([other]) };
    assert!(sessions.admit(Admission::of(Some(membership))).is_empty());
    let transport = transport::build(&key, Stack::fastest()).unwrap();
    Swarm::new(transport, sessions, key.public().to_peer_id(), config)
}

/// Returns the next event of a bare member's sessions.
pub(super) async fn session_event(swarm: &mut Swarm<Sessions>) -> SessionEvent {
    let event = async {
        loop {
            if let SwarmEvent::Behaviour(event) = swarm.select_next_some().await {
                return event;
            }
        }
    };
    soon("event of a session", event).await
}
