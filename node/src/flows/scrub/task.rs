//! The task that owns the place of the scrub: reads what comes next, when it may.
//!
//! Never: waits for another peer.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::repair::{Budget, BudgetSettings, Scrub as Machine, ScrubProgress, ScrubSettings};
use protocol::{Fault, Instant};
use tracing::{debug, info};

use super::handle::{Asked, ScrubInbox};
use super::metrics::ScrubMetrics;
use crate::env::Env;
use crate::flows::Context;
use crate::store::{Indexed, StoreError};

/// How often this peer looks how busy it is.
const LOOK: Duration = Duration::from_millis(250);

/// How often the place is kept: after a crash, so much is read twice.
const KEEP: Duration = Duration::from_secs(60);

/// Blocks whose names are read ahead: a page of the index. What is stored between them meanwhile waits for the next
/// pass; it was hashed a moment ago.
const AHEAD_MAX: usize = 256;

/// How long the task waits after the store could not be read.
const RETRY: Duration = Duration::from_secs(10);

/// Scrubs for as long as the peer runs.
pub(crate) async fn scrub<E: Env>(context: Context<E>, settings: ScrubSettings, inbox: ScrubInbox) {
    let ScrubInbox { mut asked, metrics } = inbox;
    let now = context.env.now();
    let machine = match context.store.scrub_place().await {
        Ok(Some(place)) => Machine::resume(now, settings, &place),
        // A place can always be found again.
        Ok(None) | Err(_) => Machine::new(now, settings),
    };
    let (env, most) = (context.env.clone(), settings.bytes_per_second_max);
    let bounds = BudgetSettings { bytes_per_second_max: most, ..BudgetSettings::default() };
    let mut scrubber = Scrubber {
        machine,
        budget: Budget::new(now, bounds),
        metrics,
        ahead: VecDeque::new(),
        pause: now,
        keep_at: now.after(KEEP),
        context,
    };
    let mut next_look = now;
    loop {
        let now = env.now();
        if now >= next_look {
            scrubber.look(now).await;
            next_look = now.after(LOOK);
        }
        let due = scrubber.due();
        tokio::select! {
            biased; // clients who ask are few; the clock comes again
            Some(asked) = asked.recv() => scrubber.answer(asked),
            () = env.sleep_until(due.min(next_look)) => {
                if env.now() >= due {
                    scrubber.step().await;
                }
            }
        }
    }
}

struct Scrubber<E: Env> {
    context: Context<E>,
    machine: Machine,
    budget: Budget,
    metrics: ScrubMetrics,
    /// What comes next, as far as it was looked up.
    ahead: VecDeque<Indexed>,
    /// Until when nothing is read, since the store could not be.
    pause: Instant,
    keep_at: Instant,
}

impl<E: Env> Scrubber<E> {
    fn due(&self) -> Instant {
        self.machine.next_deadline().max(self.budget.next_deadline()).max(self.pause)
    }

    /// Looks how busy this peer is, and keeps the place now and then.
    async fn look(&mut self, now: Instant) {
        self.budget.foreground(now, &self.context.foreground());
        if now >= self.keep_at {
            self.keep_at = now.after(KEEP);
            self.keep_place().await;
        }
    }

    async fn keep_place(&self) {
        if let Err(error) = self.context.store.keep_scrub_place(self.machine.encode()).await {
            debug!(err = %error, "place of the scrub was not kept");
        }
    }

    fn answer(&mut self, asked: Asked) {
        // A client that has gone needs no answer.
        match asked {
            Asked::Progress(reply) => drop(reply.send(self.progress())),
            Asked::Pass(reply) => {
                self.machine.hurry(self.context.env.now());
                self.ahead.clear();
                info!("scrub begun because somebody asked for it");
                reply.send(()).ok();
            }
        }
    }

    /// Reads the next block, or ends the pass.
    async fn step(&mut self) {
        if let Err(error) = self.read_next().await {
            let fault = Fault::from(error);
            debug!(err = %fault, "scrub paused");
            self.pause = self.context.env.now().after(RETRY);
        }
    }

    async fn read_next(&mut self) -> Result<(), StoreError> {
        let store = self.context.store.clone();
        if self.ahead.is_empty() {
            self.ahead = store.blocks_after(self.machine.after(), AHEAD_MAX).await?.into();
        }
        let Some(next) = self.ahead.front().copied() else {
            self.end_pass().await;
            return Ok(());
        };
        let now = self.context.env.now();
        let bytes = next.bytes.unwrap_or(0);
        if self.budget.start(now, bytes, false).is_err() {
            // Somebody is served; the budget says when.
            return Ok(());
        }
        let is_sound = self.is_sound(next).await?;
        self.ahead.pop_front();
        self.metrics.blocks.inc();
        self.metrics.bytes.inc_by(bytes);
        self.metrics.corrupt_blocks.inc_by(u64::from(!is_sound));
        let held_bytes = store.usage().used_bytes;
        self.machine.read(self.context.env.now(), next.cid, bytes, is_sound, held_bytes);
        Ok(())
    }

    /// Reads a block and says whether its bytes are still those that it is named after. If not, the store knows by
    /// then. One that was freed meanwhile has none that could be wrong.
    async fn is_sound(&self, next: Indexed) -> Result<bool, StoreError> {
        let (store, cid) = (&self.context.store, next.cid);
        if next.bytes.is_none() {
            // Found before, and not written anew since: time to try again.
            store.tell_corrupt(cid).await?;
            return Ok(true);
        }
        let bytes = match store.get(cid).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(true),
            Err(StoreError::Corrupt { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let is_sound = self.context.env.compute(move || cid.matches(&bytes)).await;
        if !is_sound {
            store.mark_corrupt(cid).await;
        }
        Ok(is_sound)
    }

    async fn end_pass(&mut self) {
        let now = self.context.env.now();
        let done = self.machine.status(0);
        self.machine.ended(now);
        self.metrics.passes.inc();
        info!(blocks = done.blocks, bytes = done.bytes, found = done.found, "scrub pass ended");
        self.keep_place().await;
    }

    fn progress(&self) -> ScrubProgress {
        let now = self.context.env.now();
        let status = self.machine.status(self.context.store.usage().used_bytes);
        let next = self.machine.next_deadline();
        let is_waiting = self.machine.after().is_none() && now < next;
        let left = if is_waiting { next.since(now) } else { status.left };
        ScrubProgress {
            passes: self.metrics.passes.get(),
            done_millionths: status.done_millionths,
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            rate_bytes_per_s: if is_waiting { 0 } else { status.bytes_per_second },
            blocks: self.metrics.blocks.get(),
            bytes: self.metrics.bytes.get(),
            blocks_corrupt: self.metrics.corrupt_blocks.get(),
            blocks_repaired: self.metrics.repaired_blocks.get(),
        }
    }
}
