//! The root of a download, and how it is known that there is such content.
//!
//! A cache keeps what was let go of for as long as it likes. So it may serve what else is known to exist, and
//! must not be why a root is found. Never: reads a block.

use protocol::Cid;

use super::Context;
use crate::env::Env;

/// The root of a download, or a block that is read alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// What is agreed on refers to it: it exists.
    Named(Cid),
    /// Somebody asks for this CID: it exists as long as a peer holds it.
    Bare(Cid),
}

impl Root {
    /// Returns its CID.
    #[must_use]
    pub const fn cid(self) -> Cid {
        match self {
            Self::Named(cid) | Self::Bare(cid) => cid,
        }
    }

    /// Says whether it may come from the cache: whether it is known to exist without asking another peer. Cost: for a
    /// bare one that is cached, a look into the index of the store.
    pub(super) async fn is_known<E: Env>(self, context: &Context<E>) -> bool {
        match self {
            Self::Named(_) => true,
            Self::Bare(cid) if context.cache.contains(&cid) => {
                // A disk that fails says so to whoever reads the block.
                context.store.has(vec![cid]).await.is_ok_and(|held| held == [true])
            }
            Self::Bare(_) => false,
        }
    }
}
