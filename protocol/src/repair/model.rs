//! The model of a cluster for the tests: peers with stores, a network that loses, and a shell that does what the
//! machines say.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use super::testing::{member, owner, peer, placement, row};
use super::{
    Absence, Absences, Answer, Answering, Comparison, Confirmations, Desired, Findings, Page, Plan,
    Planted, Question, Repair, Row, RowComparison, RowKey, RowStep, Scope, Side, Step, Summary,
    View, answer, check, may_drop,
};
use crate::limits::{
    INVENTORY_PARTITIONS_MAX, INVENTORY_ROWS_MAX, REPAIR_CONFIRMED_FOR, REPAIR_ROWS_MAX,
    REPAIR_SETTLE,
};
use crate::placement::{Partition, Placement};
use crate::topology::Epoch;
use crate::{Cid, Instant, OwnerId, PeerId, Prng};

/// Repairs that a peer does in a tick.
const REPAIRS_PER_TICK: usize = 200;
/// Desired placements that are remembered.
const DESIRED_MAX: usize = 24;

#[derive(Clone, Copy, Debug)]
pub(super) struct WorldSettings {
    pub(super) peers: u64,
    pub(super) copies: u8,
    pub(super) rows: u64,
    pub(super) planted: Planted,
}

/// What went over the network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) questions: u64,
    pub(super) answers: u64,
    pub(super) message_bytes_max: usize,
    /// Blocks whose bytes were sent.
    pub(super) copies: u64,
}

struct Node {
    is_up: bool,
    is_dead: bool,
    epoch: usize,
    store: BTreeMap<RowKey, Row>,
    /// References to blocks that were found corrupt.
    dangling: BTreeMap<Cid, Vec<Row>>,
    rotten: BTreeSet<Cid>,
    summary: Summary,
    absences: Absences,
    plan: Plan,
    confirmations: Confirmations,
    /// When it last lost something.
    hurt: Instant,
}

impl Node {
    fn new(epoch: usize, planted: Planted, hurt: Instant) -> Self {
        Self {
            is_up: true,
            is_dead: false,
            epoch,
            store: BTreeMap::new(),
            dangling: BTreeMap::new(),
            rotten: BTreeSet::new(),
            summary: Summary::planted(planted),
            absences: Absences::default(),
            plan: Plan::new(REPAIR_SETTLE, REPAIR_ROWS_MAX),
            confirmations: Confirmations::new(),
            hurt,
        }
    }

    fn holds_block(&self, cid: Cid) -> bool {
        self.store.keys().any(|key| key.cid == cid)
    }

    fn put(&mut self, row: Row) {
        for row in self.dangling.remove(&row.cid).into_iter().flatten().chain([row]) {
            let root = row.root || self.store.get(&row.key()).is_some_and(|before| before.root);
            let row = Row { root, ..row };
            if let Some(before) = self.store.insert(row.key(), row) {
                self.summary.remove(&before);
            }
            self.summary.insert(&row);
        }
    }

    fn remove(&mut self, key: &RowKey) {
        if let Some(row) = self.store.remove(key) {
            self.summary.remove(&row);
        }
        if !self.holds_block(key.cid) {
            self.rotten.remove(&key.cid);
        }
    }

    /// Finds that a block rotted.
    fn mark_corrupt(&mut self, now: Instant, cid: Cid) {
        self.rotten.remove(&cid);
        self.hurt = now;
        let keys: Vec<RowKey> = self.store.keys().filter(|key| key.cid == cid).copied().collect();
        for key in keys {
            if let Some(row) = self.store.remove(&key) {
                self.summary.remove(&row);
                self.dangling.entry(cid).or_default().push(row);
            }
        }
    }

    fn page(&self, partitions: &[Partition], after: Option<RowKey>) -> Page {
        let rows = self.store.values().filter(|row| {
            after.is_none_or(|after| after < row.key())
                && partitions.binary_search(&row.partition()).is_ok()
        });
        Page::of(rows.take(INVENTORY_ROWS_MAX + 1).copied())
    }

    fn is_sound(&self, row: &Row) -> bool {
        self.store.contains_key(&row.key()) && !self.rotten.contains(&row.cid)
    }
}

pub(super) struct World {
    prng: Prng,
    now: Instant,
    settings: WorldSettings,
    nodes: BTreeMap<PeerId, Node>,
    placements: Vec<Arc<Placement>>,
    desired: BTreeMap<Scope, Rc<Desired>>,
    wanted: BTreeMap<RowKey, Row>,
    released: BTreeSet<OwnerId>,
    owners: u64,
    joined: u64,
    has_faults: bool,
    /// Peers that come back later.
    away: BTreeMap<PeerId, Instant>,
    traffic: Traffic,
}

