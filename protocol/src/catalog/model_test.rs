//! Clusters and peers under faults: heads lost, repeated, late and replayed by whoever likes to; contacts that are behind; pulls that
//! end in the middle; peers that crash and forget what was not written.
//!
//! Whatever happens, nothing comes back that a peer knew to be withdrawn; and when the faults end, everybody has what is published.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::catalog_test::{entry, head, key};
use super::{Book, BookLimits, EntryId, Head, Heard, Items, Kept, Pull, Pulled, Pulling, Standing};
use crate::metadata::Catalog;
use crate::{ClusterId, Instant, Prng, WallTime};

const SEEDS: u64 = 400;
const CLUSTERS: u8 = 3;
const PEERS: usize = 3;
/// Steps with faults, and after them; each takes a tenth of a second.
const STORM: u64 = 400;
const CALM: u64 = 1_500;

/// Defects on purpose, to see that they are found.
#[derive(Clone, Copy, Debug, Default)]
struct Planted {
    /// A contact that is behind is believed.
    lagging_is_believed: bool,
    /// What only this side has is kept.
    surplus_is_kept: bool,
    /// The book is written before the index.
    book_before_index: bool,
}

/// The history of one cluster's catalog: its state after each change.
struct Publisher {
    seed: u8,
    states: Vec<(Catalog, BTreeSet<u64>)>,
    /// Heads that were told, for whoever likes to repeat them.
    told: Vec<Bytes>,
    index: u64,
}

impl Publisher {
    fn change(&mut self, prng: &mut Prng) {
        let (catalog, mut entries) = self.states.last().cloned().unwrap_or_default();
        self.index += 1 + prng.below(3);
        let gone = prng.index(12).and_then(|at| entries.iter().copied().nth(at));
        match gone.filter(|_| prng.chance(1, 2)) {
            Some(gone) => drop(entries.remove(&gone)),
            None => drop(entries.insert(self.index)),
        }
        let entries_len = entries.len() as u64;
        let catalog = Catalog { sequence: self.index, entries: entries_len, ..catalog };
        self.states.push((catalog, entries));
    }

    /// Returns the head of a state, as a member says it at a time.
    fn head(&self, state: usize, at: WallTime) -> (Head, Bytes) {
        let (catalog, _) = &self.states[state];
        let standing = Standing { epoch: catalog.epoch, sequence: catalog.sequence };
        let head = Head { standing, entries: catalog.entries, issued: at, ..head(self.seed, 0) };
        let signed = head.sign(&key(self.seed)).unwrap();
        (head, signed)
    }
}

/// One that listens.
struct Listener {
    book: Book,
    /// Entries in its index, by cluster; those are durable at once.
    index: BTreeMap<ClusterId, BTreeMap<EntryId, u64>>,
    /// What the table has, which a crash may leave behind the index.
    rows: BTreeMap<ClusterId, Kept>,
    /// Under way: the catalog, and the step at which it ends.
    pulls: Vec<(Pull, u64)>,
    /// The latest standing that each catalog was whole at.
    whole: BTreeMap<ClusterId, Standing>,
}

fn limits() -> BookLimits {
    BookLimits {
        own: key(99).public().cluster(),
        clusters: 10,
        entries_of_one: 1_000,
        entries: 10_000,
        allowed: BTreeSet::new(),
        blocked: BTreeSet::new(),
    }
}

struct World {
    prng: Prng,
    planted: Planted,
    publishers: Vec<Publisher>,
    listeners: Vec<Listener>,
    step: u64,
    is_calm: bool,
}

impl World {
    fn new(seed: u64, planted: Planted) -> Self {
        let publisher =
            |seed| Publisher { seed, states: vec![Default::default()], told: Vec::new(), index: 0 };
        let listener = |_| Listener {
            book: Book::new(limits()),
            index: BTreeMap::new(),
            rows: BTreeMap::new(),
            pulls: Vec::new(),
            whole: BTreeMap::new(),
        };
        Self {
            prng: Prng::new(seed),
            planted,
            publishers: (1..=CLUSTERS).map(publisher).collect(),
            listeners: (0..PEERS).map(listener).collect(),
            step: 0,
            is_calm: false,
        }
    }

