//! Records: how blocks lie in segment files.
//!
//! A segment file is records, one after the other, without gaps. A record is a header of
//! [`RECORD_HEADER_BYTES`] bytes and the block's bytes. The header names the block and carries a checksum of
//! itself and of the bytes, so that an index can be rebuilt from the files alone, and a torn end be told
//! from a whole record. Layout, big-endian: magic (4 bytes), version, kind, flags, codec (1 each), payload
//! length (u32), reserved (u32, zero), digest (32), owner (16), XXH3-64 of the payload (u64), XXH3-64 of all
//! header bytes before it (u64). Never: reads or writes a file.

use twox_hash::XxHash3_64;

use crate::cid::{Cid, Codec};
use crate::id::OwnerId;
use crate::limits::BLOCK_BYTES_MAX;

/// Version of the record format.
pub const RECORD_VERSION: u8 = 1;

/// First bytes of every record.
pub const RECORD_MAGIC: [u8; 4] = *b"ShBk";

/// Bytes in front of a block's bytes.
pub const RECORD_HEADER_BYTES: usize = 80;

/// The kind of a record that holds a block. There is no other yet.
const KIND_BLOCK: u8 = 1;
/// The block is the root of what its owner uploaded.
const FLAG_ROOT: u8 = 1;
/// The record is a copy made to regain space: it says nothing about who refers to the block.
const FLAG_MOVED: u8 = 1 << 1;
const FLAGS_KNOWN: u8 = FLAG_ROOT | FLAG_MOVED;
/// Where the checksum of the header begins: it covers everything before.
const CHECKSUM_AT: usize = RECORD_HEADER_BYTES - 8;

/// Why bytes are no header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than a header has.
    #[error("record header has {found} bytes, expected {RECORD_HEADER_BYTES}")]
    Short { found: usize },
    /// Something else lies there, or nothing.
    #[error("record does not start with the magic bytes")]
    Magic,
    /// The header is not as it was written.
    #[error("record header does not match its checksum")]
    Checksum,
    /// Written by a later Shoal.
    #[error("record has version {found}, expected {RECORD_VERSION}")]
    Version { found: u8 },
    /// A field has a value that this version never writes.
    #[error("record field {field} is invalid")]
    Field { field: &'static str },
}

/// What is written in front of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The block's name.
    pub cid: Cid,
    /// Who first referred to it.
    pub owner: OwnerId,
    /// Whether it is the root of what the owner uploaded.
    pub root: bool,
    /// Whether the record is a copy made to regain space: then `owner` may have let go of it since.
    pub moved: bool,
    /// Bytes of the block, at most [`BLOCK_BYTES_MAX`].
    pub payload_bytes: u32,
    /// [`checksum`] of the block's bytes.
    pub payload_checksum: u64,
}

impl RecordHeader {
    /// Returns the header of a block. Cost: one XXH3 over `payload`, about 40 µs a MiB.
    ///
    /// # Errors
    /// [`RecordError::Field`] when `payload` is longer than [`BLOCK_BYTES_MAX`].
    pub fn of(cid: Cid, owner: OwnerId, root: bool, payload: &[u8]) -> Result<Self, RecordError> {
        let payload_bytes = u32::try_from(payload.len())
            .ok()
            .filter(|bytes| *bytes <= BLOCK_BYTES_MAX)
            .ok_or(RecordError::Field { field: "payload_bytes" })?;
        let payload_checksum = checksum(payload);
        Ok(Self { cid, owner, root, moved: false, payload_bytes, payload_checksum })
    }

    /// Returns the bytes of the whole record, header and payload, in its file.
    #[must_use]
    pub fn record_bytes(&self) -> u64 {
        RECORD_HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }

    /// Says whether `payload` is what this header was written for.
    #[must_use]
    pub fn fits(&self, payload: &[u8]) -> bool {
        payload.len() as u64 == u64::from(self.payload_bytes)
            && checksum(payload) == self.payload_checksum
    }

    /// Returns the bytes of this header.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4] = RECORD_VERSION;
        bytes[5] = KIND_BLOCK;
        bytes[6] = if self.root { FLAG_ROOT } else { 0 } | if self.moved { FLAG_MOVED } else { 0 };
        bytes[7] = codec_byte(self.cid.codec());
        bytes[8..12].copy_from_slice(&self.payload_bytes.to_be_bytes());
        bytes[16..48].copy_from_slice(self.cid.digest());
        bytes[48..64].copy_from_slice(self.owner.as_bytes());
        bytes[64..72].copy_from_slice(&self.payload_checksum.to_be_bytes());
        let sum = checksum(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Returns the header at the start of `bytes`, before anything of the payload's size was allocated.
    ///
    /// # Errors
    /// Any [`RecordError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let short = RecordError::Short { found: bytes.len() };
        let header: &[u8; RECORD_HEADER_BYTES] = bytes.first_chunk().ok_or(short)?;
        if header[..4] != RECORD_MAGIC {
            return Err(RecordError::Magic);
        }
        if array::<8>(header, CHECKSUM_AT) != checksum(&header[..CHECKSUM_AT]).to_be_bytes() {
            return Err(RecordError::Checksum);
        }
        if header[4] != RECORD_VERSION {
            return Err(RecordError::Version { found: header[4] });
        }
        let invalid = |field| RecordError::Field { field };
        if header[5] != KIND_BLOCK {
            return Err(invalid("kind"));
        }
        if header[6] & !FLAGS_KNOWN != 0 {
            return Err(invalid("flags"));
        }
        let codec = codec_of(header[7]).ok_or(invalid("codec"))?;
        let payload_bytes = u32::from_be_bytes(array(header, 8));
        if payload_bytes > BLOCK_BYTES_MAX {
            return Err(invalid("payload_bytes"));
        }
        if array::<4>(header, 12) != [0; 4] {
            return Err(invalid("reserved"));
        }
        Ok(Self {
            cid: Cid::from_digest(codec, array(header, 16)),
            owner: OwnerId::from_bytes(array(header, 48)),
            root: header[6] & FLAG_ROOT != 0,
            moved: header[6] & FLAG_MOVED != 0,
            payload_bytes,
            payload_checksum: u64::from_be_bytes(array(header, 64)),
        })
    }
}

