//! Asking one other peer: in which partitions, and then in which rows, its inventory differs from this one's.
//!
//! Rows of owners that are dead by this peer's metadata are passed over: they are about to be freed.
//! Owns one comparison. Never: plans.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::limits::{INVENTORY_PARTITIONS_MAX, OWNERS_MAX};
use protocol::placement::Partition;
use protocol::repair::{
    Answer, Comparison, Findings, Missing, Question, RowComparison, RowStep, Side, Step, check,
};
use protocol::topology::Epoch;
use protocol::wire::{Class, Reply, Request};
use protocol::{Fault, Kind, OwnerId, PeerId};

use super::inventory::{Snapshot, page};
use crate::env::Env;
use crate::flows::{Context, collect};

/// How long another peer may take with an answer: it may have to scan its store first. After a longer scan
/// the next round finds it ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another peer, and what this one compares itself by.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a, E: Env> {
    pub(super) context: &'a Context<E>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) peer: PeerId,
}

impl<E: Env> Asking<'_, E> {
    /// Returns the partitions that differ, of those that this peer is the steward of.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the other peer is at another epoch; whatever keeps it from answering.
    pub(super) async fn differing(&self) -> Result<Vec<Partition>, Fault> {
        let peer = self.peer;
        let (snapshot, env) = (self.snapshot.clone(), &self.context.env);
        let begun = env.compute(move || Comparison::new(&snapshot.view(), peer)).await;
        let (mut comparison, mut question) = begun;
        loop {
            let answer = self.ask(question).await?;
            let snapshot = self.snapshot.clone();
            let step = env.compute(move || {
                let step = comparison.answered(&snapshot.view(), &answer);
                (comparison, step)
            });
            let (again, step) = step.await;
            comparison = again;
            match step {
                Step::Ask(next) => question = next,
                Step::Done(differing) => return Ok(differing),
                Step::OtherEpoch(epoch) => return Err(other_epoch(peer, epoch)),
                Step::Nonsense => return Err(nonsense(peer)),
            }
        }
    }

    /// Returns which of these partitions, at most [`INVENTORY_PARTITIONS_MAX`], differ.
    ///
    /// # Errors
    /// As [`Self::differing`].
    pub(super) async fn checked(&self, partitions: &[Partition]) -> Result<Vec<Partition>, Fault> {
        let question = check(&self.snapshot.view(), partitions);
        match self.ask(question).await? {
            Answer::Differing(differing)
                if differing.iter().all(|one| partitions.binary_search(one).is_ok()) =>
            {
                Ok(differing)
            }
            Answer::Epoch(epoch) => Err(other_epoch(self.peer, epoch)),
            Answer::Equal
            | Answer::Groups(_)
            | Answer::Partitions(_)
            | Answer::Differing(_)
            | Answer::Rows(_) => Err(nonsense(self.peer)),
        }
    }

    /// Compares the rows of some partitions, and tells `findings` what is missing. Returns in which of them
    /// the other peer lacks something that this one has.
    ///
    /// # Errors
    /// As [`Self::differing`]; what was found before is told.
    pub(super) async fn rows(
        &self,
        partitions: &[Partition],
        findings: &mut Findings,
    ) -> Result<BTreeSet<Partition>, Fault> {
        let epoch = self.snapshot.desired.epoch();
        let mut lacking = BTreeSet::new();
        for part in partitions.chunks(INVENTORY_PARTITIONS_MAX) {
            let mut comparison = RowComparison::new(epoch, part.to_vec());
            let mut missing = Vec::new();
            loop {
                let step = comparison.next(&mut missing);
                for found in self.wanted(std::mem::take(&mut missing)).await? {
                    if found.side == Side::There {
                        lacking.insert(found.row.partition());
                    }
                    findings.missing(self.peer, found);
                }
                let fits = match step {
                    RowStep::Done => break,
                    RowStep::Read { partitions, after } => {
                        let page = page(&self.context.store, partitions, after).await?;
                        comparison.page(Side::Here, page)
                    }
                    RowStep::Ask(question) => match self.ask(question).await? {
                        Answer::Rows(page) => comparison.page(Side::There, page),
                        Answer::Epoch(epoch) => return Err(other_epoch(self.peer, epoch)),
                        Answer::Equal
                        | Answer::Groups(_)
                        | Answer::Partitions(_)
                        | Answer::Differing(_) => false,
                    },
                };
                if !fits {
                    return Err(nonsense(self.peer));
                }
            }
        }
        Ok(lacking)
    }

    /// Returns what is missing without the rows of dead owners.
    async fn wanted(&self, mut missing: Vec<Missing>) -> Result<Vec<Missing>, Fault> {
        let owners: BTreeSet<OwnerId> = missing.iter().map(|found| found.row.owner).collect();
        let owners: Vec<OwnerId> = owners.into_iter().collect();
        let mut dead = BTreeSet::new();
        for part in owners.chunks(OWNERS_MAX) {
            dead.extend(collect::dead_among(self.context, part.to_vec()).await?);
        }
        missing.retain(|found| !dead.contains(&found.row.owner));
        Ok(missing)
    }

    async fn ask(&self, question: Question) -> Result<Answer, Fault> {
        let request = Request::Inventory { body: question.encode() };
        let call = self.context.rpc.call(self.peer, Class::Background, request, PATIENCE);
        let Reply::Inventory { body } = call.await? else { return Err(nonsense(self.peer)) };
        Answer::decode(&body).map_err(|error| {
            Fault::new(Kind::Internal, format!("answer of peer {}: {error}", self.peer))
        })
    }
}

fn other_epoch(peer: PeerId, epoch: Epoch) -> Fault {
    Fault::new(Kind::Conflict, format!("peer {peer} is at epoch {}", epoch.0))
}

fn nonsense(peer: PeerId) -> Fault {
    Fault::new(Kind::Internal, format!("peer {peer} answered another question than was asked"))
}
