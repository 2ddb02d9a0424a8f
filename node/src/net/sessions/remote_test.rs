//! Two sides of a pair, which see the same connections in orders of their own.
#![expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;
use protocol::Prng;
use protocol::wire::Class;

use super::{
    Link, Opened, Opens, RETURNED_AFTER, Remote, SECOND_PAUSE_MAX, SECOND_PAUSE_MIN, STABLE_AFTER,
};

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn link(number: usize, is_dialled: bool, since: Instant) -> Link {
    let address = "/ip4/10.0.0.1/tcp/4101".parse().unwrap();
    Link { id: id(number), dialled: is_dialled.then_some(address), since }
}

/// Both sides, and what is under way between them: streams that one opens and the other accepts later.
struct Pair {
    sides: [Remote; 2],
    /// By side that opens. Streams of one connection arrive in order; those of several need not.
    opening: [VecDeque<(ConnectionId, Class)>; 2],
    alive: Vec<usize>,
    now: Instant,
    next: usize,
    prng: Prng,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        Self {
            sides: [Remote::new(true, now), Remote::new(false, now)],
            opening: [VecDeque::new(), VecDeque::new()],
            alive: Vec::new(),
            now,
            next: 0,
            prng: Prng::new(seed),
        }
    }

    fn step(&mut self, side: usize, change: impl FnOnce(&mut Remote, &mut Opens)) {
        let mut opens = Vec::new();
        change(&mut self.sides[side], &mut opens);
        self.opening[side].extend(opens);
    }

    /// Some connections are made, which the sides learn of in any order.
    fn connect(&mut self, count: usize) {
        let new: Vec<usize> = (self.next..self.next + count).collect();
        self.next += count;
        for side in 0..2 {
            let mut seen = new.clone();
            self.prng.shuffle(&mut seen);
            for number in seen {
                let link = link(number, (number + side).is_multiple_of(2), self.now);
                self.step(side, |remote, opens| {
                    remote.add(link, opens);
                    remote.begin(opens);
                });
            }
        }
        self.alive.extend(new);
    }

    fn lose(&mut self, at: usize) {
        let number = self.alive.remove(at);
        let now = self.now;
        for side in 0..2 {
            self.opening[side].retain(|(connection, _)| *connection != id(number));
            self.step(side, |remote, opens| remote.remove(id(number), now, opens));
        }
    }

    /// Lets everything that is under way arrive, one connection or another first.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let side = usize::from(self.prng.chance(1, 2));
            let from = if self.opening[side].is_empty() { 1 - side } else { side };
            let waiting = self.opening[from].len();
            let Some(first) = self.prng.index(waiting) else { return };
            let connection = self.opening[from][first].0;
            let at = self.opening[from].iter().position(|(other, _)| *other == connection).unwrap();
            let (connection, class) = self.opening[from].remove(at).unwrap();
            self.step(1 - from, |remote, opens| remote.accepted(connection, class, opens));
            self.step(from, |remote, opens| {
                remote.opened(connection, class, opens);
            });
        }
        panic!("the sides never come to rest");
    }

    fn bearers(&self, side: usize) -> [Option<ConnectionId>; 3] {
        Class::ALL.map(|class| self.sides[side].bearer(class))
    }

    fn is_well(&self) {
        for side in 0..2 {
            let [control, bulk, background] = self.bearers(side);
            assert!(self.sides[side].is_open());
            assert!(control.is_some() && bulk.is_some());
            assert_eq!(bulk, background);
            for bearer in [control, bulk] {
                assert!(self.alive.iter().any(|number| Some(id(*number)) == bearer));
            }
            assert_eq!(control == bulk, self.alive.len() == 1, "{:?}", self.bearers(side));
        }
    }
}

#[test]
fn a_peer_that_was_killed_and_came_back_is_spoken_to_over_its_new_connections() {
    for seed in 0..400 {
        for returned in 0..2 {
            // Given a pair that is at rest, one of which is killed, which nobody tells the other.
            let mut pair = Pair::new(seed);
            pair.connect(1 + usize::try_from(seed % 2).unwrap());
            pair.settle();
            pair.now += Duration::from_secs(1 + seed % 5);
            let left = std::mem::take(&mut pair.alive);
            pair.sides[returned] = Remote::new(returned == 0, pair.now);
            // When it comes back, then everything runs over what it opened since,
            pair.connect(1 + usize::try_from(seed / 2 % 2).unwrap());
            pair.settle();
            pair.is_well();
            // also after the machine has found out that the old connections are dead.
            for number in left {
                let now = pair.now;
                pair.step(1 - returned, |remote, opens| remote.remove(id(number), now, opens));
            }
            pair.settle();
            pair.is_well();
        }
    }
}

#[test]
fn urgent_frames_have_a_connection_of_their_own_whatever_breaks() {
    for seed in 0..2000 {
        let mut pair = Pair::new(seed);
        pair.connect(1 + usize::try_from(seed % 2).unwrap());
        for _ in 0..20 {
            pair.settle();
            pair.is_well();
            let alive = pair.alive.len();
            if alive < 3 && (alive == 1 || pair.prng.chance(1, 2)) {
                pair.connect(1);
            } else {
                let at = pair.prng.index(alive).unwrap();
                pair.lose(at);
            }
            // Sometimes the next thing happens before the last has arrived.
            if pair.prng.chance(1, 3) && pair.alive.len() == 2 {
                let at = pair.prng.index(2).unwrap();
                pair.lose(at);
            }
        }
    }
}