impl World {
    pub(super) const TICK: Duration = Duration::from_secs(20);

    pub(super) fn new(prng: Prng, settings: WorldSettings) -> Self {
        let placement = placement(settings.peers, settings.copies);
        let now = Instant::from_millis(1_000_000);
        let fresh = |number| (peer(number), Node::new(0, settings.planted, now));
        let mut world = Self {
            prng,
            now,
            settings,
            nodes: (1..=settings.peers).map(fresh).collect(),
            placements: vec![placement],
            desired: BTreeMap::new(),
            wanted: BTreeMap::new(),
            released: BTreeSet::new(),
            owners: settings.rows,
            joined: settings.peers,
            has_faults: false,
            away: BTreeMap::new(),
            traffic: Traffic::default(),
        };
        for number in 0..settings.rows {
            let row = row(&mut world.prng, number / 3);
            world.place(row, 0);
        }
        world
    }

    pub(super) fn placement(&self) -> &Arc<Placement> {
        self.placements.last().unwrap()
    }

    pub(super) fn wanted_rows(&self) -> impl Iterator<Item = &Row> {
        self.wanted.values()
    }

    pub(super) fn rows_of(&self, peer: PeerId) -> u64 {
        self.nodes[&peer].store.len() as u64
    }

    pub(super) fn copies_held(&self) -> u64 {
        self.nodes.values().map(|node| node.store.len() as u64).sum()
    }

    pub(super) fn take_traffic(&mut self) -> Traffic {
        core::mem::take(&mut self.traffic)
    }

    // ---- What happens to the cluster ---------------------------------------------------------

    /// Writes a row as a gateway at an epoch does: to the members that are there, and to as many others instead of
    /// those who are not.
    fn place(&mut self, row: Row, epoch: usize) {
        let placement = Arc::clone(&self.placements[epoch]);
        let copies = placement.topology().copies().get();
        let ranked = placement.ranked(row.partition(), self.nodes.len());
        let is_up = |peer: &PeerId| self.nodes.get(peer).is_some_and(|node| node.is_up);
        let holders: Vec<PeerId> = ranked.into_iter().filter(is_up).take(copies).collect();
        if holders.len() < copies / 2 + 1 {
            return;
        }
        for holder in holders {
            self.nodes.get_mut(&holder).unwrap().put(row);
        }
        self.wanted.insert(row.key(), row);
    }

    /// New blocks, new owners of old blocks, and owners that let go.
    pub(super) fn write(&mut self, prng: &mut Prng) {
        let epoch = self.placements.len() - 1;
        let epoch = if prng.chance(1, 3) { epoch.saturating_sub(1) } else { epoch };
        if prng.chance(1, 3) {
            self.owners += 1;
            let row = row(prng, self.owners);
            self.place(row, epoch);
        }
        let some = prng.index(self.wanted.len()).and_then(|at| self.wanted.values().nth(at));
        let Some(some) = some.copied() else { return };
        if prng.chance(1, 8) {
            self.owners += 1;
            let shared = Row { owner: owner(self.owners), root: prng.chance(1, 2), ..some };
            self.place(shared, epoch);
        }
        if prng.chance(1, 12) {
            self.released.insert(some.owner);
            self.wanted.retain(|key, _| key.owner != some.owner);
        }
    }

