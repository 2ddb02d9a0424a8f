//! Tokens: made, and recognised by their hash.
//!
//! Never: stores one; `protocol::metadata` keeps hashes.

use protocol::invite::secret_hash;

/// What every token begins with, so that people and scanners of leaked secrets recognise one.
const PREFIX: &str = "shoal_";

/// Returns a new token: 256 bits of the operating system's randomness as text.
#[must_use]
pub fn new_token() -> String {
    let mut bytes = [0; 32];
    crate::env::real::fill(&mut bytes);
    text_of(&bytes)
}

/// Returns the token of these 32 random bytes.
#[must_use]
pub fn text_of(bytes: &[u8; 32]) -> String {
    format!("{PREFIX}{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Returns what a cluster remembers of a token.
#[must_use]
pub fn hash_of(token: &str) -> [u8; 32] {
    secret_hash(token.as_bytes())
}
