//! Seeds that once failed: each must stay clean, for the reason beside it.

/// A seed, and what it found.
pub const SEEDS: &[(u64, &str)] = &[(
    266,
    "an upload of the storm that was acknowledged in the calm lost its gateway's disk there",
)];