    /// Does one harmful or confusing thing, if the data survives it.
    pub(super) fn fault(&mut self, prng: &mut Prng) {
        self.has_faults = true;
        let peers: Vec<PeerId> = self.nodes.keys().copied().collect();
        let victim = peers[prng.index(peers.len()).unwrap()];
        let down = self.nodes.values().filter(|node| !node.is_up && !node.is_dead).count();
        let live = self.nodes.values().filter(|node| node.is_up).count();
        match prng.below(10) {
            0 | 1 if self.joined < self.settings.peers + 3 => {
                self.joined += 1;
                self.join(self.joined);
            }
            2 if self.placement().topology().peers().len() > 4 => self.leave(victim),
            3 => {
                let Some(known) = self.placement().topology().peer(victim).cloned() else { return };
                let capacity_bytes = known.capacity_bytes / 2 * (1 + prng.below(3));
                let known = crate::topology::TopologyPeer { capacity_bytes, ..known };
                let next = self.placement().with_peer(self.next_epoch(), known);
                self.placements.push(Arc::new(next));
            }
            4 if live > 4 && self.survives(victim, |_| true) => {
                let node = self.nodes.get_mut(&victim).unwrap();
                (node.is_up, node.is_dead) = (false, true);
                node.store.clear();
                self.away.remove(&victim);
                if prng.chance(1, 2) {
                    self.remove(victim);
                }
            }
            5 | 6 if down == 0 => {
                let long = prng.chance(1, 2);
                let seconds = if long { 700 + prng.below(2_000) } else { 20 + prng.below(500) };
                self.take_down(victim);
                self.away.insert(victim, self.now.after(Duration::from_secs(seconds)));
            }
            7 if self.survives(victim, |_| true) => self.wipe(victim),
            _ => {
                let chosen = prng.next_u64();
                let rots = |cid: &Cid| (u64::from(cid.digest()[9]) ^ chosen).is_multiple_of(4);
                if self.survives(victim, rots) {
                    let node = self.nodes.get_mut(&victim).unwrap();
                    let cids: BTreeSet<Cid> = node.store.keys().map(|key| key.cid).collect();
                    node.rotten.extend(cids.iter().filter(|cid| rots(cid)));
                    node.hurt = self.now;
                }
            }
        }
    }

    /// Says whether every row has a sound copy on a living peer that is up, when the blocks of a peer that
    /// `lose` names are lost.
    fn survives(&self, victim: PeerId, lose: impl Fn(&Cid) -> bool) -> bool {
        self.wanted.values().all(|row| {
            self.nodes.iter().any(|(id, node)| {
                node.is_up && node.is_sound(row) && !(*id == victim && lose(&row.cid))
            })
        })
    }

    fn next_epoch(&self) -> Epoch {
        Epoch(self.placement().topology().epoch().0 + 1)
    }

    pub(super) fn join(&mut self, number: u64) {
        let next = self.placement().with_peer(self.next_epoch(), member(number, "z"));
        self.placements.push(Arc::new(next));
        let epoch = self.placements.len() - 1;
        let node = Node::new(epoch, self.settings.planted, self.now);
        self.nodes.insert(peer(number), node);
    }

    /// Takes a peer out of the topology; it stays up.
    pub(super) fn leave(&mut self, victim: PeerId) {
        self.remove(victim);
    }

    fn remove(&mut self, victim: PeerId) {
        let next = self.placement().without_peer(self.next_epoch(), victim);
        self.placements.push(Arc::new(next));
    }

    pub(super) fn take_down(&mut self, victim: PeerId) {
        let node = self.nodes.get_mut(&victim).unwrap();
        if !node.is_dead {
            node.is_up = false;
        }
    }

    pub(super) fn bring_up(&mut self, id: PeerId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.is_up = !node.is_dead;
        // A restart forgets what was only in memory.
        node.absences = Absences::default();
        node.plan = Plan::default();
        node.confirmations = Confirmations::new();
    }

    pub(super) fn wipe(&mut self, victim: PeerId) {
        let node = self.nodes.get_mut(&victim).unwrap();
        let epoch = node.epoch;
        if !node.is_dead {
            let is_up = node.is_up;
            *node = Node { is_up, ..Node::new(epoch, self.settings.planted, self.now) };
        }
    }

    /// From now on nothing fails. Those who are away come back, and everybody scrubs once.
    pub(super) fn end_faults(&mut self) {
        self.has_faults = false;
        self.away.clear();
        let ids: Vec<PeerId> = self.nodes.keys().copied().collect();
        for id in ids {
            if !self.nodes[&id].is_up {
                self.bring_up(id);
            }
            let node = self.nodes.get_mut(&id).unwrap();
            for cid in core::mem::take(&mut node.rotten) {
                node.mark_corrupt(self.now, cid);
            }
        }
    }

    // ---- What the peers do --------------------------------------------------------------------

    pub(super) fn tick(&mut self) -> Result<(), String> {
        self.now = self.now.after(Self::TICK);
        let back: Vec<PeerId> =
            self.away.extract_if(.., |_, until| *until <= self.now).map(|(id, _)| id).collect();
        for id in back {
            self.bring_up(id);
        }
        let mut order: Vec<PeerId> = self.nodes.keys().copied().collect();
        self.prng.shuffle(&mut order);
        for id in order {
            if self.nodes[&id].is_up {
                self.look_around(id);
                self.survey(id);
                self.give_away(id)?;
                self.repair(id);
            }
        }
        Ok(())
    }

