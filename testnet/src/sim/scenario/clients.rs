//! The clients of a run: each asks random peers for one thing after the other, and the oracle hears what it was told.
//!
//! Never: tries again; the next request is another one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::Prng;

use super::cluster::{Cluster, Host};
use super::requests::{self, Asker};
use crate::sim::history::Condition;

/// Different contents that are uploaded again and again, so that uploads share blocks.
const SHARED_CONTENTS: u64 = 4;
/// Names that clients write, and those among them that nobody deletes: few, so that clients meet.
const NAMES: u64 = 6;
const KEPT_NAMES: u64 = 3;
/// How often there is a new name that everybody wants to be the first to write.
const RACE_EVERY: Duration = Duration::from_secs(3);

/// Keeps one client busy until `until`, in virtual nanoseconds.
pub(super) async fn work(cluster: Arc<Cluster>, mut prng: Prng, until: u64) {
    let clock = cluster.world.clock();
    while clock.nanos() < until {
        let hosts = cluster.hosts();
        let host = prng.index(hosts.len()).and_then(|index| hosts.get(index)).cloned();
        if let Some(host) = host
            && host.node().is_some()
        {
            ask(&cluster, host, prng.fork()).await;
        }
        clock.sleep(Duration::from_millis(prng.below(400))).await;
    }
}

async fn ask(cluster: &Arc<Cluster>, host: Arc<Host>, mut prng: Prng) {
    let objects = cluster.oracle.objects();
    let object = prng.index(objects.len()).and_then(|index| objects.get(index)).cloned();
    let asker = Asker { cluster: Arc::clone(cluster), host };
    let wish = prng.below(24);
    match (wish, object) {
        (0..=5, _) => asker.read(name(&mut prng), prng).await,
        (6..=11, _) => write(asker, prng).await,
        (12 | 13, _) => asker.append(name(&mut prng), small(&mut prng), prng).await,
        (14, _) => asker.delete(fleeting_name(&mut prng)).await,
        (15, _) => asker.copy(name(&mut prng), fleeting_name(&mut prng)).await,
        (16, _) => asker.rename(fleeting_name(&mut prng), name(&mut prng)).await,
        (17 | 18, Some(object)) => asker.download(object, prng).await,
        (19, Some(object)) => asker.unpin(object.cid).await,
        _ => asker.pin(content(&mut prng.fork()), prng).await,
    }
}

/// Writes a name, on some condition or none.
async fn write(asker: Asker, mut prng: Prng) {
    let bytes = content(&mut prng.fork());
    let (key, condition) = match prng.below(10) {
        0..=3 => (name(&mut prng), Condition::Anyhow),
        4 | 5 => {
            let seconds = asker.cluster.world.clock().nanos() / 1_000_000_000;
            (format!("race-{}", seconds / RACE_EVERY.as_secs()), Condition::Absent)
        }
        6 => (name(&mut prng), Condition::Absent),
        _ => {
            let key = name(&mut prng);
            let newest = asker.cluster.oracle.newest(&key);
            (key, newest.map_or(Condition::Absent, |seen| Condition::Version(seen.version)))
        }
    };
    asker.put(key, condition, bytes, prng).await;
}

fn name(prng: &mut Prng) -> String {
    requests::key(prng.below(NAMES))
}

/// Returns a name that may be deleted.
fn fleeting_name(prng: &mut Prng) -> String {
    requests::key(KEPT_NAMES + prng.below(NAMES - KEPT_NAMES))
}

/// Draws the bytes of an object: mostly small, some of several chunks, some that were uploaded before.
pub(super) fn content(prng: &mut Prng) -> Bytes {
    let shared = prng.chance(1, 4).then(|| prng.below(SHARED_CONTENTS));
    let mut drawn = shared.map_or_else(|| prng.fork(), Prng::new);
    let size = match drawn.below(20) {
        0 => 0,
        1..=9 => 1 + drawn.below(4 << 10),
        10..=14 => drawn.below(64 << 10),
        15..=17 => drawn.below(300 << 10),
        _ => drawn.below(5 << 19),
    };
    filled(&mut drawn, size)
}

fn small(prng: &mut Prng) -> Bytes {
    let size = 1 + prng.below(4 << 10);
    filled(&mut prng.fork(), size)
}

fn filled(prng: &mut Prng, size: u64) -> Bytes {
    let size = usize::try_from(size).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&prng.next_u64().to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}
