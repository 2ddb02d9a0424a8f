//! After the storm: everything mended and running again, every promise looked after.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use node::meta::Freshness;
use node::{Node, Root};
use protocol::dag::ByteRange;
use protocol::metadata::{ObjectName, ObjectVersion, Source, query};
use protocol::{Cid, Fault, Kind, Prng};

use super::cluster::{Cluster, Host};
use super::redundancy;
use super::requests::{self, Asker, fetch, object_name};
use crate::sim::SimEnv;
use crate::sim::history::Condition;
use crate::sim::oracle::Object;
use crate::sim::properties::heals::{self, HEAL_WITHIN};
use crate::sim::properties::readable::{self, Finding};
use crate::sim::properties::{Violation, kept, synced};

/// How long one try may take.
const TRY_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(500);
/// An object that no peer delivers within this much more than the time to heal is lost.
const LOST_AFTER: Duration = Duration::from_secs(240);
/// Objects and names that every single peer must deliver.
const SAMPLE: usize = 3;
/// Versions of one name that are looked at: as many as a run can write.
const VERSIONS_MAX: usize = 1_000;

/// Removes every fault and starts what is down, for as long as the verdict takes.
async fn keep_running(cluster: Arc<Cluster>) {
    loop {
        cluster.hosts().iter().for_each(Host::boot);
        cluster.world.clock().sleep(TRY_PAUSE).await;
    }
}

/// Mends everything, tries everything, and tells the oracle what is not as it should be.
pub(super) async fn judge(cluster: &Arc<Cluster>, mut prng: Prng) {
    cluster.calm.store(true, Ordering::Relaxed);
    cluster.world.network().calm(&cluster.world);
    cluster.hosts().iter().for_each(|host| host.mend_disk());
    if cluster.plan.ends_in_blackout {
        cluster.blackout();
    }
    cluster.world.spawn(keep_running(Arc::clone(cluster)));
    let healed = cluster.world.clock().nanos() + nanos(HEAL_WITHIN);
    let hosts: Vec<_> = cluster.hosts().into_iter().filter(|host| !host.is_retired()).collect();
    let objects = cluster.oracle.objects();

    let samples = hosts.iter().map(|host| {
        let mut sample = objects.clone();
        prng.shuffle(&mut sample);
        sample.truncate(SAMPLE);
        serves(cluster, Arc::clone(host), sample, prng.fork(), healed)
    });
    let late = join_all(samples.collect::<Vec<_>>()).await;
    late.into_iter().flatten().for_each(|violation| report(cluster, violation));

    let lost = healed + nanos(LOST_AFTER);
    let judge = Judge { cluster, hosts: &hosts, deadline: lost };
    let findings = objects.into_iter().map(|object| judge.find_object(object, prng.fork()));
    let found = join_all(findings.collect::<Vec<_>>()).await;
    let names = cluster.oracle.keys();
    let named = names.iter().map(|key| judge.find_name(key, prng.fork()));
    let named = join_all(named.collect::<Vec<_>>()).await;
    let lossy = cluster.losses.load(Ordering::Relaxed) > 0;
    for finding in found.into_iter().chain(named.into_iter().flatten()) {
        let at_millis = cluster.world.clock().nanos() / 1_000_000;
        let broken = readable::judge(&finding, lossy, at_millis)
            .or_else(|| synced::judge(&finding, lossy, at_millis))
            .or_else(|| kept::judge(&finding, lossy, at_millis));
        broken.into_iter().for_each(|violation| report(cluster, violation));
    }
    redundancy::judge(cluster).await.into_iter().for_each(|violation| report(cluster, violation));
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn report(cluster: &Cluster, violation: Violation) {
    cluster.oracle.violated(violation.property, violation.detail);
}

/// Tries until `deadline` to upload through a peer and to have a sample from it.
async fn serves(
    cluster: &Arc<Cluster>,
    host: Arc<Host>,
    sample: Vec<Object>,
    mut prng: Prng,
    deadline: u64,
) -> Vec<Violation> {
    let mut late = Vec::new();
    for object in sample {
        let what = format!("download of {} through n{}", object.cid, host.number);
        let (root, bytes) = (object.cid, Some(object.bytes));
        let outcome = until(cluster, deadline, async || {
            download(cluster, &host, root, bytes.clone(), prng.fork()).await
        });
        late.extend(verdict(cluster, what, outcome.await));
    }
    let mut names = cluster.oracle.keys();
    prng.shuffle(&mut names);
    for key in names.into_iter().take(SAMPLE) {
        let what = format!("read of {key} through n{}", host.number);
        let outcome = until(cluster, deadline, async || {
            let (oracle, key) = (cluster.oracle.clone(), key.clone());
            let read = async move |node| requests::find(&node, &oracle, &key).await.map(drop);
            answered(host.ask(TRY_WITHIN, read).await)
        });
        late.extend(verdict(cluster, what, outcome.await));
    }
    let bytes = Bytes::from(format!("after the storm, through {}", host.number));
    let what = format!("upload through n{}", host.number);
    let outcome = until(cluster, deadline, async || {
        let asker = Asker { cluster: Arc::clone(cluster), host: Arc::clone(&host) };
        let key = format!("after-{}", host.number);
        answered(asker.try_put(key, Condition::Anyhow, bytes.clone(), prng.fork(), None).await)
    });
    late.extend(verdict(cluster, what, outcome.await));
    late
}

fn verdict(cluster: &Cluster, what: String, outcome: Result<(), Fault>) -> Option<Violation> {
    let at_millis = cluster.world.clock().nanos() / 1_000_000;
    let text = match &outcome {
        Ok(()) => what,
        Err(fault) => format!("{what} ({}: {fault})", fault.kind),
    };
    heals::judge(&text, outcome.is_err(), at_millis)
}

/// Looks for what was promised, through any peer that has it.
struct Judge<'a> {
    cluster: &'a Arc<Cluster>,
    hosts: &'a [Arc<Host>],
    deadline: u64,
}

