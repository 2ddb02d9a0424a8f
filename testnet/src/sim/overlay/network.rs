//! All peers of an overlay: how they join, what they learn of each other, and how some go.
//!
//! Owns ids and tables. Never: lets anybody notice who went; see [`super::table`].

use protocol::Prng;

use super::key::{Key, Near, Peer};
use super::lookup::look_up;
use super::table::{CLOSEST, Table};

/// Ids drawn for the refresh of a bucket until one falls into it: libp2p's value. After so many the last one is
/// looked for, wherever it is, so that buckets of close peers are seldom refreshed.
const REFRESH_DRAWS: usize = 16;

/// Peers, by number.
#[derive(Debug)]
pub(super) struct Network {
    keys: Vec<Key>,
    tables: Vec<Table>,
    gone: Vec<bool>,
    /// Those that are not gone, in the order of their keys once all have joined.
    living: Vec<(Key, Peer)>,
}

impl Network {
    /// Returns a network that that many peers joined one after the other, and in which each refreshed its table once.
    pub(super) fn grow(peers: u32, prng: &mut Prng) -> Self {
        let mut network = Self::joined(peers, prng);
        for number in 0..peers {
            network.refresh(Peer(number), prng);
        }
        network
    }

    /// Returns a network in which nobody has refreshed a table yet.
    fn joined(peers: u32, prng: &mut Prng) -> Self {
        let (keys, tables, gone, living) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut network = Self { keys, tables, gone, living };
        for number in 0..peers {
            let contact = network.draw_living(prng);
            let key = Key::draw(prng);
            network.keys.push(key);
            network.tables.push(Table::default());
            network.gone.push(false);
            network.living.push((key, Peer(number)));
            if let Some(contact) = contact {
                network.join(Peer(number), contact);
            }
        }
        network.living.sort_unstable();
        network
    }

    /// A newcomer knows one peer, and looks for itself.
    fn join(&mut self, newcomer: Peer, contact: Peer) {
        self.meet(newcomer, contact);
        let found = look_up(self, newcomer, self.key(newcomer));
        for answer in found.answers {
            self.meet(newcomer, answer.near.peer);
        }
    }

    /// A peer looks once for an id of each bucket beyond that of its closest peer.
    ///
    /// The lookup itself is left out: it ends at the closest peers of all (a test looks), and whom it passes on the way
    /// belongs to buckets that are refreshed themselves.
    fn refresh(&mut self, peer: Peer, prng: &mut Prng) {
        let own = self.key(peer);
        for bits in 0..self.tables[peer.index()].bucket_count().saturating_sub(1) {
            let mut target = Key::draw(prng);
            for _ in 1..REFRESH_DRAWS {
                if own.shared_bits(target) == bits {
                    break;
                }
                target = Key::draw(prng);
            }
            for near in self.closest_living(target, peer) {
                self.meet(peer, near.peer);
            }
        }
    }

    /// One peer asks the other, so that both know of both.
    fn meet(&mut self, one: Peer, other: Peer) {
        let shared_bits = self.key(one).shared_bits(self.key(other));
        self.tables[one.index()].put(shared_bits, other);
        self.tables[other.index()].put(shared_bits, one);
    }

    /// Takes peers away, at once and without a word; all are equally likely to go.
    pub(super) fn lose(&mut self, count: u32, prng: &mut Prng) {
        for _ in 0..count {
            if let Some(index) = prng.index(self.living.len()) {
                let (_, peer) = self.living.swap_remove(index);
                self.gone[peer.index()] = true;
            }
        }
        self.living.sort_unstable();
    }

    /// Puts into `found` what `asked` answers when `asker` asks it for peers close to `target`.
    pub(super) fn answer(&self, asked: Peer, asker: Peer, target: Key, found: &mut Vec<Near>) {
        let table = &self.tables[asked.index()];
        table.closest(self.key(asked), target, asker, &self.keys, found);
    }

