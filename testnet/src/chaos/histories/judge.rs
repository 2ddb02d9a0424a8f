//! Whether a history is one that a single, never failing copy could have given.
//!
//! The package `todc-utils` has its home here and in the specifications beside. Its checker wants an answer to every call; an operation whose outcome is
//! unknown gets one behind everything else, and its specification accepts it in any state: linearized last, where
//! nobody looks any more, it is one that never happened.

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use super::record::Event;

/// Says whether some order of these operations, each between its begin and its end, gives what they gave.
///
/// Cost: exponential in the operations under way at a time at worst, unknown ones included; else quadratic.
pub(super) fn is_linearizable<S: Specification>(events: &[Event<S::Operation>]) -> bool {
    if events.is_empty() {
        return true;
    }
    // An operation is a process of its own: one with an unknown outcome goes on beside its client's next one.
    let mut points: Vec<(u64, usize, Action<S::Operation>)> = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let end = event.end.unwrap_or(u64::MAX);
        points.push((event.begin, number, Action::Call(event.operation.clone())));
        points.push((end, number, Action::Response(event.operation.clone())));
    }
    points.sort_by_key(|(moment, number, _)| (*moment, *number));
    let actions = points.into_iter().map(|(_, number, action)| (number, action)).collect();
    WGLChecker::<S>::is_linearizable(History::from_actions(actions))
}
