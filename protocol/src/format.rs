//! The bytes of plain values, on the disk and between peers: one byte of version, then the value in postcard.
//!
//! Postcard describes nothing: fields are never added, removed or moved within a version, and enums only grow at their
//! end. The golden bytes in the tests of each module hold its values to that. Never: decides what a value means.
//! Source: postcard wire format specification, 1.0.

use bytes::{BufMut as _, Bytes, BytesMut};
use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of everything that is encoded here.
pub const FORMAT_VERSION: u8 = 1;

/// Why a value has no bytes, or bytes hold no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Written by a later version.
    #[error(
        "{what} has version {found}, expected {FORMAT_VERSION}: this peer is older than others"
    )]
    Version {
        /// What was read.
        what: &'static str,
        /// Its version.
        found: u8,
    },
    /// More bytes than it may have.
    #[error("{what} has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// What.
        what: &'static str,
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        bytes_max: usize,
    },
    /// Bytes that are no such value.
    #[error("{what} cannot be read: {detail}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// Why not.
        detail: String,
    },
}

/// Returns the bytes of a value.
///
/// # Errors
/// [`FormatError::TooLong`] beyond `bytes_max`; [`FormatError::Malformed`] for what postcard cannot write, which no
/// plain value is.
pub fn encode(
    what: &'static str,
    value: &impl Serialize,
    bytes_max: usize,
) -> Result<Bytes, FormatError> {
    let mut bytes = BytesMut::new();
    bytes.put_u8(FORMAT_VERSION);
    let encoded = postcard::serialize_with_flavor(value, Growing(bytes))
        .map_err(|error| FormatError::Malformed { what, detail: error.to_string() })?;
    if encoded.len() > bytes_max {
        return Err(FormatError::TooLong { what, bytes: encoded.len(), bytes_max });
    }
    Ok(encoded)
}

/// Where encoded bytes go: a run of bytes is copied at once, which the library's own for vectors does one by one.
struct Growing(BytesMut);

impl Flavor for Growing {
    type Output = Bytes;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put_u8(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Bytes> {
        Ok(self.0.freeze())
    }
}

/// Returns the value of bytes, which must be all of them. Memory is in proportion to their length.
///
/// # Errors
/// Any [`FormatError`].
pub fn decode<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    bytes_max: usize,
) -> Result<T, FormatError> {
    if bytes.len() > bytes_max {
        return Err(FormatError::TooLong { what, bytes: bytes.len(), bytes_max });
    }
    let malformed = |detail: String| FormatError::Malformed { what, detail };
    let (version, rest) = bytes.split_first().ok_or_else(|| malformed("no bytes".to_owned()))?;
    if *version != FORMAT_VERSION {
        return Err(FormatError::Version { what, found: *version });
    }
    let (value, rest) = postcard::take_from_bytes(rest).map_err(|e| malformed(e.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed(format!("{} bytes too many", rest.len())));
    }
    Ok(value)
}
/// Bytes inside a value, written and read at once rather than one by one.
pub(crate) mod blob {
    use core::fmt;

    use bytes::Bytes;
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        from.deserialize_bytes(Blob)
    }

    struct Blob;

    impl Visitor<'_> for Blob {
        type Value = Bytes;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
            Ok(Bytes::copy_from_slice(bytes))
        }
    }
}

/// Bytes as a value of their own, where a list or a map has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob(#[serde(with = "blob")] pub Bytes);
