//! The network as one process uses it: [`node::env::Net`] over the run's network.
//!
//! Never: outlives its process; a handle of one that has ended answers [`NetError::Stopped`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use node::env::{
    Gossip, GuestProtocol, GuestQuestion, Inbound, Membership, Net, NetError, NetEvent, Verdict,
};
use protocol::PeerId;
use protocol::limits::{
    GUEST_ANSWER_BYTES_MAX, GUEST_PATIENCE, GUEST_QUESTION_BYTES_MAX, OVERLAY_ANSWER_BYTES_MAX,
    OVERLAY_QUESTION_BYTES_MAX,
};
use protocol::wire::{Class, Frame};
use tokio::sync::{mpsc, oneshot};

use super::hub::Network;
use super::station::Admission;
use crate::sim::machine::Life;

/// Least and most time until a dial into silence is given up.
const DIAL_PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// A process's handle to the network.
#[derive(Clone, Debug)]
pub struct SimNet {
    life: Arc<Life>,
}

impl SimNet {
    /// Connects the process `life` to the network and returns its handle.
    pub(crate) fn attach(life: &Arc<Life>) -> Self {
        life.world().network().attach(life);
        Self { life: Arc::clone(life) }
    }

    fn network(&self) -> &Network {
        self.life.world().network()
    }

    /// Connects to a peer unless connected; says whether there is a connection then.
    async fn connect(&self, to: PeerId) -> bool {
        let local = self.local_peer();
        let network = self.network();
        if network.is_connected(local, to) {
            return true;
        }
        if !network.knows(local, to) {
            return false;
        }
        let (least, most) = network.habits(local, to).delay;
        self.life.clock().sleep(2 * network.chance().between(least, most)).await;
        if !self.life.is_running() {
            return false;
        }
        if network.connect(local, to) {
            return true;
        }
        if !network.refuses(local, to) || network.chance().happens(300_000) {
            let (least, most) = DIAL_PATIENCE;
            self.life.clock().sleep(network.chance().between(least, most)).await;
        }
        false
    }

    /// Takes a message's way to another peer. Returns whether it arrives.
    async fn travel(&self, from: PeerId, to: PeerId, bytes: &Bytes) -> bool {
        let habits = self.network().habits(from, to);
        let (least, most) = habits.delay;
        self.life.clock().sleep(self.network().chance().between(least, most)).await;
        self.life.record(format_args!("guest {from} {to}"), &[bytes]);
        !self.network().chance().happens(habits.losses)
    }

    /// Asks the peer at one address as a guest. Silence lasts for ever.
    async fn ask_at(
        &self,
        protocol: GuestProtocol,
        to: PeerId,
        address: &str,
        question: &Bytes,
    ) -> Option<Bytes> {
        let local = self.local_peer();
        let (question_max, answer_max) = match protocol {
            GuestProtocol::Join => (GUEST_QUESTION_BYTES_MAX, GUEST_ANSWER_BYTES_MAX),
            GuestProtocol::Overlay => (OVERLAY_QUESTION_BYTES_MAX, OVERLAY_ANSWER_BYTES_MAX),
        };
        if question.len() > question_max {
            return None;
        }
        if !self.travel(local, to, question).await {
            return std::future::pending().await;
        }
        let (answer, answered) = oneshot::channel();
        let asked = GuestQuestion { from: local, question: question.clone(), answer };
        self.network().guests_at(local, to, protocol, address)?.try_send(asked).ok()?;
        let answer = answered.await.ok().filter(|a| a.len() <= answer_max)?;
        let arrives = self.travel(to, local, &answer).await;
        if !arrives || self.network().guests_at(local, to, protocol, address).is_none() {
            return std::future::pending().await;
        }
        Some(answer)
    }
}

impl Net for SimNet {
    fn local_peer(&self) -> PeerId {
        self.life.peer()
    }

    async fn send(&self, to: PeerId, class: Class, frame: Frame) -> Result<(), NetError> {
        if !self.life.is_running() {
            return Err(NetError::Stopped);
        }
        let unreachable = Err(NetError::Unreachable { peer: to });
        if !self.connect(to).await {
            if self.network().knows(self.local_peer(), to) {
                self.network().unreachable(self.local_peer(), to);
            }
            return unreachable;
        }
        let Some(outbox) = self.network().outbox(self.local_peer(), to, class) else {
            return unreachable;
        };
        match outbox.send(frame).await {
            Ok(()) => Ok(()),
            Err(_closed) => unreachable,
        }
    }

    fn dial(&self, peer: PeerId, addresses: Vec<String>) {
        self.network().learn(self.local_peer(), peer, addresses);
        let net = self.clone();
        self.life.spawn("dial", async move {
            if !net.connect(peer).await {
                net.network().unreachable(net.local_peer(), peer);
            }
        });
    }

    fn take_inbox(&self, class: Class) -> Option<mpsc::Receiver<Inbound>> {
        self.network().take_inbox(self.local_peer(), class)
    }

    fn take_events(&self) -> Option<mpsc::Receiver<NetEvent>> {
        self.network().take_events(self.local_peer())
    }

    fn set_membership(&self, membership: Option<Membership>) {
        let admission = membership.map_or(Admission::Nobody, Admission::Members);
        self.network().admit(self.life.world(), self.local_peer(), admission);
    }

    async fn ask_guest(
        &self,
        protocol: GuestProtocol,
        addresses: Vec<String>,
        question: Bytes,
    ) -> Result<(PeerId, Bytes), NetError> {
        for named in &addresses {
            if !self.life.is_running() {
                return Err(NetError::Stopped);
            }
            let Some((address, peer)) = named.rsplit_once("/p2p/") else { continue };
            let Ok(peer) = peer.parse() else { continue };
            let answer = tokio::select! {
                biased; // the answer, which may come at the last moment
                answer = self.ask_at(protocol, peer, address, &question) => answer,
                () = self.life.clock().sleep(GUEST_PATIENCE) => None,
            };
            if let Some(answer) = answer {
                return Ok((peer, answer));
            }
        }
        Err(NetError::Unanswered { addresses: addresses.len() })
    }

    fn take_guests(&self, protocol: GuestProtocol) -> Option<mpsc::Receiver<GuestQuestion>> {
        self.network().take_guests(self.local_peer(), protocol)
    }

    /// Everybody that can be reached hears it from whoever said it, or loses it on the way: a mesh without detours, since passing
    /// on is the library's.
    fn gossip(&self, bytes: Bytes) {
        let local = self.local_peer();
        for (to, heard) in self.network().gossips_of(local) {
            let (net, bytes) = (self.clone(), bytes.clone());
            self.life.spawn("gossip", async move {
                if !net.travel(local, to, &bytes).await {
                    return;
                }
                let (verdict, judged) = oneshot::channel();
                if heard.try_send(Gossip { from: local, bytes, verdict }).is_ok()
                    && judged.await == Ok(Verdict::Blame)
                {
                    net.life.world().fail(format!("{to} blames {local} for gossip"));
                }
            });
        }
    }

    fn take_gossip(&self) -> Option<mpsc::Receiver<Gossip>> {
        self.network().take_gossip(self.local_peer())
    }

    fn strangers(&self) -> Vec<String> {
        self.network().strangers_to(self.local_peer())
    }
}