    /// Runs until nothing is to be done any more, and checks that all is well.
    pub(super) fn settle(&mut self, ticks: u32) -> Result<(), String> {
        for _ in 0..ticks {
            self.tick()?;
            if self.wrong().is_none() && self.nodes.values().all(|node| node.plan.is_empty()) {
                return Ok(());
            }
        }
        Err(self.wrong().unwrap_or_else(|| "repairs never end".to_owned()))
    }

    /// Returns what is not as it should be in the end.
    fn wrong(&mut self) -> Option<String> {
        let epoch = self.placements.len() - 1;
        let members: BTreeSet<PeerId> =
            self.placement().topology().peers().iter().map(|member| member.id).collect();
        let dead = |id: &PeerId| self.nodes.get(id).is_none_or(|node| !node.is_up);
        let absent: BTreeMap<PeerId, Absence> =
            members.iter().filter(|id| dead(id)).map(|id| (*id, Absence::Replaced)).collect();
        let all_there = absent.is_empty();
        let desired = self.desired(&Scope { epoch: self.placement().topology().epoch(), absent });
        for row in self.wanted.values() {
            for holder in desired.peers(row.partition()) {
                if !self.nodes[&holder].is_sound(row) {
                    return Some(format!("{holder} lacks {row:?}"));
                }
            }
        }
        for (id, node) in self.nodes.iter().filter(|(_, node)| node.is_up) {
            if node.epoch != epoch {
                return Some(format!("{id} is behind"));
            }
            for row in node.store.values() {
                if self.released.contains(&row.owner) {
                    return Some(format!("{id} keeps {row:?}, whose owner let go"));
                }
                if all_there && !desired.should_hold(row.partition(), *id) {
                    return Some(format!("{id} keeps {row:?}, which others hold"));
                }
            }
        }
        None
    }

    fn desired(&mut self, scope: &Scope) -> Rc<Desired> {
        if let Some(found) = self.desired.get(scope) {
            return Rc::clone(found);
        }
        if self.desired.len() >= DESIRED_MAX {
            self.desired.clear();
        }
        let of_epoch = |placement: &&Arc<Placement>| placement.topology().epoch() == scope.epoch;
        let placement = Arc::clone(self.placements.iter().find(of_epoch).unwrap());
        let desired = Rc::new(Desired::new(placement, scope.clone()));
        self.desired.insert(scope.clone(), Rc::clone(&desired));
        desired
    }

    /// Learns of epochs, of who is there, and of owners that let go.
    fn look_around(&mut self, id: PeerId) {
        let latest = self.placements.len() - 1;
        let is_slow = self.has_faults && self.prng.chance(1, 3);
        let up: Vec<(PeerId, bool)> =
            self.nodes.iter().map(|(id, node)| (*id, node.is_up)).collect();
        let node = self.nodes.get_mut(&id).unwrap();
        if !is_slow {
            node.epoch = latest;
        }
        for (other, is_up) in up {
            if is_up {
                node.absences.seen(other);
            } else {
                node.absences.lost(self.now, other);
            }
        }
        let dead: Vec<RowKey> =
            node.store.keys().filter(|key| self.released.contains(&key.owner)).copied().collect();
        dead.iter().for_each(|key| node.remove(key));
        for rows in node.dangling.values_mut() {
            rows.retain(|row| !self.released.contains(&row.owner));
        }
        node.dangling.retain(|_, rows| !rows.is_empty());
        let released = &self.released;
        node.plan.retain(|row| !released.contains(&row.owner));
        // A scrub comes along now and then.
        if self.prng.chance(1, 10) {
            for cid in core::mem::take(&mut node.rotten) {
                node.mark_corrupt(self.now, cid);
            }
        }
    }

    fn own_desired(&mut self, id: PeerId) -> Rc<Desired> {
        let node = &self.nodes[&id];
        let epoch = self.placements[node.epoch].topology().epoch();
        let scope = node.absences.scope(self.now, epoch);
        self.desired(&scope)
    }

