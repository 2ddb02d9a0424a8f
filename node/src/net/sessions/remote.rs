//! The connections of one peer: which of them bears the urgent class, and which one the rest.
//!
//! Both sides see the same connections, but not in the same order. So the side with the smaller id chooses, and
//! the other one follows to where streams arrive. A connection that nobody needs is closed by idleness. A peer that
//! was killed and came back has left connections behind that no one ended, QUIC's above all: once it opens a stream
//! on a far newer one, they count no more.
//! Owns no connection. Never: opens a stream or dials; says what should be.

use std::collections::BTreeSet;
use std::mem::take;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;
use protocol::wire::Class;

/// The classes that the second connection bears.
const BULKY: [Class; 2] = [Class::Bulk, Class::Background];

/// Pause before a second connection is dialled again, after the first failure.
const SECOND_PAUSE_MIN: Duration = Duration::from_secs(1);

/// Longest such pause. A peer that takes only one connection costs a dial a minute.
const SECOND_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A connection that lasted so long was a good one: the pause begins anew.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// How much newer the connection of a stream is than the one that bears its class, if the side that follows opened it of
/// its own accord: when two peers meet, both of them begin, but not so far apart.
const RETURNED_AFTER: Duration = Duration::from_secs(1);

/// Streams to be opened: on which connection, of which class.
pub(super) type Opens = Vec<(ConnectionId, Class)>;

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    /// The address that this side dialled, if it did.
    pub(super) dialled: Option<Multiaddr>,
    pub(super) since: Instant,
}

/// How far the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not wanted, or refused.
    Idle,
    /// The control stream is being opened.
    Opening,
    /// The control stream was open once; streams that fail are opened again.
    Open,
}

/// What became of a stream that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// The session begins with it.
    First,
    /// It serves.
    Serves,
    /// Its bearer is another one by now.
    Stale,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Remote {
    /// Whether this side chooses the bearers.
    chooses: bool,
    /// Oldest first.
    links: Vec<Link>,
    /// Those of the links that a peer left behind which came back since.
    left: BTreeSet<ConnectionId>,
    state: State,
    control: Option<ConnectionId>,
    bulk: Option<ConnectionId>,
    /// Whether the bulky classes were opened on `bulk`.
    is_spread: bool,
    /// Connections that bore the urgent class until the other side moved it. It may have seen their end before this
    /// side does, and then what was under way there is lost.
    moved_from: BTreeSet<ConnectionId>,
    /// Classes whose bearer went away since somebody asked.
    interrupted: BTreeSet<Class>,
    /// The dial of a second connection that is under way.
    dialling: Option<ConnectionId>,
    /// When the next one may begin.
    due: Instant,
    pause: Duration,
}

impl Remote {
    /// Returns a peer without a connection.
    pub(super) fn new(chooses: bool, now: Instant) -> Self {
        Self {
            chooses,
            links: Vec::new(),
            left: BTreeSet::new(),
            state: State::Idle,
            control: None,
            bulk: None,
            is_spread: false,
            moved_from: BTreeSet::new(),
            interrupted: BTreeSet::new(),
            dialling: None,
            due: now,
            pause: SECOND_PAUSE_MIN,
        }
    }

    pub(super) fn links(&self) -> &[Link] {
        &self.links
    }

    /// Returns whether a session was opened and not refused since.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Returns the classes that lost a connection with whatever was under way on it, while the session goes on.
    pub(super) fn take_interrupted(&mut self) -> BTreeSet<Class> {
        take(&mut self.interrupted)
    }

    /// Adds a connection.
    pub(super) fn add(&mut self, link: Link, opens: &mut Opens) {
        if self.dialling == Some(link.id) {
            self.dialling = None;
        }
        self.links.push(link);
        self.spread(opens);
    }

    /// Removes a connection that ended; others take over what it bore.
    pub(super) fn remove(&mut self, id: ConnectionId, now: Instant, opens: &mut Opens) {
        let Some(at) = self.links.iter().position(|link| link.id == id) else { return };
        let link = self.links.remove(at);
        self.left.remove(&id);
        if self.bulk == Some(id) {
            self.bulk = None;
            self.interrupted.extend(BULKY);
        }
        if now.saturating_duration_since(link.since) >= STABLE_AFTER {
            self.pause = SECOND_PAUSE_MIN;
        }
        self.wait(now);
        if self.moved_from.remove(&id) {
            self.interrupted.insert(Class::Control);
        }
        if self.control == Some(id) {
            self.control = None;
            self.interrupted.insert(Class::Control);
            let next = self.fresh().next().or(self.links.last()).map(|link| link.id);
            if let Some(next) = next {
                self.replace_control(next, opens);
            }
        }
        self.spread(opens);
    }

    /// Begins the session, unless it has begun.
    pub(super) fn begin(&mut self, opens: &mut Opens) {
        if self.state == State::Idle
            && let Some(oldest) = self.links.first().map(|link| link.id)
        {
            self.begin_on(oldest, opens);
        }
    }

    fn begin_on(&mut self, id: ConnectionId, opens: &mut Opens) {
        self.state = State::Opening;
        self.control = Some(id);
        opens.push((id, Class::Control));
    }

