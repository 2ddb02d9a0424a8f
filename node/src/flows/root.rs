//! The root of a download, and how it is known that there is such content.
//!
//! A cache keeps what was let go of for as long as it likes. So it may serve what else is known to exist, and
//! must not be why a root is found. Never: reads a block.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::wire::Class;
use protocol::{Cid, PeerId};

use super::{Context, holder};
use crate::env::Env;

/// Holders that are asked whether they hold a block before all are asked for it, and for how long.
const ASKED_MAX: usize = 2;
/// See [`ASKED_MAX`].
const PATIENCE: Duration = Duration::from_millis(500);

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

    /// Says whether it may come from the cache: whether it is known to exist. Cost: for a bare one that is cached, a look into the
    /// index of the store, or else a question to one holder or two, which costs less than the block.
    pub(super) async fn is_known<E: Env>(self, context: &Context<E>) -> bool {
        match self {
            Self::Named(_) => true,
            Self::Bare(cid) if context.cache.contains(&cid) => is_held(context, cid).await,
            Self::Bare(cid) => {
                // The cache hears of it: what is wanted often is kept.
                drop(context.cache.get(&cid));
                false
            }
        }
    }
}

/// Says whether somebody is known to hold a block: this peer, or one of two that answer soon.
async fn is_held<E: Env>(context: &Context<E>, cid: Cid) -> bool {
    let (own, others) = {
        let view = context.peers.view();
        let others = view.holders(&cid).into_iter().map(|holder| holder.peer);
        let others = others.filter(|peer| *peer != view.own() && view.is_there(*peer));
        (view.own(), others.take(ASKED_MAX).collect::<Vec<PeerId>>())
    };
    // A disk that fails says so to whoever reads the block.
    if holder::has(context, cid, own, Class::Control).await == Ok(true) {
        return true;
    }
    let end = context.env.now().after(PATIENCE);
    let mut answers: FuturesUnordered<_> =
        others.into_iter().map(|peer| holder::has(context, cid, peer, Class::Control)).collect();
    loop {
        tokio::select! {
            biased; // an answer beats the clock
            answer = answers.next() => match answer {
                Some(Ok(true)) => return true,
                Some(Ok(false) | Err(_)) => {}
                None => return false,
            },
            () = context.env.sleep_until(end) => return false,
        }
    }
}
