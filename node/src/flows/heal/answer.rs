//! Answering what other peers ask about this one's inventory.
//!
//! While this peer lets go of something, nothing is answered: no answer tells of what goes in the same moment.
//! Never: believes anything that they say; an answer tells what is here.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::repair::{self, Answer, Answering, Desired, Question, Scope, Summary};
use protocol::{Fault, Kind, PeerId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::handle::Asked;
use super::inventory::{Age, Inventory, Snapshot, page};
use crate::env::Env;
use crate::flows::Context;

/// Questions answered at a time: each reads the index or computes for some milliseconds.
const ANSWERS_MAX: u32 = 8;

/// The places of those who are answered. Clones are handles to the same ones.
#[derive(Clone, Debug)]
pub(super) struct Answers(Arc<Semaphore>);

impl Answers {
    /// Returns that nobody is being answered.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ANSWERS_MAX as usize)))
    }

    /// Returns once nobody is being answered; nobody is until the result is dropped. `None` when this peer stops.
    pub(super) async fn silence(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_many_owned(ANSWERS_MAX).await.ok()
    }
}

/// Answers for as long as the peer runs.
pub(super) async fn serve<E: Env>(
    context: Context<E>,
    inventory: Inventory,
    answers: Answers,
    mut asked: mpsc::Receiver<Asked>,
) {
    while let Some(Asked { from, body, reply }) = asked.recv().await {
        let Ok(place) = Arc::clone(&answers.0).acquire_owned().await else { return };
        let (context, inventory) = (context.clone(), inventory.clone());
        context.env.clone().spawn("heal.answer", async move {
            // Whoever asked may have given up.
            drop(reply.send(answer(&context, &inventory, from, &body).await));
            drop(place);
        });
    }
}

async fn answer<E: Env>(
    context: &Context<E>,
    inventory: &Inventory,
    from: PeerId,
    body: &[u8],
) -> Result<Bytes, Fault> {
    let question = Question::decode(body)
        .map_err(|error| Fault::new(Kind::Invalid, format!("no question: {error}")))?;
    let (own, placement) = {
        let view = context.peers.view();
        (view.own(), Arc::clone(view.placement()))
    };
    let epoch = placement.topology().epoch();
    let plain = Scope { epoch, absent: BTreeMap::new() };
    let scope = question.scope().cloned().unwrap_or_else(|| plain.clone());
    let is_bare = match &question {
        // Rows are read from the store itself.
        Question::Rows { .. } => true,
        Question::All { .. } | Question::Groups { .. } | Question::Check { .. } => {
            // At another epoch there is nothing to tell but that.
            scope.epoch != epoch
        }
    };
    let snapshot = if is_bare {
        let desired = Arc::new(Desired::new(placement, plain));
        Snapshot { own, desired, summary: Arc::new(Summary::new()) }
    } else {
        inventory.snapshot(scope, Age::Recent).await?
    };
    let answering = move || repair::answer(&snapshot.view(), from, question);
    let answer = match context.env.compute(answering).await {
        Answering::Now(answer) => answer,
        Answering::Read { partitions, after } => {
            Answer::Rows(page(&context.store, partitions, after).await?)
        }
    };
    Ok(answer.encode())
}
