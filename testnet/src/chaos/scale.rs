//! How much of a scenario is run: as much as every change can afford, or all that was promised.

/// Set to 1, every scenario runs whole.
const VARIABLE: &str = "SHOAL_FULL";

/// Says whether scenarios run whole.
pub(super) fn is_full() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// Returns the one of two figures that this run is for.
pub(super) fn scaled<T>(everyday: T, full: T) -> T {
    if is_full() { full } else { everyday }
}
