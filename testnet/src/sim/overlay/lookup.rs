//! One lookup: asks the closest peers it knows for closer ones, until the closest have answered.
//!
//! Owns its virtual time, in milliseconds from its start. Never: changes a table.

use super::key::{Key, Near, Peer};
use super::network::Network;
use super::table::CLOSEST;

/// Requests under way while answers bring closer peers: libp2p's value, and the paper's.
const PARALLEL: usize = 3;

/// From a request to its answer, where a dial may be part of it.
// Guess: one round trip across a continent to a peer that is connected, or several within one.
const ROUND_TRIP_MS: u64 = 100;

/// How long a peer that is gone holds a place: libp2p's value, and the daemon's for a handshake. The model's peers go
/// with their machines; where only the daemon stops, the dial is refused within a round trip.
const TIMEOUT_MS: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Heard,
    Asked,
    Answered,
    Silent,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    near: Near,
    /// The requests in a row that lead to this peer, with the one to itself.
    hop: u32,
    state: State,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    due_ms: u64,
    near: Near,
}

/// A peer that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) near: Near,
    pub(super) hop: u32,
    pub(super) at_ms: u64,
}

/// What a lookup came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// In the order in which they came.
    pub(super) answers: Vec<Answer>,
    pub(super) requests: u64,
    /// Requests to peers that are gone.
    pub(super) timeouts: u64,
    pub(super) took_ms: u64,
}

impl Outcome {
    /// Returns the peers that the lookup was for, the closest first: those that answered, at most [`CLOSEST`].
    pub(super) fn closest(&self) -> Vec<Peer> {
        let mut found: Vec<Near> = self.answers.iter().map(|answer| answer.near).collect();
        found.sort_unstable();
        found.truncate(CLOSEST);
        found.into_iter().map(|near| near.peer).collect()
    }

    /// Returns the requests in a row that led to the farthest answer.
    pub(super) fn hops(&self) -> u64 {
        self.answers.iter().map(|answer| u64::from(answer.hop)).max().unwrap_or(0)
    }
}

enum Step {
    Ask(usize),
    Wait,
    End,
}

struct Lookup {
    /// The closest first.
    known: Vec<Known>,
    in_flight: Vec<Flight>,
    /// Answers in a row that brought nothing closer.
    idle_answers: usize,
    now_ms: u64,
}

/// Looks for the peers closest to `target`, from what `asker` has in its table.
pub(super) fn look_up(network: &Network, asker: Peer, target: Key) -> Outcome {
    let (mut outcome, mut told) = (Outcome::default(), Vec::new());
    let mut lookup =
        Lookup { known: Vec::new(), in_flight: Vec::new(), idle_answers: 0, now_ms: 0 };
    network.answer(asker, asker, target, &mut told);
    lookup.hear(&told, 1);
    loop {
        match lookup.step() {
            Step::Ask(index) => {
                let known = &mut lookup.known[index];
                known.state = State::Asked;
                let is_gone = network.is_gone(known.near.peer);
                let takes_ms = if is_gone { TIMEOUT_MS } else { ROUND_TRIP_MS };
                let due_ms = lookup.now_ms + takes_ms;
                lookup.in_flight.push(Flight { due_ms, near: known.near });
                outcome.requests += 1;
                outcome.timeouts += u64::from(is_gone);
            }
            Step::Wait => {
                let Some(near) = lookup.land() else { break };
                let is_gone = network.is_gone(near.peer);
                let hop =
                    lookup.settle(near, if is_gone { State::Silent } else { State::Answered });
                if !is_gone {
                    outcome.answers.push(Answer { near, hop, at_ms: lookup.now_ms });
                    network.answer(near.peer, asker, target, &mut told);
                    lookup.hear_answer(&told, hop + 1);
                }
            }
            Step::End => break,
        }
    }
    outcome.took_ms = lookup.now_ms;
    outcome
}

impl Lookup {
    /// Says what comes next. The closest peer not yet asked is asked while there is room, also one beyond the [`CLOSEST`]
    /// that answered, as long as a closer one may still answer: so does libp2p.
    fn step(&self) -> Step {
        let is_idle = self.idle_answers >= PARALLEL;
        let room = if is_idle { CLOSEST } else { PARALLEL };
        let (mut answered, mut is_open) = (0, false);
        for (index, known) in self.known.iter().enumerate() {
            match known.state {
                State::Heard if self.in_flight.len() < room => return Step::Ask(index),
                State::Heard => return Step::Wait,
                State::Asked => is_open = true,
                State::Answered => answered += 1,
                State::Silent => {}
            }
            if answered >= CLOSEST && !is_open {
                return Step::End;
            }
        }
        if self.in_flight.is_empty() { Step::End } else { Step::Wait }
    }

    /// Goes on to when the next request is answered or given up, and returns whose it is.
    fn land(&mut self) -> Option<Near> {
        let flights = self.in_flight.iter().enumerate();
        let (index, _) = flights.min_by_key(|(_, flight)| flight.due_ms)?;
        // In order, so that of two that are due at once the earlier comes first.
        let flight = self.in_flight.remove(index);
        self.now_ms = flight.due_ms;
        Some(flight.near)
    }

