//! Bytes on their way to a peer, as a stream, and the proof that they arrived as they were sent.
//!
//! The root is computed here too; a peer that answers with another one has stored something else.
//! A peer that breaks off is replaced by the next one if the bytes can be read again.
//! Never: holds a file in memory.
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: it watches real time for a transfer that stands still"
)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::{self, Stream};
use protocol::dag::{Chunker, Root};
use protocol::{Cid, Fault, Kind};
use reqwest::{Body, Response};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::answer::{accepted, innermost, json_body};
use crate::args::{ChunkerName, Storage};
use crate::endpoint::{Endpoint, Endpoints, First, IDLE_TIMEOUT, Refusal};
use crate::output::Progress;
use crate::question::Question;
use crate::source::{Reading, Source};

/// Pieces of one file that are read ahead: enough to bridge a slow disk, 4 MiB of memory.
pub(crate) const PIECES_AHEAD: usize = 4;

/// What every answer to stored content says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Receipt {
    cid: Option<String>,
    size: u64,
}

/// What was sent, and what the peer answered.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The root of the bytes that were read; `None` if it was not asked for.
    pub(crate) root: Option<Root>,
    /// The answer.
    pub(crate) answer: Value,
}

/// One source on its way to one peer after the other.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    pub(crate) endpoints: &'a Endpoints,
    pub(crate) source: &'a Source,
    /// The request that takes the bytes as its body.
    pub(crate) question: &'a Question,
    /// How the peer cuts the bytes, which its answer is checked with; `None` if it stores more than them.
    pub(crate) chunker: Option<Chunker>,
    pub(crate) pieces_ahead: usize,
    pub(crate) progress: &'a Progress,
}

impl Storage {
    /// Returns how a file is cut.
    pub(crate) fn chunker(self) -> Chunker {
        match self.chunker {
            None | Some(ChunkerName::Fixed) => Chunker::Fixed,
            Some(ChunkerName::Fastcdc) => Chunker::FastCdc,
        }
    }

    /// Adds these options to a question.
    pub(crate) fn ask(self, question: Question) -> Question {
        let question = question.parameter_if("replicas", self.replicas);
        match self.chunker {
            Some(ChunkerName::Fastcdc) => question.parameter("chunker", "fastcdc"),
            None | Some(ChunkerName::Fixed) => question,
        }
    }
}

