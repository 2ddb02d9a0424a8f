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

    /// Ends a chunk here, because a leaf that was cut before comes next; appends what was left to `out`.
    pub fn interrupt(&mut self, out: &mut Vec<Bytes>) {
        while !self.buffer.is_empty() {
            let chunk = self.cut_buffer();
            self.emit(chunk, out);
        }
        self.has_cut = true;
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{CDC_BYTES_AVERAGE, CHUNK_BYTES};
    use super::{CDC_BYTES_MAX, CDC_BYTES_MIN, Chunker, FastCDC, Splitter};
    use crate::Prng;

    /// Returns bytes in which cuts are found: random ones, and a part that has none.
    fn content(seed: u64, len: usize) -> Bytes {
        let mut prng = Prng::new(seed);
        let mut bytes: Vec<u8> =
            (0..len / 8 + 1).flat_map(|_| prng.next_u64().to_le_bytes()).collect();
        bytes.truncate(len);
        let third = len / 3;
        bytes[third..2 * third].fill(7);
        bytes.into()
    }

    fn split(chunker: Chunker, bytes: &Bytes, piece: impl Fn(&mut Prng) -> usize) -> Vec<Bytes> {
        let (mut splitter, mut out) = (Splitter::new(chunker), Vec::new());
        let (mut rest, mut prng) = (bytes.clone(), Prng::new(1));
        while !rest.is_empty() {
            let piece = piece(&mut prng).clamp(1, rest.len());
            splitter.push(rest.split_to(piece), &mut out);
            assert!(splitter.buffer.len() < CHUNK_BYTES as usize);
        }
        splitter.finish(&mut out);
        out
    }

    fn lengths(chunks: &[Bytes]) -> Vec<usize> {
        chunks.iter().map(Bytes::len).collect()
    }

    #[test]
    fn fixed_chunks_are_of_one_size_but_for_the_last() {
        let chunk = CHUNK_BYTES as usize;
        let whole = |len| lengths(&split(Chunker::Fixed, &content(1, len), |_| 50_000));
        assert_eq!(whole(0), [0]);
        assert_eq!(whole(1), [1]);
        assert_eq!(whole(chunk), [chunk]);
        assert_eq!(whole(2 * chunk + 3), [chunk, chunk, 3]);
    }

    #[test]
    fn a_chunk_that_lies_whole_in_a_piece_is_not_copied() {
        let bytes = content(1, 3 << 20);
        let chunks = split(Chunker::Fixed, &bytes, |_| usize::MAX);
        assert_eq!(chunks[2].as_ptr(), bytes[2 << 20..].as_ptr());
    }

    #[test]
    fn content_defined_cuts_are_the_same_for_ever() {
        // Every name of content that was cut this way follows from these.
        let chunks = split(Chunker::FastCdc, &content(1, 6 << 20), |_| 100_000);
        let cuts =
            [749_809, 456_551, 789_622, 1_048_576, 1_048_576, 703_755, 371_315, 633_571, 489_681];
        assert_eq!(lengths(&chunks), cuts);
    }

    #[test]
    fn an_insertion_changes_few_content_defined_chunks() {
        let bytes = content(2, 8 << 20);
        let mut changed = bytes.to_vec();
        changed.splice(1_000_000..1_000_000, *b"inserted");
        let before = split(Chunker::FastCdc, &bytes, |_| 65_536);
        let after = split(Chunker::FastCdc, &changed.into(), |_| 65_536);
        let kept = after.iter().filter(|chunk| before.contains(chunk)).count();
        assert!(kept + 3 >= after.len(), "{kept} of {}", after.len());
    }

    proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(12))]
        #[test]
        fn chunks_do_not_depend_on_the_pieces(
            seed in any::<u64>(), len in 0..5_000_000usize, piece_max in 1_000..3_000_000u64,
        ) {
            let bytes = content(seed, len);
            for chunker in [Chunker::Fixed, Chunker::FastCdc] {
                let whole = split(chunker, &bytes, |_| usize::MAX);
                let pieces = split(chunker, &bytes, |prng| {
                    usize::try_from(prng.below(piece_max)).unwrap()
                });
                prop_assert_eq!(lengths(&whole), lengths(&pieces));
                prop_assert!(whole.concat() == bytes && pieces.concat() == bytes);
            }
            // The same cuts as over the whole file at once.
            let chunks = split(Chunker::FastCdc, &bytes, |_| 10_000);
            if len > 0 {
                let cdc = FastCDC::new(&bytes, CDC_BYTES_MIN, CDC_BYTES_AVERAGE, CDC_BYTES_MAX);
                prop_assert_eq!(lengths(&chunks), cdc.map(|chunk| chunk.length).collect::<Vec<_>>());
            }
            for chunk in &chunks[..chunks.len() - 1] {
                prop_assert!((CDC_BYTES_MIN..=CDC_BYTES_MAX).contains(&chunk.len()));
            }
        }
    }
}
