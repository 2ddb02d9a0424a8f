//! The task that owns the swarm.
//!
//! Owns: the swarm, and the events that wait to be taken.
//! Never: waits for a peer, a stream or a service inside its loop; reads or writes a frame.

#![expect(clippy::disallowed_methods, reason = "a driver takes the real clock")]

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, kad, mdns, ping, request_response};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::bootstrap::Bootstrap;
use super::composition::{Composition, CompositionEvent, KAD_PROTOCOL};
use super::discovery::{Strangers, ToMeet, is_loopback, usable};
use super::gossip::{self, Gossips};
use super::guests::{self, Answers, Asks, GuestEvent, Guests, Limits, Reply};
use super::identity::{peer_from_libp2p, peer_to_libp2p};
use super::latest::Latest;
use super::lines::{Lines, Note};
use super::links::{Links, PerClass};
use super::metrics::NetMetrics;
use super::sessions::{Admission, SessionEvent};
use super::settings::{NetSettings, StartError};
use super::transport::{self, Stack};
use super::wanted::{Wanted, answer};
use crate::env::{Gossip, GuestProtocol, GuestQuestion, Inbound, NetEvent};
use crate::log_limiter::LogLimiter;

/// Events that wait for room in their channel. Then the swarm is not polled until there is some.
const BACKLOG_MAX: usize = 1024;

/// Peers dialled at one time only because Kademlia or identify told of them.
const MEETINGS_MAX: u32 = 8;

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
    /// Ask this peer as a guest, at this address unless it is connected.
    Ask { protocol: GuestProtocol, peer: PeerId, address: Multiaddr, question: Bytes, reply: Reply },
    /// Tell everybody.
    Gossip { bytes: Bytes },
}

/// What the task shares with the handles.
pub(super) struct Parts {
    pub(super) links: Arc<Links>,
    pub(super) metrics: NetMetrics,
    pub(super) inboxes: PerClass<mpsc::Sender<Inbound>>,
    pub(super) events: mpsc::Sender<NetEvent>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) guests: mpsc::Sender<GuestQuestion>,
    pub(super) overlay: mpsc::Sender<GuestQuestion>,
    pub(super) gossip: mpsc::Sender<Gossip>,
    pub(super) strangers: Arc<Mutex<Strangers>>,
    pub(super) admission: Arc<Latest<Admission>>,
    pub(super) stop: CancellationToken,
}

/// See the module.
pub(super) struct SwarmTask {
    parts: Parts,
    swarm: Swarm<Composition>,
    bootstrap: Bootstrap,
    to_meet: ToMeet,
    limiter: LogLimiter,
    started: Instant,
    listening: BTreeSet<Multiaddr>,
    backlog: VecDeque<NetEvent>,
    wanted: Wanted,
    lines: Lines,
    notes: mpsc::Receiver<Note>,
    guests: Questions,
    overlay: Questions,
    gossips: Gossips,
}

/// What is asked and answered in one protocol of guests.
struct Questions {
    answers: Answers,
    asks: Asks,
}

