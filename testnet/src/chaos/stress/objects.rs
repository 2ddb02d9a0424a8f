//! What clients know of each object, and what they may be shown of it.
//!
//! An object goes through numbered changes, one at a time; which ones follows from its key, so that nothing but numbers
//! has to be remembered. Whoever reads may be shown every change from the last one that was done when he began to the
//! last one that was begun when he ended. Never: asks anybody.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::Prng;

use crate::content::Content;

/// Where the objects are.
pub(super) const BUCKET: &str = "stress";

/// Keys of a folder, which is what is listed.
pub(super) const FOLDER: u32 = 50;

/// Of so many changes of an object one deletes it.
const CHANGES_A_DELETION: u64 = 4;

/// Sizes of contents, the larger the rarer: below and above what lies in segments of its own, and more than a chunk.
const SIZES: [(u64, u64); 4] =
    [(0, 4 << 10), (4 << 10, 24 << 10), (24 << 10, 256 << 10), (256 << 10, 2 << 20)];

/// All objects.
#[derive(Debug)]
pub(super) struct Objects(Vec<Mutex<Numbers>>);

/// The last changes of an object: every one before is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Numbers {
    begun: u32,
    done: u32,
}

/// Changes that may be seen, both ends included. Before the first change, the object is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) from: u32,
    pub(super) until: u32,
}

/// What a change leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    Content(Content),
}

impl Objects {
    /// Returns so many objects, none of which is there.
    pub(super) fn new(count: u32) -> Self {
        Self((0..count).map(|_| Mutex::default()).collect())
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn numbers(&self, key: u32) -> MutexGuard<'_, Numbers> {
        // A panic elsewhere leaves two numbers as they are.
        self.0[key as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the next change of an object and returns its number, unless another one is under way.
    pub(super) fn begin(&self, key: u32) -> Option<u32> {
        let mut numbers = self.numbers(key);
        (numbers.begun == numbers.done).then(|| {
            numbers.begun += 1;
            numbers.begun
        })
    }

    /// Notes that the change that was begun is acknowledged.
    pub(super) fn end(&self, key: u32) {
        let mut numbers = self.numbers(key);
        numbers.done = numbers.begun;
    }

    /// Returns the last change that is done.
    pub(super) fn done(&self, key: u32) -> u32 {
        self.numbers(key).done
    }

    /// Returns what may be shown to somebody who began when `from` was the last change that was done, and ends now.
    pub(super) fn seen(&self, key: u32, from: u32) -> Seen {
        Seen { from, until: self.numbers(key).begun }
    }
}

/// Returns an object's name. Folders are numbered, and each holds some keys.
pub(super) fn name(key: u32) -> String {
    format!("{}{:06}", folder(key / FOLDER), key % FOLDER)
}

/// Returns the beginning that all keys of a folder share.
pub(super) fn folder(number: u32) -> String {
    format!("{number:06}/")
}

/// Returns what a change leaves of an object.
pub(super) fn left(key: u32, number: u32) -> Left {
    if number == 0 {
        return Left::Nothing;
    }
    let seed = key.wrapping_mul(0x9E37_79B9) ^ number.wrapping_mul(0x85EB_CA6B);
    let mut prng = Prng::new(seed.into());
    // The first change of all makes it.
    if number > 1 && prng.below(CHANGES_A_DELETION) == 0 {
        return Left::Nothing;
    }
    let class = match prng.below(1_000) {
        0..500 => 0,
        500..900 => 1,
        900..995 => 2,
        _ => 3,
    };
    let (least, most) = SIZES[class];
    Left::Content(Content { seed, size: least + prng.below(most - least) })
}

impl Seen {
    fn changes(self, key: u32) -> impl Iterator<Item = Left> {
        (self.from..=self.until).map(move |number| left(key, number))
    }

    /// Judges a reading of an object: its whole content, or that there is none.
    ///
    /// # Errors
    /// It cannot have been so.
    pub(super) fn judge(self, key: u32, found: Option<&Bytes>) -> Result<(), String> {
        let is_so = |left: Left| match (left, found) {
            (Left::Nothing, None) => true,
            (Left::Content(content), Some(bytes)) => {
                bytes.len() as u64 == content.size && *bytes == content.slice(0, content.size)
            }
            (Left::Nothing, Some(_)) | (Left::Content(_), None) => false,
        };
        match self.changes(key).any(is_so) {
            true => Ok(()),
            false => Err(self.told(key, found.map(|bytes| bytes.len() as u64))),
        }
    }

    /// Judges whether, and how long, an object is in a listing.
    ///
    /// # Errors
    /// It cannot have been so.
    pub(super) fn judge_listed(self, key: u32, size: Option<u64>) -> Result<(), String> {
        let is_so = |left: Left| match left {
            Left::Nothing => size.is_none(),
            Left::Content(content) => size == Some(content.size),
        };
        match self.changes(key).any(is_so) {
            true => Ok(()),
            false => Err(self.told(key, size)),
        }
    }

    fn told(self, key: u32, size: Option<u64>) -> String {
        let found = size.map_or_else(|| "nothing".to_owned(), |size| format!("{size} bytes"));
        let might: Vec<String> =
            self.changes(key).take(5).map(|left| format!("{left:?}")).collect();
        format!("{}: {found} where changes {self:?} leave {}", name(key), might.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Left, Objects, Seen, left, name};

    #[test]
    fn a_reader_is_shown_what_was_there_while_it_read() {
        let objects = Objects::new(3);
        let key = 2;
        assert_eq!((objects.count(), name(key).as_str()), (3, "000000/000002"));
        let before = objects.done(key);
        assert_eq!(objects.begin(key), Some(1));
        assert_eq!(objects.begin(key), None, "one at a time");
        let Left::Content(content) = left(key, 1) else { panic!("the first change makes it") };
        let whole = content.slice(0, content.size);
        let during = objects.seen(key, before);
        assert_eq!(during, Seen { from: 0, until: 1 });
        assert_eq!(during.judge(key, None), Ok(()));
        assert_eq!(during.judge(key, Some(&whole)), Ok(()));
        assert_eq!(during.judge_listed(key, Some(content.size)), Ok(()));
        objects.end(key);
        let after = objects.seen(key, objects.done(key));
        assert_eq!(after.judge(key, Some(&whole)), Ok(()));
        assert!(after.judge(key, None).is_err(), "an object that was lost");
        assert!(after.judge_listed(key, None).is_err());
        assert!(after.judge_listed(key, Some(content.size + 1)).is_err());
        let mut wrong = whole.to_vec();
        if let Some(byte) = wrong.last_mut() {
            *byte ^= 1;
        }
        assert!(after.judge(key, Some(&wrong.into())).is_err(), "a wrong byte");
    }

    #[test]
    fn changes_upload_and_delete() {
        let deletions = (2..1_000).filter(|number| left(7, *number) == Left::Nothing).count();
        assert!((200..300).contains(&deletions), "{deletions}");
    }
}
