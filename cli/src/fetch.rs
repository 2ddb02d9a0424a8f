//! One file out of the cluster: many blocks at a time, in order at the end, through a bounded window.
//!
//! `protocol::dag::Reader` says which blocks are due; they come from all peers in turn, each verified
//! before it counts. Bytes that an earlier download left are used as far as they hash to what they should.
//! Never: hands out a byte that was not verified.
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: writing blocks a thread of its own"
)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use protocol::dag::{ByteRange, DagError, Reader, Wanted, Ways};
use protocol::limits::{BLOCK_BYTES_MAX, CHUNK_BYTES};
use protocol::{Cid, Codec, Fault, Kind};
use tokio::sync::mpsc;

use crate::endpoint::{BLOCK_REQUESTS_MAX, Endpoints};
use crate::output::Progress;
use crate::stat::dag_fault;

/// Pieces that wait to be written: they bridge a slow disk and are 4 MiB at most.
const PIECES_TO_WRITE: usize = 4;

/// Why a file did not come to its end.
#[derive(Debug)]
pub(crate) enum FetchError {
    /// It could not be fetched.
    Fetch(Fault),
    /// It could not be written.
    Write(io::Error),
}

/// A file that is to be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Fetch<'a> {
    pub(crate) endpoints: &'a Endpoints,
    pub(crate) cid: Cid,
    /// The verified root block.
    pub(crate) root: Bytes,
    pub(crate) range: ByteRange,
    /// Bytes that may be under way or wait for their turn.
    pub(crate) window_bytes: u64,
    pub(crate) progress: &'a Progress,
}

/// What was written, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// In the output now.
    pub(crate) bytes: u64,
    /// Of these, left by an earlier download.
    pub(crate) bytes_resumed: u64,
}

