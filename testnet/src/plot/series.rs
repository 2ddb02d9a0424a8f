//! Counters and gauges looked at again and again, and what follows from them over time.
//!
//! Owns what was seen until it is asked for. Never: fills a gap; where nobody answered there is no point.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::figure::Point;

/// What one look found.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// What only grows while a peer runs, each under a name of its own.
    pub(super) counters: BTreeMap<String, u64>,
    /// What stands at the moment.
    pub(super) gauges: BTreeMap<&'static str, f64>,
}

/// Everything that was seen, in order, with the seconds since the first look was due.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(Vec<(f64, Seen)>);

/// Looks at fixed intervals; dropped, it stops.
#[derive(Debug)]
pub(super) struct Sampler {
    begun: Instant,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Looks>,
}

impl Sampler {
    /// Starts looking; a look that finds nothing is left out.
    pub(super) fn start<F>(every: Duration, look: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Option<Seen>> + Send,
    {
        let (begun, is_over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let is_ending = Arc::clone(&is_over);
        let task = tokio::spawn(async move {
            let mut looks = Looks::default();
            let mut ticks = tokio::time::interval_at(begun.into(), every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !is_ending.load(Ordering::Relaxed) {
                ticks.tick().await;
                let before = begun.elapsed();
                if let Some(seen) = look().await {
                    // Who was asked answered somewhere between.
                    let at_s = f64::midpoint(before.as_secs_f64(), begun.elapsed().as_secs_f64());
                    looks.0.push((at_s, seen));
                }
            }
            looks
        });
        Self { begun, is_over, task }
    }

    /// Returns the seconds since the first look was due.
    pub(super) fn now_s(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Returns what was seen, after one last look.
    ///
    /// # Errors
    /// The sampler panicked.
    pub(super) async fn end(mut self) -> anyhow::Result<Looks> {
        self.is_over.store(true, Ordering::Relaxed);
        (&mut self.task).await.context("the sampler panicked")
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Looks {
    /// Returns how much those counters grew per second that `counts` says so of, together, between each two looks; each
    /// point stands midway between them.
    ///
    /// One that is smaller than before began anew, and one that was not there before began at zero; but the first look only says where
    /// counters stand.
    pub(super) fn rates(&self, counts: impl Fn(&str) -> bool) -> Vec<Point> {
        let Some(((first_s, first), later)) = self.0.split_first() else { return Vec::new() };
        let mut last_s = *first_s;
        let mut stand = first.counters.clone();
        let mut points = Vec::new();
        for (at_s, seen) in later {
            let mut grown = 0;
            for (name, count) in seen.counters.iter().filter(|(name, _)| counts(name)) {
                let before = stand.insert(name.clone(), *count).unwrap_or(0);
                grown += count.checked_sub(before).unwrap_or(*count);
            }
            let rate = grown as f64 / (at_s - last_s);
            points.push(Point::new(f64::midpoint(last_s, *at_s), rate));
            last_s = *at_s;
        }
        points
    }

    /// Returns when the last look was.
    pub(super) fn end_s(&self) -> f64 {
        self.0.last().map_or(0.0, |(at_s, _)| *at_s)
    }

    /// Returns how a gauge stood at each look that found it.
    pub(super) fn gauge(&self, name: &str) -> Vec<Point> {
        let found = self.0.iter().filter_map(|(at_s, seen)| Some((*at_s, *seen.gauges.get(name)?)));
        found.map(|(at_s, value)| Point::new(at_s, value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Looks, Seen};

    fn looks(counters: &[(f64, &[(&str, u64)])]) -> Looks {
        let seen = |counters: &[(&str, u64)]| Seen {
            counters: counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            gauges: BTreeMap::new(),
        };
        Looks(counters.iter().map(|(at_s, counters)| (*at_s, seen(counters))).collect())
    }

    fn rates(looks: &Looks) -> Vec<(f64, f64)> {
        looks.rates(|_| true).iter().map(|point| (point.x, point.y)).collect()
    }

    #[test]
    fn a_rate_stands_midway_between_two_looks_and_is_per_second() {
        let looks = looks(&[(1.0, &[("a", 5)]), (1.5, &[("a", 10)]), (3.5, &[("a", 10)])]);
        assert_eq!(rates(&looks), [(1.25, 10.0), (2.5, 0.0)]);
    }

    #[test]
    fn a_counter_that_began_anew_or_came_later_counts_from_zero() {
        let looks = looks(&[
            (0.0, &[("a", 100)]),
            (1.0, &[("a", 7), ("b", 3)]),
            (2.0, &[("a", 8), ("b", 3)]),
        ]);
        assert_eq!(rates(&looks), [(0.5, 10.0), (1.5, 1.0)]);
    }

    #[test]
    fn a_counter_that_was_not_seen_for_a_while_counts_from_where_it_stood() {
        let looks = looks(&[(0.0, &[("a", 100)]), (1.0, &[]), (2.0, &[("a", 104)])]);
        assert_eq!(rates(&looks), [(0.5, 0.0), (1.5, 4.0)]);
    }

    #[test]
    fn only_those_counters_are_summed_that_were_asked_for() {
        let looks = looks(&[(0.0, &[("a", 0), ("b", 0)]), (1.0, &[("a", 1), ("b", 20)])]);
        assert_eq!(looks.rates(|name| name == "b")[0].y, 20.0);
        assert_eq!(looks.rates(|_| true)[0].y, 21.0);
    }

    #[test]
    fn a_gauge_has_a_point_only_where_it_was_seen() {
        let at = |value: Option<f64>| Seen {
            counters: BTreeMap::new(),
            gauges: value.map(|value| ("held", value)).into_iter().collect(),
        };
        let looks = Looks(vec![(0.0, at(Some(3.0))), (1.0, at(None)), (2.0, at(Some(4.0)))]);
        let found: Vec<(f64, f64)> = looks.gauge("held").iter().map(|p| (p.x, p.y)).collect();
        assert_eq!(found, [(0.0, 3.0), (2.0, 4.0)]);
        assert_eq!((looks.end_s(), Looks::default().end_s()), (2.0, 0.0));
        assert!(Looks::default().rates(|_| true).is_empty());
    }
}
