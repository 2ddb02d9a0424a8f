//! Content that needs no storing: every byte follows from a seed and its position.
//!
//! The same bytes as those of the CID vectors (see `vectors/`), so that uploads can be checked against roots
//! that other programs computed. Never: holds more than one piece.

use bytes::Bytes;
use futures::{Stream, stream};

/// Bytes made at a time.
const PIECE_BYTES: u64 = 256 << 10;

/// A file of this many bytes from this seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Chooses the bytes.
    pub seed: u32,
    /// How many there are.
    pub size: u64,
}

impl Content {
    /// Returns the bytes from `start` to before `end`, as far as there are any.
    #[must_use]
    pub fn slice(&self, start: u64, end: u64) -> Bytes {
        let end = end.min(self.size);
        let mut bytes =
            Vec::with_capacity(usize::try_from(end.saturating_sub(start)).unwrap_or(0) + 8);
        let mut word = start / 4;
        let skip = usize::try_from(start % 4).unwrap_or(0);
        let wanted = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        while bytes.len() < wanted + skip {
            bytes.extend_from_slice(&self.word(word).to_le_bytes());
            word += 1;
        }
        Bytes::from(bytes).slice(skip..skip + wanted)
    }

    /// Returns all bytes, in pieces.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
        stream::iter(
            (0..self.size.div_ceil(PIECE_BYTES))
                .map(move |piece| Ok(self.slice(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES))),
        )
    }

    /// Returns the 32-bit word of a position: a finalised counter, as the vectors define it.
    fn word(&self, index: u64) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the definition counts modulo 2^32")]
        let count = (index as u32).wrapping_add(1);
        let mut x = self.seed.wrapping_add(count.wrapping_mul(0x9E37_79B9));
        x ^= x >> 16;
        x = x.wrapping_mul(0x85EB_CA6B);
        x ^= x >> 13;
        x = x.wrapping_mul(0xC2B2_AE35);
        x ^ (x >> 16)
    }
}

#[cfg(test)]
mod tests {
    use super::Content;
    use protocol::{Cid, Codec};

    #[test]
    fn content_is_that_of_the_vectors() {
        let cid = |size: u32| {
            let content = Content { seed: size, size: size.into() };
            Cid::of(Codec::Raw, &content.slice(0, size.into())).to_string()
        };
        assert_eq!(cid(1), "bafkreiecktbstkjikd3nkoo5g5xuqfxoe5sfc7nf4arvkffpimywisanpi");
        assert_eq!(cid(1000), "bafkreiag6peh5pxzovewr2emvkvlhrcwqpciszqrgoyex4skdcyxowpc7e");
    }

    #[test]
    fn slices_are_parts_of_the_whole() {
        let content = Content { seed: 7, size: 1003 };
        let whole = content.slice(0, 1003);
        for (start, end) in [(0, 1), (1, 2), (3, 1003), (999, 5000), (1003, 1003)] {
            let part = whole.slice(start..end.min(1003));
            assert_eq!(content.slice(start as u64, end as u64), part, "{start}..{end}");
        }
    }
}
