//! The book of clusters: which ones are known, how their catalogs stand, and whose to pull next.
//!
//! Owns what was heard of each cluster and how far its entries are held. Bounded: of too many clusters the least useful goes, a
//! catalog beyond its quota is not copied, a cluster that breaks its word is left alone for a while. Never: sends, stores or waits.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::pace::silent_after;
use super::{CatalogError, Head, PublicKey, Standing};
use crate::format::blob;
use crate::limits::{
    CATALOG_CLOCKS_APART, CATALOG_CUT_OFF, CATALOG_FAULTS_MAX, CATALOG_HEAD_PAUSE, CATALOG_KEPT,
    CATALOG_NEW_BURST, CATALOG_NEW_PAUSE, CATALOG_RETRY, CATALOG_RETRY_HEARD, CATALOG_RETRY_MAX,
    CATALOG_TELL_PAUSE,
};
use crate::metadata::DisplayName;
use crate::{ClusterId, Instant, WallTime};

/// What other clusters may make this peer keep, and which of them it wants nothing of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// This peer's own cluster, which it knows better.
    pub own: ClusterId,
    /// Clusters.
    pub clusters: usize,
    /// Entries of one of them.
    pub entries_of_one: u64,
    /// Entries of all together.
    pub entries: u64,
    /// Clusters that are kept alone; all when empty.
    pub allowed: BTreeSet<ClusterId>,
    /// Clusters that are not.
    pub blocked: BTreeSet<ClusterId>,
}

/// What became of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is later than what was known: others want to hear of it too.
    New(ClusterId),
    /// It was taken, but comes too soon after the last one to be passed on: others hear of the next.
    Soon,
    /// It says nothing new, or nobody here wants to know.
    Old,
    /// No honest peer says this.
    Refused(CatalogError),
}

/// How a cluster can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// It answered when it was last asked, or nothing had to be asked.
    Reached,
    /// None of its contacts answered, or it has not been heard of for a while.
    Unreached,
    /// Its catalog is beyond the quota: it is known, and not copied.
    TooLarge,
    /// It broke its word, and is left alone for a while.
    CutOff,
}

/// What is known of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub cluster: ClusterId,
    /// Its name, for people.
    pub name: DisplayName,
    /// Its peers.
    pub peers: u32,
    /// Entries that it says it has.
    pub entries: u64,
    /// Entries of it that are kept here.
    pub held: u64,
    /// When all of its entries were last known to be kept here; `None`: never.
    pub current_at: Option<WallTime>,
    /// How it can be reached.
    pub reach: Reach,
    /// Where some of its peers are reached.
    pub contacts: Vec<String>,
}

/// A catalog to pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Whose.
    pub cluster: ClusterId,
    /// What its entries are signed with.
    pub key: PublicKey,
    /// Where some of its peers are reached.
    pub contacts: Vec<String>,
    /// At which the catalog is at least: a contact that is behind it would bring back what was withdrawn.
    pub standing: Standing,
    /// Entries that it says it has.
    pub entries: u64,
    /// Entries of it that may be kept at most.
    pub entries_max: u64,
}

/// How a pull ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// The entries of this standing are kept now.
    Whole {
        /// At which it is.
        standing: Standing,
        /// How many there are.
        entries: u64,
    },
    /// Nobody answered, or not to the end.
    Unreached,
    /// It has more than it may have: none of it is kept.
    TooLarge,
    /// What was told cannot be true.
    Lied,
}

/// What is kept of a cluster across a start: the row of a table. Its bytes are fixed (see [`crate::format`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The last head that was heard.
    #[serde(with = "blob")]
    pub head: Bytes,
    /// What its entries here are of.
    pub standing: Option<Standing>,
    /// Entries of it here.
    pub held: u64,
    /// When they were last known to be all.
    pub current_at: Option<WallTime>,
}

#[derive(Clone, Debug)]
struct Page {
    head: Head,
    signed: Bytes,
    heard: Instant,
    standing: Option<Standing>,
    held: u64,
    current_at: Option<WallTime>,
    is_pulled: bool,
    /// Entries that the pull under way may bring it to.
    promised: u64,
    /// Pulls that failed since the last one that did not.
    failures: u32,
    /// When to try next.
    next: Instant,
    faults: u32,
    cut_off_until: Option<Instant>,
    is_too_large: bool,
}

impl Page {
    fn is_current(&self) -> bool {
        self.standing >= Some(self.head.standing)
    }

    /// Says whether it is not to give way to one that nothing is known of.
    fn is_of_use(&self, now: Instant) -> bool {
        self.held > 0 && now.since(self.heard) < CATALOG_KEPT
    }
}

/// See the module. Memory: some 2 KiB for each cluster.
#[derive(Clone, Debug)]
pub struct Book {
    limits: BookLimits,
    /// When as many new clusters could be heard of at once as ever.
    new_full_at: Instant,
    pages: BTreeMap<ClusterId, Page>,
    /// What changed since it was last asked for.
    changed: BTreeSet<ClusterId>,
}

