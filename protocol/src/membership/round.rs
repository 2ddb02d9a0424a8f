//! Rounds: whom to tell, and what, since a message does not hold everybody.
//!
//! Part of [`Membership`]. Never: judges anybody; the table does.

use core::ops::Bound;
use std::collections::BTreeSet;

use super::interface::Output;
use super::machine::Membership;
use super::table::{Liveness, PeerInfo};
use crate::limits::GOSSIP_ENTRIES_MAX;
use crate::wire::{GossipEntry, Notice};
use crate::{Instant, PeerId};
use core::time::Duration;

/// Entries of a message that go round the whole table, so that everybody is told of in time,
/// however much news there is.
const ROTATING_ENTRIES: usize = 10;
/// Entries of a message that are news. The first entry is the sender's own.
const NEWS_ENTRIES: usize = GOSSIP_ENTRIES_MAX - 1 - ROTATING_ENTRIES;

/// Messages that tell a newcomer of everybody at once. Bounds what one question can cause; in
/// clusters of more than a thousand peers it hears of the rest within the next rounds.
const WELCOME_MESSAGES_MAX: usize = 26;

/// One round in this many also tries a peer that is thought dead, so that partitions heal. Costs
/// one small message or one attempt to connect every two seconds.
const DEAD_TRIED_ONE_IN: u64 = 4;

impl Membership {
    /// Judges everybody, and tells some.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if now < self.round_at {
            return;
        }
        let interval = self.config.interval.max(Duration::from_millis(1));
        if let Some(last) = self.last_round {
            // Time in which this peer was suspended is nobody else's silence.
            let lost = now.since(last).saturating_sub(interval * 2);
            self.table.forgive(now, lost);
        }
        self.last_round = Some(now);
        // A tenth more or less keeps peers that started together from speaking together.
        let tenth = u64::try_from(interval.as_nanos() / 10).unwrap_or(0);
        let jitter = Duration::from_nanos(self.prng.below(2 * tenth));
        self.round_at = now.after(interval * 9 / 10 + jitter);

        if let Some(record) = self.table.records.get_mut(&self.own) {
            record.info.heartbeat = record.info.heartbeat.saturating_add(1);
        }
        let mut changed = Vec::new();
        let forgets = self.listed.is_none();
        if self.table.judge(now, &self.config, self.own, forgets, &mut changed) {
            out.push(Output::TopologyChanged);
        }
        out.extend(changed.into_iter().map(|peer| Output::Changed { peer }));

        let targets = self.targets();
        let entries = self.select(now, targets.len());
        for (index, to) in targets.into_iter().enumerate() {
            let stranger = self.strangers.contains(&to);
            if stranger || self.table.records.get(&to).is_some_and(|record| record.connected) {
                // One answer a round: news travels against the direction of the question, too.
                let notice =
                    Notice::Gossip { entries: entries.clone(), answer: index == 0 || stranger };
                out.push(Output::Send { to, notice });
            } else {
                self.dial(now, to, out);
            }
        }
    }

    /// Draws whom to tell in this round.
    fn targets(&mut self) -> Vec<PeerId> {
        let (mut near, mut dead) = (Vec::new(), Vec::new());
        for (id, record) in &self.table.records {
            match record.info.liveness {
                Liveness::Alive | Liveness::Suspect if *id != self.own => near.push(*id),
                Liveness::Dead => dead.push(*id),
                Liveness::Alive | Liveness::Suspect | Liveness::Left => {}
            }
        }
        let mut targets = Vec::new();
        for _ in 0..self.config.fanout {
            let Some(index) = self.prng.index(near.len()) else { break };
            targets.push(near.swap_remove(index));
        }
        if self.prng.chance(1, DEAD_TRIED_ONE_IN) {
            targets.extend(self.prng.index(dead.len()).and_then(|index| dead.get(index)));
        }
        let strangers = self.strangers.iter().copied().filter(|peer| self.may_be_heard(*peer));
        let strangers: Vec<PeerId> = strangers.collect();
        targets.extend(self.prng.index(strangers.len()).and_then(|index| strangers.get(index)));
        targets
    }

    /// Returns what to tell: this peer first, then what was told least since it changed, then the
    /// next ones of a walk round the table. `copies`: how many peers will be told.
    pub(super) fn select(&mut self, now: Instant, copies: usize) -> Vec<GossipEntry> {
        let mut ranked: Vec<(u32, u64, PeerId)> = Vec::with_capacity(self.table.records.len());
        for (id, record) in &self.table.records {
            if *id != self.own && record.is_told(now, &self.config) {
                ranked.push((record.told, self.prng.next_u64(), *id));
            }
        }
        if ranked.len() > NEWS_ENTRIES + ROTATING_ENTRIES {
            ranked.select_nth_unstable(NEWS_ENTRIES);
            ranked.truncate(NEWS_ENTRIES);
            let news: BTreeSet<PeerId> = ranked.iter().map(|(_, _, id)| *id).collect();
            for id in self.walk(now, &news) {
                self.cursor = Some(id);
                ranked.push((0, 0, id));
            }
        }
        let copies = u32::try_from(copies).unwrap_or(u32::MAX);
        let mut entries = vec![self.own_info().to_entry()];
        for (_, _, id) in ranked {
            if let Some(record) = self.table.records.get_mut(&id) {
                record.told = record.told.saturating_add(copies);
                entries.push(record.info.to_entry());
            }
        }
        entries
    }

    /// Returns the next ones round the table from where the last walk ended.
    fn walk(&self, now: Instant, without: &BTreeSet<PeerId>) -> Vec<PeerId> {
        let records = &self.table.records;
        let (behind, ahead) = match self.cursor {
            Some(cursor) => (
                records.range(..=cursor),
                records.range((Bound::Excluded(cursor), Bound::Unbounded)),
            ),
            None => (records.range(..), records.range(..)),
        };
        ahead
            .chain(behind)
            .filter(|(id, record)| **id != self.own && record.is_told(now, &self.config))
            .map(|(id, _)| *id)
            .filter(|id| !without.contains(id))
            .take(ROTATING_ENTRIES)
            .collect()
    }

    /// Tells a newcomer of everybody.
    pub(super) fn welcome(&self, now: Instant, to: PeerId, out: &mut Vec<Output>) {
        let own = self.own_info().to_entry();
        let others: Vec<&PeerInfo> = self
            .table
            .records
            .values()
            .filter(|record| record.info.id != self.own && record.is_told(now, &self.config))
            .map(|record| &record.info)
            .collect();
        for some in others.chunks(GOSSIP_ENTRIES_MAX - 1).take(WELCOME_MESSAGES_MAX) {
            let others = some.iter().map(|info| info.to_entry());
            let entries = core::iter::once(own.clone()).chain(others).collect();
            out.push(Output::Send { to, notice: Notice::Gossip { entries, answer: false } });
        }
    }
}
