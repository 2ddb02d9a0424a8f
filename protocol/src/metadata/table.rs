//! Typed reads of the tables, shared by `apply` and the queries.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::apply::ApplyError;
use super::keys;
use super::source::Source;
use crate::OwnerId;
use crate::format::{FormatError, decode, encode};

/// Returns the value of a key.
pub(super) fn get<T: DeserializeOwned>(
    source: &dyn Source,
    key: &[u8],
) -> Result<Option<T>, ApplyError> {
    source.get(key)?.map(|bytes| value(key, &bytes)).transpose()
}

/// Returns what the bytes of a key's value hold.
pub(super) fn value<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, ApplyError> {
    decode("a value", bytes, usize::MAX).map_err(|error| corrupt(key, &error))
}

/// Returns the bytes of a value.
pub(super) fn bytes(key: &[u8], value: &impl Serialize) -> Result<Bytes, ApplyError> {
    encode("a value", value, usize::MAX).map_err(|error| corrupt(key, &error))
}

/// Returns the first rows of a table whose keys begin with `prefix`, from `from` on when it is given.
pub(super) fn rows(
    source: &dyn Source,
    prefix: &[u8],
    from: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, Bytes)>, ApplyError> {
    Ok(source.scan(from.unwrap_or(prefix), Some(&keys::behind(prefix)), limit)?)
}

/// Returns the first values of a table whose keys begin with `prefix`.
pub(super) fn values<T: DeserializeOwned>(
    source: &dyn Source,
    prefix: &[u8],
    from: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<T>, ApplyError> {
    let rows = rows(source, prefix, from, limit)?;
    rows.iter().map(|(key, bytes)| value(key, bytes)).collect()
}

/// Returns the number at the end of a key.
pub(super) fn number_in(key: &[u8]) -> Result<u64, ApplyError> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(|| {
        let error = FormatError::Malformed { what: "a key", detail: "too short".to_owned() };
        corrupt(key, &error)
    })
}

/// Returns the number of the session that an upload began in: the log index at which it was opened.
#[must_use]
pub fn session_of(upload: OwnerId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *upload.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Returns the error of a key whose parts are no names.
pub(super) fn corrupt_name(key: &[u8]) -> ApplyError {
    let detail = "it does not end in a name".to_owned();
    corrupt(key, &FormatError::Malformed { what: "a key", detail })
}

/// Returns the error of a value that another one says is there.
pub(super) fn missing(key: &[u8]) -> ApplyError {
    corrupt(key, &FormatError::Malformed { what: "a value", detail: "it is missing".to_owned() })
}

pub(super) fn corrupt(key: &[u8], error: &FormatError) -> ApplyError {
    // The table and the beginning of the key tell where to look; a key can be a kilobyte long.
    let shown = key.get(..key.len().min(64)).unwrap_or_default();
    ApplyError::Corrupt { key: shown.escape_ascii().to_string(), detail: error.to_string() }
}

/// Returns the id of an upload that begins in a session: the session's number, and one that its peer never gave
/// to another upload of the session.
#[must_use]
pub fn upload_in(session: u64, number: u64) -> OwnerId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&session.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    OwnerId::from_bytes(bytes)
}
