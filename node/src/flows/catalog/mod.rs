//! Catalogs: telling other clusters what is public here, and knowing what is public there.
//!
//! [`own`] has this cluster's entries and tells of them, [`keep`] knows of other clusters and pulls theirs, [`answer`] answers
//! peers of theirs, [`fetch`] brings their content. Owns what other flows may see of it. Never: whether something is public; that
//! is agreed on.

mod answer;
mod ask;
mod fetch;
mod keep;
mod own;
mod pull;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use protocol::Cid;
use protocol::catalog::Known;

pub(crate) use answer::answer;
pub(crate) use fetch::{Keep, fetch, fetch_block, import};
pub(crate) use keep::keep;
pub(crate) use own::tell;

use crate::index::Index;
use fetch::Sources;
use own::Own;

/// Contents of which it is remembered who gives them: more than clients read at a time.
const MET_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");

/// What is known of other clusters, and what this one tells them. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Catalogs {
    index: Option<Index>,
    seen: Arc<Mutex<Seen>>,
    own: Own,
    /// Who gives content of which single blocks are asked for.
    met: Arc<Mutex<LruCache<Cid, Sources>>>,
}

/// What the book says, for others to see.
#[derive(Debug, Default)]
struct Seen {
    known: Arc<Vec<Known>>,
    heads: Arc<Vec<Bytes>>,
}

impl Catalogs {
    /// Returns what knows nobody yet. `index`: of other clusters' entries; `None`: this peer takes no part.
    pub(crate) fn over(index: Option<Index>) -> Self {
        let met = Arc::new(Mutex::new(LruCache::new(MET_MAX)));
        Self { index, seen: Arc::default(), own: Own::default(), met }
    }

    /// Returns the index of other clusters' entries.
    pub(super) fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    fn own(&self) -> &Own {
        &self.own
    }

    /// Returns the other clusters that are known, in order of their ids.
    #[must_use]
    pub fn known(&self) -> Arc<Vec<Known>> {
        Arc::clone(&self.seen().known)
    }

    fn met(&self, root: &Cid) -> Option<Sources> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).get(root).cloned()
    }

    fn meet(&self, root: Cid, sources: Option<Sources>) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        match sources {
            Some(sources) => drop(met.put(root, sources)),
            None => drop(met.pop(&root)),
        }
    }

    fn heads(&self) -> Vec<Bytes> {
        self.seen().heads.to_vec()
    }

    fn publish(&self, known: Vec<Known>, heads: Vec<Bytes>) {
        *self.seen() = Seen { known: Arc::new(known), heads: Arc::new(heads) };
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic elsewhere leaves it whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
