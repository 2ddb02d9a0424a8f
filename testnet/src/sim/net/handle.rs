//! The network as one process uses it: [`node::env::Net`] over the run's network.
//!
//! Never: outlives its process; a handle of one that has ended answers [`NetError::Stopped`].

use std::sync::Arc;
use std::time::Duration;

use node::env::{Inbound, Net, NetError, NetEvent};
use protocol::PeerId;
use protocol::wire::{Class, Frame};
use tokio::sync::mpsc;

use super::hub::Network;
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
                self.network().tell(self.local_peer(), NetEvent::Unreachable(to));
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
                net.network().tell(net.local_peer(), NetEvent::Unreachable(peer));
            }
        });
    }

    fn take_inbox(&self, class: Class) -> Option<mpsc::Receiver<Inbound>> {
        self.network().take_inbox(self.local_peer(), class)
    }

    fn take_events(&self) -> Option<mpsc::Receiver<NetEvent>> {
        self.network().take_events(self.local_peer())
    }
}