    /// Asks another peer, over a network that loses one message in ten while there are faults.
    fn ask(&mut self, from: PeerId, to: PeerId, question: &Question) -> Option<Answer> {
        let question = self.carried(question.encode());
        let question = Question::decode(&question).unwrap();
        self.traffic.questions += 1;
        if !self.nodes.get(&to)?.is_up || self.has_faults && self.prng.chance(1, 10) {
            return None;
        }
        let own_epoch = self.placements[self.nodes[&to].epoch].topology().epoch();
        let asked = question.scope().filter(|scope| scope.epoch == own_epoch);
        let desired = match asked {
            Some(scope) => self.desired(scope),
            None => self.own_desired(to),
        };
        let node = &self.nodes[&to];
        let view = View { own: to, desired: &desired, summary: &node.summary };
        let answer = match answer(&view, from, question) {
            Answering::Now(answer) => answer,
            Answering::Read { partitions, after } => Answer::Rows(node.page(&partitions, after)),
        };
        self.traffic.answers += 1;
        let bytes = self.carried(answer.encode());
        assert_eq!(Answer::decode(&bytes), Ok(answer.clone()));
        Some(answer)
    }

    fn carried(&mut self, bytes: bytes::Bytes) -> bytes::Bytes {
        self.traffic.message_bytes_max = self.traffic.message_bytes_max.max(bytes.len());
        bytes
    }

    /// Returns the partitions in which a peer's inventory differs from that of another one.
    fn compare(&mut self, id: PeerId, other: PeerId, desired: &Desired) -> Option<Vec<Partition>> {
        let view = View { own: id, desired, summary: &self.nodes[&id].summary };
        let (mut comparison, mut question) = Comparison::new(&view, other);
        loop {
            let answer = self.ask(id, other, &question)?;
            let view = View { own: id, desired, summary: &self.nodes[&id].summary };
            match comparison.answered(&view, &answer) {
                Step::Ask(next) => question = next,
                Step::Done(differing) => return Some(differing),
                Step::OtherEpoch(_) => return None,
                Step::Nonsense => panic!("nonsense: {answer:?} to {question:?}"),
            }
        }
    }

    /// Compares the rows of some partitions; says whether that came to its end.
    fn compare_rows(
        &mut self,
        id: PeerId,
        other: PeerId,
        epoch: Epoch,
        partitions: &[Partition],
        findings: &mut Findings,
        mut lacking: impl FnMut(Partition),
    ) -> bool {
        for part in partitions.chunks(INVENTORY_PARTITIONS_MAX) {
            let mut comparison = RowComparison::new(epoch, part.to_vec());
            let mut missing = Vec::new();
            loop {
                let step = comparison.next(&mut missing);
                for found in missing.drain(..) {
                    if self.released.contains(&found.row.owner) {
                        continue;
                    }
                    if found.side == Side::There {
                        lacking(found.row.partition());
                    }
                    findings.missing(other, found);
                }
                match step {
                    RowStep::Done => break,
                    RowStep::Read { partitions, after } => {
                        let page = self.nodes[&id].page(&partitions, after);
                        assert!(comparison.page(Side::Here, page));
                    }
                    RowStep::Ask(question) => match self.ask(id, other, &question) {
                        Some(Answer::Rows(page)) => assert!(comparison.page(Side::There, page)),
                        Some(_) | None => return false,
                    },
                }
            }
        }
        true
    }

    /// As a steward: compares with everybody and plans.
    fn survey(&mut self, id: PeerId) {
        let desired = self.own_desired(id);
        let members = desired.placement().topology().peers();
        let others: Vec<PeerId> = members
            .iter()
            .map(|member| member.id)
            .filter(|other| *other != id && desired.is_live(*other))
            .collect();
        if desired.placement().topology().peer(id).is_none() {
            return;
        }
        let mut findings = Findings::default();
        for other in others {
            let Some(differing) = self.compare(id, other, &desired) else { continue };
            let epoch = desired.epoch();
            if self.compare_rows(id, other, epoch, &differing, &mut findings, |_| {}) {
                findings.compared(other);
            }
        }
        let node = self.nodes.get_mut(&id).unwrap();
        let view = View { own: id, desired: &desired, summary: &node.summary };
        let repairs = findings.repairs(&view);
        let is_own = |partition| desired.steward(partition) == Some(id);
        node.plan.update(self.now, is_own, repairs);
    }

