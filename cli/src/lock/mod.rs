//! `shoal lock`: a command that runs while, and only while, a lock of the cluster is held.
//!
//! [`lease`] asks the cluster, [`running`] has the command, [`signals`] what the system tells; here they
//! meet. Time is counted from when a question was sent, so that the lease ends here before it ends there.
//! Never: lets the command go on when the lease may be over.
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: leases, waits and signals are of real time"
)]

mod lease;
mod running;
mod signals;

use std::process::ExitStatus;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use protocol::api::{Lock as LockView, LockState};
use protocol::{Fault, Kind};
use tokio::time::{Instant, sleep, sleep_until};

use crate::args::Lock;
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output;
use crate::question::Question;
use crate::target::segment;
use lease::{Grant, Lease};
use running::Running;
use signals::Signals;

/// Longest time that one request waits for its turn: well below the time after which a peer counts as gone.
const POLL_MAX: Duration = Duration::from_secs(20);
/// Pause before a peer is asked again that could not be reached while waiting or holding.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// How long before the end of the lease the command is told to end, if nobody could renew it: as long as it
/// may take to end. Less where that would be most of the lease.
const LAST_CALL: Duration = running::GRACE;
/// The part of the lease that is spent before it is renewed, and the part that the last call is at most.
const PARTS: u32 = 3;
/// What is added to the number of a signal for the exit status, as shells do.
const SIGNAL_STATUS: i32 = 128;

/// Runs a command while holding a lock, or shows the lock if there is no command.
///
/// # Errors
/// [`Failure::Status`] with the command's exit status unless it is 0; [`Kind::Conflict`] if the lock was
/// lost; [`Kind::Unavailable`] if it was not granted in time.
pub(crate) async fn run(endpoints: &Endpoints, args: &Lock, json: bool) -> Result<(), Failure> {
    if args.command.is_empty() {
        return show(endpoints, &args.name, json).await;
    }
    if json {
        let detail = "standard output is the command's, so there is no JSON beside it; `shoal lock NAME --json` shows the lock";
        return Err(Fault::new(Kind::Invalid, detail).into());
    }
    let mut signals = Signals::listen()?;
    let lease = Lease::new(endpoints, &args.name, args.ttl);
    let grant = acquire(&lease, args.wait, &mut signals).await?;
    let ended = match Running::start(&args.command, grant.fence) {
        Ok(command) => hold(&lease, grant, command, &mut signals).await,
        Err(fault) => Err(fault),
    };
    let released = lease.release(grant.fence).await;
    let status = ended?;
    match released {
        // It was over before the command was.
        Err(fault) if fault.kind == Kind::Conflict => return Err(fault.into()),
        Err(fault) => output::warning(&format!(
            "{}; the lock passes on when its lease of {} s is over",
            fault.detail,
            args.ttl.as_secs_f32()
        )),
        Ok(()) => {}
    }
    match exit_status(status) {
        0 => Ok(()),
        status => Err(Failure::Status(status)),
    }
}

async fn show(endpoints: &Endpoints, name: &str, json: bool) -> Result<(), Failure> {
    let path = format!("locks/{}", segment(name));
    let lock: LockView = Question::get(path, format!("look at lock {name}")).ask(endpoints).await?;
    if json {
        return output::json(&lock);
    }
    let held = match (&lock.owner, lock.fence) {
        (Some(owner), Some(fence)) => format!("held by {owner}, fence {fence}"),
        (Some(owner), None) => format!("held by {owner}"),
        (None, _) => "free".to_owned(),
    };
    output::line(&output::plain(&format!("lock {}  {held}  waiting {}", lock.name, lock.waiting)))
}

