//! Values of the index: where a block lies, what a segment file holds, and sums.
//!
//! Fixed lengths behind a version byte, numbers big-endian; every value has one form.
//! Never: knows a key.

use bytes::Bytes;

use crate::record::RECORD_HEADER_BYTES;

/// Version of all values.
const VALUE_VERSION: u8 = 1;
const PLACE_SMALL: u8 = 1;
const PLACE_SEGMENT: u8 = 2;
const PLACE_CORRUPT: u8 = 3;

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the map `Small`.
    Small { bytes: u32, checksum: u64 },
    /// In a segment file: a record of `bytes` payload bytes.
    Segment { number: u32, offset: u64, bytes: u32 },
    /// Nowhere any more: its bytes were found damaged. The entry remembers that references to it stand.
    Corrupt,
}

impl Place {
    /// Says whether there are bytes at this place.
    #[must_use]
    pub const fn is_held(self) -> bool {
        !matches!(self, Self::Corrupt)
    }

    /// Returns the length of the block, in bytes; 0 for one that is not held.
    #[must_use]
    pub const fn block_bytes(self) -> u64 {
        match self {
            Self::Small { bytes, .. } | Self::Segment { bytes, .. } => bytes as u64,
            Self::Corrupt => 0,
        }
    }

    /// Returns the value of this place.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut value = Vec::with_capacity(18);
        value.push(VALUE_VERSION);
        match self {
            Self::Small { bytes, checksum } => {
                value.push(PLACE_SMALL);
                value.extend(bytes.to_be_bytes());
                value.extend(checksum.to_be_bytes());
            }
            Self::Segment { number, offset, bytes } => {
                value.push(PLACE_SEGMENT);
                value.extend(number.to_be_bytes());
                value.extend(offset.to_be_bytes());
                value.extend(bytes.to_be_bytes());
            }
            Self::Corrupt => value.push(PLACE_CORRUPT),
        }
        value.into()
    }

    /// Returns the place of a value, or `None` for one that this version never writes.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_first_chunk::<2>()?;
        match (head, rest.len()) {
            ([VALUE_VERSION, PLACE_SMALL], 12) => {
                Some(Self::Small { bytes: u32_at(rest, 0)?, checksum: u64_at(rest, 4)? })
            }
            ([VALUE_VERSION, PLACE_SEGMENT], 16) => Some(Self::Segment {
                number: u32_at(rest, 0)?,
                offset: u64_at(rest, 4)?,
                bytes: u32_at(rest, 12)?,
            }),
            ([VALUE_VERSION, PLACE_CORRUPT], 0) => Some(Self::Corrupt),
            _ => None,
        }
    }
}

/// Returns the bytes that a block of `block_bytes` bytes takes on the disk, by the same measure for small ones and others.
#[must_use]
pub const fn footprint(block_bytes: u64) -> u64 {
    RECORD_HEADER_BYTES as u64 + block_bytes
}

/// Sums over the whole store, kept in step with it by every batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Blocks held.
    pub blocks: u64,
    /// [`footprint`] of small blocks.
    pub small_bytes: u64,
}

impl Totals {
    /// Returns the value of these sums.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut value = vec![VALUE_VERSION];
        value.extend(self.blocks.to_be_bytes());
        value.extend(self.small_bytes.to_be_bytes());
        value.into()
    }

    /// Returns what a value says, or `None` for one that this version never writes.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        match value.split_first()? {
            (&VALUE_VERSION, rest) if rest.len() == 16 => {
                Some(Self { blocks: u64_at(rest, 0)?, small_bytes: u64_at(rest, 8)? })
            }
            _ => None,
        }
    }
}

/// What the index knows of a segment file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Bytes from its start whose records are indexed: all of it but an end to recover.
    pub indexed: u64,
    /// Bytes of records that blocks lie in.
    pub live: u64,
    /// Its blocks were moved; the file is to be removed.
    pub doomed: bool,
}

impl Segment {
    /// Returns the value of this segment.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut value = vec![VALUE_VERSION];
        value.extend(self.indexed.to_be_bytes());
        value.extend(self.live.to_be_bytes());
        value.push(u8::from(self.doomed));
        value.into()
    }

    /// Returns what a value says, or `None` for one that this version never writes.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        match value.split_first()? {
            (&VALUE_VERSION, rest) if rest.len() == 17 => {
                let doomed = match rest[16] {
                    0 => false,
                    1 => true,
                    _ => return None,
                };
                Some(Self { indexed: u64_at(rest, 0)?, live: u64_at(rest, 8)?, doomed })
            }
            _ => None,
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