impl Questions {
    fn new(limits: Limits, service: mpsc::Sender<GuestQuestion>) -> Self {
        Self { answers: Answers::new(limits, service), asks: Asks::default() }
    }
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
        let with_mdns = settings.mdns && !listen.iter().all(is_loopback);
        let transport = transport::build(&key, stack)?;
        let behaviour = Composition::new(settings, &key, with_mdns)?;
        let config =
            libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_MAX);
        let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
        // All are tried before any is listened on, since `::` takes a port of `0.0.0.0` too while it is tried.
        let mut free = Vec::new();
        for address in listen {
            match transport::check_is_free(&address) {
                Ok(()) => free.push(address),
                Err(error) if transport::is_absent_ipv6(&address, &error) => {
                    warn!(%address, "not listened on: this machine has no IPv6");
                }
                Err(error) => {
                    let address = address.to_string();
                    return Err(StartError::Listen { address, source: error.into() });
                }
            }
        }
        for address in free {
            let text = address.to_string();
            swarm
                .listen_on(address)
                .map_err(|source| StartError::Listen { address: text, source: source.into() })?;
        }
        let (lines, notes) =
            Lines::new(Arc::clone(&parts.links), parts.metrics.clone(), parts.inboxes.clone());
        let limits = |protocol| Limits::of(protocol, settings.guest_rate);
        let guests = Questions::new(limits(GuestProtocol::Join), parts.guests.clone());
        let overlay = Questions::new(limits(GuestProtocol::Overlay), parts.overlay.clone());
        let gossips = Gossips::new(parts.gossip.clone());
        Ok(Self {
            parts,
            swarm,
            bootstrap: Bootstrap::new(bootstrap, Instant::now()),
            to_meet: ToMeet::new(),
            limiter: LogLimiter::new(),
            started: Instant::now(),
            listening: BTreeSet::new(),
            backlog: VecDeque::new(),
            wanted: Wanted::new(),
            lines,
            notes,
            guests,
            overlay,
            gossips,
        })
    }

    /// Runs until it is told to stop, or the last handle has gone.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let events = self.parts.events.clone();
        let admission = Arc::clone(&self.parts.admission);
        loop {
            // Until there is room for events, nothing is done that makes more of them.
            let has_room = self.backlog.len() < BACKLOG_MAX;
            tokio::select! {
                // Stop; who is cut off, also when nobody takes events; what our own tasks report and wait with;
                // events, which make room; the clock; answers and orders, which come from a bounded number of
                // callers; what the outside does last, so that a flood of it cannot starve the rest.
                biased;
                () = self.parts.stop.cancelled() => break,
                admission = admission.take() => self.admit(admission),
                Some(note) = self.notes.recv() => self.on_note(note),
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
                answered = self.guests.answers.next(), if self.guests.answers.are_due() => {
                    guests::send(&mut self.swarm.behaviour_mut().guests, answered);
                }
                answered = self.overlay.answers.next(), if self.overlay.answers.are_due() => {
                    guests::send(&mut self.swarm.behaviour_mut().overlay, answered);
                }
                judged = self.gossips.next(), if self.gossips.are_due() => {
                    if let Some(judged) = judged {
                        gossip::report(&mut self.swarm.behaviour_mut().gossip, judged);
                    }
                }
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
        for dial in self.bootstrap.due(self.lines.are_none(), now) {
            let connection = dial.connection_id();
            if let Err(err) = self.swarm.dial(dial) {
                debug!(%err, "bootstrap address was not dialled");
                self.bootstrap.failed(connection, false);
            }
        }
        self.swarm.behaviour_mut().sessions.dial_due(now);
        self.meet(now);
    }

    /// Changes who may take part, and cuts off who may not any more.
    fn admit(&mut self, admission: Admission) {
        for peer in self.swarm.behaviour_mut().sessions.admit(admission) {
            self.lines.end_readers(peer);
            self.end_session(peer);
            self.give_up(peer);
        }
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
            Command::Ask { protocol, peer, address, question, reply } => {
                let (questions, guests) = self.questions(protocol);
                questions.asks.ask(guests, peer, address, question, reply);
            }
            Command::Gossip { bytes } => {
                gossip::publish(&mut self.swarm.behaviour_mut().gossip, &bytes);
            }
        }
    }

    /// Connects to a peer unless it is connected, and answers `waiter` when that is decided.
    fn want(&mut self, peer: PeerId, waiter: Option<oneshot::Sender<bool>>) {
        let is_own = peer == *self.swarm.local_peer_id();
        if is_own || self.lines.serve(&peer) {
            waiter.into_iter().for_each(|waiter| answer(waiter, !is_own));
            return;
        }
        if !self.swarm.behaviour().sessions.admits(&peer) {
            waiter.into_iter().for_each(|waiter| answer(waiter, false));
            self.emit(peer, NetEvent::Unreachable);
            return;
        }
        if !self.wanted.add(peer, waiter) {
            self.emit(peer, NetEvent::Unreachable);
            return;
        }
        // It may admit us only now.
        self.swarm.behaviour_mut().sessions.begin(peer);
        let options =
            DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
        match self.swarm.dial(options) {
            // Connected and being asked for a session, or dialled already: the outcome is an event.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(err) => {
                debug!(%peer, %err, "peer was not dialled");
                self.give_up(peer);
            }
        }
    }

    /// Tells everybody who waits for a peer that it cannot be reached.
    fn give_up(&mut self, peer: PeerId) {
        if self.wanted.settle(&peer, false) {
            self.parts.metrics.dial_failed();
            self.emit(peer, NetEvent::Unreachable);
        }
    }

    /// Returns the time since this task was made, which is as good as any for what it is used for.
    fn now(&self) -> protocol::Instant {
        let nanos = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        protocol::Instant::from_nanos(nanos)
    }

    fn on_note(&mut self, note: Note) {
        match note {
            Note::WriteFailed { peer, class } => {
                self.swarm.behaviour_mut().sessions.reopen(peer, class);
            }
            Note::Malformed { peer, class, err } => {
                self.parts.metrics.malformed_frame();
                if let Some(name) = peer_from_libp2p(&peer)
                    && self.limiter.may_log(name, self.now())
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
                    self.lines.end_readers(peer_id);
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
            SwarmEvent::IncomingConnection { .. }
            | SwarmEvent::Dialing { .. }
            | SwarmEvent::NewExternalAddrCandidate { .. }
            | SwarmEvent::ExternalAddrConfirmed { .. }
            | SwarmEvent::ExternalAddrExpired { .. }
            | SwarmEvent::NewExternalAddrOfPeer { .. }
            | _ => {}
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
            CompositionEvent::Guests(event) => self.on_guest(GuestProtocol::Join, event),
            CompositionEvent::Overlay(event) => self.on_guest(GuestProtocol::Overlay, event),
            CompositionEvent::Gossip(event) => {
                self.gossips.on_event(&mut self.swarm.behaviour_mut().gossip, event);
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
        let is_member = behaviour.sessions.admits(&peer);
        // A panic elsewhere leaves it whole.
        let mut strangers = self.parts.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        match addresses.first() {
            Some(address) if !is_member => strangers.met(peer, address.clone()),
            Some(_) | None => strangers.forget(&peer),
        }
        drop(strangers);
        if is_member && let Some(peer) = peer_from_libp2p(&peer) {
            let addresses = addresses.iter().map(Multiaddr::to_string).collect();
            self.backlog.push_back(NetEvent::Discovered { peer, addresses });
        }
    }

    fn questions(&mut self, protocol: GuestProtocol) -> (&mut Questions, &mut Guests) {
        let behaviour = self.swarm.behaviour_mut();
        match protocol {
            GuestProtocol::Join => (&mut self.guests, &mut behaviour.guests),
            GuestProtocol::Overlay => (&mut self.overlay, &mut behaviour.overlay),
        }
    }

    fn on_guest(&mut self, protocol: GuestProtocol, event: GuestEvent) {
        use request_response::{Event, Message};
        let (questions, _) = self.questions(protocol);
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                if !questions.answers.take(peer, request, channel) {
                    self.parts.metrics.guest_refused();
                }
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                questions.asks.answered(request_id, response);
            }
            Event::OutboundFailure { peer, request_id, error, .. } => {
                debug!(%peer, err = %error, "question was not answered");
                questions.asks.failed(request_id);
            }
            Event::InboundFailure { peer, error, .. } => {
                debug!(%peer, err = %error, "guest was not answered");
            }
            Event::ResponseSent { .. } => {}
        }
    }

    fn on_session(&mut self, event: SessionEvent) {
        // It may have been cut off since.
        let is_admitted = |peer: &PeerId| self.swarm.behaviour().sessions.admits(peer);
        match event {
            SessionEvent::Opened { peer, class, stream } if is_admitted(&peer) => {
                let is_new = !self.lines.serve(&peer);
                self.lines.write(peer, class, stream);
                if is_new {
                    self.wanted.settle(&peer, true);
                    self.emit(peer, NetEvent::Connected);
                }
            }
            SessionEvent::Accepted { peer, class, stream } if is_admitted(&peer) => {
                self.lines.read(peer, class, stream);
            }
            SessionEvent::Opened { .. } | SessionEvent::Accepted { .. } => {}
            SessionEvent::Refused { peer } => self.give_up(peer),
            SessionEvent::Interrupted { peer, class } => {
                self.emit(peer, |peer| NetEvent::Interrupted { peer, class });
            }
            SessionEvent::Lost { peer } => self.end_session(peer),
        }
    }

    /// Ends the writers to a peer, if there are some.
    fn end_session(&mut self, peer: PeerId) {
        if self.lines.serve(&peer) {
            self.lines.end_writers(peer);
            self.emit(peer, NetEvent::Disconnected);
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

fn parse(texts: &[String]) -> Result<Vec<Multiaddr>, StartError> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|_| StartError::Address { address: text.clone() }))
        .collect()
}
