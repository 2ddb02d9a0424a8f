//! A lock as one value: one holder, a queue in the order of asking, fences that rise.

use std::collections::VecDeque;

use todc_utils::specifications::Specification;

use super::record::Event;

/// Who asks: the number of a client.
pub(super) type Owner = u64;

/// What an owner was told who asked for the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It holds the lock, with this fence.
    Granted(u64),
    /// It waits, at this place.
    Queued(u64),
}

/// An operation and its outcome; `None` where that is unknown. Leases last longer than any history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Took the lock, or a place in its queue.
    Acquire { owner: Owner, told: Option<Told> },
    /// Gave it up, or was told that it was not its own.
    Release { owner: Owner, fence: u64, is_done: Option<bool> },
    /// Gave up the place in the queue, or was told that it is the holder.
    Withdraw { owner: Owner, is_holder: bool },
    /// Showed who holds it, with which fence, and how many wait.
    Show { holder: Option<(Owner, u64)>, waiting: u64 },
}

/// Who holds a lock, and who waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// The holder and its fence. One that came to its turn has a fence that nobody has seen yet.
    holder: Option<(Owner, Option<u64>)>,
    waiting: VecDeque<Owner>,
    /// The highest fence that was seen of holders before.
    fence_last: u64,
}

impl State {
    fn pass_on(&mut self) {
        if let Some((_, Some(fence))) = self.holder {
            self.fence_last = self.fence_last.max(fence);
        }
        self.holder = self.waiting.pop_front().map(|next| (next, None));
    }

    /// Says whether `owner` may hold the lock with this fence, which is known from now on.
    fn is_held_with(&mut self, owner: Owner, fence: u64) -> bool {
        match &mut self.holder {
            Some((holder, known)) if *holder == owner => match known {
                Some(known) => *known == fence,
                None if fence > self.fence_last => {
                    *known = Some(fence);
                    true
                }
                None => false,
            },
            Some(_) | None => false,
        }
    }

    /// Has an owner ask; returns its place, 0 for the holder.
    fn ask(&mut self, owner: Owner) -> u64 {
        match self.holder {
            None => self.holder = Some((owner, None)),
            Some((holder, _)) if holder == owner => {}
            Some(_) if self.waiting.contains(&owner) => {}
            Some(_) => self.waiting.push_back(owner),
        }
        let place = self.waiting.iter().position(|waiting| *waiting == owner);
        place.map_or(0, |place| place as u64 + 1)
    }

    /// Changes what an operation changes, and says whether its outcome fits.
    fn admit(&mut self, operation: &Operation) -> bool {
        match *operation {
            Operation::Acquire { owner, told } => match (self.ask(owner), told) {
                (_, None) => true,
                (0, Some(Told::Granted(fence))) => self.is_held_with(owner, fence),
                (place, Some(Told::Queued(told))) => place > 0 && place == told,
                (_, Some(Told::Granted(_))) => false,
            },
            Operation::Release { owner, fence, is_done } => {
                let is_held = self.clone().is_held_with(owner, fence);
                if is_held {
                    self.is_held_with(owner, fence);
                    self.pass_on();
                }
                is_done.is_none_or(|is_done| is_done == is_held)
            }
            Operation::Withdraw { owner, is_holder: true } => {
                self.holder.is_some_and(|(holder, _)| holder == owner)
            }
            // Who came to its turn meanwhile keeps it.
            Operation::Withdraw { owner, is_holder: false } => {
                self.waiting.retain(|waiting| *waiting != owner);
                true
            }
            Operation::Show { holder, waiting } => {
                let is_holder = match holder {
                    None => self.holder.is_none(),
                    Some((owner, fence)) => self.is_held_with(owner, fence),
                };
                is_holder && waiting == self.waiting.len() as u64
            }
        }
    }
}

/// The sequential specification.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lock;

impl Specification for Lock {
    type State = State;
    type Operation = Operation;

    fn init() -> State {
        State::default()
    }

    fn apply(operation: &Operation, state: &State) -> (bool, State) {
        let mut next = state.clone();
        match next.admit(operation) {
            true => (true, next),
            false => (false, state.clone()),
        }
    }
}

