//! The task that owns the swarm.
//!
//! Owns: the swarm, the tasks of every stream, who waits for which peer, and the events that wait to be taken.
//! Never: waits for a peer, a stream or a service inside its loop; reads or writes a frame.

#![expect(
    clippy::disallowed_methods,
    reason = "a driver takes the real clock and spawns its tasks"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, Swarm, identify, kad, mdns, ping};
use protocol::limits::OUTBOX_FRAMES_MAX;
use protocol::wire::{Class, FrameError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::bootstrap::Bootstrap;
use super::composition::{Composition, CompositionEvent, KAD_PROTOCOL};
use super::discovery::{ToMeet, is_loopback, usable};
use super::identity::{peer_from_libp2p, peer_to_libp2p};
use super::links::{Links, PerClass};
use super::malformed::LogLimiter;
use super::metrics::NetMetrics;
use super::sessions::{Protocols, SessionEvent};
use super::settings::{NetSettings, StartError};
use super::streams::{ReadEnd, read_frames, write_frames};
use super::transport::{self, Stack};
use crate::env::{Inbound, NetEvent};

/// Events that wait for room in their channel. Then the swarm is not polled until there is some.
const BACKLOG_MAX: usize = 1024;

/// Peers that somebody asked to reach and that are neither connected nor given up.
const WANTED_MAX: usize = 4096;

/// Senders that wait for one peer.
const WAITERS_MAX: usize = 1024;

/// Peers dialled at one time only because Kademlia or identify told of them.
const MEETINGS_MAX: u32 = 8;

/// Reports of streams that wait to be handled; their tasks wait with them.
const NOTES_MAX: usize = 64;

/// A connection without any stream but the small protocols' is closed after this: strangers, mostly.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// How often due dials are looked for.
const TICK: Duration = Duration::from_millis(200);

/// An order from a handle.
#[derive(Debug)]
pub(super) enum Command {
    /// Say whether this peer could be connected.
    Connect { peer: protocol::PeerId, done: oneshot::Sender<bool> },
    /// Connect to this peer, trying these addresses too.
    Dial { peer: protocol::PeerId, addresses: Vec<String> },
}

/// What the task shares with the handles.
pub(super) struct Parts {
    pub(super) links: Arc<Links>,
    pub(super) metrics: NetMetrics,
    pub(super) inboxes: PerClass<mpsc::Sender<Inbound>>,
    pub(super) events: mpsc::Sender<NetEvent>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) stop: CancellationToken,
}

/// What a stream's task reports.
enum Note {
    WriteFailed { peer: PeerId, class: Class },
    Malformed { peer: PeerId, class: Class, err: FrameError },
}

/// See the module.
pub(super) struct SwarmTask {
    parts: Parts,
    swarm: Swarm<Composition>,
    protocols: Protocols,
    bootstrap: Bootstrap,
    to_meet: ToMeet,
    limiter: LogLimiter,
    listening: BTreeSet<Multiaddr>,
    backlog: VecDeque<NetEvent>,
    /// Who waits for a peer that is being connected. An entry without waiters was asked for by `dial`.
    wanted: BTreeMap<PeerId, Vec<oneshot::Sender<bool>>>,
    /// Where each connected peer's writers take their streams from.
    writers: BTreeMap<PeerId, PerClass<mpsc::Sender<Stream>>>,
    readers: BTreeMap<PeerId, PerClass<Option<AbortHandle>>>,
    notes: (mpsc::Sender<Note>, mpsc::Receiver<Note>),
}

