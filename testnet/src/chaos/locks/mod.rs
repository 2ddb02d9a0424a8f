//! Locks under many clients, some of which die holding one or waiting for one.
//!
//! Every client notes when it asked, what it was told and when; [`judge`] looks at all of it afterwards.

mod judge;
#[cfg(test)]
mod judge_test;

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use protocol::api::{LockAnswer, LockOp, LockRequest, LockState};
use reqwest::Method;

use self::judge::{End, Grant, Turn, judge};
use super::ask::{Answer, send};
use super::scale::scaled;
use super::stage::Ctx;
use super::wait::Watch;
use crate::harness::UpOptions;

/// Clients at a time.
const CLIENTS: usize = 50;

/// Times that a lock is asked for: in a whole run, more than 10,000 times by somebody who lives to hear of it.
const TURNS: [usize; 2] = [3_000, 10_100];

/// Locks that are asked for: holders die holding the first ones, who waits for the last one dies too.
const LOCKS: usize = 8;

/// Of so many turns one ends in death.
const DEATHS: usize = 100;

/// How long the living are patient, which none of them has to be: only the dead are to lose their place.
const TTL: Duration = Duration::from_secs(60);

/// How long a lease lasts whose owner is about to die: the shortest there is.
const LAST_TTL: Duration = Duration::from_millis(500);

/// How long one request waits for its turn.
const WAIT: Duration = Duration::from_secs(20);

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let stage = ctx.stage(&UpOptions::default()).await?;
    let urls = stage.urls();
    let hall = Hall {
        ctx,
        urls: &urls,
        watch: Watch::start(),
        next: Cell::new(0),
        turns: scaled(TURNS[0], TURNS[1]),
    };
    hall.release_blindly().await.context("a release that does not name its grant")?;
    let clients = (0..CLIENTS).map(|client| hall.stay(client));
    let turns: Vec<Turn> = try_join_all(clients).await?.into_iter().flatten().collect();
    let took = hall.watch.elapsed();
    let figures = judge(&turns)?;
    ensure!(
        figures.takeovers * 2 > figures.dead_holders,
        "of {} holders that died only {} had anybody behind them",
        figures.dead_holders,
        figures.takeovers
    );
    ctx.note(format!(
        "{} grants to {CLIENTS} clients in {:.1} s; {} holders and {} waiters died; {} pairs in order of \
         asking; the next one was served {} ms after a dead one's lease at worst",
        figures.grants,
        took.as_secs_f64(),
        figures.dead_holders,
        figures.dead_waiters,
        figures.ordered,
        figures.worst_takeover.as_millis(),
    ));
    Ok(())
}

/// Where everybody asks.
struct Hall<'a> {
    ctx: &'a Ctx,
    urls: &'a [String],
    watch: Watch,
    /// Turns that were begun.
    next: Cell<usize>,
    turns: usize,
}

impl Hall<'_> {
    /// Who holds a lock and does not say by which grant is told so, and holds it still.
    async fn release_blindly(&self) -> anyhow::Result<()> {
        let asks = Asks { lock: LOCKS, owner: "blind".to_owned() };
        let url = &self.urls[0];
        let granted = self.ask(url, &asks, LockOp::Acquire, TTL, None).await?;
        ensure!(granted.status == 200, "{}", granted.problem());
        let fence = granted.document::<LockAnswer>()?.fence;
        let refused = self.ask(url, &asks, LockOp::Release, TTL, None).await?;
        refused.expect_problem(400, "invalid")?;
        let release = LockRequest { fence, ..asks.request(LockOp::Release) };
        self.send(url, asks.lock, &release).await?.expect(200).map(drop)
    }

    /// Takes turns until all are taken.
    async fn stay(&self, client: usize) -> anyhow::Result<Vec<Turn>> {
        let mut turns = Vec::new();
        while self.next.get() < self.turns {
            let number = self.next.replace(self.next.get() + 1);
            let turn = self.take(client, number).await;
            turns.push(turn.with_context(|| format!("turn {number}, client {client}"))?);
        }
        Ok(turns)
    }

    async fn take(&self, client: usize, number: usize) -> anyhow::Result<Turn> {
        let dies = number % DEATHS == DEATHS - 1;
        // So that each lock is asked for by everybody, and each client asks every peer.
        let lock = (client + number / 3) % LOCKS;
        let asks = Asks { lock, owner: format!("c{client}-{number}") };
        let url = |step: usize| &self.urls[(client + number + step) % self.urls.len()];
        let dies_waiting = dies && lock == LOCKS - 1;
        let ttl = if dies_waiting { LAST_TTL } else { TTL };
        let asked = self.watch.elapsed();
        let mut answer = self.ask(url(0), &asks, LockOp::Acquire, ttl, None).await?;
        let queued = self.watch.elapsed();
        let mut turn = Turn { lock, asked, queued, is_dead: dies, grant: None };
        if dies_waiting {
            // It may hold the lock, and never knows.
            return Ok(turn);
        }
        while answer.status == 202 {
            let told: LockAnswer = answer.document()?;
            ensure!(told.state == LockState::Queued && told.position > Some(0), "told {told:?}");
            // At another peer than before: its place is the cluster's.
            answer = self.ask(url(1), &asks, LockOp::Acquire, ttl, Some(WAIT)).await?;
        }
        let (at, fence) = (self.watch.elapsed(), granted(answer)?);
        let end = if dies {
            let renewed_from = self.watch.elapsed();
            let renewed = LockRequest { fence: Some(fence), ..asks.request(LockOp::Renew) };
            let renewed = LockRequest { ttl_ms: millis(LAST_TTL), ..renewed };
            ensure!(granted(self.send(url(2), lock, &renewed).await?)? == fence);
            End::Died { renewed_from, renewed: self.watch.elapsed(), ttl: LAST_TTL }
        } else {
            let released = self.watch.elapsed();
            let release = LockRequest { fence: Some(fence), ..asks.request(LockOp::Release) };
            self.send(url(2), lock, &release).await?.expect(200).context("a release")?;
            End::Released { released }
        };
        turn.grant = Some(Grant { at, fence, end });
        Ok(turn)
    }

    async fn ask(
        &self,
        url: &str,
        asks: &Asks,
        op: LockOp,
        ttl: Duration,
        wait: Option<Duration>,
    ) -> anyhow::Result<Answer> {
        let request =
            LockRequest { ttl_ms: millis(ttl), wait_ms: wait.and_then(millis), ..asks.request(op) };
        self.send(url, asks.lock, &request).await
    }

    async fn send(&self, url: &str, lock: usize, request: &LockRequest) -> anyhow::Result<Answer> {
        let url = format!("{url}/api/v1/locks/hall/{lock}");
        Ok(send(self.ctx.http.request(Method::POST, &url).json(request)).await?)
    }
}

/// Who asks for what.
struct Asks {
    lock: usize,
    /// One of its own for every turn: who died does not come back.
    owner: String,
}

impl Asks {
    fn request(&self, op: LockOp) -> LockRequest {
        LockRequest { op, owner: self.owner.clone(), ttl_ms: None, wait_ms: None, fence: None }
    }
}

fn millis(duration: Duration) -> Option<u64> {
    u64::try_from(duration.as_millis()).ok()
}

/// Returns the fencing token of a grant.
fn granted(answer: Answer) -> anyhow::Result<u64> {
    let told: LockAnswer = answer.expect(200)?.document()?;
    ensure!(told.state == LockState::Granted, "told {told:?}");
    told.fence.context("a grant without a fencing token")
}