/// Waits for the lock, and keeps the place in its queue.
async fn acquire(
    lease: &Lease<'_>,
    wait: Option<Duration>,
    signals: &mut Signals,
) -> Result<Grant, Failure> {
    let until = wait.map(|wait| Instant::now() + wait);
    // When the place in the queue was last confirmed; it is kept for a lease.
    let mut heard_at: Option<Instant> = None;
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let poll = POLL_MAX.min(lease.ttl / PARTS).min(left.unwrap_or(Duration::MAX));
        let asked_at = Instant::now();
        let answer = tokio::select! {
            biased; // whoever wants to stop is heard first
            signal = signals.next() => {
                lease.withdraw().await;
                return Err(Failure::Status(signal_status(signal.number())));
            }
            answer = lease.acquire(poll) => answer,
        };
        match answer {
            Ok(answer) => match (answer.state, answer.fence) {
                (LockState::Granted, Some(fence)) => {
                    if let Some(grant) = lease.fresh_grant(fence, asked_at, &answer) {
                        return Ok(grant);
                    }
                    // Granted at some time of a wait: only a renewal tells how much is left of it.
                    match lease.renew(fence).await {
                        Ok(grant) => return Ok(grant),
                        Err(fault) if fault.kind == Kind::Conflict => {}
                        Err(fault) => {
                            // If that fails, too, it passes on with its lease.
                            drop(lease.release(fence).await);
                            return Err(fault.into());
                        }
                    }
                }
                (LockState::Queued, _) => {
                    heard_at = Some(asked_at);
                    // A peer that stops waiting early is not asked as fast as it answers.
                    if asked_at.elapsed() < poll / 2 {
                        sleep(RETRY_PAUSE).await;
                    }
                    if left.is_some_and(|left| left.is_zero()) {
                        lease.withdraw().await;
                        let ahead = answer.position.map_or(String::new(), |position| {
                            format!(", {} before it", position.saturating_sub(1))
                        });
                        let detail = format!(
                            "lock {} was not granted in {} s{ahead}; wait longer with --wait",
                            lease.name,
                            wait.unwrap_or_default().as_secs_f32()
                        );
                        return Err(Fault::new(Kind::Unavailable, detail).into());
                    }
                }
                (LockState::Granted | LockState::Released, _) => {
                    let detail = format!(
                        "cannot acquire lock {}: the peer says neither yes nor wait",
                        lease.name
                    );
                    return Err(Fault::new(Kind::Internal, detail).into());
                }
            },
            Err(fault) => {
                let keeps_place = heard_at.is_some_and(|heard| heard.elapsed() < lease.ttl);
                let may_mend = matches!(fault.kind, Kind::Unavailable | Kind::Busy);
                if !(keeps_place && may_mend) {
                    if heard_at.is_some() {
                        lease.withdraw().await;
                    }
                    return Err(fault.into());
                }
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Runs the command to its end, renewing the lease.
///
/// # Errors
/// [`Kind::Conflict`] if the lease was lost; the command has ended then, too.
async fn hold(
    lease: &Lease<'_>,
    grant: Grant,
    mut command: Running,
    signals: &mut Signals,
) -> Result<ExitStatus, Fault> {
    let mut grant = grant;
    let mut renew_at = Instant::now() + grant.lasts / PARTS;
    // At most one renewal is under way.
    let mut renewals = FuturesUnordered::new();
    let why = loop {
        tokio::select! {
            biased; // its end; what is passed on to it; the lease, new or over; the next renewal
            status = command.wait() => return status,
            signal = signals.next() => command.pass_on(signal),
            Some(renewed) = renewals.next() => match renewed {
                Ok(renewed) => {
                    grant = renewed;
                    renew_at = Instant::now() + grant.lasts / PARTS;
                }
                Err(fault) => {
                    let fault: Fault = fault;
                    if matches!(fault.kind, Kind::Conflict | Kind::NotFound) {
                        break fault.detail;
                    }
                    renew_at = Instant::now() + RETRY_PAUSE;
                }
            },
            () = sleep_until(grant.until - LAST_CALL.min(grant.lasts / PARTS)) => {
                break "no peer could renew it in time".to_owned();
            }
            () = sleep_until(renew_at), if renewals.is_empty() => {
                renewals.push(lease.renew(grant.fence));
            }
        }
    };
    command.end().await?;
    let detail = format!("lost lock {}: {why}; the command was ended", lease.name);
    Err(Fault::new(Kind::Conflict, detail))
}

/// Returns the exit status of a command as shells tell it.
fn exit_status(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, Some(signal)) => signal_status(signal),
        (None, None) => 1,
    }
}

fn signal_status(signal: i32) -> u8 {
    u8::try_from(SIGNAL_STATUS + signal).unwrap_or(1)
}
