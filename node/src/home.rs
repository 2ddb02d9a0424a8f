//! Which cluster this peer's data directory belongs to, and how far it has come into it.
//!
//! Written before anything else is, so that a crash in the middle of founding or joining is gone on with, by
//! the same cluster id and the same Raft id. Never: what the cluster decides; that is the metadata.

use bytes::Bytes;
use protocol::format::{FormatError, decode, encode};
use protocol::invite::Welcome;
use protocol::limits::GUEST_ANSWER_BYTES_MAX;
use protocol::{ClusterId, Fault, Kind, PeerId};
use serde::{Deserialize, Serialize};

use crate::env::{Batch, Disk, DiskError, Durability, Env, Map};

/// Where the record lies, beside what Raft keeps of this directory.
const KEY: &[u8] = b"home";

/// Where the secret of a cluster lies while it is being founded.
const SEED: &[u8] = b"seed";

/// What errors call it.
const WHAT: &str = "the record of this directory's cluster";

/// Bytes of the record, at most: more than a welcome has.
const BYTES_MAX: usize = 2 * GUEST_ANSWER_BYTES_MAX;

/// How far a peer has come into its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// It founds the cluster, and may have committed that.
    Founding,
    /// It holds a ticket, and may have been let in.
    Joining,
    /// It is a member. The peers it was told of when it joined, by their keys, with their addresses: until the
    /// metadata has reached it, it knows nobody else.
    Member(Vec<([u8; 32], Vec<String>)>),
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) cluster: ClusterId,
    pub(crate) stage: Stage,
}

impl Home {
    /// Returns the record of this disk; `None` when it belongs to no cluster yet.
    ///
    /// # Errors
    /// The disk fails, or holds something else there.
    pub(crate) async fn load<E: Env>(env: &E) -> Result<Option<Self>, Fault> {
        let found =
            env.disk().get(Map::RaftState, Bytes::from_static(KEY)).await.map_err(failed)?;
        let Some(bytes) = found else { return Ok(None) };
        let (cluster, stage) = decode(WHAT, &bytes, BYTES_MAX).map_err(unfit)?;
        Ok(Some(Self { cluster: ClusterId::from_bytes(cluster), stage }))
    }

    /// Writes the record durably.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn save<E: Env>(&self, env: &E) -> Result<(), Fault> {
        self.save_with(env, Batch::default()).await
    }

    /// Writes the record durably, together with other changes.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn save_with<E: Env>(&self, env: &E, mut batch: Batch) -> Result<(), Fault> {
        let record = (self.cluster.as_bytes(), &self.stage);
        let bytes = encode(WHAT, &record, BYTES_MAX).map_err(unfit)?;
        batch.put(Map::RaftState, KEY, bytes);
        env.disk().write(batch, Durability::Synced).await.map_err(failed)
    }

    /// Returns the change that keeps the secret of a cluster that is being founded, until the cluster does.
    pub(crate) fn with_seed(seed: &[u8; 32]) -> Batch {
        let mut batch = Batch::default();
        batch.put(Map::RaftState, SEED, Bytes::copy_from_slice(seed));
        batch
    }

    /// Returns the change that forgets it.
    pub(crate) fn without_seed() -> Batch {
        let mut batch = Batch::default();
        batch.delete(Map::RaftState, SEED);
        batch
    }

    /// Returns the secret of the cluster that is being founded; `None` where an earlier build began to found it.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn seed<E: Env>(env: &E) -> Result<Option<[u8; 32]>, Fault> {
        let found = env.disk().get(Map::RaftState, Bytes::from_static(SEED)).await;
        Ok(found.map_err(failed)?.and_then(|bytes| bytes[..].try_into().ok()))
    }

    /// Returns the record of a peer that was let in.
    pub(crate) fn joined(cluster: ClusterId, welcome: &Welcome) -> Self {
        let peers = welcome.peers.iter();
        let peers = peers.map(|(peer, addresses)| (*peer.public_key(), addresses.clone()));
        Self { cluster, stage: Stage::Member(peers.collect()) }
    }

    /// Returns the peers it was told of when it joined.
    pub(crate) fn first_peers(&self) -> Vec<(PeerId, Vec<String>)> {
        match &self.stage {
            Stage::Founding | Stage::Joining => Vec::new(),
            Stage::Member(peers) => peers
                .iter()
                .map(|(key, addresses)| (PeerId::from_public_key(*key), addresses.clone()))
                .collect(),
        }
    }
}

fn unfit(error: FormatError) -> Fault {
    Fault::new(Kind::Internal, error.to_string())
}

fn failed(error: DiskError) -> Fault {
    Fault::new(Kind::Internal, format!("{WHAT}: {error}"))
}