    fn now(&self) -> (Instant, WallTime) {
        let millis = self.step * 100;
        (Instant::from_millis(millis), WallTime::from_unix_millis(1_000_000 + millis))
    }

    fn run(&mut self) -> Result<(), String> {
        while self.step < STORM + CALM {
            self.is_calm = self.step >= STORM;
            for at in 0..self.publishers.len() {
                self.publish(at);
            }
            for at in 0..self.listeners.len() {
                self.listen(at)?;
            }
            self.step += 1;
        }
        for (at, listener) in self.listeners.iter().enumerate() {
            for publisher in &self.publishers {
                let cluster = key(publisher.seed).public().cluster();
                let held: BTreeSet<u64> = listener
                    .index
                    .get(&cluster)
                    .into_iter()
                    .flat_map(|all| all.values().copied())
                    .collect();
                let published = &publisher.states.last().unwrap().1;
                if held != *published {
                    return Err(format!("peer {at} holds {held:?} of {published:?}"));
                }
            }
        }
        Ok(())
    }

    fn publish(&mut self, at: usize) {
        let publisher = &mut self.publishers[at];
        if !self.is_calm && self.prng.chance(1, 6) {
            publisher.change(&mut self.prng);
        }
        let is_refresh = self.step.is_multiple_of(300);
        if publisher.index == 0 || !(is_refresh || !self.is_calm && self.prng.chance(1, 5)) {
            return;
        }
        // In calm all members have applied all; before, whoever leads may be new and behind.
        let last = publisher.states.len() - 1;
        let state =
            if self.is_calm { last } else { last - self.prng.index(last.min(3)).unwrap_or(0) };
        if publisher.states[state].0.sequence == 0 {
            return;
        }
        let (_, wall) = self.now();
        let (_, signed) = self.publishers[at].head(state, wall);
        self.publishers[at].told.push(signed.clone());
        for to in 0..self.listeners.len() {
            if self.is_calm || self.prng.chance(2, 3) {
                self.tell(to, &signed);
            }
        }
    }

    fn tell(&mut self, to: usize, signed: &Bytes) {
        let (now, wall) = self.now();
        let heard = self.listeners[to].book.hear(now, wall, signed);
        assert!(!matches!(heard, Heard::Refused(_)), "{heard:?}");
    }

    fn listen(&mut self, at: usize) -> Result<(), String> {
        let (now, wall) = self.now();
        if !self.is_calm && self.prng.chance(1, 60) {
            self.crash(at);
        }
        // Somebody repeats what was said long ago.
        if self.prng.chance(1, 4) {
            let from = &self.publishers[self.prng.index(self.publishers.len()).unwrap()].told;
            if let Some(old) = self.prng.index(from.len()).map(|old| from[old].clone()) {
                self.tell(at, &old);
            }
        }
        while let Some(pull) = self.listeners[at].book.next_pull(now) {
            let end = self.step + 1 + self.prng.below(20);
            self.listeners[at].pulls.push((pull, end));
        }
        let (due, rest): (Vec<_>, Vec<_>) = core::mem::take(&mut self.listeners[at].pulls)
            .into_iter()
            .partition(|(_, end)| *end <= self.step);
        self.listeners[at].pulls = rest;
        for (pull, _) in due {
            let (cluster, end) = (pull.cluster, self.pull(at, &pull)?);
            let held = self.listeners[at].index.get(&cluster).map_or(0, BTreeMap::len) as u64;
            self.listeners[at].book.pulled((now, wall), cluster, end, Some(held));
        }
        self.settle(at);
        Ok(())
    }

    /// The book is written, unless a crash comes before.
    fn settle(&mut self, at: usize) {
        let listener = &mut self.listeners[at];
        for (cluster, kept) in listener.book.take_changed() {
            match kept {
                Some(kept) => drop(listener.rows.insert(cluster, kept)),
                None => {
                    listener.rows.remove(&cluster);
                    listener.index.remove(&cluster);
                }
            }
        }
    }