impl Judge<'_> {
    fn any_host(&self, prng: &mut Prng) -> &Host {
        let index = prng.index(self.hosts.len()).unwrap_or(0);
        &self.hosts[index]
    }

    /// Looks for content without a name.
    async fn find_object(&self, object: Object, mut prng: Prng) -> Finding {
        let Object { cid, bytes, gateway } = object;
        let outcome = until(self.cluster, self.deadline, async || {
            let host = self.any_host(&mut prng);
            download(self.cluster, host, cid, Some(bytes.clone()), prng.fork()).await
        });
        let outcome = outcome.await;
        let what = format!("object {cid} of {} bytes, acknowledged by n{gateway}", bytes.len());
        self.finding(&what, cid, &outcome)
    }

    /// Looks for a name and for the content of every version that it has, and judges what all clients were told.
    async fn find_name(&self, key: &str, mut prng: Prng) -> Vec<Finding> {
        let mut listed = None;
        let outcome = until(self.cluster, self.deadline, async || {
            listed = Some(self.versions(key, &mut prng).await?);
            Ok(())
        });
        let outcome = outcome.await;
        let late = verdict(self.cluster, format!("listing of {key}"), outcome);
        late.into_iter().for_each(|violation| report(self.cluster, violation));
        let numbers: Option<Vec<u64>> =
            listed.as_ref().map(|all| all.iter().map(|version| version.version).collect());
        self.cluster.oracle.judge_name(key, numbers.as_deref());
        let listed = listed.unwrap_or_default();
        // What is deleted goes for good sooner or later.
        if listed.first().is_none_or(ObjectVersion::is_delete_marker) {
            return Vec::new();
        }
        let versions = listed.iter().filter_map(|version| {
            let content = version.content.as_ref()?;
            Some(self.find_version(key, version.version, content.root, prng.fork()))
        });
        join_all(versions.collect::<Vec<_>>()).await
    }

    async fn find_version(&self, key: &str, version: u64, root: Cid, mut prng: Prng) -> Finding {
        let bytes = self.cluster.oracle.content(&root);
        let outcome = until(self.cluster, self.deadline, async || {
            let host = self.any_host(&mut prng);
            let outcome = download(self.cluster, host, root, bytes.clone(), prng.fork()).await;
            if outcome.is_err() {
                // A request of the storm that ended only now may have removed it.
                let listed = self.versions(key, &mut prng).await?;
                if listed.iter().all(|other| other.version != version) {
                    return Ok(());
                }
            }
            outcome
        });
        let outcome = outcome.await;
        self.finding(&format!("version {version} of {key}, content {root}"), root, &outcome)
    }

    /// Asks for all versions of a name, newest first, and notes the current one as read.
    async fn versions(&self, key: &str, prng: &mut Prng) -> Result<Vec<ObjectVersion>, Fault> {
        let (oracle, key) = (self.cluster.oracle.clone(), key.to_owned());
        let request = async move |node: Node<SimEnv>| {
            requests::find(&node, &oracle, &key).await?;
            let ObjectName { bucket, key } = object_name(&key);
            let read =
                move |state: &dyn Source| query::versions(state, &bucket, &key, None, VERSIONS_MAX);
            node.meta().read(Freshness::Latest, read).await
        };
        answered(self.any_host(prng).ask(TRY_WITHIN, request).await)
    }

    fn finding(&self, what: &str, root: Cid, outcome: &Result<(), Fault>) -> Finding {
        let last = outcome.as_ref().err().map(|fault| format!("{}: {fault}", fault.kind));
        Finding {
            detail: format!("{what}, is lost ({})", last.unwrap_or_default()),
            is_readable: outcome.is_ok(),
            may_be_unsynced: self.cluster.oracle.may_be_unsynced(&root),
        }
    }
}

/// Tries until it works or the deadline has passed, and returns the last outcome.
async fn until(
    cluster: &Cluster,
    deadline: u64,
    mut attempt: impl AsyncFnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    loop {
        let outcome = attempt().await;
        if outcome.is_ok() || cluster.world.clock().nanos() >= deadline {
            return outcome;
        }
        cluster.world.clock().sleep(TRY_PAUSE).await;
    }
}

fn answered<T>(outcome: Option<Result<T, Fault>>) -> Result<T, Fault> {
    outcome.unwrap_or_else(|| Err(Fault::new(Kind::Unavailable, "the peer gave no answer")))
}

/// Downloads content through one peer; where nobody knows what it should be, its hashes have to do.
async fn download(
    cluster: &Cluster,
    host: &Host,
    root: Cid,
    bytes: Option<Bytes>,
    mut prng: Prng,
) -> Result<(), Fault> {
    let oracle = cluster.oracle.clone();
    let request = async move |node: Node<SimEnv>| match bytes {
        Some(bytes) => fetch(&node, &oracle, root, &bytes, ByteRange::default(), &mut prng).await,
        None => drain(&node, root).await,
    };
    answered(host.ask(TRY_WITHIN, request).await)
}

async fn drain(node: &Node<SimEnv>, root: Cid) -> Result<(), Fault> {
    let mut download = node.download(Root::Bare(root), ByteRange::default()).await?;
    while let Some(piece) = download.next().await {
        piece?;
    }
    Ok(())
}
