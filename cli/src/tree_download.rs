//! A directory tree out of the cluster, put together beside its target and renamed when it is whole.
//!
//! Names come from whoever made the tree: `protocol::dag` lets none through that leads out of a directory,
//! and everything is made new in a directory of our own, so nothing that exists can be written to.
//! Never: goes deeper or makes more files than a bound, whatever the DAG says.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use protocol::dag::directory::{Entry, Listing};
use protocol::dag::{ByteRange, Content};
use protocol::limits::BLOCK_BYTES_MAX;
use protocol::{Cid, Fault, Kind};

use crate::endpoint::{BLOCK_REQUESTS_MAX, Endpoints};
use crate::failure::io_fault;
use crate::fetch::{Fetch, FetchError};
use crate::output::Progress;
use crate::part::{parent_of, rename_new, sync_parent};
use crate::stat::{dag_fault, links_of};
use crate::tree::{FILES_AT_A_TIME, TREE_DEPTH_MAX, TREE_ENTRIES_MAX};

/// Window of each file of a tree: with all at a time, that of a single file.
const WINDOW_BYTES: u64 = BLOCK_BYTES_MAX as u64;

/// A file or directory that is still to be fetched.
#[derive(Debug)]
struct Task {
    cid: Cid,
    path: PathBuf,
    depth: usize,
}

/// What came of a task.
enum Outcome {
    /// A file, with its bytes.
    File(u64),
    /// A directory, with what is in it.
    Folder(Vec<Task>),
}

/// Downloads the directory `cid` to `target`, which must not exist; returns the bytes of its files.
/// `root`: its verified block.
///
/// # Errors
/// Those of every block; [`Kind::Invalid`] for a tree that is too deep, too large or badly named;
/// [`Kind::Conflict`] if something came to be at `target` meanwhile.
pub(crate) async fn run(
    endpoints: &Endpoints,
    cid: Cid,
    root: &Bytes,
    target: &Path,
) -> Result<u64, Fault> {
    let failed = |error| io_fault("cannot write", target, &error);
    if std::fs::symlink_metadata(target).is_ok() {
        let detail = format!(
            "cannot write {}: a directory replaces nothing; choose another name",
            target.display()
        );
        return Err(Fault::new(Kind::Conflict, detail));
    }
    // Removed with all that is in it when this function ends, however it does.
    let beside =
        tempfile::Builder::new().prefix(".shoal.").suffix(".part").tempdir_in(parent_of(target));
    let beside = beside.map_err(failed)?;
    let tree = beside.path().join("tree");
    let (_, dag_bytes) = links_of(cid, root).map_err(|error| dag_fault(cid, &error))?;
    let progress = Progress::start(&target.display().to_string(), Some(dag_bytes));
    let download = TreeDownload { endpoints, progress: &progress };
    let fetched = download.all(Task { cid, path: tree.clone(), depth: 0 }, root).await;
    progress.finish();
    let bytes = fetched?;
    rename_new(&tree, target).map_err(failed)?;
    sync_parent(target)?;
    Ok(bytes)
}

struct TreeDownload<'a> {
    endpoints: &'a Endpoints,
    progress: &'a Progress,
}

impl TreeDownload<'_> {
    async fn all(&self, top: Task, root: &Bytes) -> Result<u64, Fault> {
        let top_path = top.path.clone();
        let mut waiting = self.list(&top, root).await?;
        let mut entries_seen = waiting.len();
        let mut bytes = 0;
        let mut running = FuturesUnordered::new();
        loop {
            if entries_seen > TREE_ENTRIES_MAX {
                let detail = format!(
                    "cannot download {}: more than {TREE_ENTRIES_MAX} files and directories",
                    top.cid
                );
                return Err(Fault::new(Kind::Invalid, detail));
            }
            while running.len() < FILES_AT_A_TIME
                && let Some(task) = waiting.pop()
            {
                running.push(self.one(task));
            }
            match running.next().await {
                None => break,
                Some(outcome) => match outcome? {
                    Outcome::File(file_bytes) => bytes += file_bytes,
                    Outcome::Folder(tasks) => {
                        entries_seen += tasks.len();
                        waiting.extend(tasks);
                    }
                },
            }
        }
        make_durable(&top_path).map_err(|error| io_fault("cannot write", &top_path, &error))?;
        Ok(bytes)
    }

    async fn one(&self, task: Task) -> Result<Outcome, Fault> {
        let root = self.endpoints.block(task.cid).await?;
        match Content::of_root(task.cid, &root).map_err(|error| dag_fault(task.cid, &error))? {
            Content::Directory => self.list(&task, &root).await.map(Outcome::Folder),
            Content::File { .. } => self.file(&task, root).await.map(Outcome::File),
        }
    }

    async fn file(&self, task: &Task, root: Bytes) -> Result<u64, Fault> {
        let failed = |error| io_fault("cannot write", &task.path, &error);
        let output = File::create_new(&task.path).map_err(failed)?;
        let (endpoints, progress, range) = (self.endpoints, self.progress, ByteRange::default());
        let fetch =
            Fetch { endpoints, cid: task.cid, root, range, window_bytes: WINDOW_BYTES, progress };
        match fetch.run(output, 0).await {
            Ok(written) => Ok(written.bytes),
            Err(FetchError::Write(error)) => Err(failed(error)),
            Err(FetchError::Fetch(fault)) => Err(fault),
        }
    }

    /// Makes the directory of `task`, and returns what is to be fetched into it.
    async fn list(&self, task: &Task, root: &Bytes) -> Result<Vec<Task>, Fault> {
        if task.depth > TREE_DEPTH_MAX {
            let detail = format!(
                "cannot download {}: more than {TREE_DEPTH_MAX} directories deep",
                task.cid
            );
            return Err(Fault::new(Kind::Invalid, detail));
        }
        std::fs::create_dir(&task.path)
            .map_err(|error| io_fault("cannot write", &task.path, &error))?;
        let entries = self.entries(task.cid, root).await?;
        let tasks = entries.into_iter().map(|entry| Task {
            cid: entry.cid,
            path: task.path.join(entry.name),
            depth: task.depth + 1,
        });
        Ok(tasks.collect())
    }

    async fn entries(&self, cid: Cid, root: &Bytes) -> Result<Vec<Entry>, Fault> {
        let wrong = |error| dag_fault(cid, &error);
        let mut listing = Listing::new(cid);
        listing.next_wanted().expect("a listing wants its root");
        let mut entries = listing.supply(cid, root).map_err(wrong)?;
        let mut requests = FuturesUnordered::new();
        while !listing.is_finished() {
            while requests.len() < BLOCK_REQUESTS_MAX
                && let Some(shard) = listing.next_wanted()
            {
                requests.push(async move { (shard, self.endpoints.block(shard).await) });
            }
            let Some((shard, block)) = requests.next().await else { break };
            entries.extend(listing.supply(shard, &block?).map_err(wrong)?);
            if entries.len() > TREE_ENTRIES_MAX {
                let detail = format!("cannot download {cid}: more than {TREE_ENTRIES_MAX} entries");
                return Err(Fault::new(Kind::Invalid, detail));
            }
        }
        Ok(entries)
    }
}

/// Makes everything below `path` durable.
///
/// At once for the whole file system: a sync for each of thousands of small files takes minutes.
fn make_durable(path: &Path) -> std::io::Result<()> {
    let folder = File::open(path)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&folder)?;
    #[cfg(not(target_os = "linux"))]
    rustix::fs::sync();
    folder.sync_all()
}
