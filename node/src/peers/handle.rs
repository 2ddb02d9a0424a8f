//! What the rest of the program holds of the peer table.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use protocol::topology::{ReplicaCount, Zone};
use protocol::wire::Notice;
use protocol::{ClusterId, Fault, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::placements::Placements;
use super::roster::Roster;
use super::task::{self, Command};
use super::view::View;
use crate::env::{Env, NetEvent};
use crate::rpc::Rpc;

/// Commands waiting for the task: each is small and rare.
const COMMANDS_MAX: usize = 16;

/// What a peer says of itself.
#[derive(Clone, Debug)]
pub struct PeersSettings {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name for people.
    pub name: String,
    /// Where it is.
    pub zone: Zone,
    /// Bytes it offers to hold.
    pub capacity_bytes: u64,
    /// Copies of a block that the cluster wants.
    pub replicas: ReplicaCount,
    /// Placements computed before.
    pub placements: Placements,
}

/// The peer table. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Peers {
    view: Arc<RwLock<Arc<View>>>,
    commands: mpsc::Sender<Command>,
    placements: Placements,
}

impl Peers {
    /// Starts the task that owns the table, with the peers remembered from earlier runs.
    ///
    /// `events` and `notices` are the only way in for the network. Ends with the machine.
    ///
    /// # Errors
    /// [`protocol::Kind::Invalid`] when the settings are none that others would accept.
    pub async fn start<E: Env>(
        env: E,
        settings: PeersSettings,
        rpc: Rpc<E>,
        events: mpsc::Receiver<NetEvent>,
        notices: mpsc::Receiver<(PeerId, Notice)>,
    ) -> Result<Self, Fault> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let membership = task::restored(&env, &settings).await?;
        let first = task::view(&env, &membership, &settings, BTreeSet::new(), None).await;
        let view = Arc::new(RwLock::new(Arc::new(first)));
        let placements = settings.placements.clone();
        let task = task::Task::new(env.clone(), settings, membership, rpc, Arc::clone(&view));
        env.spawn("peers", task.run(inbox, events, notices));
        Ok(Self { view, commands, placements })
    }

    /// Returns what is known now. Cost: one clone of an `Arc`.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says who the members are and where blocks belong, and returns when [`Self::view`] shows it. Cost: a
    /// placement for each topology that is not remembered. Cancel-safe: it is done, or nothing is.
    ///
    /// Until it is called the first time, members are whoever gossips. Returns at once when the machine has ended.
    pub async fn set_members(&self, roster: Roster) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(Command::Members(roster, done)).await.is_ok() {
            let _has_ended = is_done.await.is_err();
        }
    }

    /// Returns the memory of placements that this service uses.
    #[must_use]
    pub fn placements(&self) -> Placements {
        self.placements.clone()
    }

    /// Tells the others how many bytes this peer holds. Skipped when the task is behind: the next call says it too.
    pub fn set_used_bytes(&self, used_bytes: u64) {
        drop(self.commands.try_send(Command::Used(used_bytes)));
    }
}
