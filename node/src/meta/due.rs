//! What is due is proposed to go for good, by the leader, a little at a time.
//!
//! Its clock is civil time, which may jump: something may go late, or early by as much as the leader's clock is
//! wrong; nothing that must be correct depends on it. Never: removes anything itself.

use std::time::Duration;

use protocol::limits::PURGE_ENTRIES_MAX;
use protocol::metadata::{Actor, Op, query};
use tracing::debug;

use super::handle::Meta;
use super::read::Freshness;
use crate::env::Env;

/// How often the leader looks: how late something goes, at most.
const ROUND: Duration = Duration::from_secs(1);
/// How long one proposal may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Purges what is due while this peer leads.
pub(super) async fn purge<E: Env>(meta: Meta<E>) {
    loop {
        let now = meta.env().wall();
        // What this peer has applied will do: an entry that is gone by now is passed over.
        let due =
            meta.read(Freshness::Local, move |source| query::due(source, now, PURGE_ENTRIES_MAX));
        match due.await {
            Ok(entries) if entries.is_empty() => {}
            Ok(entries) => {
                let count = entries.len();
                match meta.propose(Op::Purge { entries }, Actor::System, PATIENCE).await {
                    // There may be more right away.
                    Ok(_) if count == PURGE_ENTRIES_MAX => continue,
                    Ok(_) => {}
                    Err(fault) => debug!(err = %fault, "what is due was not purged"),
                }
            }
            Err(fault) => debug!(err = %fault, "what is due was not read"),
        }
        meta.env().sleep_until(meta.env().now().after(ROUND)).await;
    }
}
