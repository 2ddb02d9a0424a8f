//! `shoal upload`: bytes to a peer, as a stream, and the proof that they arrived as they were sent.
//!
//! The root is computed here too; a peer that answers with another one has stored something else.
//! A peer that breaks off is replaced by the next one if the bytes can be read again.
//! Never: holds a file in memory.
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: it watches real time for a transfer that stands still"
)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::{self, Stream};
use protocol::dag::{Chunker, Root};
use protocol::{Cid, Fault, Kind};
use reqwest::{Body, Method, Response};
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::answer::{accepted, innermost, json_body};
use crate::args::{ChunkerName, Upload, UploadOptions};
use crate::endpoint::{Endpoint, Endpoints, First, IDLE_TIMEOUT, Refusal};
use crate::failure::Failure;
use crate::output::{self, ObjectRow, Progress};
use crate::source::{Reading, Source};
use crate::tree;

/// Pieces of one file that are read ahead: enough to bridge a slow disk, 4 MiB of memory.
const PIECES_AHEAD: usize = 4;

/// What a peer answers to content it stored.
#[derive(Debug, Deserialize)]
struct Stored {
    cid: String,
    size: u64,
}

/// Uploads every path, in order, and prints the CID of each.
///
/// # Errors
/// The first one that happens. What was stored before is printed all the same.
pub(crate) async fn run(endpoints: &Endpoints, args: &Upload, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut ended = Ok(());
    for path in &args.paths {
        match upload_path(endpoints, path, args.options).await {
            Ok(row) if json => rows.push(row),
            Ok(row) => output::line(&format!(
                "{}  {}",
                row.cid,
                output::plain(&path.display().to_string())
            ))?,
            Err(fault) => {
                ended = Err(fault.into());
                break;
            }
        }
    }
    if json {
        output::json(&rows)?;
    }
    ended
}

async fn upload_path(
    endpoints: &Endpoints,
    path: &Path,
    options: UploadOptions,
) -> Result<ObjectRow, Fault> {
    let (root, kind, size) = match Source::at(path)? {
        Some(source) => {
            let progress = Progress::start(&source.name(), source.bytes());
            let stored = upload(endpoints, &source, options, PIECES_AHEAD, &progress).await;
            progress.finish();
            let root = stored?;
            (root, "file", root.size)
        }
        None => {
            let root = tree::upload(endpoints, path, options).await?;
            (root, "directory", root.dag_bytes)
        }
    };
    let mut row = ObjectRow::new(root.cid, kind, size);
    row.path = Some(path.display().to_string());
    row.dag_bytes = Some(root.dag_bytes);
    Ok(row)
}

/// Stores the bytes of one source; returns their root, as computed here and confirmed by the peer.
///
/// # Errors
/// [`Kind::Corrupt`] if the peer stored something else, [`Kind::Conflict`] if the file changed meanwhile,
/// those of reading it, and the most telling of the peers' refusals.
pub(crate) async fn upload(
    endpoints: &Endpoints,
    source: &Source,
    options: UploadOptions,
    pieces_ahead: usize,
    progress: &Progress,
) -> Result<Root, Fault> {
    let transfer = Transfer { endpoints, source, options, pieces_ahead, progress };
    if source.is_rereadable() {
        return endpoints.ask(First::Named, async |peer| transfer.send(peer).await).await;
    }
    // Bytes that come once are sent to one peer only, so it is asked first whether it is there.
    endpoints
        .ask(First::Named, async |peer| {
            endpoints.is_ready(peer).await?;
            transfer.send(peer).await.map_err(|refusal| transfer.cannot_repeat(refusal))
        })
        .await
}

/// One source on its way to one peer after the other.
struct Transfer<'a> {
    endpoints: &'a Endpoints,
    source: &'a Source,
    options: UploadOptions,
    pieces_ahead: usize,
    progress: &'a Progress,
}

