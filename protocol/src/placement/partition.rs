//! Hash ranges of CIDs: the unit of placement, inventory and anti-entropy.

use crate::Cid;
use crate::limits::PARTITIONS;

/// Leading bits of a digest that name its partition.
const BITS: u32 = PARTITIONS.trailing_zeros();
const _: () = assert!(PARTITIONS.is_power_of_two() && BITS >= 1 && BITS <= 32);

/// One of the [`PARTITIONS`] hash ranges that CIDs are divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u32);

impl Partition {
    /// Returns the partition of a block: the leading bits of its digest. The codec has no part in it,
    /// so that the same bytes under two codecs lie on the same peers.
    #[must_use]
    pub fn of(cid: &Cid) -> Self {
        let [a, b, c, d, ..] = *cid.digest();
        Self(u32::from_be_bytes([a, b, c, d]) >> (32 - BITS))
    }

    /// Returns the partition of an index, or `None` when there are not so many.
    #[must_use]
    pub fn new(index: u32) -> Option<Self> {
        (index < PARTITIONS).then_some(Self(index))
    }

    /// Returns every partition, in the order of their digests.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        (0..PARTITIONS).map(Self)
    }

    /// Returns the four bytes with which the least digest of this partition begins; what follows them is zero. All
    /// digests from there to the next partition's are of this one.
    #[must_use]
    pub const fn first_digest(self) -> [u8; 4] {
        (self.0 << (32 - BITS)).to_be_bytes()
    }

    /// Returns the index: 0..[`PARTITIONS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Partition;
    use crate::limits::PARTITIONS;
    use crate::{Cid, Codec};

    #[test]
    fn the_leading_bits_of_the_digest_name_the_partition() {
        let mut digest = [0xFF; 32];
        assert_eq!(
            Partition::of(&Cid::from_digest(Codec::Raw, digest)).index(),
            PARTITIONS as usize - 1
        );
        digest[0] = 0x80;
        digest[1..5].fill(0);
        let half = Partition::of(&Cid::from_digest(Codec::DagPb, digest));
        assert_eq!(half.index(), PARTITIONS as usize / 2);
        assert_eq!(Partition::new(PARTITIONS / 2), Some(half));
        assert_eq!(half.first_digest(), [0x80, 0, 0, 0]);
        assert_eq!(Partition::new(PARTITIONS), None);
    }
}
