//! A new version of a file that shares every unchanged leaf with the old one.
//!
//! Turns old leaves and new bytes into the pieces of an upload, as a stream: leaves before the change are
//! kept by name, those it touches are cut anew from old bytes and new ones, the rest is kept again. Where the
//! old file was cut every MiB, the new one has the CID of a fresh upload of the same bytes.
//! Never: places a block; holds more than a piece.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use protocol::dag::{ByteRange, Leaf, LeafStep, Leaves};
use protocol::limits::CHUNK_BYTES;
use protocol::{Cid, Fault, Kind};
use tokio::sync::mpsc;

use crate::env::Env;
use crate::flows::upload::Piece;
use crate::flows::{Context, Root, block, download};

/// Pieces that wait for the upload: one it takes, one ready.
const PIECES_MAX: usize = 2;

/// What is changed: bytes from `offset` on are replaced by those that come, and the file grows where they
/// go beyond its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edit {
    /// The old file.
    pub(super) root: Cid,
    /// Its bytes.
    pub(super) size: u64,
    /// Where the new bytes go; its size to append.
    pub(super) offset: u64,
}

/// Returns the pieces of the new version.
///
/// # Errors
/// [`Kind::Invalid`] when the offset lies beyond the end.
pub(super) fn pieces<E: Env>(
    context: &Context<E>,
    edit: Edit,
    body: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
) -> Result<BoxStream<'static, Result<Piece, Fault>>, Fault> {
    if edit.offset > edit.size {
        return Err(Fault::new(
            Kind::Invalid,
            format!(
                "offset {} lies beyond the end of the object, which has {} bytes",
                edit.offset, edit.size
            ),
        ));
    }
    let (out, pieces) = mpsc::channel(PIECES_MAX);
    let editor =
        Editor { context: context.clone(), edit, leaves: Leaves::new(edit.root, edit.size), out };
    context.env.spawn("edit", editor.run(body));
    Ok(Box::pin(stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    })))
}

/// The upload has gone: nobody wants the rest.
struct Unwanted;

/// Why an edit ends early.
enum End {
    Fault(Fault),
    Unwanted,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Unwanted> for End {
    fn from(_: Unwanted) -> Self {
        Self::Unwanted
    }
}

struct Editor<E: Env> {
    context: Context<E>,
    edit: Edit,
    leaves: Leaves,
    out: mpsc::Sender<Result<Piece, Fault>>,
}

impl<E: Env> Editor<E> {
    async fn run(mut self, body: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin) {
        if let Err(End::Fault(fault)) = self.edit(body).await {
            // An upload that has gone needs no reason.
            drop(self.out.send(Err(fault)).await);
        }
    }

    async fn edit(
        &mut self,
        mut body: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin,
    ) -> Result<(), End> {
        let mut at = self.edit.offset;
        let mut touched = None;
        while let Some(leaf) = self.next_leaf().await? {
            let is_full = leaf.bytes_len >= CHUNK_BYTES;
            if leaf.end() < at || (leaf.end() == at && is_full) {
                self.keep(leaf).await?;
            } else {
                touched = Some(leaf);
                break;
            }
        }
        if let Some(leaf) = touched {
            self.copy(leaf.start, at).await?;
        }
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            at += bytes.len() as u64;
            self.send(Piece::Bytes(bytes)).await?;
        }
        while let Some(leaf) = touched {
            if leaf.start >= at {
                self.keep(leaf).await?;
            } else if leaf.end() > at {
                self.copy(at, leaf.end()).await?;
            }
            touched = self.next_leaf().await?;
        }
        Ok(())
    }

    async fn next_leaf(&mut self) -> Result<Option<Leaf>, End> {
        let unfit = |error: protocol::dag::DagError| Fault::new(error.kind(), error.to_string());
        loop {
            match self.leaves.step().map_err(unfit)? {
                LeafStep::Leaf(leaf) => return Ok(Some(leaf)),
                LeafStep::End => return Ok(None),
                LeafStep::Fetch(cid) => {
                    let bytes = block(&self.context, Root::Named(cid)).await?;
                    self.leaves.supply(&bytes).map_err(unfit)?;
                }
            }
        }
    }

    async fn keep(&self, leaf: Leaf) -> Result<(), End> {
        match leaf.cid {
            Some(cid) => Ok(self.send(Piece::Leaf { cid, bytes_len: leaf.bytes_len }).await?),
            None => self.copy(leaf.start, leaf.end()).await,
        }
    }

    /// Passes on bytes of the old file.
    async fn copy(&self, start: u64, end: u64) -> Result<(), End> {
        if start >= end {
            return Ok(());
        }
        let range = ByteRange { start, end: Some(end) };
        let mut old = download(&self.context, Root::Named(self.edit.root), range).await?;
        while let Some(bytes) = old.next().await {
            self.send(Piece::Bytes(bytes?)).await?;
        }
        Ok(())
    }

    async fn send(&self, piece: Piece) -> Result<(), Unwanted> {
        self.out.send(Ok(piece)).await.map_err(|_| Unwanted)
    }
}
