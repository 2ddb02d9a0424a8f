//! One row of the table: a network of one size, and what lookups in it came to.
//!
//! Never: prints.

use protocol::Prng;

use super::key::{Key, Peer};
use super::lookup::{Outcome, look_up};
use super::network::Network;

/// Least share of lookups that have to find what they look for.
pub(super) const FOUND_MIN: f64 = 0.99;

/// Least share of entries whose peers are gone, for a row to show anything.
pub(super) const STALE_MIN: f64 = 0.25;

/// After which time the daemon settles for what a lookup has found.
pub(super) const PATIENCE_MS: u64 = 10_000;

/// A network and what is looked for in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Peers that are left.
    pub(super) living: u32,
    /// Peers that joined too, and went.
    pub(super) gone: u32,
    pub(super) lookups: u32,
    pub(super) seed: u64,
}

impl Plan {
    /// Returns the plan by which so many peers are left and a quarter of what their tables name is gone.
    ///
    /// As some peers are named more often than others, 26 in 100 go: in small networks a quarter of all peers may be
    /// less than a quarter of what is named.
    pub(super) const fn a_quarter_gone(living: u32, lookups: u32, seed: u64) -> Self {
        Self { living, gone: (living * 26).div_ceil(74), lookups, seed }
    }
}

/// The middle of some values, the one that a hundredth of them exceeds, and the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) median: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Spread {
    fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let rank = |percent: usize| {
            let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(index).copied().unwrap_or(0)
        };
        Self { median: rank(50), p99: rank(99), max: rank(100) }
    }
}

/// What lookups in a network came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) living: u32,
    /// Entries of a table, on average.
    pub(super) entries: f64,
    /// The share of entries whose peers are gone.
    pub(super) stale: f64,
    pub(super) hops: Spread,
    pub(super) requests: Spread,
    pub(super) timeouts: Spread,
    pub(super) took_ms: Spread,
    /// The share of lookups that ended with the closest living peer.
    pub(super) closest: f64,
    /// The share of those that ended with all of the closest living ones.
    pub(super) all: f64,
    /// The share of those that asked a peer that holds the record.
    pub(super) record: f64,
    /// The shares that had found the closest living peer, and a holder, when [`PATIENCE_MS`] were over.
    pub(super) closest_in_time: f64,
    pub(super) record_in_time: f64,
}

impl Row {
    /// Returns whether the targets hold.
    pub(super) fn holds(&self) -> bool {
        self.stale >= STALE_MIN && self.closest >= FOUND_MIN && self.record >= FOUND_MIN
    }
}

/// A record, and who was asked to keep it.
struct Record {
    key: Key,
    holders: Vec<Peer>,
}

/// Shares of lookups, as counts.
#[derive(Default)]
struct Counts {
    closest: u32,
    all: u32,
    record: u32,
    closest_in_time: u32,
    record_in_time: u32,
}

/// Lets a network grow, publish records and lose peers, and looks for the records.
pub(super) fn measure(plan: &Plan) -> Row {
    let mut prng = Prng::new(plan.seed ^ (u64::from(plan.living) << 32));
    let mut network = Network::grow(plan.living + plan.gone, &mut prng);
    let records = publish(&network, plan.lookups, &mut prng);
    network.lose(plan.gone, &mut prng);
    let mut counts = Counts::default();
    let mut outcomes = Vec::new();
    for record in &records {
        let Some(asker) = network.draw_living(&mut prng) else { continue };
        let outcome = look_up(&network, asker, record.key);
        count(&network, asker, record, &outcome, &mut counts);
        outcomes.push(outcome);
    }
    let share = |count: u32| f64::from(count) / outcomes.len() as f64;
    let spread = |value: fn(&Outcome) -> u64| Spread::of(outcomes.iter().map(value).collect());
    let (entries, stale) = network.count_entries();
    Row {
        living: plan.living,
        entries: entries as f64 / f64::from(plan.living),
        stale: stale as f64 / entries as f64,
        hops: spread(Outcome::hops),
        requests: spread(|outcome| outcome.requests),
        timeouts: spread(|outcome| outcome.timeouts),
        took_ms: spread(|outcome| outcome.took_ms),
        closest: share(counts.closest),
        all: share(counts.all),
        record: share(counts.record),
        closest_in_time: share(counts.closest_in_time),
        record_in_time: share(counts.record_in_time),
    }
}