/// Returns this history with the fences of two grants exchanged, one of which was over before the other began.
/// `None` when there are no two.
pub(super) fn falsified(events: &[Event<Operation>]) -> Option<Vec<Event<Operation>>> {
    let fence_of = |event: &Event<Operation>| match event.operation {
        Operation::Acquire { told: Some(Told::Granted(fence)), .. } => Some(fence),
        Operation::Acquire { .. }
        | Operation::Release { .. }
        | Operation::Withdraw { .. }
        | Operation::Show { .. } => None,
    };
    let grants = || events.iter().enumerate().filter_map(|(at, e)| Some((at, e, fence_of(e)?)));
    let (first, low, last, high) = grants().find_map(|(first, early, low)| {
        let (last, _, high) = grants()
            .find(|(_, late, high)| *high > low && early.end.is_some_and(|end| end < late.begin))?;
        Some((first, low, last, high))
    })?;
    let mut changed = events.to_vec();
    for (at, fence) in [(first, high), (last, low)] {
        if let Operation::Acquire { told, .. } = &mut changed.get_mut(at)?.operation {
            *told = Some(Told::Granted(fence));
        }
    }
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::super::judge::is_linearizable;
    use super::super::record::Event;
    use super::{Lock, Operation, Told, falsified};

    fn acquire(owner: u64, told: Told) -> Operation {
        Operation::Acquire { owner, told: Some(told) }
    }

    fn release(owner: u64, fence: u64, is_done: bool) -> Operation {
        Operation::Release { owner, fence, is_done: Some(is_done) }
    }

    /// Judges operations that come one after the other.
    fn judge(operations: &[Operation]) -> bool {
        is_linearizable::<Lock>(&events(operations))
    }

    fn events(operations: &[Operation]) -> Vec<Event<Operation>> {
        let event = |(at, operation): (u64, &Operation)| Event {
            begin: 2 * at,
            end: Some(2 * at + 1),
            operation: operation.clone(),
        };
        (0..).zip(operations).map(event).collect()
    }

    #[test]
    fn a_lock_is_passed_on_in_the_order_of_asking() {
        let all = [
            acquire(1, Told::Granted(5)),
            acquire(2, Told::Queued(1)),
            acquire(3, Told::Queued(2)),
            acquire(2, Told::Queued(1)),
            Operation::Show { holder: Some((1, 5)), waiting: 2 },
            release(1, 5, true),
            acquire(3, Told::Queued(1)),
            acquire(2, Told::Granted(9)),
            release(1, 5, false),
            Operation::Withdraw { owner: 2, is_holder: true },
            Operation::Withdraw { owner: 3, is_holder: false },
            release(2, 9, true),
            Operation::Show { holder: None, waiting: 0 },
        ];
        assert!(judge(&all));
        assert!(!is_linearizable::<Lock>(&falsified(&events(&all)).unwrap()));
    }

    #[test]
    fn two_holders_an_overtaken_waiter_and_a_falling_fence_are_found() {
        assert!(!judge(&[acquire(1, Told::Granted(5)), acquire(2, Told::Granted(6))]));
        let withdrawn = Operation::Withdraw { owner: 2, is_holder: true };
        assert!(!judge(&[acquire(1, Told::Granted(5)), acquire(2, Told::Queued(1)), withdrawn]));
        let overtaken = [
            acquire(1, Told::Granted(5)),
            acquire(2, Told::Queued(1)),
            acquire(3, Told::Queued(2)),
            release(1, 5, true),
            acquire(3, Told::Granted(9)),
        ];
        assert!(!judge(&overtaken));
        let falling =
            [acquire(1, Told::Granted(5)), release(1, 5, true), acquire(2, Told::Granted(4))];
        assert!(!judge(&falling));
        assert!(!judge(&[acquire(1, Told::Granted(5)), release(1, 5, false)]));
    }

    #[test]
    fn an_unknown_release_may_have_passed_the_lock_on_or_not() {
        let mut all = events(&[
            acquire(1, Told::Granted(5)),
            acquire(2, Told::Queued(1)),
            Operation::Release { owner: 1, fence: 5, is_done: None },
            acquire(2, Told::Granted(7)),
        ]);
        all[2].end = None;
        assert!(is_linearizable::<Lock>(&all));
        all[3].operation = acquire(2, Told::Queued(1));
        assert!(is_linearizable::<Lock>(&all));
        all.remove(2);
        assert!(is_linearizable::<Lock>(&all));
        all[2].operation = acquire(2, Told::Granted(7));
        assert!(!is_linearizable::<Lock>(&all));
    }
}