#[test]
fn both_sides_use_the_same_connections_after_two_dials_at_once() {
    for seed in 0..200 {
        let mut pair = Pair::new(seed);
        pair.connect(2);
        pair.settle();
        assert_eq!(pair.bearers(0), pair.bearers(1), "seed {seed}");
    }
}

#[test]
fn a_session_refused_is_begun_again_when_the_other_side_opens_one() {
    let (mut remote, mut opens) = (Remote::new(true, Instant::now()), Vec::new());
    remote.add(link(0, true, Instant::now()), &mut opens);
    remote.begin(&mut opens);
    assert_eq!(opens, [(id(0), Class::Control)]);
    assert_eq!(remote.refused(id(0)), Some(false));
    assert_eq!(remote.refused(id(0)), None);
    opens.clear();
    remote.accepted(id(0), Class::Control, &mut opens);
    assert_eq!(opens, [(id(0), Class::Control)]);
    assert_eq!(remote.opened(id(0), Class::Control, &mut opens), Opened::First);
    assert_eq!(remote.refused(id(0)), Some(true));
}

#[test]
fn a_stream_that_opens_after_the_end_of_its_session_serves_nobody() {
    let (mut remote, mut opens) = (Remote::new(true, Instant::now()), Vec::new());
    remote.add(link(0, true, Instant::now()), &mut opens);
    remote.begin(&mut opens);
    remote.end();
    for class in Class::ALL {
        assert_eq!(remote.opened(id(0), class, &mut opens), Opened::Stale);
    }
}

#[test]
fn the_side_that_dialled_dials_a_second_connection_at_growing_distances() {
    let start = Instant::now();
    let mut opens = Vec::new();
    for (is_dialled, chooses) in [(false, true), (true, true), (true, false)] {
        let mut remote = Remote::new(chooses, start);
        remote.add(link(0, is_dialled, start), &mut opens);
        remote.begin(&mut opens);
        assert!(remote.second(start).is_none(), "before the first one serves");
        remote.opened(id(0), Class::Control, &mut opens);
        assert_eq!(remote.second(start).is_some(), is_dialled);
        if !is_dialled {
            continue;
        }
        let (mut now, mut pauses) = (start, Vec::new());
        for dial in 10..20 {
            assert!(remote.second(now).is_some());
            remote.dials(id(dial));
            assert!(remote.second(now + SECOND_PAUSE_MAX).is_none(), "one at a time");
            remote.failed(id(dial), now);
            let mut pause = Duration::ZERO;
            while remote.second(now + pause).is_none() {
                pause += SECOND_PAUSE_MIN;
            }
            pauses.push(pause);
            now += pause;
        }
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[9]), (SECOND_PAUSE_MIN, SECOND_PAUSE_MAX));
        // When one succeeds and lasts, the pause is short again after its end.
        remote.dials(id(20));
        remote.add(link(20, true, now), &mut opens);
        assert!(remote.second(now + SECOND_PAUSE_MAX).is_none(), "there are two");
        now += STABLE_AFTER;
        remote.remove(id(20), now, &mut opens);
        assert!(remote.second(now + SECOND_PAUSE_MIN).is_some());
    }
}

#[test]
fn what_a_lost_connection_bore_is_interrupted_and_nothing_else() {
    let now = Instant::now();
    let mut opens = Vec::new();
    let mut remote = Remote::new(true, now);
    for number in 0..3 {
        remote.add(link(number, true, now), &mut opens);
    }
    remote.begin(&mut opens);
    remote.opened(id(0), Class::Control, &mut opens);
    assert_eq!(
        (remote.bearer(Class::Control), remote.bearer(Class::Bulk)),
        (Some(id(0)), Some(id(1)))
    );
    remote.remove(id(2), now, &mut opens);
    assert_eq!(remote.take_interrupted(), [].into());
    remote.remove(id(1), now, &mut opens);
    assert_eq!(remote.take_interrupted(), [Class::Bulk, Class::Background].into());
    // A peer that was killed comes back on a connection far newer than the one it left behind.
    let later = now + 2 * RETURNED_AFTER;
    remote.add(link(3, false, later), &mut opens);
    remote.accepted(id(3), Class::Control, &mut opens);
    assert_eq!(remote.take_interrupted(), Class::ALL.into());
}

#[test]
fn what_was_urgent_is_interrupted_also_where_the_other_side_moved_it_first() {
    let now = Instant::now();
    let mut remote = Remote::new(false, now);
    let mut opens = Vec::new();
    for number in [1, 2] {
        remote.add(link(number, false, now), &mut opens);
    }
    remote.begin(&mut opens);
    assert_eq!(remote.opened(id(1), Class::Control, &mut opens), Opened::First);
    // The other side has seen the end of the first one, and goes on with the second.
    remote.accepted(id(2), Class::Control, &mut opens);
    assert_eq!(remote.bearer(Class::Control), Some(id(2)));
    let _bulky = remote.take_interrupted();
    remote.remove(id(1), now, &mut opens);
    assert!(remote.take_interrupted().contains(&Class::Control));
}
