//! A prefix with a few objects, as one value: what each operation may give, and what it leaves behind.

use todc_utils::specifications::Specification;

use super::record::Event;

/// Objects under one prefix.
pub(super) const KEYS: usize = 3;

/// Number of a value in its history. Each is written by one operation only.
pub(super) type Value = usize;

/// What every object holds; `None` for one that is not there.
pub(super) type Contents = [Option<Value>; KEYS];

/// An operation and its outcome; `None` where that is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Gave this.
    Read { key: usize, found: Option<Value> },
    /// Gave all of it at once.
    List { found: Contents },
    /// Wrote a value where there was none, or was refused.
    Create { key: usize, value: Value, is_done: Option<bool> },
    /// Wrote a value in place of the one expected, or was refused.
    Replace { key: usize, expected: Value, value: Value, is_done: Option<bool> },
    /// Deleted; whether there was something to delete.
    Delete { key: usize, existed: Option<bool> },
}

/// The sequential specification.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directory;

impl Specification for Directory {
    type State = Contents;
    type Operation = Operation;

    fn init() -> Contents {
        [None; KEYS]
    }

    fn apply(operation: &Operation, state: &Contents) -> (bool, Contents) {
        let at = |key: usize| state.get(key).copied().flatten();
        let put = |key: usize, value: Option<Value>| {
            let mut next = *state;
            if let Some(slot) = next.get_mut(key) {
                *slot = value;
            }
            next
        };
        let (would_be_done, told, next) = match *operation {
            Operation::Read { key, found } => return (at(key) == found, *state),
            Operation::List { found } => return (found == *state, *state),
            Operation::Create { key, value, is_done } => {
                (at(key).is_none(), is_done, put(key, Some(value)))
            }
            Operation::Replace { key, expected, value, is_done } => {
                (at(key) == Some(expected), is_done, put(key, Some(value)))
            }
            Operation::Delete { key, existed } => (at(key).is_some(), existed, put(key, None)),
        };
        let is_valid = told.is_none_or(|told| told == would_be_done);
        (is_valid, if is_valid && would_be_done { next } else { *state })
    }
}

/// Returns this history with one read made stale: it gives a value that had been replaced or deleted for certain
/// before the read began. `None` when there is no such read.
pub(super) fn falsified(events: &[Event<Operation>]) -> Option<Vec<Event<Operation>>> {
    let overwritten = |key: usize, old: Value, before: u64| {
        events.iter().any(|event| {
            let is_over = event.end.is_some_and(|end| end < before);
            is_over
                && matches!(event.operation, Operation::Replace { key: k, expected, is_done: Some(true), .. }
                    if k == key && expected == old)
        })
    };
    events.iter().enumerate().rev().find_map(|(at, event)| {
        let Operation::Read { key, found } = event.operation else { return None };
        let stale = events.iter().find_map(|earlier| match earlier.operation {
            Operation::Create { key: k, value, is_done: Some(true) }
            | Operation::Replace { key: k, value, is_done: Some(true), .. }
                if k == key && found != Some(value) && overwritten(key, value, event.begin) =>
            {
                Some(value)
            }
            Operation::Create { .. }
            | Operation::Replace { .. }
            | Operation::Delete { .. }
            | Operation::Read { .. }
            | Operation::List { .. } => None,
        })?;
        let mut changed = events.to_vec();
        changed.get_mut(at)?.operation = Operation::Read { key, found: Some(stale) };
        Some(changed)
    })
}

#[cfg(test)]
mod tests {
    use super::super::judge::is_linearizable;
    use super::super::record::Event;
    use super::{Directory, Operation, falsified};

    fn event(begin: u64, end: u64, operation: Operation) -> Event<Operation> {
        Event { begin, end: Some(end), operation }
    }

    fn create(value: usize, is_done: Option<bool>) -> Operation {
        Operation::Create { key: 0, value, is_done }
    }

    fn replace(expected: usize, value: usize, is_done: Option<bool>) -> Operation {
        Operation::Replace { key: 0, expected, value, is_done }
    }

    fn read(found: Option<usize>) -> Operation {
        Operation::Read { key: 0, found }
    }

    fn judge(events: &[Event<Operation>]) -> bool {
        is_linearizable::<Directory>(events)
    }

    #[test]
    fn one_after_the_other_is_right_and_a_stale_read_is_not() {
        let events = [
            event(0, 1, create(1, Some(true))),
            event(2, 3, replace(1, 2, Some(true))),
            event(4, 5, read(Some(2))),
        ];
        assert!(judge(&events));
        let stale = falsified(&events).unwrap();
        assert_eq!(stale[2].operation, read(Some(1)));
        assert!(!judge(&stale));
    }

    #[test]
    fn a_lost_write_a_double_creation_and_a_silently_ignored_condition_are_found() {
        let lost = [event(0, 1, create(1, Some(true))), event(2, 3, read(None))];
        assert!(!judge(&lost));
        let twice = [event(0, 1, create(1, Some(true))), event(2, 3, create(2, Some(true)))];
        assert!(!judge(&twice));
        let ignored = [
            event(0, 1, create(1, Some(true))),
            event(2, 3, replace(1, 2, Some(true))),
            event(4, 5, replace(1, 3, Some(true))),
        ];
        assert!(!judge(&ignored));
        let refused = [event(0, 1, create(1, Some(true))), event(2, 3, replace(1, 2, Some(false)))];
        assert!(!judge(&refused));
        let gone = Operation::Delete { key: 0, existed: Some(false) };
        assert!(!judge(&[event(0, 1, create(1, Some(true))), event(2, 3, gone)]));
    }

    #[test]
    fn what_overlaps_may_be_seen_in_either_order() {
        let write = event(0, 9, create(1, Some(true)));
        for found in [None, Some(1)] {
            assert!(judge(&[write.clone(), event(1, 2, read(found))]));
        }
        // Once seen, it stays.
        let events = [write, event(1, 2, read(Some(1))), event(3, 4, read(None))];
        assert!(!judge(&events));
    }

    #[test]
    fn an_unknown_outcome_may_come_at_any_time_or_never_but_once() {
        let open = Event { begin: 0, end: None, operation: create(1, None) };
        let before = event(1, 2, read(None));
        assert!(judge(&[open.clone(), before.clone(), event(3, 4, read(None))]));
        assert!(judge(&[open.clone(), before.clone(), event(3, 4, read(Some(1)))]));
        let delete = |begin| {
            let operation = Operation::Delete { key: 0, existed: Some(true) };
            event(begin, begin + 1, operation)
        };
        let events = [open.clone(), delete(1), event(3, 4, read(None)), delete(5)];
        assert!(!judge(&events));
        // Nor before it began.
        let early = Event { begin: 5, ..open };
        assert!(!judge(&[event(1, 2, read(Some(1))), early]));
    }

    #[test]
    fn a_list_is_of_one_moment() {
        let other = Operation::Create { key: 1, value: 2, is_done: Some(true) };
        let list = |found| Operation::List { found };
        let events = [
            event(0, 1, create(1, Some(true))),
            event(2, 9, other),
            event(3, 8, list([Some(1), Some(2), None])),
        ];
        assert!(judge(&events));
        let [first, second, _] = events;
        assert!(!judge(&[first, second, event(3, 8, list([None, Some(2), None]))]));
    }
}
