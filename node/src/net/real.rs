//! The handle to the network: the real implementation of the seam's [`Net`].
//!
//! Owns: the runtime the swarm and its connections run on, which ends with the last handle.
//! Never: touches the swarm; that is its task's.

#![expect(clippy::disallowed_methods, reason = "a driver waits by the real clock")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::PeerId;
use protocol::limits::{GUEST_PATIENCE, INBOX_FRAMES_MAX};
use protocol::wire::{Class, Frame};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::discovery::{Strangers, named_address};
use super::identity::{peer_from_libp2p, peer_id_of};
use super::latest::Latest;
use super::links::{Links, PerClass};
use super::metrics::NetMetrics;
use super::sessions::Admission;
use super::settings::{NetSettings, StartError};
use super::swarm::{Command, Parts, SwarmTask};
use super::transport::Stack;
use crate::env::{
    Gossip, GuestProtocol, GuestQuestion, Inbound, Membership, Net, NetError, NetEvent,
};

/// Threads for the swarm and its connections: encryption of one busy stream takes one, so that another
/// remains for heartbeats.
const THREADS: usize = 2;

/// How long a frame waits for a connection before its peer is called unreachable.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Orders to the swarm's task that wait: one per frame that needs a connection first.
const COMMANDS_MAX: usize = 1024;

/// Events that wait to be taken. The task keeps as many again, and then takes no more from the swarm.
const EVENTS_MAX: usize = 1024;

/// Questions of guests that wait to be taken in one protocol; more are refused.
const GUESTS_WAITING_MAX: usize = 32;

/// Gossip that waits to be taken; more is not looked at.
const GOSSIP_WAITING_MAX: usize = 256;

/// The real network. Clones are handles to the same one; it ends with the last.
#[derive(Clone, Debug)]
pub struct RealNet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: PeerId,
    links: Arc<Links>,
    metrics: NetMetrics,
    commands: mpsc::Sender<Command>,
    inboxes: Mutex<PerClass<Option<mpsc::Receiver<Inbound>>>>,
    events: Mutex<Option<mpsc::Receiver<NetEvent>>>,
    guests: Mutex<Option<mpsc::Receiver<GuestQuestion>>>,
    overlay: Mutex<Option<mpsc::Receiver<GuestQuestion>>>,
    gossip: Mutex<Option<mpsc::Receiver<Gossip>>>,
    strangers: Arc<Mutex<Strangers>>,
    admission: Arc<Latest<Admission>>,
    stop: CancellationToken,
    _runtime: NetRuntime,
}

/// A runtime that may be dropped inside another one, where waiting for its tasks is forbidden.
#[derive(Debug)]
struct NetRuntime(Option<Runtime>);

impl Drop for NetRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl RealNet {
    /// Starts the network: binds the addresses, and begins to look for the cluster.
    ///
    /// Whoever starts it takes the events: when more than some thousand wait, no new connection is handled.
    ///
    /// # Errors
    /// Any [`StartError`].
    pub fn start(settings: &NetSettings) -> Result<Self, StartError> {
        Self::start_with(settings, Stack::fastest())
    }

