//! Seeds that once failed: each must stay clean, for the reason beside it.

/// A seed, and what it found.
pub const SEEDS: &[(u64, &str)] = &[];
