//! The rates: every policy on every trace, at every size.

use protocol::Prng;
use serde::Serialize;

use super::policies::{Lfu, Lru, Memory, Peers, Policy, blocks};
use super::{optimum, trace};
use crate::bench::report::Table;

/// Seed of the traces.
const SEED: u64 = 1;

/// Parts of the objects that a cache holds, in percent.
const PARTS_PERCENT: [usize; 3] = [10, 20, 40];

/// Least rate that is wanted, as a part of the better of LRU and LFU. No bound: steady traces miss it.
const OF_THE_BETTER_MIN: f64 = 0.95;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub(in crate::bench) struct Rates {
    objects: usize,
    requests: usize,
    rows: Vec<Row>,
}

/// Parts of the requests that were answered from a cache.
#[derive(Clone, Copy, Debug, Serialize)]
struct Row {
    trace: &'static str,
    part_percent: usize,
    peers: f64,
    lru: f64,
    lfu: f64,
    lfu_of_everything: f64,
    optimum: f64,
}

/// Runs every policy on every trace.
pub(in crate::bench) fn run() -> Rates {
    let blocks = blocks(trace::OBJECTS);
    let mut rows = Vec::new();
    for (name, popularity, course) in trace::KINDS {
        let requests = trace::draw(popularity, course, Prng::new(SEED));
        for part_percent in PARTS_PERCENT {
            let (objects, capacity) = (trace::OBJECTS, trace::OBJECTS * part_percent / 100);
            let lfu = |memory| rate(&requests, &mut Lfu::new(capacity, objects, memory));
            let optimum = optimum::hits(&requests, objects, capacity);
            rows.push(Row {
                trace: name,
                part_percent,
                peers: rate(&requests, &mut Peers::new(capacity, &blocks)),
                lru: rate(&requests, &mut Lru::new(capacity)),
                lfu: lfu(Memory::Held),
                lfu_of_everything: lfu(Memory::Everything),
                optimum: part(optimum, &requests),
            });
        }
    }
    Rates { objects: trace::OBJECTS, requests: trace::REQUESTS, rows }
}

fn rate(requests: &[usize], policy: &mut impl Policy) -> f64 {
    let hits = requests.iter().filter(|object| policy.read(**object)).count();
    part(hits as u64, requests)
}

fn part(hits: u64, requests: &[usize]) -> f64 {
    hits as f64 / requests.len() as f64
}

impl Row {
    /// Returns the rate of the peers' cache as a part of that of the better of LRU and LFU.
    fn of_the_better(&self) -> f64 {
        self.peers / self.lru.max(self.lfu)
    }
}

impl Rates {
    /// Returns the results as tables.
    pub(in crate::bench) fn tables(&self) -> Vec<Table> {
        let title = format!(
            "cache: hits in percent of {} requests for {} objects of one size, from empty",
            self.requests, self.objects
        );
        let headings = [
            "requests",
            "cache",
            "Shoal",
            "LRU",
            "LFU",
            "LFU, all",
            "optimum",
            "of the better",
            "",
        ];
        let mut table = Table::new(title, &headings);
        for row in &self.rows {
            let percent = |rate: f64| format!("{:.1}", 100.0 * rate);
            let of_the_better = row.of_the_better();
            let verdict = if of_the_better >= OF_THE_BETTER_MIN { "pass" } else { "FAIL" };
            table.row([
                row.trace.to_owned(),
                format!("{} %", row.part_percent),
                percent(row.peers),
                percent(row.lru),
                percent(row.lfu),
                percent(row.lfu_of_everything),
                percent(row.optimum),
                format!("{of_the_better:.3}"),
                verdict.to_owned(),
            ]);
        }
        table.remark("two classes: 80 % of the requests for 20 % of the objects, equal among themselves; nested: the same again within those");
        table.remark("changing: each popular rank goes to another object once, and 2 % of the requests are scans");
        table.remark("LFU counts while it holds, \"LFU, all\" counts everything for ever; the optimum knows the future");
        table.remark(format!(
            "of the better: Shoal over the better of LRU and LFU; at least {OF_THE_BETTER_MIN} is wanted"
        ));
        vec![table]
    }
}
