//! Finding the weights under which everybody holds its fair share.

use super::contest::Contest;
use super::score::log2;
use super::share::SHARE_MAX;
use super::table::table_of;

/// Tunes the weights of a contest from nothing, and returns the table they give.
pub(super) fn found(contest: &mut Contest) -> Vec<u16> {
    let shares = contest.shares();
    for (member, share) in contest.members.iter_mut().zip(&shares) {
        member.weight = odds(*share, SHARE_MAX);
    }
    table_of(contest)
}

/// Returns the logarithm of `part : whole - part`, between -32 and 32.
fn odds(part: u64, whole: u64) -> i32 {
    (log2(part.max(1)) - log2(whole.saturating_sub(part).max(1))).clamp(-(32 << 20), 32 << 20)
}
