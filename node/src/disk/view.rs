//! A frozen state of an index that outlives a call: a thread that owns it and answers for it.
//!
//! RocksDB's snapshots borrow their database, so each lives on the stack of a thread of its own, which ends when
//! the last handle is gone. How many there are is bounded by the driver. Never: writes.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::index::Index;
use crate::env::{DiskError, DiskView, Map};

/// Questions that wait for one view. Whoever pages through it asks one at a time.
const QUESTIONS_MAX: usize = 4;

/// A page of entries that somebody waits for.
struct Question {
    map: Map,
    from: Bytes,
    until: Option<Bytes>,
    limit: usize,
    bytes: usize,
    reply: oneshot::Sender<Result<Vec<(Bytes, Bytes)>, DiskError>>,
}

/// A frozen state. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct RealView {
    questions: mpsc::Sender<Question>,
}

impl RealView {
    /// Freezes the index as it is now. `place` is given back when the last handle is gone.
    pub(super) async fn open(
        index: Arc<Index>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, DiskError> {
        let (questions, mut queue) = mpsc::channel::<Question>(QUESTIONS_MAX);
        let (ready, frozen) = oneshot::channel();
        let answer = move || {
            let view = index.freeze();
            // Whoever asked may have gone, here and below.
            ready.send(()).ok();
            while let Some(question) = queue.blocking_recv() {
                let Question { map, from, until, limit, bytes, reply } = question;
                reply.send(view.page(map, &from, until.as_deref(), limit, bytes)).ok();
            }
            drop(view);
            drop(index);
            drop(place);
        };
        let thread = thread::Builder::new().name("disk-view".into()).spawn(answer);
        thread.map_err(|error| DiskError::Failed { detail: format!("thread: {error}") })?;
        frozen.await.map_err(|_| DiskError::Closed)?;
        Ok(Self { questions })
    }
}

impl DiskView for RealView {
    async fn scan(
        &self,
        map: Map,
        from: Bytes,
        until: Option<Bytes>,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        let (reply, page) = oneshot::channel();
        let question = Question { map, from, until, limit, bytes, reply };
        self.questions.send(question).await.map_err(|_| DiskError::Closed)?;
        page.await.map_err(|_| DiskError::Closed)?
    }
}
