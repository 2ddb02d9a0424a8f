//! The names of peers, clusters and owners: fixed-size values with one text form each.
//!
//! As serde values they are their bytes, for binary formats; texts for people are made by `Display`.
//! Never: generates an id. Random ones come from `node`.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cid::{Cid, Codec};

/// Bytes before the key in a libp2p peer id of an Ed25519 key: identity multihash of 36 bytes,
/// holding a Protobuf `PublicKey { type: Ed25519, data: 32 bytes }`.
/// Source: libp2p specs, `peer-ids/peer-ids.md`.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A text that is no id of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

/// A peer, known by its Ed25519 public key. Text: the libp2p peer id, `12D3Koo…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// Returns the peer that holds the Ed25519 public key `key`.
    #[must_use]
    pub const fn from_public_key(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Returns the peer's Ed25519 public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the libp2p bytes of this id: the multihash that wraps the key.
    #[must_use]
    pub fn to_libp2p_bytes(&self) -> [u8; 38] {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        bytes
    }

    /// Returns the peer of libp2p id bytes, or `None` when its key is not an Ed25519 key.
    #[must_use]
    pub fn from_libp2p_bytes(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(Self(key.try_into().ok()?))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_libp2p_bytes()).into_string())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 38];
        // The buffer bounds what is decoded, however long the text is.
        match bs58::decode(text).onto(&mut bytes) {
            Ok(38) => Self::from_libp2p_bytes(&bytes),
            Ok(_) | Err(_) => None,
        }
        .ok_or_else(|| IdError { text: clipped(text), expected: "a peer id (12D3Koo…)" })
    }
}

/// A cluster. Text: 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId([u8; 16]);

/// Whoever holds references to blocks: one upload. Text: 32 lower-case hexadecimal digits.
///
/// A block is kept while any owner refers to it, so that an abandoned upload can be taken back
/// without touching blocks that another one shares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OwnerId([u8; 16]);

impl OwnerId {
    /// Nobody: marks a block that replaces a corrupt copy. It adds no reference, and is stored only where
    /// somebody refers to the block already.
    pub const REPAIR: Self = Self([0; 16]);
}

macro_rules! hex_id {
    ($name:ident, $expected:literal) => {
        impl $name {
            /// Returns the id of these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes of this id.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { text: clipped(text), expected: $expected };
                let digits = text.as_bytes();
                if digits.len() != 32 || !digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
                    return Err(error());
                }
                let mut bytes = [0; 16];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    let pair = core::str::from_utf8(pair).map_err(|_| error())?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| error())?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

impl ClusterId {
    /// Returns the id of the cluster that signs with this Ed25519 public key: the first half of its SHA-256. Two keys of one id
    /// take 2^128 tries where one of them is given.
    #[must_use]
    pub fn of_key(key: &[u8; 32]) -> Self {
        let named = [b"shoal cluster".as_slice(), key].concat();
        let digest = Cid::of(Codec::Raw, &named);
        let (half, _) = digest.digest().split_first_chunk().unwrap_or((&[0; 16], &[]));
        Self(*half)
    }
}

hex_id!(ClusterId, "a cluster id (32 hexadecimal digits)");
hex_id!(OwnerId, "an owner id (32 hexadecimal digits)");

/// Returns at most 80 characters of `text`: enough to recognise it in an error message.
fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::{ClusterId, PeerId};

    #[test]
    fn a_peer_id_has_the_libp2p_text_form() {
        // Given the all-zero key, whose libp2p id is well known to start with 12D3Koo.
        let peer = PeerId::from_public_key([0; 32]);
        let text = peer.to_string();
        assert!(text.starts_with("12D3Koo"), "{text}");
        assert_eq!(text.parse(), Ok(peer));
    }

    #[test]
    fn texts_that_are_no_ids_are_refused() {
        for text in
            ["", "12D3Koo", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", &"1".repeat(10_000)]
        {
            assert!(text.parse::<PeerId>().is_err(), "{text}");
        }
        for text in [
            "",
            "0",
            &"g".repeat(32),
            &"A".repeat(32),
            &"0".repeat(33),
            "é0000000000000000000000000000000",
        ] {
            assert!(text.parse::<ClusterId>().is_err(), "{text}");
        }
        assert_eq!("00ff".repeat(8).parse::<ClusterId>().unwrap().to_string(), "00ff".repeat(8));
    }
}