    /// As [`Self::start`], with a transport of the caller's choice.
    ///
    /// # Errors
    /// Any [`StartError`].
    pub(super) fn start_with(settings: &NetSettings, stack: Stack) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("shoal-net")
            .enable_all()
            .build()
            .map_err(|source| StartError::Setup { source: source.into() })?;
        let links = Arc::new(Links::default());
        let metrics = NetMetrics::default();
        let stop = CancellationToken::new();
        let (commands, commands_out) = mpsc::channel(COMMANDS_MAX);
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let (inboxes_in, inboxes) = PerClass::from_fn(|_| mpsc::channel(INBOX_FRAMES_MAX)).unzip();
        let (guests_in, guests) = mpsc::channel(GUESTS_WAITING_MAX);
        let (overlay_in, overlay) = mpsc::channel(GUESTS_WAITING_MAX);
        let (gossip_in, gossip) = mpsc::channel(GOSSIP_WAITING_MAX);
        let strangers = Arc::new(Mutex::new(Strangers::new()));
        let admission = Arc::new(Latest::default());
        let parts = Parts {
            links: Arc::clone(&links),
            metrics: metrics.clone(),
            inboxes: inboxes_in,
            events: events_in,
            commands: commands_out,
            guests: guests_in,
            overlay: overlay_in,
            gossip: gossip_in,
            strangers: Arc::clone(&strangers),
            admission: Arc::clone(&admission),
            stop: stop.clone(),
        };
        let handle = runtime.handle().clone();
        let runtime = NetRuntime(Some(runtime));
        {
            // The transports register with the runtime that is entered when they are made.
            let _entered = handle.enter();
            let task = SwarmTask::new(settings, stack, parts)?;
            handle.spawn(task.run());
        }
        Ok(Self(Arc::new(Inner {
            local: peer_id_of(&settings.key),
            links,
            metrics,
            commands,
            inboxes: Mutex::new(inboxes.map(|_, inbox| Some(inbox))),
            events: Mutex::new(Some(events)),
            guests: Mutex::new(Some(guests)),
            overlay: Mutex::new(Some(overlay)),
            gossip: Mutex::new(Some(gossip)),
            strangers,
            admission,
            stop,
            _runtime: runtime,
        })))
    }

    /// Returns the network's counters.
    #[must_use]
    pub fn metrics(&self) -> &NetMetrics {
        &self.0.metrics
    }

    /// Closes every connection and stops listening. Frames in outboxes are lost. Cancel-safe.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.commands.closed().await;
    }

    /// Returns when a peer is connected, or known not to be reachable.
    async fn connect(&self, peer: PeerId) -> Result<(), NetError> {
        let (done, is_connected) = oneshot::channel();
        let command = Command::Connect { peer, done };
        let asked = async {
            self.0.commands.send(command).await.map_err(|_| NetError::Stopped)?;
            match is_connected.await {
                Ok(true) => Ok(()),
                Ok(false) => Err(NetError::Unreachable { peer }),
                Err(_) => Err(NetError::Stopped),
            }
        };
        timeout(CONNECT_PATIENCE, asked).await.unwrap_or(Err(NetError::Unreachable { peer }))
    }

    /// Asks the peer at one address. Returns `None` when there is no answer.
    async fn ask_at(
        &self,
        protocol: GuestProtocol,
        address: String,
        question: Bytes,
    ) -> Result<Option<(PeerId, Bytes)>, NetError> {
        let (reply, answer) = oneshot::channel();
        let Some((peer, address)) = named_address(&address) else { return Ok(None) };
        let command = Command::Ask { protocol, peer, address, question, reply };
        self.0.commands.send(command).await.map_err(|_| NetError::Stopped)?;
        let answer = answer.await.map_err(|_| NetError::Stopped)?;
        Ok(answer.and_then(|answer| Some((peer_from_libp2p(&peer)?, answer))))
    }
}

impl Net for RealNet {
    fn local_peer(&self) -> PeerId {
        self.0.local
    }

    async fn send(&self, to: PeerId, class: Class, frame: Frame) -> Result<(), NetError> {
        if to == self.0.local {
            return Err(NetError::Unreachable { peer: to });
        }
        // A second try, because the connection may end between being made and being used.
        for _ in 0..2 {
            if let Some(outbox) = self.0.links.outbox(to, class)
                && outbox.send(frame.clone()).await.is_ok()
            {
                return Ok(());
            }
            self.connect(to).await?;
        }
        match self.0.links.outbox(to, class) {
            Some(outbox) => {
                outbox.send(frame).await.map_err(|_| NetError::Unreachable { peer: to })
            }
            None => Err(NetError::Unreachable { peer: to }),
        }
    }

    fn dial(&self, peer: PeerId, addresses: Vec<String>) {
        if self.0.commands.try_send(Command::Dial { peer, addresses }).is_err() {
            self.0.metrics.command_refused();
        }
    }

    fn take_inbox(&self, class: Class) -> Option<mpsc::Receiver<Inbound>> {
        self.0.inboxes.lock().unwrap_or_else(PoisonError::into_inner).get_mut(class).take()
    }

    fn take_events(&self) -> Option<mpsc::Receiver<NetEvent>> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set_membership(&self, membership: Option<Membership>) {
        self.0.admission.put(Admission::of(membership));
    }

    async fn ask_guest(
        &self,
        protocol: GuestProtocol,
        addresses: Vec<String>,
        question: Bytes,
    ) -> Result<(PeerId, Bytes), NetError> {
        let tried = addresses.len();
        for address in addresses {
            let asked = self.ask_at(protocol, address, question.clone());
            if let Some(answered) = timeout(GUEST_PATIENCE, asked).await.unwrap_or(Ok(None))? {
                return Ok(answered);
            }
        }
        Err(NetError::Unanswered { addresses: tried })
    }

    fn take_guests(&self, protocol: GuestProtocol) -> Option<mpsc::Receiver<GuestQuestion>> {
        let guests = match protocol {
            GuestProtocol::Join => &self.0.guests,
            GuestProtocol::Overlay => &self.0.overlay,
        };
        guests.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn gossip(&self, bytes: Bytes) {
        if self.0.commands.try_send(Command::Gossip { bytes }).is_err() {
            self.0.metrics.command_refused();
        }
    }

    fn take_gossip(&self) -> Option<mpsc::Receiver<Gossip>> {
        self.0.gossip.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn strangers(&self) -> Vec<String> {
        self.0.strangers.lock().unwrap_or_else(PoisonError::into_inner).addresses()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