    /// Returns the [`CLOSEST`] living peers of all that are closest to `target`, the closest first, without one of them.
    pub(super) fn closest_living(&self, target: Key, without: Peer) -> Vec<Near> {
        // All peers that share some first bits with the target are closer than all others, and in the order of keys they stand
        // together. One more is kept than asked for, as one may be left out.
        let mut range = self.living.as_slice();
        for bits in 0..Key::BITS {
            let start = range.partition_point(|(key, _)| !key.bit(bits));
            let half = if target.bit(bits) { &range[start..] } else { &range[..start] };
            if half.len() <= CLOSEST {
                break;
            }
            range = half;
        }
        let others = range.iter().filter(|(_, peer)| *peer != without);
        let mut closest: Vec<Near> = others
            .map(|(key, peer)| Near { distance: key.distance(target), peer: *peer })
            .collect();
        closest.sort_unstable();
        closest.truncate(CLOSEST);
        closest
    }

    /// Draws a peer that is not gone, if there is one.
    pub(super) fn draw_living(&self, prng: &mut Prng) -> Option<Peer> {
        prng.index(self.living.len()).map(|index| self.living[index].1)
    }

    pub(super) fn key(&self, peer: Peer) -> Key {
        self.keys[peer.index()]
    }

    pub(super) fn is_gone(&self, peer: Peer) -> bool {
        self.gone[peer.index()]
    }

    /// Returns how many entries the tables of living peers have, and how many of those name peers that are gone.
    pub(super) fn count_entries(&self) -> (usize, usize) {
        let entries = self.living.iter().flat_map(|(_, peer)| self.tables[peer.index()].peers());
        entries
            .fold((0, 0), |(all, stale), peer| (all + 1, stale + usize::from(self.is_gone(peer))))
    }
}

#[cfg(test)]
mod tests {
    use super::Network;
    use crate::sim::overlay::key::{Key, Near, Peer};
    use crate::sim::overlay::lookup::look_up;
    use crate::sim::overlay::table::CLOSEST;
    use protocol::Prng;

    #[test]
    fn the_closest_living_are_those_that_looking_at_all_finds() {
        let mut prng = Prng::new(2);
        let mut network = Network::joined(600, &mut prng);
        for _ in 0..3 {
            for _ in 0..100 {
                let target = Key::draw(&mut prng);
                let without = network.draw_living(&mut prng).unwrap();
                let living = (0..600).map(Peer).filter(|peer| !network.is_gone(*peer));
                let near = |peer: Peer| Near { distance: network.key(peer).distance(target), peer };
                let mut all: Vec<Near> = living.filter(|peer| *peer != without).map(near).collect();
                all.sort_unstable();
                all.truncate(CLOSEST);
                assert_eq!(network.closest_living(target, without), all);
            }
            network.lose(195, &mut prng);
        }
    }

    #[test]
    fn a_refresh_may_leave_out_the_lookup_that_ends_at_the_closest_of_all() {
        let mut prng = Prng::new(3);
        let network = Network::joined(2_000, &mut prng);
        let exact = (0..500).filter(|_| {
            let (target, asker) = (Key::draw(&mut prng), network.draw_living(&mut prng).unwrap());
            let found = look_up(&network, asker, target).closest();
            let closest = network.closest_living(target, asker);
            found == closest.into_iter().map(|near| near.peer).collect::<Vec<Peer>>()
        });
        let exact = exact.count();
        assert!(exact >= 490, "{exact} of 500");
    }

    #[test]
    fn a_refresh_fills_tables_but_not_beyond_what_was_met() {
        let entries = |network: &Network| network.count_entries().0 / 1_000;
        let joined = entries(&Network::joined(1_000, &mut Prng::new(4)));
        let refreshed = entries(&Network::grow(1_000, &mut Prng::new(4)));
        // Full buckets up to the sixth, of which the closest twenty are the rest.
        assert!(joined < refreshed && refreshed < 8 * CLOSEST, "{joined} {refreshed}");
    }

    #[test]
    fn peers_that_go_leave_their_share_of_entries_behind() {
        let mut prng = Prng::new(6);
        let mut network = Network::grow(1_000, &mut prng);
        assert_eq!(network.count_entries().1, 0);
        network.lose(250, &mut prng);
        let (all, stale) = network.count_entries();
        assert!((0.23..0.27).contains(&(stale as f64 / all as f64)), "{stale} of {all}");
        assert_eq!((0..1_000).filter(|number| network.is_gone(Peer(*number))).count(), 250);
        assert!((0..100).all(|_| !network.is_gone(network.draw_living(&mut prng).unwrap())));
    }
}