    fn crash(&mut self, at: usize) {
        let (now, _) = self.now();
        let listener = &mut self.listeners[at];
        listener.book = Book::new(limits());
        listener.pulls.clear();
        for kept in listener.rows.values().cloned() {
            let is_there = listener.index.values().any(|all| !all.is_empty());
            assert!(listener.book.take_in(now, kept, is_there));
        }
    }

    /// Pulls as a peer does, of a member that may be behind; perhaps not to the end.
    fn pull(&mut self, at: usize, pull: &Pull) -> Result<Pulled, String> {
        let publisher =
            self.publishers.iter().find(|one| key(one.seed).public().cluster() == pull.cluster);
        let publisher = publisher.unwrap();
        let last = publisher.states.len() - 1;
        let behind = if self.is_calm { 0 } else { self.prng.index(last.min(6) + 1).unwrap_or(0) };
        let (catalog, published) = &publisher.states[last - behind];
        let standing = Standing { epoch: catalog.epoch, sequence: catalog.sequence };
        if !self.is_calm && self.prng.chance(1, 5)
            || standing < pull.standing && !self.planted.lagging_is_believed
        {
            return Ok(Pulled::Unreached);
        }
        let there = Items::of(published.iter().map(|n| (*n, entry(*n).id()))).unwrap();
        let listener = &mut self.listeners[at];
        let held = listener.index.entry(pull.cluster).or_default();
        let items = Items::of(held.iter().map(|(id, n)| (*n, *id))).unwrap();
        let (mut pulling, mut message) = Pulling::begin(items).unwrap();
        while let Some(next) = pulling.step(&there.answer(&message).unwrap(), 1_000).unwrap() {
            message = next;
        }
        let differs = pulling.differs();
        if !self.planted.surplus_is_kept {
            held.retain(|id, _| !differs.surplus.contains(id));
        }
        let mut is_cut = false;
        for sequence in published.iter().filter(|n| differs.missing.contains(&entry(**n).id())) {
            if !self.is_calm && self.prng.chance(1, 20) {
                is_cut = true;
                break;
            }
            held.insert(entry(*sequence).id(), *sequence);
        }
        let entries = held.len() as u64;
        // Nothing is there again that was withdrawn before this peer had all.
        if let Some(before) = listener.whole.get(&pull.cluster) {
            let known = publisher.states.iter().rfind(|(state, _)| {
                Standing { epoch: state.epoch, sequence: state.sequence } <= *before
            });
            let known = &known.unwrap().1;
            let back = listener.index[&pull.cluster].values();
            let back: Vec<u64> =
                back.copied().filter(|n| *n <= before.sequence && !known.contains(n)).collect();
            if !back.is_empty() {
                return Err(format!("step {}: {back:?} came back at peer {at}", self.step));
            }
        }
        if is_cut && !self.planted.book_before_index {
            return Ok(Pulled::Unreached);
        }
        let whole = listener.whole.entry(pull.cluster).or_insert(standing);
        *whole = (*whole).max(standing);
        Ok(Pulled::Whole { standing, entries })
    }
}

fn histories(seeds: u64, planted: Planted) -> Result<(), String> {
    (0..seeds).try_for_each(|seed| {
        World::new(seed, planted).run().map_err(|wrong| format!("seed {seed}: {wrong}"))
    })
}

#[test]
fn catalogs_converge_and_nothing_comes_back() {
    histories(SEEDS, Planted::default()).unwrap();
}

#[test]
fn planted_defects_are_found() {
    for planted in [
        Planted { lagging_is_believed: true, ..Planted::default() },
        Planted { surplus_is_kept: true, ..Planted::default() },
        Planted { book_before_index: true, ..Planted::default() },
    ] {
        assert!(histories(100, planted).is_err(), "{planted:?}");
    }
}