    /// As one that should not hold something: hands over, asks, drops.
    fn give_away(&mut self, id: PeerId) -> Result<(), String> {
        let desired = self.own_desired(id);
        let node = &self.nodes[&id];
        let strays: Vec<Partition> = node
            .store
            .keys()
            .map(|key| Partition::of(&key.cid))
            .filter(|partition| !desired.should_hold(*partition, id))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .take(INVENTORY_PARTITIONS_MAX)
            .collect();
        let holders: BTreeSet<PeerId> =
            strays.iter().flat_map(|partition| desired.live(*partition)).collect();
        let mut findings = Findings::default();
        for other in holders {
            self.confirm(id, other, &desired, &strays, &mut findings);
        }
        let node = self.nodes.get_mut(&id).unwrap();
        let view = View { own: id, desired: &desired, summary: &node.summary };
        let hand_overs = findings.hand_overs(&view);
        let is_stray = |partition| !desired.should_hold(partition, id);
        node.plan.update(self.now, is_stray, hand_overs);
        // Something happens between asking and dropping, now and then.
        if self.has_faults && self.prng.chance(1, 4) {
            return Ok(());
        }
        for partition in strays {
            self.drop_stray(id, &desired, partition)?;
        }
        Ok(())
    }

    fn confirm(
        &mut self,
        id: PeerId,
        other: PeerId,
        desired: &Desired,
        strays: &[Partition],
        findings: &mut Findings,
    ) {
        let asked: Vec<Partition> = strays
            .iter()
            .filter(|partition| desired.should_hold(**partition, other))
            .copied()
            .collect();
        let node = &self.nodes[&id];
        let view = View { own: id, desired, summary: &node.summary };
        let stamps: Vec<_> =
            asked.iter().map(|partition| (*partition, node.summary.stamp(*partition))).collect();
        let question = check(&view, &asked);
        let answer = self.ask(id, other, &question);
        let Some(Answer::Differing(differing)) = answer else { return };
        let mut lacking = BTreeSet::new();
        let epoch = desired.epoch();
        let lacks = |partition| {
            lacking.insert(partition);
        };
        if !self.compare_rows(id, other, epoch, &differing, findings, lacks) {
            return;
        }
        findings.compared(other);
        let node = self.nodes.get_mut(&id).unwrap();
        for (partition, stamp) in stamps {
            if !lacking.contains(&partition) {
                node.confirmations.confirm(self.now, epoch, (partition, stamp), other);
            }
        }
    }

    fn drop_stray(
        &mut self,
        id: PeerId,
        desired: &Desired,
        partition: Partition,
    ) -> Result<(), String> {
        let node = &self.nodes[&id];
        let view = View { own: id, desired, summary: &node.summary };
        let Ok(evidence) = may_drop(&view, self.now, partition, &node.confirmations) else {
            return Ok(());
        };
        let rows: Vec<Row> =
            node.store.values().filter(|row| row.partition() == partition).copied().collect();
        let copies = desired.placement().topology().copies().get();
        for row in &rows {
            // Who was hurt after it confirmed is not to blame on whoever drops.
            let counts = |(other, node): &(&PeerId, &Node)| {
                **other != id
                    && !node.is_dead
                    && (node.store.contains_key(&row.key())
                        || evidence.holders.contains(other)
                            && node.hurt.after(REPAIR_CONFIRMED_FOR) >= evidence.until)
            };
            let left = self.nodes.iter().filter(counts).count();
            if self.wanted.contains_key(&row.key()) && left < copies {
                return Err(format!("{id} drops {row:?}, which {left} others hold"));
            }
        }
        let node = self.nodes.get_mut(&id).unwrap();
        rows.iter().for_each(|row| node.remove(&row.key()));
        node.confirmations.forget(partition);
        Ok(())
    }

    fn repair(&mut self, id: PeerId) {
        for _ in 0..REPAIRS_PER_TICK {
            let node = self.nodes.get_mut(&id).unwrap();
            let Some((_, repair)) = node.plan.take(self.now) else { return };
            self.copy(&repair);
            self.nodes.get_mut(&id).unwrap().plan.ended(repair.id());
        }
    }

    fn copy(&mut self, repair: &Repair) {
        let Repair { row, sources, target, .. } = repair;
        if self.released.contains(&row.owner) || !self.nodes[target].is_up {
            return;
        }
        if self.nodes[target].holds_block(row.cid) {
            self.nodes.get_mut(target).unwrap().put(*row);
            return;
        }
        for source in sources {
            let node = self.nodes.get_mut(source).unwrap();
            if !node.is_up || !node.holds_block(row.cid) {
                continue;
            }
            if node.rotten.contains(&row.cid) {
                node.mark_corrupt(self.now, row.cid);
                continue;
            }
            self.traffic.copies += 1;
            self.nodes.get_mut(target).unwrap().put(*row);
            return;
        }
    }
}
