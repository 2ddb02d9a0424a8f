//! Whether clients notice what goes on in the background: how long their requests take, beside how long they take while
//! the background rests.
//!
//! Of each kind of request the mean of a moment is compared with the least mean of the last minutes in which this peer did
//! nothing in the background. An absolute bound would starve repair where peers are far apart, and let clients wait where they
//! are near. Owns the windows. Never: measures; whoever serves clients counts.
//! Source: RFC 6817 (LEDBAT: a base delay over minutes, and yielding to whatever lies above it).

use core::time::Duration;
use std::collections::VecDeque;

use crate::Instant;

/// Requests that make a window whole.
const WINDOW_REQUESTS: u64 = 32;
/// After this long a window is judged by what it has.
const WINDOW: Duration = Duration::from_secs(1);
/// With fewer requests a window says nothing: so few clients notice little.
const WINDOW_REQUESTS_MIN: u64 = 4;

/// What is remembered of calm times: the least mean of each minute, for so many minutes.
const MINUTE: Duration = Duration::from_secs(60);
/// See [`MINUTE`].
const MINUTES: u32 = 10;

/// A mean is noticed from twice of what it is in calm times, and this much more: below it lies chance.
const NOTICED_MORE: Duration = Duration::from_millis(1);

/// Requests of one kind, since the peer began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests answered.
    pub requests: u64,
    /// What they took together, in microseconds.
    pub micros: u64,
}

/// What clients of this peer have seen, since the peer began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreground {
    /// Blocks fetched for clients of this peer, from wherever they lie.
    pub fetched: Tally,
    /// Blocks read for clients of other peers.
    pub read: Tally,
    /// Blocks written for clients of any peer.
    pub written: Tally,
}

/// How clients fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody is there.
    Nobody,
    /// This is how it is in calm times: nothing was done in the background.
    Rested,
    /// They wait no longer than in calm times.
    Calm,
    /// They wait longer.
    Disturbed,
    /// Nobody knows how it is in calm times.
    Unknown,
}

/// One kind of request.
#[derive(Clone, Debug, Default)]
struct RequestKind {
    /// What was told last.
    told: Tally,
    /// Of this window.
    open: Tally,
    /// The least means of calm windows, by the minute in which the first of them ended.
    calm: VecDeque<(Instant, u64)>,
}

impl RequestKind {
    fn take(&mut self, told: Tally) {
        self.open.requests += told.requests.saturating_sub(self.told.requests);
        self.open.micros += told.micros.saturating_sub(self.told.micros);
        self.told = told;
    }

    /// Judges the window and begins the next one.
    fn judge(&mut self, now: Instant, is_calm: bool) -> Option<Verdict> {
        let Tally { requests, micros } = core::mem::take(&mut self.open);
        if requests < WINDOW_REQUESTS_MIN {
            return None;
        }
        let mean = micros / requests;
        let is_old = |(at, _): &(Instant, u64)| now.since(*at) > MINUTE * MINUTES;
        while self.calm.front().is_some_and(is_old) {
            self.calm.pop_front();
        }
        if is_calm {
            match self.calm.back_mut().filter(|(at, _)| now.since(*at) < MINUTE) {
                Some((_, least)) => *least = mean.min(*least),
                None => self.calm.push_back((now, mean)),
            }
            return Some(Verdict::Rested);
        }
        let Some(least) = self.calm.iter().map(|(_, least)| *least).min() else {
            return Some(Verdict::Unknown);
        };
        let most = least.saturating_mul(2).saturating_add(micros_of(NOTICED_MORE));
        Some(if mean > most { Verdict::Disturbed } else { Verdict::Calm })
    }
}

fn micros_of(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Compares how clients fare with how they do in calm times.
#[derive(Clone, Debug, Default)]
pub(super) struct Watcher {
    kinds: [RequestKind; 3],
    since: Instant,
    /// Whether something was begun in the background within this window, and within the one before it, whose ends
    /// reach into this one.
    is_disturbed: [bool; 2],
}

impl Watcher {
    /// Notes that something is done in the background.
    pub(super) const fn disturb(&mut self) {
        self.is_disturbed[0] = true;
    }

    /// Takes what clients saw, and says how they fare once there is enough to tell.
    pub(super) fn look(&mut self, now: Instant, seen: &Foreground) -> Option<Verdict> {
        let Foreground { fetched, read, written } = *seen;
        for (kind, told) in self.kinds.iter_mut().zip([fetched, read, written]) {
            kind.take(told);
        }
        let is_whole = self.kinds.iter().any(|kind| kind.open.requests >= WINDOW_REQUESTS);
        if !is_whole && now.since(self.since) < WINDOW {
            return None;
        }
        self.since = now;
        let is_calm = self.is_disturbed == [false; 2];
        self.is_disturbed = [false, self.is_disturbed[0]];
        let verdicts = self.kinds.iter_mut().filter_map(|kind| kind.judge(now, is_calm));
        // The worst counts: whoever waits for one kind is not helped by the others.
        let worst = |verdict: &Verdict| match verdict {
            Verdict::Nobody => 0,
            Verdict::Rested => 1,
            Verdict::Calm => 2,
            Verdict::Unknown => 3,
            Verdict::Disturbed => 4,
        };
        Some(verdicts.max_by_key(worst).unwrap_or(Verdict::Nobody))
    }
}
