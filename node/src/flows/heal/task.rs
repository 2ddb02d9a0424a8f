//! The task that owns the plan: begins rounds when they are due, and repairs as the budget allows.
//!
//! Never: waits for another peer itself; rounds and repairs go on beside it.

use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protocol::limits::REPAIR_ROWS_MAX;
use protocol::repair::{
    Budget, BudgetSettings, Meter, Plan, Repair, RepairStatus, RoundEnd, Rounds, status,
};
use protocol::{Fault, Instant};
use tracing::{debug, info};

use super::answer::Answers;
use super::copy::{Copied, copy};
use super::depart::Departing;
use super::inventory::Inventory;
use super::round::{Round, round};
use super::watch::Watch;
use super::{HealInbox, HealMetrics, HealSettings, answer};
use crate::env::Env;
use crate::flows::Context;

/// How often this peer looks who is there and how busy it is.
const LOOK: Duration = Duration::from_millis(250);

/// Repairs under way, each with a block in memory: 16 MiB at most.
const COPIES_MAX: usize = 8;

/// A repair that ended, and how.
type Ended = (Repair, Result<Copied, Fault>);

struct Healer<E: Env> {
    context: Context<E>,
    departing: Departing,
    metrics: HealMetrics,
    settle: Duration,
    watch: Watch,
    next: Rounds,
    plan: Plan,
    budget: Budget,
    meter: Meter,
    /// At most one.
    rounds: FuturesUnordered<BoxFuture<'static, Result<Round, Fault>>>,
    copies: FuturesUnordered<BoxFuture<'static, Ended>>,
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
        budget: Budget::new(now, BudgetSettings::default()),
        meter: Meter::new(),
        rounds: FuturesUnordered::new(),
        copies: FuturesUnordered::new(),
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
        let wake = healer.begin_copies(now).map_or(next_look, |at| at.min(next_look));
        tokio::select! {
            biased; // what is done makes room; clients who look are few; the clock last, since all of these set it
            Some((repair, outcome)) = healer.copies.next(), if !healer.copies.is_empty() => {
                healer.copied(&repair, outcome);
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
    /// Looks who is there, and how busy this peer is.
    fn look(&mut self, now: Instant) {
        let epoch = self.watch.scope().epoch;
        if self.watch.look(now, &self.context.peers.view()) {
            self.next.call(now);
        }
        if self.watch.scope().epoch != epoch {
            self.departing.from = now.after(self.settle);
        }
        self.budget.foreground(now, &self.context.foreground());
        let is_repaired = self.plan.is_empty() && self.copies.is_empty();
        if self.is_to_confirm && is_repaired {
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
        self.plan.update(now, is_own, repairs);
        let is_stray = |partition| strays.binary_search(&partition).is_ok();
        self.plan.update(now, is_stray, hand_overs);
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

    /// Begins as many repairs as may begin, and returns when the next one may, if there is room for one.
    fn begin_copies(&mut self, now: Instant) -> Option<Instant> {
        while self.copies.len() < COPIES_MAX {
            let Some((_, repair)) = self.plan.peek(now) else { return self.plan.next_deadline() };
            let is_urgent = repair.copies <= 1;
            if let Err(later) = self.budget.start(now, repair.row.bytes.into(), is_urgent) {
                return Some(later);
            }
            let (_, repair) = self.plan.take(now)?;
            let context = self.context.clone();
            self.copies.push(Box::pin(async move {
                let outcome = copy(&context, &repair).await;
                (repair, outcome)
            }));
        }
        None
    }

    fn copied(&mut self, repair: &Repair, outcome: Result<Copied, Fault>) {
        let now = self.context.env.now();
        match outcome {
            Ok(Copied::Block(bytes)) => {
                self.metrics.blocks.inc();
                self.metrics.bytes.inc_by(bytes);
                self.meter.copied(now, bytes);
                self.is_to_confirm = true;
                self.next.repaired();
                debug!(peer = %repair.target, cid = %repair.row.cid, bytes, "copy restored");
            }
            Ok(Copied::Reference) => {
                self.metrics.references.inc();
            }
            Ok(Copied::Unwanted) => {}
            Err(fault) => {
                self.metrics.failures.inc();
                debug!(peer = %repair.target, cid = %repair.row.cid, err = %fault, "copy not restored");
                self.next.repair_failed(now);
            }
        }
    }

    fn status(&self) -> RepairStatus {
        let is_open =
            self.is_cut || self.next.is_due() || !self.rounds.is_empty() || !self.copies.is_empty();
        let now = self.context.env.now();
        status(&self.plan, self.meter.bytes_per_second(now), is_open || self.is_to_confirm)
    }
}
