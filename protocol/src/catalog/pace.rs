//! How often a cluster tells how its catalog stands while nothing changes, so that all heads together stay within a budget.
//!
//! Every head reaches every peer of the overlay, several times over: what that costs a peer rises with the number of clusters, and
//! falls with the time between two heads. Never: tells; reads a clock.

use core::time::Duration;

use crate::limits::{CATALOG_REFRESH, CATALOG_REFRESH_MAX, HEAD_BUDGET_BYTES, HEAD_COST_BYTES};

/// Returns the time between two heads of one cluster, where so many clusters are known, its own included: never shorter for more.
/// Up to [`CATALOG_REFRESH_MAX`] no peer sends more than [`HEAD_BUDGET_BYTES`] a second for heads.
#[must_use]
pub fn refresh_period(clusters: usize) -> Duration {
    let clusters = u64::try_from(clusters).unwrap_or(u64::MAX);
    let seconds = clusters.saturating_mul(HEAD_COST_BYTES).div_ceil(HEAD_BUDGET_BYTES);
    Duration::from_secs(seconds).clamp(CATALOG_REFRESH, CATALOG_REFRESH_MAX)
}

/// Returns after what time a cluster counts as silent that was not heard of: three heads that should have come, and some.
#[must_use]
pub(super) fn silent_after(clusters: usize) -> Duration {
    refresh_period(clusters) * 3 + Duration::from_secs(5)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{refresh_period, silent_after};
    use crate::limits::{CATALOG_REFRESH, CATALOG_REFRESH_MAX, HEAD_BUDGET_BYTES, HEAD_COST_BYTES};

    #[test]
    fn few_clusters_tell_often_and_no_number_is_too_large() {
        assert_eq!((refresh_period(0), refresh_period(5)), (CATALOG_REFRESH, CATALOG_REFRESH));
        assert_eq!(refresh_period(usize::MAX), CATALOG_REFRESH_MAX);
        assert!(silent_after(1) > 3 * CATALOG_REFRESH);
    }

    proptest! {
        #[test]
        fn the_budget_holds(clusters in 0_usize..20_000) {
            let period = refresh_period(clusters);
            prop_assert!(period <= refresh_period(clusters + 1));
            prop_assert!(clusters as u64 * HEAD_COST_BYTES <= HEAD_BUDGET_BYTES * period.as_secs());
        }
    }
}