/// Returns the checksum used on disk: XXH3-64. It finds accidents, not forgeries; the CID finds those.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// Returns the byte that stands for a codec on disk: its multicodec number.
#[must_use]
pub const fn codec_byte(codec: Codec) -> u8 {
    match codec {
        Codec::Raw => 0x55,
        Codec::DagPb => 0x70,
    }
}

/// Returns the codec of its byte on disk, or `None`.
#[must_use]
pub const fn codec_of(byte: u8) -> Option<Codec> {
    match byte {
        0x55 => Some(Codec::Raw),
        0x70 => Some(Codec::DagPb),
        _ => None,
    }
}

/// Returns `N` bytes of a header from `at` on; every call stays inside it.
fn array<const N: usize>(header: &[u8; RECORD_HEADER_BYTES], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&header[at..at + N]);
    part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{RECORD_HEADER_BYTES, RecordError, RecordHeader, checksum};
    use crate::limits::BLOCK_BYTES_MAX;
    use crate::{Cid, OwnerId, cid::Codec};

    fn header() -> RecordHeader {
        let cid = Cid::of(Codec::Raw, b"shoal");
        RecordHeader::of(cid, OwnerId::from_bytes([7; 16]), true, b"shoal").unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_a_header_are_fixed() {
        // Given the record of the block "shoal"; a change of these bytes is a new version of the format.
        assert_eq!(hex(&header().encode()), GOLDEN);
        assert_eq!(RecordHeader::decode(&header().encode()), Ok(header()));
    }

    const GOLDEN: &str = concat!(
        "5368426b0101015500000005000000008886",
        "96c38e895dd742b8494f449219c12a256a16d0841b93813c841a298df92c",
        "07070707070707070707070707070707cbbd0e4e10bba14695c24a3f1395fbe9",
    );

    #[test]
    fn a_field_that_this_version_never_writes_is_refused() {
        let reject = |at: usize, value: u8| {
            let mut bytes = header().encode();
            bytes[at] = value;
            // Given a header that somebody wrote on purpose, with a checksum that fits.
            let sum = checksum(&bytes[..72]);
            bytes[72..].copy_from_slice(&sum.to_be_bytes());
            RecordHeader::decode(&bytes).unwrap_err()
        };
        assert_eq!(reject(0, b'X'), RecordError::Magic);
        assert_eq!(reject(4, 2), RecordError::Version { found: 2 });
        assert_eq!(reject(5, 0), RecordError::Field { field: "kind" });
        assert_eq!(reject(6, 4), RecordError::Field { field: "flags" });
        assert_eq!(reject(7, 0x71), RecordError::Field { field: "codec" });
        assert_eq!(reject(8, 0xFF), RecordError::Field { field: "payload_bytes" });
        assert_eq!(reject(13, 1), RecordError::Field { field: "reserved" });
        assert_eq!(RecordHeader::decode(&[0; 79]), Err(RecordError::Short { found: 79 }));
    }

    #[test]
    fn a_block_beyond_the_limit_gets_no_header() {
        let payload = vec![0; BLOCK_BYTES_MAX as usize + 1];
        let cid = Cid::of(Codec::Raw, b"");
        assert!(RecordHeader::of(cid, OwnerId::from_bytes([0; 16]), false, &payload).is_err());
    }

    proptest! {
        #[test]
        fn a_header_comes_back_as_it_was(
            digest: [u8; 32], owner: [u8; 16], root: bool, moved: bool, dag: bool,
            payload_bytes in 0..=BLOCK_BYTES_MAX, payload_checksum: u64,
        ) {
            let cid = Cid::from_digest(if dag { Codec::DagPb } else { Codec::Raw }, digest);
            let owner = OwnerId::from_bytes(owner);
            let header = RecordHeader { cid, owner, root, moved, payload_bytes, payload_checksum };
            prop_assert_eq!(RecordHeader::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn a_flipped_bit_is_noticed(at in 0..RECORD_HEADER_BYTES, bit in 0..8u8) {
            let mut bytes = header().encode();
            bytes[at] ^= 1 << bit;
            prop_assert!(RecordHeader::decode(&bytes).is_err());
        }

        #[test]
        fn bytes_of_any_kind_are_decoded_or_refused(bytes: Vec<u8>, framed: bool) {
            let mut bytes = bytes;
            if framed {
                // Given bytes that get past the magic and the checksum.
                bytes.resize(RECORD_HEADER_BYTES, 0);
                bytes[..4].copy_from_slice(b"ShBk");
                let sum = checksum(&bytes[..72]);
                bytes[72..].copy_from_slice(&sum.to_be_bytes());
            }
            if let Ok(header) = RecordHeader::decode(&bytes) {
                prop_assert!(header.payload_bytes <= BLOCK_BYTES_MAX);
            }
        }
    }
}
