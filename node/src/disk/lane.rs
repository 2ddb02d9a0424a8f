//! Lanes: threads that run blocking calls, one bounded queue in front of each kind.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use protocol::limits::DISK_LANE_CALLS_MAX;
use tokio::sync::oneshot;

use crate::env::DiskError;

/// A blocking call, ready to run.
type Call = Box<dyn FnOnce() + Send>;

/// Why the disk cannot be used any more, once that is so. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    failure: Arc<OnceLock<String>>,
}

impl Health {
    /// Returns the first failure to everybody after it.
    pub(super) fn check(&self) -> Result<(), DiskError> {
        match self.failure.get() {
            Some(detail) => Err(DiskError::Failed { detail: detail.clone() }),
            None => Ok(()),
        }
    }

    /// Records a failure, for good.
    pub(super) fn fail(&self, detail: String) -> DiskError {
        DiskError::Failed { detail: self.failure.get_or_init(|| detail).clone() }
    }

    /// Returns the error of a change to the file system. A full disk, or quota, is no failure.
    pub(super) fn of_write(&self, what: &str, error: &io::Error) -> DiskError {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            DiskError::Full
        } else {
            self.fail(format!("{what}: {error}"))
        }
    }
}

/// Threads of one kind. Clones are handles to them; when all are gone, the threads finish and end.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    calls: async_channel::Sender<Call>,
}

impl Lane {
    /// Starts `count` threads.
    pub(super) fn start(
        name: &str,
        count: usize,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> Result<Self, DiskError> {
        let (calls, queue) = async_channel::bounded::<Call>(DISK_LANE_CALLS_MAX);
        for number in 0..count {
            let queue = queue.clone();
            let run = move || {
                // A call wakes one of the threads.
                while let Ok(call) = queue.recv_blocking() {
                    call();
                }
            };
            let thread = thread::Builder::new().name(format!("{name}-{number}")).spawn(run);
            let detail = |error| DiskError::Failed { detail: format!("thread {name}: {error}") };
            threads.push(thread.map_err(detail)?);
        }
        Ok(Self { calls })
    }

    /// Runs `call` on one of the threads. Cancel-safe in that a call that was queued runs to its end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let (reply, result) = oneshot::channel();
        let call = Box::new(move || {
            // Whoever asked may have gone.
            reply.send(call()).ok();
        });
        self.calls.send(call).await.map_err(|_| DiskError::Closed)?;
        result.await.map_err(|_| DiskError::Closed)?
    }
}
