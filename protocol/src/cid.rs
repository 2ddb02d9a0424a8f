//! Content identifiers: the names of blocks.
//!
//! Only what Shoal stores: version 1, raw or dag-pb, SHA-256. That makes a [`Cid`] a small `Copy`
//! value, and rules out identity hashes (a name that carries its own data) and weak hashes.
//! The one home of the packages `cid` and `multihash`. Never: IO.
//! Source: CID specification (multiformats/cid), multicodec table.

use core::fmt;
use core::str::FromStr;

use multihash_codetable::{Code, MultihashDigest};
use serde::{Deserialize, Serialize};

/// Multicodec of SHA-256.
const SHA2_256: u64 = 0x12;
/// Longest accepted text, in characters: base32 of a version-1 CID has 59, any other base fewer than this.
const TEXT_CHARS_MAX: usize = 128;

/// How the bytes of a block are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// Bytes of a file, as they are (`raw`, 0x55).
    Raw,
    /// A node with links, UnixFS inside (`dag-pb`, 0x70).
    DagPb,
}

impl Codec {
    /// Returns the multicodec number.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagPb => 0x70,
        }
    }
}

/// Why a text or bytes are not a CID that Shoal can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// Not a CID at all.
    #[error("{text:?} is not a CID")]
    Malformed { text: String },
    /// A CID, but of a kind that is not stored here.
    #[error(
        "CID with version {version}, codec 0x{codec:x} and hash 0x{hash:x} is not supported (only raw or dag-pb with SHA-256)"
    )]
    Unsupported { version: u64, codec: u64, hash: u64 },
}

/// The name of a block: its codec and the SHA-256 of its bytes.
///
/// Text: CIDv1 in base32 (`bafk…`, `bafy…`). Version 0 (`Qm…`) is read, and becomes version 1.
/// As a serde value it is its fields, for binary formats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cid {
    digest: [u8; 32],
    codec: Codec,
}

impl Cid {
    /// Bytes of the binary form: version, codec, hash code, hash length, digest.
    pub const BYTES: usize = 36;

    /// Returns the name of a block. Cost: one SHA-256 over `bytes`, about 0.5 ms a MiB.
    #[must_use]
    pub fn of(codec: Codec, bytes: &[u8]) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(Code::Sha2_256.digest(bytes).digest());
        Self { digest, codec }
    }

    /// Returns the CID of a digest that was computed before.
    #[must_use]
    pub const fn from_digest(codec: Codec, digest: [u8; 32]) -> Self {
        Self { digest, codec }
    }

    /// Says whether `bytes` are the block of this name. Cost: as [`Cid::of`].
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        Self::of(self.codec, bytes) == *self
    }

    /// Returns how the block's bytes are to be read.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Returns the SHA-256 of the block: what placement and indexes go by.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Returns the binary CIDv1.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        // Both codec numbers fit one byte of varint.
        bytes[0] = 1;
        bytes[1] = match self.codec {
            Codec::Raw => 0x55,
            Codec::DagPb => 0x70,
        };
        bytes[2] = 0x12;
        bytes[3] = 32;
        bytes[4..].copy_from_slice(&self.digest);
        bytes
    }

    /// Returns the CID of its binary form, which must be all of `bytes`.
    ///
    /// # Errors
    /// [`CidError::Malformed`] or [`CidError::Unsupported`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        let malformed = || CidError::Malformed { text: format!("{} bytes", bytes.len()) };
        if bytes.len() > TEXT_CHARS_MAX {
            return Err(malformed());
        }
        let mut rest = bytes;
        let parsed = cid::Cid::read_bytes(&mut rest).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        Self::from_general(&parsed)
    }

    fn from_general(general: &cid::Cid) -> Result<Self, CidError> {
        let unsupported = || CidError::Unsupported {
            version: general.version().into(),
            codec: general.codec(),
            hash: general.hash().code(),
        };
        let codec = match general.codec() {
            0x55 => Codec::Raw,
            0x70 => Codec::DagPb,
            _ => return Err(unsupported()),
        };
        if general.hash().code() != SHA2_256 {
            return Err(unsupported());
        }
        let digest = general.hash().digest().try_into().map_err(|_| unsupported())?;
        Ok(Self { digest, codec })
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash =
            multihash::Multihash::<64>::wrap(SHA2_256, &self.digest).map_err(|_| fmt::Error)?;
        fmt::Display::fmt(&cid::Cid::new_v1(self.codec.code(), hash), f)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cid {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, CidError> {
        let malformed = || CidError::Malformed { text: text.chars().take(80).collect() };
        if text.len() > TEXT_CHARS_MAX {
            return Err(malformed());
        }
        let general = cid::Cid::try_from(text).map_err(|_| malformed())?;
        Self::from_general(&general)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cid, CidError, Codec};

    const EMPTY: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    #[test]
    fn the_empty_block_has_the_cid_that_everybody_computes() {
        let cid = Cid::of(Codec::Raw, b"");
        assert_eq!(cid.to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(cid));
        assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
        assert!(cid.matches(b"") && !cid.matches(b"x"));
    }

    #[test]
    fn version_0_is_read_as_version_1() {
        let v0: Cid = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".parse().unwrap();
        assert_eq!(v0.codec(), Codec::DagPb);
        assert!(v0.to_string().starts_with("bafybei"));
    }

    #[test]
    fn identity_hashes_and_nonsense_are_refused() {
        // Given a CID whose identity hash carries the data itself.
        let identity = [1, 0x55, 0x00, 2, b'h', b'i'];
        assert!(matches!(Cid::from_bytes(&identity), Err(CidError::Unsupported { hash: 0, .. })));
        let mut trailing = Cid::of(Codec::Raw, b"").to_bytes().to_vec();
        trailing.push(0);
        assert!(Cid::from_bytes(&trailing).is_err());
        for text in ["", "x", "bafk", &"b".repeat(100_000)] {
            assert!(text.parse::<Cid>().is_err(), "{text:.20}");
        }
    }
}
