//! Under whose name uploads store their blocks, until a committed object refers to them.
//!
//! A session is a lease in the cluster's metadata; an upload's owner is a session and a number. While the
//! session lives, blocks of its uploads are kept though nothing refers to them yet; once it is closed, what
//! was not committed can never be again, and is freed (see `protocol::metadata`). One is opened by the first
//! upload, renewed while uploads go on, and closed soon after the last one, or when it has grown old, so that
//! what failed uploads left does not wait for others. Never: touches a block.

mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::{Fault, Kind, OwnerId};
use tokio::sync::{mpsc, oneshot};

use crate::env::Env;
use crate::meta::Meta;

/// Uploads that wait for a session to be opened: as many as may be under way.
const REQUESTS_MAX: usize = 256;

/// An upload under way. Its blocks are safe while this lives and the cluster can be reached.
#[derive(Debug)]
pub struct Upload {
    owner: OwnerId,
    session: Arc<Session>,
}

impl Upload {
    /// Returns who refers to the upload's blocks.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.owner
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.session.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open session, and how many uploads go on in it.
#[derive(Debug)]
struct Session {
    id: u64,
    active: AtomicU64,
}

/// Begins uploads. Clones are handles to the same service.
#[derive(Clone, Debug)]
pub struct Sessions {
    requests: mpsc::Sender<oneshot::Sender<Result<Upload, Fault>>>,
}

impl Sessions {
    /// Starts the service.
    #[must_use]
    pub fn start<E: Env>(env: E, meta: Meta<E>) -> Self {
        let (requests, waiting) = mpsc::channel(REQUESTS_MAX);
        env.clone().spawn("sessions", task::Task::new(env, meta).run(waiting));
        Self { requests }
    }

    /// Begins an upload. The first one waits for the session to be committed.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the cluster cannot agree now.
    pub async fn begin(&self) -> Result<Upload, Fault> {
        let stopped = || Fault::new(Kind::Unavailable, "this peer is shutting down");
        let (reply, begun) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| stopped())?;
        begun.await.map_err(|_| stopped())?
    }
}