impl Book {
    /// Returns a book that knows nobody.
    #[must_use]
    pub const fn new(limits: BookLimits) -> Self {
        Self {
            limits,
            new_full_at: Instant::ZERO,
            pages: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Takes in what was kept of a cluster before a start. `is_there`: whether entries of it are there; without them it is pulled
    /// anew. Returns whether it is wanted still.
    pub fn take_in(&mut self, now: Instant, mut kept: Kept, is_there: bool) -> bool {
        let Ok(head) = Head::checked(&kept.head) else { return false };
        let cluster = head.cluster();
        if !self.is_wanted(cluster) || self.pages.len() >= self.limits.clusters {
            return false;
        }
        if kept.held > 0 && !is_there {
            (kept.standing, kept.held, kept.current_at) = (None, 0, None);
        }
        let mut page = fresh(now, head, kept.head);
        (page.standing, page.held, page.current_at) = (kept.standing, kept.held, kept.current_at);
        self.pages.insert(cluster, page);
        true
    }

    fn is_wanted(&self, cluster: ClusterId) -> bool {
        let BookLimits { own, allowed, blocked, .. } = &self.limits;
        cluster != *own
            && !blocked.contains(&cluster)
            && (allowed.is_empty() || allowed.contains(&cluster))
    }

    /// Takes a head that somebody told of. Cost: a check of its signature, unless it says nothing new.
    pub fn hear(&mut self, now: Instant, wall: WallTime, bytes: &Bytes) -> Heard {
        let head = match Head::checked(bytes) {
            Ok(head) => head,
            Err(error) => return Heard::Refused(error),
        };
        let cluster = head.cluster();
        // A clock that is ahead would make all later heads look like earlier ones.
        let ahead = head.issued.as_unix_millis().saturating_sub(wall.as_unix_millis());
        let is_ahead = u128::from(ahead) > CATALOG_CLOCKS_APART.as_millis();
        if is_ahead || !self.is_wanted(cluster) {
            return Heard::Old;
        }
        match self.pages.get_mut(&cluster) {
            Some(page) => {
                let is_soon = now.since(page.heard) < CATALOG_HEAD_PAUSE;
                if head.order() <= page.head.order()
                    || is_soon && page.head.standing == head.standing
                {
                    return Heard::Old;
                }
                if page.standing >= Some(head.standing) {
                    // Not by whoever passes it on late.
                    page.current_at = page.current_at.max(Some(wall.min(head.issued)));
                }
                // Whoever speaks again may be reached again, but not as often as it speaks.
                if page.failures > 0 {
                    page.next = page.next.min(now.after(CATALOG_RETRY_HEARD));
                } else if page.head.standing != head.standing {
                    page.next = page.next.min(now);
                }
                page.is_too_large &= head.entries > self.limits.entries_of_one;
                let is_soon = now.since(page.heard) < CATALOG_TELL_PAUSE;
                (page.head, page.signed, page.heard) = (head, bytes.clone(), now);
                self.changed.insert(cluster);
                return if is_soon { Heard::Soon } else { Heard::New(cluster) };
            }
            None => {
                // Names cost nothing: many new ones at once are somebody's game.
                let full_at = self.new_full_at.max(now);
                if full_at.since(now) > CATALOG_NEW_PAUSE * CATALOG_NEW_BURST {
                    return Heard::Old;
                }
                self.new_full_at = full_at.after(CATALOG_NEW_PAUSE);
                if self.pages.len() >= self.limits.clusters && !self.forget_least(now) {
                    return Heard::Old;
                }
                self.pages.insert(cluster, fresh(now, head, bytes.clone()));
            }
        }
        self.changed.insert(cluster);
        Heard::New(cluster)
    }

    /// Forgets the cluster that serves least: one of which nothing is kept, or that has not been heard of for longest. Returns
    /// whether there is one that serves no more than a new one would.
    fn forget_least(&mut self, now: Instant) -> bool {
        let least = self.pages.iter().filter(|(_, page)| !page.is_pulled);
        let least = least.min_by_key(|(_, page)| (page.is_of_use(now), page.heard));
        let Some((cluster, page)) = least else { return false };
        // Others must not push out what is in use by taking new names.
        if page.is_of_use(now) {
            return false;
        }
        let cluster = *cluster;
        self.pages.remove(&cluster);
        self.changed.insert(cluster);
        true
    }

    /// Returns the catalog to pull next, which counts as being pulled until [`Self::pulled`]. Of several, the one that waited
    /// longest.
    pub fn next_pull(&mut self, now: Instant) -> Option<Pull> {
        let total: u64 = self.pages.values().map(|page| page.held.max(page.promised)).sum();
        let BookLimits { entries_of_one, entries, .. } = self.limits;
        let due = self.pages.iter_mut().filter(|(_, page)| {
            let is_cut_off = page.cut_off_until.is_some_and(|until| now < until);
            !page.is_pulled
                && !page.is_current()
                && !page.is_too_large
                && page.next <= now
                && !is_cut_off
        });
        // Who is kept already before those that nothing is known of: names cost nothing.
        let (cluster, page) = due.min_by_key(|(_, page)| (page.held == 0, page.next))?;
        let room = entries.saturating_sub(total.saturating_sub(page.held));
        let entries_max = entries_of_one.min(room);
        page.is_pulled = true;
        page.promised = page.head.entries.min(entries_max);
        Some(Pull {
            cluster: *cluster,
            key: page.head.key,
            contacts: page.head.contacts.clone(),
            // Later than what is held, or there would be nothing to pull.
            standing: page.head.standing,
            entries: page.head.entries,
            entries_max,
        })
    }

    /// Returns when [`Self::next_pull`] may have something that it has not now; `None`: when something is heard.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let waits = |page: &&Page| !page.is_pulled && !page.is_current() && !page.is_too_large;
        let at = |page: &Page| page.cut_off_until.map_or(page.next, |until| page.next.max(until));
        self.pages.values().filter(waits).map(at).min()
    }

    /// Notes how a pull ended.
    ///
    /// `held`: entries of it that are kept now, if that is known.
    pub fn pulled(
        &mut self,
        (now, wall): (Instant, WallTime),
        cluster: ClusterId,
        end: Pulled,
        held: Option<u64>,
    ) {
        let Some(page) = self.pages.get_mut(&cluster) else { return };
        (page.is_pulled, page.promised) = (false, 0);
        page.held = held.unwrap_or(page.held);
        match end {
            Pulled::Whole { standing, entries } => {
                (page.standing, page.held, page.current_at) = (Some(standing), entries, Some(wall));
                (page.failures, page.faults, page.cut_off_until) = (0, 0, None);
                // One that was behind is not asked again at once.
                page.next = now.after(CATALOG_RETRY);
            }
            Pulled::Unreached => {
                page.next = now.after(pause(page.failures));
                page.failures = page.failures.saturating_add(1);
            }
            Pulled::TooLarge => {
                (page.is_too_large, page.standing, page.held) = (true, None, 0);
                page.current_at = None;
            }
            Pulled::Lied => {
                page.faults += 1;
                page.failures = page.failures.saturating_add(1);
                page.next = now.after(pause(page.failures));
                if page.faults >= CATALOG_FAULTS_MAX {
                    page.cut_off_until = Some(now.after(CATALOG_CUT_OFF));
                    page.faults = 0;
                }
            }
        }
        self.changed.insert(cluster);
    }

    /// Returns the clusters of which something changed since the last call, with what is to be kept of each; `None`: nothing, and
    /// none of its entries.
    pub fn take_changed(&mut self) -> Vec<(ClusterId, Option<Kept>)> {
        let changed = core::mem::take(&mut self.changed).into_iter();
        changed.map(|cluster| (cluster, self.pages.get(&cluster).map(kept))).collect()
    }

    /// Returns the signed heads that were heard, the latest first: at most so many.
    #[must_use]
    pub fn heads(&self, at_most: usize) -> Vec<Bytes> {
        let mut pages: Vec<&Page> = self.pages.values().collect();
        pages.sort_by_key(|page| core::cmp::Reverse(page.heard));
        pages.into_iter().take(at_most).map(|page| page.signed.clone()).collect()
    }

    /// Returns what is known of all clusters, in order of their ids.
    #[must_use]
    pub fn known(&self, now: Instant) -> Vec<Known> {
        let silent = silent_after(self.pages.len() + 1);
        let known = |(cluster, page): (&ClusterId, &Page)| known(now, silent, *cluster, page);
        self.pages.iter().map(known).collect()
    }
}

fn fresh(now: Instant, head: Head, signed: Bytes) -> Page {
    Page {
        head,
        signed,
        heard: now,
        standing: None,
        held: 0,
        current_at: None,
        is_pulled: false,
        promised: 0,
        failures: 0,
        next: now,
        faults: 0,
        cut_off_until: None,
        is_too_large: false,
    }
}

fn kept(page: &Page) -> Kept {
    let Page { signed, standing, held, current_at, .. } = page;
    Kept { head: signed.clone(), standing: *standing, held: *held, current_at: *current_at }
}

fn known(now: Instant, silent: Duration, cluster: ClusterId, page: &Page) -> Known {
    let is_cut_off = page.cut_off_until.is_some_and(|until| now < until);
    let is_silent = now.since(page.heard) > silent;
    let reach = match page {
        _ if is_cut_off => Reach::CutOff,
        Page { is_too_large: true, .. } => Reach::TooLarge,
        Page { failures: 0, .. } if !is_silent => Reach::Reached,
        _ => Reach::Unreached,
    };
    Known {
        cluster,
        name: page.head.name.clone(),
        peers: page.head.peers,
        entries: page.head.entries,
        held: page.held,
        current_at: page.current_at,
        reach,
        contacts: page.head.contacts.clone(),
    }
}

/// Returns how long to wait after so many failures before.
fn pause(failures: u32) -> Duration {
    (CATALOG_RETRY * 2_u32.saturating_pow(failures.min(16))).min(CATALOG_RETRY_MAX)
}