impl Sending<'_> {
    /// Sends the bytes to the first peer that takes them all.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the peer stored something else, [`Kind::Conflict`] if the file changed meanwhile,
    /// those of reading it, and the most telling of the peers' refusals.
    pub(crate) async fn run(&self) -> Result<Sent, Fault> {
        if self.source.is_rereadable() {
            return self.endpoints.ask(First::Named, async |peer| self.send(peer).await).await;
        }
        // Bytes that come once are sent to one peer only, so it is asked first whether it is there.
        self.endpoints
            .ask(First::Named, async |peer| {
                self.endpoints.is_ready(peer).await?;
                self.send(peer).await.map_err(unrepeatable)
            })
            .await
    }

    async fn send(&self, peer: &Endpoint) -> Result<Sent, Refusal> {
        let chunker = self.chunker.unwrap_or(Chunker::Fixed);
        let Reading { pieces, failed, root } =
            self.source.read(chunker, self.pieces_ahead).map_err(Refusal::Final)?;
        let bytes_sent = Arc::new(AtomicU64::new(0));
        let body = counted(pieces, Arc::clone(&bytes_sent), self.progress.clone());
        let answered = self.post(peer, Body::wrap_stream(body), &bytes_sent).await;
        if let Some(fault) = failed.get() {
            return Err(Refusal::Final(fault.clone()));
        }
        let stored = async {
            let response = accepted(peer, &self.question.doing, answered?).await?;
            json_body::<Value>(peer, &self.question.doing, response).await
        };
        let answer = match stored.await {
            Ok(answer) => answer,
            Err(refusal) => {
                self.progress.take_back(bytes_sent.load(Ordering::Relaxed));
                return Err(refusal);
            }
        };
        if self.chunker.is_none() {
            return Ok(Sent { root: None, answer });
        }
        // The thread ends soon: the pieces were taken, or whoever takes them is gone.
        let root = root.await.map_err(|error| self.stopped(&error))?;
        let root = match root {
            Some(root) => root,
            // It may know the answer from before, when it was lost, and need no bytes for it.
            None if self.source.is_rereadable() => self.root_of_source(chunker).await?,
            None => {
                return Err(Refusal::Final(failed.get().cloned().unwrap_or_else(|| {
                    let doing = &self.question.doing;
                    let detail = format!("cannot {doing}: {peer} answered before it had all bytes");
                    Fault::new(Kind::Corrupt, detail)
                })));
            }
        };
        self.confirmed(peer, &root, &answer)?;
        Ok(Sent { root: Some(root), answer })
    }

    /// Reads the source once more, without sending it; returns its root.
    async fn root_of_source(&self, chunker: Chunker) -> Result<Root, Refusal> {
        let reading = self.source.read(chunker, self.pieces_ahead).map_err(Refusal::Final)?;
        let Reading { mut pieces, failed, root } = reading;
        while pieces.recv().await.is_some() {}
        let root = root.await.map_err(|error| self.stopped(&error))?;
        root.ok_or_else(|| {
            let unread = || Fault::new(Kind::Internal, format!("cannot {}", self.question.doing));
            Refusal::Final(failed.get().cloned().unwrap_or_else(unread))
        })
    }

    fn stopped(&self, error: &tokio::task::JoinError) -> Refusal {
        let detail = format!("cannot {}: reading stopped: {error}", self.question.doing);
        Refusal::Final(Fault::new(Kind::Internal, detail))
    }

    /// Sends the request and waits for the head of the answer, while bytes go on moving.
    async fn post(
        &self,
        peer: &Endpoint,
        body: Body,
        bytes_sent: &AtomicU64,
    ) -> Result<Response, Refusal> {
        let mut request = self.question.request(self.endpoints, peer).body(body);
        if let Some(bytes) = self.source.bytes() {
            request = request.header(reqwest::header::CONTENT_LENGTH, bytes);
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
                    peer.broken(&self.question.doing, &why)
                }),
                () = tokio::time::sleep(IDLE_TIMEOUT) => {}
            }
            let bytes = bytes_sent.load(Ordering::Relaxed);
            // A slow pipe is nobody's fault, so its silence is not held against the peer.
            if bytes == bytes_before && self.source.is_rereadable() {
                let why =
                    format!("nothing moved for {} s after {bytes} bytes", IDLE_TIMEOUT.as_secs());
                return Err(peer.broken(&self.question.doing, &why));
            }
            bytes_before = bytes;
        }
    }

    /// Fails unless `root` is also what the peer says it stored.
    fn confirmed(&self, peer: &Endpoint, root: &Root, answer: &Value) -> Result<(), Refusal> {
        let receipt = Receipt::deserialize(answer).unwrap_or_default();
        let cid = receipt.cid.unwrap_or_else(|| "something without a name".to_owned());
        if cid.parse::<Cid>() == Ok(root.cid) && receipt.size == root.size {
            return Ok(());
        }
        let detail = format!(
            "{peer} stored {} as {cid} ({} bytes), but the bytes that were read are {} ({} bytes); do not rely on it, upload again",
            self.source.name(),
            receipt.size,
            root.cid,
            root.size
        );
        Err(Refusal::Final(Fault::new(Kind::Corrupt, detail)))
    }
}

/// Returns the refusal of bytes that come only once: nobody else can be given them.
fn unrepeatable(refusal: Refusal) -> Refusal {
    let others_may_help = refusal.others_may_help();
    let mut fault = refusal.into_fault();
    if others_may_help {
        let advice =
            "its bytes come only once, so no other peer was tried; run the whole command again";
        fault.detail.push_str(&format!("; {advice}"));
    }
    Refusal::Final(fault)
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