    /// Notes what became of a request, and returns the hop of its peer.
    fn settle(&mut self, near: Near, state: State) -> u32 {
        let Ok(index) = self.known.binary_search_by_key(&near, |known| known.near) else {
            return 0;
        };
        self.known[index].state = state;
        self.known[index].hop
    }

    /// Notes peers that nobody told of before. Returns whether one of them is among the [`CLOSEST`] known so far.
    fn hear(&mut self, told: &[Near], hop: u32) -> bool {
        let last = self.known.get(CLOSEST - 1).map(|known| known.near);
        let mut is_closer = false;
        for near in told {
            if let Err(index) = self.known.binary_search_by_key(near, |known| known.near) {
                self.known.insert(index, Known { near: *near, hop, state: State::Heard });
                is_closer |= last.is_none_or(|last| *near < last);
            }
        }
        is_closer
    }

    /// Notes what an answer told, and whether the answers still lead anywhere.
    fn hear_answer(&mut self, told: &[Near], hop: u32) {
        let is_short = self.known.len() < CLOSEST;
        let is_closer = self.hear(told, hop);
        self.idle_answers = if is_closer || is_short { 0 } else { self.idle_answers + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::{ROUND_TRIP_MS, TIMEOUT_MS, look_up};
    use crate::sim::overlay::key::{Key, Near, Peer};
    use crate::sim::overlay::network::Network;
    use crate::sim::overlay::table::CLOSEST;
    use protocol::Prng;

    fn network(peers: u32) -> (Network, Prng) {
        let mut prng = Prng::new(5);
        (Network::grow(peers, &mut prng), prng)
    }

    #[test]
    fn a_lookup_asks_nobody_twice_and_not_itself() {
        let (mut network, mut prng) = network(400);
        network.lose(100, &mut prng);
        for _ in 0..100 {
            let asker = network.draw_living(&mut prng).unwrap();
            let outcome = look_up(&network, asker, Key::draw(&mut prng));
            let mut asked: Vec<Peer> =
                outcome.answers.iter().map(|answer| answer.near.peer).collect();
            assert!(!asked.contains(&asker));
            let answers = asked.len() as u64;
            asked.sort_unstable();
            asked.dedup();
            assert_eq!(asked.len() as u64, answers);
            // What is under way at the end is not waited for.
            let unanswered = outcome.requests - outcome.timeouts - answers;
            assert!(unanswered < CLOSEST as u64, "{outcome:?}");
        }
    }

    #[test]
    fn with_all_there_it_ends_when_the_closest_have_answered() {
        let (network, mut prng) = network(400);
        let (target, asker) = (Key::draw(&mut prng), Peer(7));
        let outcome = look_up(&network, asker, target);
        let closest = network.closest_living(target, asker);
        assert_eq!(outcome.closest(), closest.iter().map(|near| near.peer).collect::<Vec<Peer>>());
        // Three requests at a time, until they bring nothing closer.
        let at_most = outcome.requests * ROUND_TRIP_MS;
        assert!(outcome.took_ms < at_most && outcome.took_ms > at_most / CLOSEST as u64);
        let first = outcome.answers.iter().filter(|answer| answer.at_ms == ROUND_TRIP_MS);
        assert_eq!(first.map(|answer| answer.hop).collect::<Vec<u32>>(), [1, 1, 1]);
    }

    #[test]
    fn a_hop_is_one_more_than_that_of_who_told() {
        let (network, mut prng) = network(2_000);
        let (target, asker) = (Key::draw(&mut prng), Peer(1_999));
        let outcome = look_up(&network, asker, target);
        let (mut told, mut own) = (Vec::new(), Vec::new());
        network.answer(asker, asker, target, &mut own);
        let tells = |of: Peer, near: &Near, told: &mut Vec<Near>| {
            network.answer(of, asker, target, told);
            told.contains(near)
        };
        assert!(outcome.hops() > 1, "{outcome:?}");
        for answer in &outcome.answers {
            let earlier = outcome.answers.iter().filter(|other| other.at_ms < answer.at_ms);
            let teller =
                earlier.into_iter().find(|other| tells(other.near.peer, &answer.near, &mut told));
            let hop = if own.contains(&answer.near) { 1 } else { 1 + teller.unwrap().hop };
            assert_eq!(answer.hop, hop);
        }
    }

    #[test]
    fn silent_peers_are_waited_for_three_at_a_time() {
        let (mut network, mut prng) = network(100);
        network.lose(99, &mut prng);
        let last = network.draw_living(&mut prng).unwrap();
        let outcome = look_up(&network, last, Key::draw(&mut prng));
        assert_eq!((outcome.requests, outcome.timeouts), (CLOSEST as u64, CLOSEST as u64));
        // Nobody answers, so that never more than three are asked at a time.
        assert_eq!(outcome.took_ms, CLOSEST.div_ceil(3) as u64 * TIMEOUT_MS);
        assert_eq!((outcome.hops(), outcome.closest()), (0, Vec::new()));
    }
}