    /// Notes that a stream was opened.
    pub(super) fn opened(&mut self, id: ConnectionId, class: Class, opens: &mut Opens) -> Opened {
        if self.bearer(class) != Some(id) {
            return Opened::Stale;
        }
        match (self.state, class) {
            (State::Opening, Class::Control) => {
                self.state = State::Open;
                self.spread(opens);
                Opened::First
            }
            (State::Open, _) => Opened::Serves,
            (State::Idle | State::Opening, _) => Opened::Stale,
        }
    }

    /// Notes that the other side opened a stream: it admits us, and if the choice is its own, this is it.
    pub(super) fn accepted(&mut self, id: ConnectionId, class: Class, opens: &mut Opens) {
        if self.state == State::Idle {
            self.begin_on(id, opens);
            return;
        }
        // The side that chooses has reasons of its own to move to a newer connection.
        if self.chooses && self.has_returned(id, class) {
            self.leave_behind(id);
        }
        if !self.chooses && self.bearer(class) != Some(id) {
            match class {
                Class::Control => {
                    self.moved_from.extend(self.control.replace(id));
                    opens.push((id, Class::Control));
                }
                Class::Bulk | Class::Background => {
                    self.bulk = Some(id);
                    self.is_spread = false;
                }
            }
        }
        self.replace_control(id, opens);
        self.spread(opens);
    }

    /// Notes that a stream was refused. Returns whether that ended a session, or `None` when it means nothing.
    pub(super) fn refused(&mut self, id: ConnectionId) -> Option<bool> {
        let bears = [self.control, self.bulk].contains(&Some(id));
        (bears && self.state != State::Idle).then(|| self.end())
    }

    /// Ends the session. Returns whether it was open.
    pub(super) fn end(&mut self) -> bool {
        let was_open = self.is_open();
        self.state = State::Idle;
        (self.control, self.bulk, self.is_spread) = (None, None, false);
        was_open
    }

    /// Returns the connection that bears a class.
    pub(super) fn bearer(&self, class: Class) -> Option<ConnectionId> {
        match class {
            Class::Control => self.control,
            Class::Bulk | Class::Background => self.bulk,
        }
    }

    /// Gives the bulky classes a connection of their own where there is one.
    fn spread(&mut self, opens: &mut Opens) {
        if self.state != State::Open {
            return;
        }
        let next = match self.bulk {
            Some(bulk) if self.bulk != self.control || !self.chooses => Some(bulk),
            Some(_) | None => self.apart_from(self.control).or(self.control),
        };
        if self.bulk == next && self.is_spread {
            return;
        }
        self.bulk = next;
        self.is_spread = true;
        opens.extend(next.into_iter().flat_map(|id| BULKY.map(|class| (id, class))));
    }

    fn apart_from(&self, other: Option<ConnectionId>) -> Option<ConnectionId> {
        self.fresh().map(|link| link.id).find(|id| Some(*id) != other)
    }

    /// Returns the connections that were not left behind.
    fn fresh(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| !self.left.contains(&link.id))
    }

    /// Gives the urgent class a connection if it has none: this one, if none bears the bulky ones.
    fn replace_control(&mut self, id: ConnectionId, opens: &mut Opens) {
        if self.control.is_none() && self.state != State::Idle {
            let apart = self.bulk.map(|bulk| self.apart_from(Some(bulk)).unwrap_or(bulk));
            let next = apart.unwrap_or(id);
            self.control = Some(next);
            opens.push((next, Class::Control));
        }
    }

    fn since(&self, id: Option<ConnectionId>) -> Option<Instant> {
        self.links.iter().find(|link| Some(link.id) == id).map(|link| link.since)
    }

    /// Says whether a stream that arrives tells that its peer was away.
    fn has_returned(&self, id: ConnectionId, class: Class) -> bool {
        match (self.since(Some(id)), self.since(self.bearer(class))) {
            (Some(new), Some(old)) => old + RETURNED_AFTER <= new,
            _ => false,
        }
    }

    /// Counts no more on connections that are far older than this one.
    fn leave_behind(&mut self, id: ConnectionId) {
        let Some(new) = self.since(Some(id)) else { return };
        let old = self.links.iter().filter(|link| link.since + RETURNED_AFTER <= new);
        self.left.extend(old.map(|link| link.id));
        // Also what a class has moved from since: nobody is there who would answer.
        self.interrupted.extend(Class::ALL);
        self.control = self.control.filter(|id| !self.left.contains(id));
        self.bulk = self.bulk.filter(|id| !self.left.contains(id));
    }

    // ---- The second connection -----------------------------------------------------------------

    /// Returns where to dial a second connection now. The side that dialled the first one does: it knows an
    /// address that leads there.
    pub(super) fn second(&self, now: Instant) -> Option<&Multiaddr> {
        let mut fresh = self.fresh();
        match (fresh.next(), fresh.next()) {
            (Some(only), None) if self.is_open() && self.dialling.is_none() && now >= self.due => {
                only.dialled.as_ref()
            }
            _ => None,
        }
    }

    /// Notes that a second connection is being dialled.
    pub(super) fn dials(&mut self, id: ConnectionId) {
        self.dialling = Some(id);
    }

    /// Notes that a dial failed.
    pub(super) fn failed(&mut self, id: ConnectionId, now: Instant) {
        if self.dialling == Some(id) {
            self.dialling = None;
            self.wait(now);
        }
    }

    fn wait(&mut self, now: Instant) {
        self.due = now + self.pause;
        self.pause = (self.pause * 2).min(SECOND_PAUSE_MAX);
    }
}

#[cfg(test)]
#[path = "remote_test.rs"]
mod tests;
