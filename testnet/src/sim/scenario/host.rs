//! A machine and the node on it: started, ended and started again, and asked by clients.
//!
//! A node that gives up by itself, because its disk failed, is started again as a service manager would.
//! Never: decides when a fault happens.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::env::Env as _;
use node::{Entry, Node, NodeSettings};
use protocol::Fault;
use tokio::sync::oneshot;

use super::cluster::DEVICE_BYTES;
use crate::sim::lock::lock;
use crate::sim::oracle::Oracle;
use crate::sim::{DiskHabits, Loss, Machine, SimEnv};

/// A machine and the node on it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) number: usize,
    pub(super) machine: Machine,
    settings: NodeSettings,
    oracle: Oracle,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How it comes into the cluster: not known before somebody invites it.
    entry: Option<Entry>,
    node: Option<Node<SimEnv>>,
    is_member: bool,
    /// Whether its disk was lost: it never comes back, another one takes its place.
    is_retired: bool,
    /// Whether the cluster was told so.
    is_removed: bool,
}

impl Host {
    /// Returns a machine that is switched off, and a node that was invited by nobody.
    pub(super) fn new(
        number: usize,
        machine: Machine,
        settings: NodeSettings,
        oracle: Oracle,
    ) -> Self {
        Self { number, machine, settings, oracle, state: Mutex::default() }
    }

    /// Returns the node, if one runs, is a member and has recovered.
    pub(super) fn node(&self) -> Option<Node<SimEnv>> {
        lock(&self.state).node.clone()
    }

    /// Says whether the machine's disk was lost.
    pub(super) fn is_retired(&self) -> bool {
        lock(&self.state).is_retired
    }

    /// Says whether somebody should invite it.
    pub(super) fn wants_invitation(&self) -> bool {
        let state = lock(&self.state);
        state.entry.is_none() && !state.is_retired
    }

    /// Says whether the cluster is still to be told that it never comes back.
    pub(super) fn wants_removal(&self) -> bool {
        let state = lock(&self.state);
        state.is_retired && !state.is_removed
    }

    /// Notes that the cluster was told.
    pub(super) fn removed(&self) {
        lock(&self.state).is_removed = true;
    }

    /// Tells it how to come into the cluster.
    pub(super) fn invite(&self, entry: Entry) {
        lock(&self.state).entry = Some(entry);
    }

    /// Says whether the machine could run and does not.
    pub(super) fn is_down(&self) -> bool {
        let state = lock(&self.state);
        !self.machine.is_running() && !state.is_retired && state.entry.is_some()
    }

    /// Starts the node, unless it runs, was not invited or its disk was lost.
    pub(super) fn boot(self: &Arc<Self>) {
        if !self.is_down() {
            return;
        }
        let Some(entry) = lock(&self.state).entry.clone() else { return };
        let settings = NodeSettings { entry, ..self.settings.clone() };
        let env = self.machine.boot();
        let host = Arc::clone(self);
        env.clone().spawn("node", async move {
            match Node::start(env.clone(), settings).await {
                Ok(node) => {
                    host.started(node.clone());
                    let reason = node.failed().await;
                    let number = host.number;
                    env.world().record(format_args!("node {number} failed: {reason}"), &[]);
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

    fn started(&self, node: Node<SimEnv>) {
        let mut state = lock(&self.state);
        state.node = Some(node);
        state.is_member = true;
    }

    /// Ends the node, if one runs.
    pub(super) fn end(&self, loss: Loss) {
        {
            let mut state = lock(&self.state);
            state.node = None;
            state.is_retired |= loss == Loss::Disk;
        }
        if loss == Loss::Power {
            self.oracle.power_failed();
        }
        self.machine.end(loss);
    }

    /// Makes the disk a healthy one again.
    pub(super) fn mend_disk(&self) {
        self.machine.device().set_habits(DiskHabits::default());
        self.machine.device().set_capacity(DEVICE_BYTES);
    }

    /// Runs a request inside the process, as a handler of its API would; it dies with it. Returns `None` when the process
    /// does not run or ended first, or after `patience`: the request goes on then.
    pub(super) async fn ask<T, F>(
        &self,
        patience: Duration,
        request: impl FnOnce(Node<SimEnv>) -> F,
    ) -> Option<Result<T, Fault>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let node = self.node()?;
        let env = node.env().clone();
        let clock = env.world().clock();
        let (done, outcome) = oneshot::channel();
        let request = request(node);
        env.spawn("client.request", async move {
            // A client that lost its patience hears nothing.
            drop(done.send(request.await));
        });
        tokio::select! {
            biased; // an outcome beats the end of patience
            outcome = outcome => outcome.ok(),
            () = clock.sleep(patience) => None,
        }
    }
}