impl Transfer<'_> {
    async fn send(&self, peer: &Endpoint) -> Result<Root, Refusal> {
        let chunker = match self.options.chunker {
            None | Some(ChunkerName::Fixed) => Chunker::Fixed,
            Some(ChunkerName::Fastcdc) => Chunker::FastCdc,
        };
        let Reading { pieces, failed, root } =
            self.source.read(chunker, self.pieces_ahead).map_err(Refusal::Final)?;
        let bytes_sent = Arc::new(AtomicU64::new(0));
        let body = counted(pieces, Arc::clone(&bytes_sent), self.progress.clone());
        let answered = self.post(peer, Body::wrap_stream(body), &bytes_sent).await;
        if let Some(fault) = failed.get() {
            return Err(Refusal::Final(fault.clone()));
        }
        let stored = async {
            let response = accepted(peer, &self.doing(), answered?).await?;
            json_body::<Stored>(peer, &self.doing(), response).await
        };
        let stored = match stored.await {
            Ok(stored) => stored,
            Err(refusal) => {
                self.progress.take_back(bytes_sent.load(Ordering::Relaxed));
                return Err(refusal);
            }
        };
        // The thread ends soon: the pieces were taken, or whoever takes them is gone.
        match root.await {
            Ok(Some(root)) => self.confirmed(peer, root, &stored),
            Ok(None) => Err(Refusal::Final(failed.get().cloned().unwrap_or_else(|| {
                let detail =
                    format!("cannot {}: {peer} answered before it had all bytes", self.doing());
                Fault::new(Kind::Corrupt, detail)
            }))),
            Err(error) => {
                let detail = format!("cannot {}: reading stopped: {error}", self.doing());
                Err(Refusal::Final(Fault::new(Kind::Internal, detail)))
            }
        }
    }

    /// Sends the request and waits for the head of the answer, while bytes go on moving.
    async fn post(
        &self,
        peer: &Endpoint,
        body: Body,
        bytes_sent: &AtomicU64,
    ) -> Result<Response, Refusal> {
        let mut request = self.endpoints.request(peer, Method::POST, "content").body(body);
        request = request.header(reqwest::header::CONTENT_TYPE, "application/octet-stream");
        if let Some(bytes) = self.source.bytes() {
            request = request.header(reqwest::header::CONTENT_LENGTH, bytes);
        }
        if let Some(replicas) = self.options.replicas {
            request = request.query(&[("replicas", replicas)]);
        }
        if let Some(ChunkerName::Fastcdc) = self.options.chunker {
            request = request.query(&[("chunker", "fastcdc")]);
        }
        let mut answer = std::pin::pin!(request.send());
        let mut bytes_before = 0;
        loop {
            tokio::select! {
                biased; // an answer counts, even if it came late
                answered = &mut answer => return answered.map_err(|error| {
                    let bytes = bytes_sent.load(Ordering::Relaxed);
                    let why = format!("it broke off after {bytes} bytes: {}", innermost(&error));
                    let why = if error.is_connect() { innermost(&error) } else { why };
                    peer.broken(&self.doing(), &why)
                }),
                () = tokio::time::sleep(IDLE_TIMEOUT) => {}
            }
            let bytes = bytes_sent.load(Ordering::Relaxed);
            // A slow pipe is nobody's fault, so its silence is not held against the peer.
            if bytes == bytes_before && self.source.is_rereadable() {
                let why =
                    format!("nothing moved for {} s after {bytes} bytes", IDLE_TIMEOUT.as_secs());
                return Err(peer.broken(&self.doing(), &why));
            }
            bytes_before = bytes;
        }
    }

    /// Returns `root` if it is also what the peer says it stored.
    fn confirmed(&self, peer: &Endpoint, root: Root, stored: &Stored) -> Result<Root, Refusal> {
        if stored.cid.parse::<Cid>() == Ok(root.cid) && stored.size == root.size {
            return Ok(root);
        }
        let detail = format!(
            "{peer} stored {} as {} ({} bytes), but the bytes that were read are {} ({} bytes); do not rely on it, upload again",
            self.source.name(),
            stored.cid,
            stored.size,
            root.cid,
            root.size
        );
        Err(Refusal::Final(Fault::new(Kind::Corrupt, detail)))
    }

    fn cannot_repeat(&self, refusal: Refusal) -> Refusal {
        let (Refusal::Unreachable(mut fault)
        | Refusal::Answered(mut fault)
        | Refusal::Final(mut fault)) = refusal;
        let advice =
            "its bytes come only once, so no other peer was tried; run the whole command again";
        fault.detail.push_str(&format!("; {advice}"));
        Refusal::Final(fault)
    }

    fn doing(&self) -> String {
        format!("upload {}", self.source.name())
    }
}

/// Returns the pieces as a body, counted as they are taken to be sent.
fn counted(
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    bytes_sent: Arc<AtomicU64>,
    progress: Progress,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(pieces, move |mut pieces| {
        let (bytes_sent, progress) = (Arc::clone(&bytes_sent), progress.clone());
        async move {
            let piece = pieces.recv().await?;
            if let Ok(bytes) = &piece {
                bytes_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                progress.add(bytes.len() as u64);
            }
            Some((piece, pieces))
        }
    })
}
