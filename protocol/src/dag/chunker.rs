//! Where a file is cut into leaves.
//!
//! Fixed cuts are those of the profile `unixfs-v1-2025`. Content-defined ones move with the content, so
//! that an insertion changes a few leaves only; the DAG above them has the same form.
//! Holds at most one unfinished chunk. Never: cuts differently when the same bytes come in other pieces.
//! Source: FastCDC, Xia et al., 2020, as the package `fastcdc` does it with normalization level 1.

use bytes::{Bytes, BytesMut};
use fastcdc::v2020::FastCDC;

use crate::limits::{CDC_BYTES_AVERAGE, CDC_BYTES_MAX, CDC_BYTES_MIN, CHUNK_BYTES};

/// Memory that a chunk begins with, in bytes; most objects are smaller.
const BUFFER_BYTES_FIRST: usize = 64 << 10;

/// How a file is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunker {
    /// Every [`CHUNK_BYTES`] bytes.
    #[default]
    Fixed,
    /// Where the content says so, between [`CDC_BYTES_MIN`] and [`CDC_BYTES_MAX`] bytes.
    FastCdc,
}

impl Chunker {
    const fn chunk_bytes_max(self) -> usize {
        match self {
            Self::Fixed => CHUNK_BYTES as usize,
            Self::FastCdc => CDC_BYTES_MAX,
        }
    }

    /// Returns where the first chunk of `window` ends: the next [`Chunker::chunk_bytes_max`] bytes of
    /// the file, or all that are left. 0 only for nothing.
    fn cut(self, window: &[u8]) -> usize {
        match self {
            Self::Fixed => window.len(),
            Self::FastCdc => {
                FastCDC::new(window, CDC_BYTES_MIN, CDC_BYTES_AVERAGE, CDC_BYTES_MAX)
                    .cut(0, window.len())
                    .1
            }
        }
    }
}

/// Cuts a stream of bytes into chunks.
#[derive(Debug)]
pub struct Splitter {
    chunker: Chunker,
    /// Bytes after the last cut, fewer than the largest chunk has.
    buffer: BytesMut,
    has_cut: bool,
}

impl Splitter {
    /// Returns a splitter that has seen no bytes yet.
    #[must_use]
    pub fn new(chunker: Chunker) -> Self {
        Self { chunker, buffer: BytesMut::new(), has_cut: false }
    }

    /// Takes the next bytes of the file, and appends to `out` the chunks they complete.
    ///
    /// Chunks share memory with `bytes` where they lie in it whole, and are put together by one copy
    /// where not. Cost: O(bytes).
    pub fn push(&mut self, mut bytes: Bytes, out: &mut Vec<Bytes>) {
        let window = self.chunker.chunk_bytes_max();
        loop {
            if self.buffer.is_empty() && bytes.len() >= window {
                let chunk = bytes.split_to(self.chunker.cut(&bytes[..window]));
                self.emit(chunk, out);
                continue;
            }
            let taken = bytes.split_to(bytes.len().min(window - self.buffer.len()));
            self.append(&taken, window);
            if self.buffer.len() < window {
                return;
            }
            let chunk = self.cut_buffer();
            self.emit(chunk, out);
        }
    }

    /// Appends the chunks of what is left to `out`: of an empty file, one empty chunk.
    pub fn finish(mut self, out: &mut Vec<Bytes>) {
        while !self.buffer.is_empty() || !self.has_cut {
            let chunk = self.cut_buffer();
            self.emit(chunk, out);
        }
    }

    fn emit(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) {
        self.has_cut = true;
        out.push(chunk);
    }

    fn append(&mut self, piece: &[u8], window: usize) {
        let len = self.buffer.len() + piece.len();
        if len > self.buffer.capacity() {
            let capacity = if len <= BUFFER_BYTES_FIRST { BUFFER_BYTES_FIRST } else { window };
            self.buffer.reserve(capacity - self.buffer.len());
        }
        self.buffer.extend_from_slice(piece);
    }

    fn cut_buffer(&mut self) -> Bytes {
        let end = self.chunker.cut(&self.buffer);
        if end == self.buffer.len() && self.buffer.capacity() <= 2 * end {
            return core::mem::take(&mut self.buffer).freeze();
        }
        // A copy, because a part would keep the memory of the whole for as long as it lives.
        let chunk = Bytes::copy_from_slice(&self.buffer[..end]);
        let kept = self.buffer.len() - end;
        self.buffer.copy_within(end.., 0);
        self.buffer.truncate(kept);
        chunk
    }
}
