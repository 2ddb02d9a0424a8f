//! The task that owns the plan: begins rounds when they are due, and puts repairs into the queue of work.
//!
//! Never: waits for another peer itself; rounds and jobs go on beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use protocol::limits::REPAIR_ROWS_MAX;
use protocol::placement::Partition;
use protocol::repair::{
    Meter, Plan, RepairId, RepairStatus, Restore, RoundEnd, Rounds, Updated, status,
};
use protocol::work::JobKind;
use protocol::{Fault, Instant};
use tracing::{debug, info};

use super::answer::Answers;
use super::depart::Departing;
use super::inventory::Inventory;
use super::round::{Round, round};
use super::watch::Watch;
use super::{HealInbox, HealMetrics, HealSettings, answer};
use crate::env::Env;
use crate::flows::Context;

/// How often this peer looks who is there.
const LOOK: Duration = Duration::from_millis(250);

/// Repairs whose jobs are in the queue at a time: what a second or two take. Of those that wait in the plan the most urgent
/// comes first, whatever is found meanwhile.
const JOBS_MAX: usize = 256;

/// The job of a repair, and how it ended; stopped when it is not wanted any more.
type Job = Abortable<BoxFuture<'static, (RepairId, Result<(), Fault>)>>;

struct Healer<E: Env> {
    context: Context<E>,
    departing: Departing,
    metrics: HealMetrics,
    settle: Duration,
    watch: Watch,
    next: Rounds,
    plan: Plan,
    /// Partitions that this peer should not hold, in order.
    strays: Vec<Partition>,
    meter: Meter,
    /// At most one.
    rounds: FuturesUnordered<BoxFuture<'static, Result<Round, Fault>>>,
    jobs: FuturesUnordered<Job>,
    /// How to stop each of them that is wanted.
    aborts: BTreeMap<RepairId, AbortHandle>,
    /// Whether a round has to show that the repairs of the last one came to something.
    is_to_confirm: bool,
    is_cut: bool,
}

/// Heals for as long as the peer runs.
pub(crate) async fn heal<E: Env>(context: Context<E>, settings: HealSettings, inbox: HealInbox) {
    let HealInbox { questions, mut looks, mut calls, metrics } = inbox;
    let inventory = Inventory::start(&context, metrics.clone());
    let now = context.env.now();
    let answers = Answers::new();
    let serving = answer::serve(context.clone(), inventory.clone(), answers.clone(), questions);
    context.env.spawn("heal.answers", serving);
    let mut healer = Healer {
        departing: Departing { inventory, answers, from: now },
        metrics,
        settle: settings.settle,
        watch: Watch::new(settings.away),
        next: Rounds::new(now, settings.interval),
        plan: Plan::new(settings.settle, REPAIR_ROWS_MAX),
        strays: Vec::new(),
        meter: Meter::new(),
        rounds: FuturesUnordered::new(),
        jobs: FuturesUnordered::new(),
        aborts: BTreeMap::new(),
        is_to_confirm: false,
        is_cut: false,
        context,
    };
    let mut next_look = now;
    loop {
        let now = healer.context.env.now();
        if now >= next_look {
            healer.look(now);
            next_look = now.after(LOOK);
        }
        healer.begin_round(now);
        let wake = healer.begin_jobs(now).map_or(next_look, |at| at.min(next_look));
        tokio::select! {
            biased; // what is done makes room; clients who look are few; the clock last, since all of these set it
            Some(ended) = healer.jobs.next(), if !healer.jobs.is_empty() => {
                // One that was stopped is of no interest any more.
                if let Ok((id, outcome)) = ended {
                    healer.ended(id, outcome);
                }
            }
            Some(outcome) = healer.rounds.next(), if !healer.rounds.is_empty() => {
                healer.surveyed(outcome);
            }
            Some(look) = looks.recv() => {
                // A client that has gone needs no answer.
                drop(look.send(healer.status()));
            }
            Some(()) = calls.recv() => healer.next.call(healer.context.env.now()),
            () = healer.context.env.sleep_until(wake) => {}
        }
    }
}

impl<E: Env> Healer<E> {
    /// Looks who is there.
    fn look(&mut self, now: Instant) {
        let epoch = self.watch.scope().epoch;
        if self.watch.look(now, &self.context.peers.view()) {
            self.next.call(now);
        }
        if self.watch.scope().epoch != epoch {
            self.departing.from = now.after(self.settle);
        }
        if self.is_to_confirm && self.plan.is_empty() {
            self.is_to_confirm = false;
            self.next.confirm(now);
        }
    }

