//! What is asked of the cluster about one lock, by one owner.
//!
//! Never: waits longer than one question takes; when to ask again is decided in [`super`].
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: a lease counts from the real time of its question"
)]

use std::time::Duration;

use protocol::api::{Lock as LockView, LockAnswer, LockOp, LockRequest, LockState};
use protocol::{Fault, Kind};
use reqwest::Method;
use tokio::time::Instant;

use crate::endpoint::Endpoints;
use crate::question::{Question, random_hex};
use crate::target::segment;

/// How long one peer may take to renew or release, at most, and at least: a synced agreement on slow disks.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ANSWER_MIN: Duration = Duration::from_millis(500);
/// How long one peer may take to answer beyond the time it was asked to wait.
const WAIT_SLACK: Duration = Duration::from_secs(10);
/// Part of the lease that one peer may take to renew it: a peer that hangs leaves time for others.
const ANSWER_PART: u32 = 6;

/// A lock, as one owner asks for it.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    endpoints: &'a Endpoints,
    pub(super) name: &'a str,
    owner: String,
    /// How long the lock is kept without a renewal.
    pub(super) ttl: Duration,
}

/// A lock that is held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) fence: u64,
    /// Until when at least.
    pub(super) until: Instant,
    /// How long a lease lasts: what was asked for, or less if the cluster allows no more.
    pub(super) lasts: Duration,
}

impl<'a> Lease<'a> {
    /// Returns the lock for an owner of its own: this machine and process, for people, and what makes it unique.
    pub(super) fn new(endpoints: &'a Endpoints, name: &'a str, ttl: Duration) -> Self {
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy();
        let owner = format!("{host}/{}/{}", std::process::id(), random_hex());
        Self { endpoints, name, owner, ttl }
    }

    /// Asks for the lock, or for the place in its queue, and waits up to `wait` for its turn.
    ///
    /// # Errors
    /// The most telling of the peers' refusals.
    pub(super) async fn acquire(&self, wait: Duration) -> Result<LockAnswer, Fault> {
        let request = LockRequest {
            ttl_ms: Some(millis(self.ttl)),
            wait_ms: Some(millis(wait)),
            ..self.request(LockOp::Acquire, None)
        };
        self.question(&request, "acquire").within(wait + WAIT_SLACK).ask(self.endpoints).await
    }

    /// Renews the lease.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if it is over; the most telling of the peers' refusals.
    pub(super) async fn renew(&self, fence: u64) -> Result<Grant, Fault> {
        let asked_at = Instant::now();
        let request = LockRequest {
            ttl_ms: Some(millis(self.ttl)),
            ..self.request(LockOp::Renew, Some(fence))
        };
        let within = (self.ttl / ANSWER_PART).clamp(ANSWER_MIN, ANSWER_MAX);
        let question = self.question(&request, "renew").within(within);
        let answer: LockAnswer = question.ask(self.endpoints).await?;
        if answer.state != LockState::Granted || answer.fence.is_some_and(|held| held != fence) {
            let detail = format!("lock {} is not held under fence {fence} any more", self.name);
            return Err(Fault::new(Kind::Conflict, detail));
        }
        Ok(self.grant(fence, asked_at, &answer))
    }

    /// Returns the lock as it was just granted, if the answer took so short a time that little of the lease can
    /// be over.
    pub(super) fn fresh_grant(
        &self,
        fence: u64,
        asked_at: Instant,
        answer: &LockAnswer,
    ) -> Option<Grant> {
        let grant = self.grant(fence, asked_at, answer);
        (asked_at.elapsed() < grant.lasts / ANSWER_PART).then_some(grant)
    }

    fn grant(&self, fence: u64, asked_at: Instant, answer: &LockAnswer) -> Grant {
        // A peer that promises more than was asked for does not make it so.
        let lasts = answer.expires_in_ms.map_or(self.ttl, Duration::from_millis).min(self.ttl);
        Grant { fence, until: asked_at + lasts, lasts }
    }

    /// Gives the lock up.
    ///
    /// # Errors
    /// [`Kind::Conflict`] if it was over before; the most telling of the peers' refusals.
    pub(super) async fn release(&self, fence: u64) -> Result<(), Fault> {
        let request = self.request(LockOp::Release, Some(fence));
        self.question(&request, "release").within(ANSWER_MAX).tell(self.endpoints).await
    }

    /// Gives up the place in the queue, or the lock if it was granted meanwhile. If that fails, it is lost with
    /// its lease.
    pub(super) async fn withdraw(&self) {
        let request = self.request(LockOp::Release, None);
        let told = self.question(&request, "release").within(ANSWER_MAX).tell(self.endpoints).await;
        if told.is_err_and(|fault| matches!(fault.kind, Kind::Unavailable | Kind::Busy)) {
            return;
        }
        // A holder is refused without its fence, which nobody told us; and what we asked for last may come in after
        // the place was given up.
        let asked = Question::get(self.path(), format!("look at lock {}", self.name));
        let seen = asked.within(ANSWER_MAX).ask::<LockView>(self.endpoints).await;
        let held = seen.ok().filter(|lock| lock.owner.as_ref() == Some(&self.owner));
        if let Some(fence) = held.and_then(|lock| lock.fence) {
            drop(self.release(fence).await);
        }
    }

    fn request(&self, op: LockOp, fence: Option<u64>) -> LockRequest {
        LockRequest { op, owner: self.owner.clone(), ttl_ms: None, wait_ms: None, fence }
    }

    fn question(&self, request: &LockRequest, verb: &str) -> Question {
        let doing = format!("{verb} lock {}", self.name);
        Question::change(Method::POST, self.path(), doing).json(request)
    }

    fn path(&self) -> String {
        format!("locks/{}", segment(self.name))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