impl Fetch<'_> {
    /// Writes the file to `output`.
    ///
    /// `leftover`: the bytes that `output` is said to begin with already. What of it is not what it should
    /// be is cut off. 0 if `output` cannot be read.
    ///
    /// # Errors
    /// Those of the first block that no peer has, a DAG that does not fit together, and of writing.
    pub(crate) async fn run(self, output: File, leftover: u64) -> Result<Written, FetchError> {
        let mut reader = Reader::new(self.cid, self.range);
        reader.next_wanted().expect("a reader wants its root");
        reader.supply(self.cid, self.root.clone()).map_err(|error| self.wrong(&error))?;
        let mut ways = Ways::new(self.cid);
        ways.learn(self.cid, &self.root).map_err(|error| self.wrong(&error))?;
        let mut written = Written::default();
        let mut first = None;
        if leftover > 0 {
            (written.bytes_resumed, first) =
                self.resume(&mut reader, &mut ways, &output, leftover).await?;
            prepare(&output, written.bytes_resumed).map_err(FetchError::Write)?;
            self.progress.add(written.bytes_resumed);
        }
        let (pieces, to_write) = mpsc::channel(PIECES_TO_WRITE);
        let writer = tokio::task::spawn_blocking(move || write_all(output, to_write));
        let fetched = self.fetch(&mut reader, &mut ways, first, pieces).await;
        let wrote = writer.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        // A writer that failed is the cause of a fetch that ended early.
        let bytes_new = wrote.map_err(FetchError::Write)?;
        fetched?;
        written.bytes = written.bytes_resumed + bytes_new;
        Ok(written)
    }

    /// Supplies leaves from the beginning of `output`, as far as they are there and right.
    ///
    /// Returns how many bytes that is, and the wanted block that ended it.
    async fn resume(
        &self,
        reader: &mut Reader,
        ways: &mut Ways,
        output: &File,
        leftover: u64,
    ) -> Result<(u64, Option<Wanted>), FetchError> {
        let mut resumed = 0;
        while reader.bytes_ready() == 0 {
            let Some(wanted) = reader.next_wanted() else { break };
            if wanted.bytes_hint == 0 {
                // A node, which is not part of the output.
                let above = self.above(ways, wanted.cid)?;
                let block = self.endpoints.block_below(&above, wanted.cid).await;
                let block = block.map_err(FetchError::Fetch)?;
                ways.learn(wanted.cid, &block).map_err(|error| self.wrong(&error))?;
                reader.supply(wanted.cid, block).map_err(|error| self.wrong(&error))?;
                continue;
            }
            let is_there = wanted.cid.codec() == Codec::Raw
                && wanted.bytes_hint <= u64::from(BLOCK_BYTES_MAX)
                && resumed + wanted.bytes_hint <= leftover;
            let Some(bytes) = is_there.then(|| leaf_at(output, resumed, wanted)).flatten() else {
                return Ok((resumed, Some(wanted)));
            };
            // Nobody is asked for it: its way is not needed any more.
            ways.to(wanted.cid).map_err(|error| self.wrong(&error))?;
            reader.supply(wanted.cid, bytes).map_err(|error| self.wrong(&error))?;
            while let Some(bytes) = reader.next_bytes() {
                resumed += bytes.len() as u64;
            }
        }
        Ok((resumed, None))
    }

    /// Hands the bytes of the range to `pieces`, in order. Ends early, without an error, when nobody takes them.
    async fn fetch(
        &self,
        reader: &mut Reader,
        ways: &mut Ways,
        first: Option<Wanted>,
        pieces: mpsc::Sender<Bytes>,
    ) -> Result<(), FetchError> {
        let mut first = first;
        let mut requests = FuturesUnordered::new();
        let mut requested = BTreeSet::new();
        let mut bytes_under_way = 0;
        loop {
            while let Some(bytes) = reader.next_bytes() {
                self.progress.add(bytes.len() as u64);
                if pieces.send(bytes).await.is_err() {
                    return Ok(());
                }
            }
            if reader.is_finished() {
                return Ok(());
            }
            while requests.len() < BLOCK_REQUESTS_MAX
                && (requests.is_empty()
                    || bytes_under_way + reader.bytes_ready() < self.window_bytes)
            {
                let Some(wanted) = first.take().or_else(|| reader.next_wanted()) else { break };
                // The same block in several places is fetched once.
                if !requested.insert(wanted.cid) {
                    continue;
                }
                let cost =
                    if wanted.bytes_hint == 0 { CHUNK_BYTES.into() } else { wanted.bytes_hint };
                bytes_under_way += cost;
                let above = self.above(ways, wanted.cid)?;
                requests.push(async move {
                    (wanted.cid, cost, self.endpoints.block_below(&above, wanted.cid).await)
                });
            }
            let Some((cid, cost, block)) = requests.next().await else {
                let detail = format!("cannot read {}: its blocks do not add up", self.cid);
                return Err(FetchError::Fetch(Fault::new(Kind::Invalid, detail)));
            };
            bytes_under_way -= cost;
            requested.remove(&cid);
            let block = block.map_err(FetchError::Fetch)?;
            ways.learn(cid, &block).map_err(|error| self.wrong(&error))?;
            reader.supply(cid, block).map_err(|error| self.wrong(&error))?;
        }
    }

    /// Returns the blocks that lead to one, from the root on.
    fn above(&self, ways: &mut Ways, cid: Cid) -> Result<Vec<Cid>, FetchError> {
        let mut way = ways.to(cid).map_err(|error| self.wrong(&error))?;
        way.pop();
        way.insert(0, self.cid);
        Ok(way)
    }

    fn wrong(&self, error: &DagError) -> FetchError {
        FetchError::Fetch(dag_fault(self.cid, error))
    }
}

/// Returns the bytes of `output` at `start` if they are the leaf that is wanted.
fn leaf_at(output: &File, start: u64, wanted: Wanted) -> Option<Bytes> {
    let mut bytes = vec![0; usize::try_from(wanted.bytes_hint).ok()?];
    output.read_exact_at(&mut bytes, start).ok()?;
    wanted.cid.matches(&bytes).then(|| bytes.into())
}

/// Makes `output` go on after its first `bytes` bytes.
fn prepare(mut output: &File, bytes: u64) -> io::Result<()> {
    output.set_len(bytes)?;
    io::Seek::seek(&mut output, io::SeekFrom::Start(bytes)).map(drop)
}

fn write_all(mut output: File, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<u64> {
    let mut bytes = 0;
    while let Some(piece) = pieces.blocking_recv() {
        output.write_all(&piece)?;
        bytes += piece.len() as u64;
    }
    Ok(bytes)
}