    fn begin_round(&mut self, now: Instant) {
        if self.rounds.is_empty() && self.next.begin(now) {
            let scope = self.watch.scope().clone();
            self.rounds.push(Box::pin(round(self.context.clone(), self.departing.clone(), scope)));
        }
    }

    fn surveyed(&mut self, outcome: Result<Round, Fault>) {
        let now = self.context.env.now();
        let round = match outcome {
            Ok(round) => round,
            Err(fault) => {
                debug!(err = %fault, "inventory not compared");
                self.metrics.rounds_incomplete.inc();
                let scan = Duration::ZERO;
                let end = RoundEnd { scan, has_advanced: false, is_unfinished: true };
                return self.next.ended(now, end);
            }
        };
        let Round {
            desired,
            repairs,
            strays,
            hand_overs,
            is_complete,
            is_cut,
            departed,
            is_open,
            scan,
        } = round;
        self.metrics.dropped_partitions.inc_by(departed.partitions);
        self.metrics.dropped_blocks.inc_by(departed.blocks);
        self.metrics.dropped_bytes.inc_by(departed.bytes);
        let found = repairs.len() + hand_overs.len();
        if found > 0 {
            info!(
                epoch = desired.epoch().0,
                references = found,
                "references found that peers lack"
            );
        }
        let own = self.context.peers.view().own();
        let is_own = |partition| desired.steward(partition) == Some(own);
        // Where somebody could not be compared with, what was found to lack before may lack still.
        let is_own = |partition| is_complete && is_own(partition);
        let lacking = self.plan.update(now, is_own, repairs);
        let is_stray = |partition| is_complete && strays.binary_search(&partition).is_ok();
        let to_give = self.plan.update(now, is_stray, hand_overs);
        for Updated { stopped, bytes_brought } in [lacking, to_give] {
            // Of a round that remembered only a part nobody knows what was brought.
            self.meter.copied(now, if is_cut { 0 } else { bytes_brought });
            for abort in stopped.iter().filter_map(|id| self.aborts.remove(id)) {
                abort.abort();
            }
        }
        self.strays = strays;
        self.is_cut = is_cut;
        let progress =
            if is_complete { &self.metrics.rounds } else { &self.metrics.rounds_incomplete };
        progress.inc();
        // Until what was found is repaired, nobody knows whether it can be.
        let has_advanced = (is_complete && found == 0 && !is_open) || departed.partitions > 0;
        let is_unfinished = !is_complete || is_open;
        self.next.ended(now, RoundEnd { scan, has_advanced, is_unfinished });
        self.is_to_confirm |= is_cut;
    }

    /// Puts as many repairs into the queue as it may, and returns when the next one may begin, if there is room for one.
    fn begin_jobs(&mut self, now: Instant) -> Option<Instant> {
        while self.aborts.len() < JOBS_MAX {
            let Some((_, repair)) = self.plan.take(now) else { return self.plan.next_deadline() };
            let is_stray = self.strays.binary_search(&repair.row.partition()).is_ok();
            let kind = if is_stray { JobKind::Rebalance } else { JobKind::Repair };
            let (id, row) = (repair.id(), repair.row);
            let spec = Restore::from(&repair).job(kind, row.cid, row.bytes, repair.copies);
            let work = self.context.work.clone();
            let job: BoxFuture<'static, _> = Box::pin(async move { (id, work.do_now(spec).await) });
            let (job, abort) = futures::future::abortable(job);
            self.jobs.push(job);
            self.aborts.insert(id, abort);
        }
        None
    }

    fn ended(&mut self, id: RepairId, outcome: Result<(), Fault>) {
        self.aborts.remove(&id);
        let bytes = self.plan.ended(id);
        match outcome {
            Ok(()) => {
                self.meter.copied(self.context.env.now(), bytes);
                self.is_to_confirm = true;
                self.next.repaired();
            }
            Err(fault) => {
                let cid = id.row.cid;
                debug!(peer = %id.target, %cid, err = %fault, "copy not restored");
                self.next.repair_failed(self.context.env.now());
            }
        }
    }

    fn status(&self) -> RepairStatus {
        let is_open = self.is_cut || self.next.is_due() || !self.rounds.is_empty();
        let now = self.context.env.now();
        status(&self.plan, self.meter.bytes_per_second(now), is_open || self.is_to_confirm)
    }
}