impl SwarmTask {
    /// Binds the listening addresses. Must be called within a runtime.
    ///
    /// # Errors
    /// Any [`StartError`].
    pub(super) fn new(
        settings: &NetSettings,
        stack: Stack,
        parts: Parts,
    ) -> Result<Self, StartError> {
        let key = settings.key.keypair();
        let listen = parse(&settings.listen)?;
        let bootstrap = parse(&settings.bootstrap)?;
        let protocols = Protocols::of(settings.cluster);
        let with_mdns = settings.mdns && !listen.iter().all(is_loopback);
        let transport = transport::build(&key, stack)?;
        let behaviour = Composition::new(settings, &key, protocols.clone(), with_mdns)?;
        let config =
            libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_MAX);
        let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
        for address in listen {
            let text = address.to_string();
            transport::check_is_free(&address).map_err(|source| StartError::Listen {
                address: text.clone(),
                source: source.into(),
            })?;
            swarm
                .listen_on(address)
                .map_err(|source| StartError::Listen { address: text, source: source.into() })?;
        }
        Ok(Self {
            parts,
            swarm,
            protocols,
            bootstrap: Bootstrap::new(bootstrap, Instant::now()),
            to_meet: ToMeet::new(),
            limiter: LogLimiter::new(),
            listening: BTreeSet::new(),
            backlog: VecDeque::new(),
            wanted: BTreeMap::new(),
            writers: BTreeMap::new(),
            readers: BTreeMap::new(),
            notes: mpsc::channel(NOTES_MAX),
        })
    }

    /// Runs until it is told to stop, or the last handle has gone.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let events = self.parts.events.clone();
        loop {
            // Until there is room for events, nothing is done that makes more of them.
            let has_room = self.backlog.len() < BACKLOG_MAX;
            tokio::select! {
                // Stop; what our own tasks report and wait with; events, which make room; the clock; orders,
                // which come from a bounded number of callers; what the outside does last, so that a flood
                // of it cannot starve the rest.
                biased;
                () = self.parts.stop.cancelled() => break,
                Some(note) = self.notes.1.recv() => self.on_note(note),
                permit = events.reserve(), if !self.backlog.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(event) = self.backlog.pop_front() {
                            permit.send(event);
                        }
                    }
                    // Nobody listens any more.
                    Err(_) => self.backlog.clear(),
                },
                _ = tick.tick() => self.on_tick(),
                command = self.parts.commands.recv(), if has_room => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                event = self.swarm.select_next_some(), if has_room => self.on_swarm(event),
            }
        }
        self.parts.links.clear();
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        for dial in self.bootstrap.due(self.writers.is_empty(), now) {
            let connection = dial.connection_id();
            if let Err(err) = self.swarm.dial(dial) {
                debug!(%err, "bootstrap address was not dialled");
                self.bootstrap.failed(connection, false);
            }
        }
        self.meet(now);
    }

    /// Dials peers that were heard of.
    fn meet(&mut self, now: Instant) {
        while self.swarm.network_info().connection_counters().num_pending_outgoing() < MEETINGS_MAX
        {
            let Some(peer) = self.to_meet.next(now) else { return };
            if !self.swarm.is_connected(&peer)
                && let Err(err) = self.swarm.dial(peer)
            {
                debug!(%peer, %err, "peer was not dialled");
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Connect { peer, done } => match peer_to_libp2p(peer) {
                Some(id) => self.want(id, Some(done)),
                None => answer(done, false),
            },
            Command::Dial { peer, addresses } => {
                let Some(id) = peer_to_libp2p(peer) else { return };
                // Texts that are no addresses were written by another peer, and are its fault alone.
                let addresses = usable(addresses.iter().filter_map(|text| text.parse().ok()));
                if !addresses.is_empty() {
                    self.swarm.behaviour_mut().sessions.add_addresses(id, addresses);
                }
                self.want(id, None);
            }
        }
    }

    /// Connects to a peer unless it is connected, and answers `waiter` when that is decided.
    fn want(&mut self, peer: PeerId, waiter: Option<oneshot::Sender<bool>>) {
        let is_refused = peer == *self.swarm.local_peer_id()
            || self.swarm.behaviour().sessions.is_foreign(&peer)
            || (self.wanted.len() >= WANTED_MAX && !self.wanted.contains_key(&peer));
        if self.writers.contains_key(&peer) || is_refused {
            if let Some(done) = waiter {
                answer(done, !is_refused);
            }
            if is_refused && peer != *self.swarm.local_peer_id() {
                self.emit(peer, NetEvent::Unreachable);
            }
            return;
        }
        let waiters = self.wanted.entry(peer).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        if let Some(done) = waiter {
            if waiters.len() < WAITERS_MAX {
                waiters.push(done);
            } else {
                answer(done, false);
            }
        }
        let options =
            DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
        match self.swarm.dial(options) {
            // Connected and being asked for its cluster, or dialled already: the outcome is an event.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(err) => {
                debug!(%peer, %err, "peer was not dialled");
                self.give_up(peer);
            }
        }
    }

    /// Tells everybody who waits for a peer that it cannot be reached.
    fn give_up(&mut self, peer: PeerId) {
        if let Some(waiters) = self.wanted.remove(&peer) {
            self.parts.metrics.dial_failed();
            for waiter in waiters {
                answer(waiter, false);
            }
            self.emit(peer, NetEvent::Unreachable);
        }
    }

    fn on_note(&mut self, note: Note) {
        match note {
            Note::WriteFailed { peer, class } => {
                self.swarm.behaviour_mut().sessions.reopen(peer, class);
            }
            Note::Malformed { peer, class, err } => {
                self.parts.metrics.malformed_frame();
                if let Some(name) = peer_from_libp2p(&peer)
                    && self.limiter.may_log(name, Instant::now())
                {
                    warn!(peer = %name, class = class.name(), %err, "malformed frame ended connection");
                }
                // It may have ended by itself.
                let _was_connected = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<CompositionEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                self.bootstrap.reached(connection_id, peer_id);
                self.count_connections();
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established, cause, .. } => {
                debug!(peer = %peer_id, ?cause, num_established, "connection closed");
                self.count_connections();
                if num_established == 0 {
                    self.stop_readers(peer_id);
                    self.give_up(peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_error(connection_id, peer_id, &error);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                self.parts.metrics.handshake_failed();
                debug!(err = %error, "incoming connection failed");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                info!(%address, "listening");
                self.listening.insert(address);
                self.tell_listening();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.remove(&address);
                self.tell_listening();
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(err) = reason {
                    warn!(%err, "listener closed");
                }
                for address in addresses {
                    self.listening.remove(&address);
                }
                self.tell_listening();
            }
            SwarmEvent::ListenerError { error, .. } => debug!(err = %error, "listener failed once"),
            // Dials under way and external addresses, which nobody acts upon yet.
            _ => {}
        }
    }

    fn on_dial_error(&mut self, dial: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        debug!(?peer, err = %error, "dial failed");
        if matches!(error, DialError::LocalPeerId { .. }) {
            self.bootstrap.is_own(dial);
        } else {
            self.bootstrap.failed(dial, matches!(error, DialError::WrongPeerId { .. }));
        }
        match peer {
            // The peer may have connected to us meanwhile.
            Some(peer) if !self.swarm.is_connected(&peer) => self.give_up(peer),
            Some(_) => {}
            None => self.parts.metrics.dial_failed(),
        }
    }

    fn on_behaviour(&mut self, event: CompositionEvent) {
        match event {
            CompositionEvent::Sessions(event) => self.on_session(event),
            CompositionEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(peer_id, info);
            }
            CompositionEvent::Kad(
                kad::Event::RoutingUpdated { peer, .. }
                | kad::Event::RoutablePeer { peer, .. }
                | kad::Event::PendingRoutablePeer { peer, .. },
            ) => {
                if !self.swarm.is_connected(&peer) {
                    self.to_meet.add(peer, Instant::now());
                }
            }
            CompositionEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    let addresses = usable([address]);
                    self.swarm.behaviour_mut().sessions.add_addresses(peer, addresses);
                    self.to_meet.add(peer, Instant::now());
                }
            }
            CompositionEvent::Ping(ping::Event {
                peer,
                connection,
                result: Err(ping::Failure::Timeout),
            }) => {
                // A peer that stands still holds its connection open; another connection, or another peer,
                // serves better.
                debug!(%peer, "connection closed: no answer to ping");
                let _was_open = self.swarm.close_connection(connection);
            }
            CompositionEvent::Limits(never) => match never {},
            CompositionEvent::Memory(never) => match never {},
            // Queries and their statistics, round trips, and what identify sent.
            CompositionEvent::Identify(_)
            | CompositionEvent::Kad(_)
            | CompositionEvent::Mdns(_)
            | CompositionEvent::Ping(_) => {}
        }
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let addresses = usable(info.listen_addrs);
        let behaviour = self.swarm.behaviour_mut();
        behaviour.sessions.add_addresses(peer, addresses.clone());
        if info.protocols.contains(&KAD_PROTOCOL) {
            for address in &addresses {
                behaviour.kad.add_address(&peer, address.clone());
            }
        }
        if self.protocols.are_spoken(&info.protocols)
            && let Some(peer) = peer_from_libp2p(&peer)
        {
            let addresses = addresses.iter().map(Multiaddr::to_string).collect();
            self.backlog.push_back(NetEvent::Discovered { peer, addresses });
        }
    }

    fn on_session(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Opened { peer, class, stream } => self.on_opened(peer, class, stream),
            SessionEvent::Accepted { peer, class, stream } => self.read(peer, class, stream),
            SessionEvent::Foreign { peer } => self.give_up(peer),
            SessionEvent::Lost { peer } => {
                self.writers.remove(&peer);
                if let Some(name) = peer_from_libp2p(&peer) {
                    self.parts.links.remove(name);
                }
                self.parts.metrics.set_peers(self.writers.len());
                self.emit(peer, NetEvent::Disconnected);
            }
        }
    }

    fn on_opened(&mut self, peer: PeerId, class: Class, stream: Stream) {
        let is_new = !self.writers.contains_key(&peer);
        if is_new {
            self.start_writers(peer);
        }
        if let Some(writers) = self.writers.get(&peer)
            && writers.get(class).try_send(stream).is_err()
        {
            // The writer has an older stream and one that waits already, or it has ended: it asks again when
            // the next write fails.
            debug!(%peer, class = class.name(), "stream was not needed");
        }
        if is_new {
            for waiter in self.wanted.remove(&peer).unwrap_or_default() {
                answer(waiter, true);
            }
            self.emit(peer, NetEvent::Connected);
        }
    }

    /// Starts a writer for each class to a peer that was just connected.
    fn start_writers(&mut self, peer: PeerId) {
        let Some(name) = peer_from_libp2p(&peer) else { return };
        let (outboxes, frames) = PerClass::from_fn(|_| mpsc::channel(OUTBOX_FRAMES_MAX)).unzip();
        let writers = frames.map(|class, frames| {
            // One that is used and one that replaces it.
            let (streams, streams_out) = mpsc::channel(2);
            let notes = self.notes.0.clone();
            let tally = self.parts.metrics.sent(class);
            tokio::spawn(write_frames(frames, streams_out, tally, async move || {
                // The swarm's task ended: so does everything.
                let _ = notes.send(Note::WriteFailed { peer, class }).await;
            }));
            streams
        });
        self.writers.insert(peer, writers);
        self.parts.metrics.set_peers(self.writers.len());
        self.parts.links.add(name, outboxes);
    }

    /// Reads frames from a stream a peer opened, instead of from its earlier one of this class: so that a peer
    /// has one reader per class, whatever it opens.
    fn read(&mut self, peer: PeerId, class: Class, stream: Stream) {
        let Some(name) = peer_from_libp2p(&peer) else { return };
        let inbox = self.parts.inboxes.get(class).clone();
        let tally = self.parts.metrics.received(class);
        let notes = self.notes.0.clone();
        let task = tokio::spawn(async move {
            if let ReadEnd::Malformed(err) = read_frames(stream, name, inbox, tally).await {
                let _ = notes.send(Note::Malformed { peer, class, err }).await;
            }
        });
        let readers = self.readers.entry(peer).or_insert_with(|| PerClass::from_fn(|_| None));
        if let Some(earlier) = readers.get_mut(class).replace(task.abort_handle()) {
            earlier.abort();
        }
    }

    fn stop_readers(&mut self, peer: PeerId) {
        if let Some(readers) = self.readers.remove(&peer) {
            for class in Class::ALL {
                if let Some(reader) = readers.get(class) {
                    reader.abort();
                }
            }
        }
    }

    fn tell_listening(&mut self) {
        let addresses = self.listening.iter().map(Multiaddr::to_string).collect();
        self.backlog.push_back(NetEvent::Listening(addresses));
    }

    fn emit(&mut self, peer: PeerId, event: impl FnOnce(protocol::PeerId) -> NetEvent) {
        if let Some(peer) = peer_from_libp2p(&peer) {
            self.backlog.push_back(event(peer));
        }
    }

    fn count_connections(&mut self) {
        let counters = self.swarm.network_info();
        self.parts.metrics.set_connections(counters.connection_counters().num_established());
    }
}

/// Answers who may have stopped waiting.
fn answer(waiter: oneshot::Sender<bool>, is_connected: bool) {
    let _has_gone = waiter.send(is_connected).is_err();
}

fn parse(texts: &[String]) -> Result<Vec<Multiaddr>, StartError> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|_| StartError::Address { address: text.clone() }))
        .collect()
}
