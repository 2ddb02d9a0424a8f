//! What must hold of the turns at locks, whatever happened in between.
//!
//! Times are those of the clients, of one clock: what was answered before something else was sent came before it.
//! Never: takes anything for granted that no client saw.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;

/// How long after a dead holder's lease the next one may wait.
const TAKEOVER_MAX: Duration = Duration::from_secs(1);

/// How one client fared with one lock. Times since the beginning.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) lock: usize,
    /// When it first asked.
    pub(super) asked: Duration,
    /// When it was first answered: it has a place by then.
    pub(super) queued: Duration,
    /// Whether it stopped without a word.
    pub(super) is_dead: bool,
    /// What it was granted; `None` if it died without being told.
    pub(super) grant: Option<Grant>,
}

#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// When it was told.
    pub(super) at: Duration,
    pub(super) fence: u64,
    pub(super) end: End,
}

/// How a grant ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// It was given back, from this moment on.
    Released { released: Duration },
    /// It was renewed for the last time, for `ttl`, between two moments.
    Died { renewed_from: Duration, renewed: Duration, ttl: Duration },
}

/// What the turns were like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) grants: usize,
    pub(super) dead_holders: usize,
    pub(super) dead_waiters: usize,
    /// Dead holders behind whom another one came.
    pub(super) takeovers: usize,
    /// Neighbours in the order of grants of which the first had its place before the other one asked.
    pub(super) ordered: usize,
    /// The longest time between the end of a dead holder's lease and the next grant to somebody who waited.
    pub(super) worst_takeover: Duration,
}

/// Returns the figures of turns at which nothing was wrong.
///
/// # Errors
/// Two held a lock at a time, somebody was overtaken, a fencing token did not rise, or the lock of a dead holder was
/// not passed on in time.
pub(super) fn judge(turns: &[Turn]) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut locks: BTreeMap<usize, Vec<(&Turn, &Grant)>> = BTreeMap::new();
    let mut all = Vec::new();
    for turn in turns {
        match &turn.grant {
            Some(grant) => {
                locks.entry(turn.lock).or_default().push((turn, grant));
                all.push((turn, grant));
                figures.dead_holders += usize::from(turn.is_dead);
            }
            None => {
                ensure!(turn.is_dead, "somebody at lock {} was never served", turn.lock);
                figures.dead_waiters += 1;
            }
        }
    }
    figures.grants = all.len();
    all.sort_by_key(|(_, grant)| grant.fence);
    for pair in all.windows(2) {
        ensure!(pair[0].1.fence < pair[1].1.fence, "token {} was given twice", pair[0].1.fence);
    }
    if let Some((before, after)) = overtaken(&all, |_, grant| grant.at) {
        anyhow::bail!("token {after} was granted before {before} was asked for");
    }
    for (lock, mut grants) in locks {
        grants.sort_by_key(|(_, grant)| grant.fence);
        if let Some((before, after)) = overtaken(&grants, |turn, _| turn.queued) {
            anyhow::bail!(
                "lock {lock}: {after} had its place before {before} asked, and came later"
            );
        }
        let loses_waiters = turns.iter().any(|turn| turn.lock == lock && turn.grant.is_none());
        for pair in grants.windows(2) {
            let ((first, before), (second, after)) = (pair[0], pair[1]);
            figures.ordered += usize::from(first.queued < second.asked);
            let (held_until, dead_from) = match before.end {
                End::Released { released } => (released, None),
                End::Died { renewed_from, renewed, ttl } => {
                    (renewed_from + ttl, Some(renewed + ttl))
                }
            };
            ensure!(
                after.at >= held_until,
                "lock {lock}: {} was granted {:?} before {} was over",
                after.fence,
                held_until.saturating_sub(after.at),
                before.fence
            );
            // One who died waiting may have held it in between, for another lease.
            if let Some(dead_from) = dead_from.filter(|_| !loses_waiters) {
                let late = after.at.saturating_sub(dead_from.max(second.queued));
                ensure!(late <= TAKEOVER_MAX, "lock {lock}: {} came {late:?} late", after.fence);
                figures.takeovers += 1;
                figures.worst_takeover = figures.worst_takeover.max(late);
            }
        }
    }
    Ok(figures)
}

/// Returns the tokens of two grants, in order of their tokens, of which the later one was certain by a moment before
/// the other one was asked for.
fn overtaken(
    grants: &[(&Turn, &Grant)],
    certain: impl Fn(&Turn, &Grant) -> Duration,
) -> Option<(u64, u64)> {
    let mut last_asked: Option<(Duration, u64)> = None;
    for (turn, grant) in grants {
        if let Some((asked, fence)) = last_asked
            && certain(turn, grant) < asked
        {
            return Some((fence, grant.fence));
        }
        last_asked = last_asked.max(Some((turn.asked, grant.fence)));
    }
    None
}
