//! Names whose objects may be another than the index has them: what is to be looked at again.
//!
//! Owns the names, each once, [`SEARCH_BACKLOG_MAX`] at most: beyond that everything is looked at. Never: reads an object.

use std::collections::BTreeSet;

use crate::limits::SEARCH_BACKLOG_MAX;
use crate::metadata::ObjectName;

/// What is to be looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// Everything: how an index begins, and after something was missed.
    All,
    /// These.
    Some(BTreeSet<ObjectName>),
}

impl Backlog {
    /// Returns a backlog of nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Some(BTreeSet::new())
    }

    /// Notes that an object changed.
    pub fn note(&mut self, name: ObjectName) {
        if let Self::Some(names) = self {
            names.insert(name);
            if names.len() > SEARCH_BACKLOG_MAX {
                *self = Self::All;
            }
        }
    }

    /// Says whether nothing is to be looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Some(names) if names.is_empty())
    }

    /// Returns all of it, and leaves nothing.
    pub fn take(&mut self) -> Self {
        core::mem::replace(self, Self::empty())
    }

    /// Puts back what was taken in vain.
    pub fn put_back(&mut self, taken: Self) {
        match taken {
            Self::All => *self = Self::All,
            Self::Some(names) => names.into_iter().for_each(|name| self.note(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Backlog;
    use crate::limits::SEARCH_BACKLOG_MAX;
    use crate::metadata::{BucketName, ObjectKey, ObjectName};

    fn name(number: usize) -> ObjectName {
        let bucket = BucketName::new("photos").expect("it is a name");
        ObjectName { bucket, key: ObjectKey::new(&number.to_string()).expect("it is a key") }
    }

    #[test]
    fn a_name_is_kept_once_and_too_many_are_everything() {
        let mut backlog = Backlog::empty();
        assert!(backlog.is_empty());
        (0..SEARCH_BACKLOG_MAX).chain(0..5).for_each(|number| backlog.note(name(number)));
        assert!(matches!(&backlog, Backlog::Some(names) if names.len() == SEARCH_BACKLOG_MAX));
        backlog.note(name(SEARCH_BACKLOG_MAX));
        assert_eq!(backlog, Backlog::All);
        backlog.note(name(1));
        assert_eq!(backlog.take(), Backlog::All);
        assert!(backlog.is_empty());
    }

    #[test]
    fn what_was_taken_in_vain_is_there_again_beside_what_came_since() {
        let mut backlog = Backlog::empty();
        backlog.note(name(1));
        let taken = backlog.take();
        backlog.note(name(2));
        backlog.put_back(taken);
        assert_eq!(backlog, Backlog::Some([name(1), name(2)].into()));
        backlog.put_back(Backlog::All);
        assert_eq!(backlog, Backlog::All);
    }
}