/// Gives records to the peers that lookups of random peers find for them.
fn publish(network: &Network, count: u32, prng: &mut Prng) -> Vec<Record> {
    let mut records = Vec::new();
    for _ in 0..count {
        let key = Key::draw(prng);
        if let Some(publisher) = network.draw_living(prng) {
            records.push(Record { key, holders: look_up(network, publisher, key).closest() });
        }
    }
    records
}

fn count(network: &Network, asker: Peer, record: &Record, outcome: &Outcome, counts: &mut Counts) {
    let closest: Vec<Peer> =
        network.closest_living(record.key, asker).into_iter().map(|near| near.peer).collect();
    let found = outcome.closest();
    counts.closest += u32::from(found.first() == closest.first());
    counts.all += u32::from(found == closest);
    let mut in_time = outcome.answers.iter().filter(|answer| answer.at_ms <= PATIENCE_MS);
    let is_closest = |peer: Peer| closest.first() == Some(&peer);
    counts.closest_in_time += u32::from(in_time.clone().any(|answer| is_closest(answer.near.peer)));
    let holds = |peer: Peer| record.holders.contains(&peer);
    counts.record_in_time += u32::from(in_time.any(|answer| holds(answer.near.peer)));
    counts.record += u32::from(outcome.answers.iter().any(|answer| holds(answer.near.peer)));
}

#[cfg(test)]
mod tests {
    use super::{FOUND_MIN, Plan, Row, Spread, measure};

    #[test]
    fn two_runs_of_a_seed_are_equal_and_of_two_seeds_are_not() {
        let run = |seed| measure(&Plan::a_quarter_gone(300, 200, seed));
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn with_a_quarter_gone_lookups_meet_them_and_find_what_they_look_for() {
        let row = measure(&Plan::a_quarter_gone(1_000, 500, 1));
        assert!((0.25..0.28).contains(&row.stale), "{row:?}");
        assert!(row.timeouts.median > 0 && row.requests.median > row.timeouts.median, "{row:?}");
        assert!(row.hops.median > 1, "{row:?}");
        // Three silent ones take all places of a lookup for as long as the daemon waits.
        assert!((0.5..0.99).contains(&row.closest_in_time), "{row:?}");
        assert!(row.record_in_time >= row.closest_in_time, "{row:?}");
        assert!(row.holds(), "{row:?}");
    }

    #[test]
    fn with_all_there_nobody_is_waited_for() {
        let row = measure(&Plan { living: 1_000, gone: 0, lookups: 500, seed: 1 });
        assert_eq!((row.timeouts.max, row.stale), (0, 0.0), "{row:?}");
        assert!(row.took_ms.max < 5_000 && row.requests.max < 100, "{row:?}");
        assert_eq!((row.closest_in_time, row.record_in_time), (row.closest, row.record));
        assert!(row.closest >= FOUND_MIN && row.record >= FOUND_MIN, "{row:?}");
    }

    #[test]
    fn with_almost_all_gone_a_target_is_missed() {
        let row = measure(&Plan { living: 50, gone: 1_950, lookups: 500, seed: 1 });
        assert!(row.closest < FOUND_MIN && !row.holds(), "{row:?}");
    }

    #[test]
    fn a_row_holds_only_with_all_targets() {
        let good = Row { stale: 0.25, closest: FOUND_MIN, record: FOUND_MIN, ..Row::default() };
        assert!(good.holds());
        assert!(!Row { stale: 0.249, ..good }.holds());
        assert!(!Row { closest: 0.989, ..good }.holds());
        assert!(!Row { record: 0.989, ..good }.holds());
    }

    #[test]
    fn a_spread_tells_the_middle_the_hundredth_and_the_largest() {
        let values = (1..=1_000).rev().collect();
        assert_eq!(Spread::of(values), Spread { median: 500, p99: 990, max: 1_000 });
        assert_eq!(Spread::of(vec![7]), Spread { median: 7, p99: 7, max: 7 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
