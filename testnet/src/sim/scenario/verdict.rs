//! After the storm: everything mended and running again, every promise looked after.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use node::env::Env as _;
use node::{Node, UploadOptions};
use protocol::dag::ByteRange;
use protocol::{Fault, Kind, Prng};
use tokio::sync::oneshot;

use super::clients::fetch;
use super::cluster::{Cluster, Host};
use crate::sim::SimEnv;
use crate::sim::oracle::Object;
use crate::sim::properties::heals::{self, HEAL_WITHIN};
use crate::sim::properties::readable::{self, Finding};
use crate::sim::properties::{Violation, synced};

/// How long one try may take.
const TRY_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(500);
/// An object that no peer delivers within this much more than the time to heal is lost.
const LOST_AFTER: Duration = Duration::from_secs(240);
/// Objects that every single peer must deliver.
const SAMPLE: usize = 3;

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

    let lossy = cluster.losses.load(Ordering::Relaxed) > 0;
    let lost = healed + nanos(LOST_AFTER);
    let findings =
        objects.into_iter().map(|object| find(cluster, &hosts, object, prng.fork(), lost));
    for finding in join_all(findings.collect::<Vec<_>>()).await {
        let at_millis = cluster.world.clock().nanos() / 1_000_000;
        let broken = readable::judge(&finding, lossy, at_millis)
            .or_else(|| synced::judge(&finding, lossy, at_millis));
        broken.into_iter().for_each(|violation| report(cluster, violation));
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn report(cluster: &Cluster, violation: Violation) {
    cluster.oracle.violated(violation.property, violation.detail);
}

/// Tries until `deadline` to upload through a peer and to download a sample from it.
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
        let outcome =
            until(cluster, deadline, async || download(cluster, &host, &object, prng.fork()).await);
        late.extend(verdict(cluster, what, outcome.await));
    }
    let bytes = Bytes::from(format!("after the storm, through {}", host.number));
    let what = format!("upload through n{}", host.number);
    let outcome = until(cluster, deadline, async || upload(cluster, &host, bytes.clone()).await);
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

/// Looks for any peer that delivers an object.
async fn find(
    cluster: &Arc<Cluster>,
    hosts: &[Arc<Host>],
    object: Object,
    mut prng: Prng,
    deadline: u64,
) -> Finding {
    let outcome = until(cluster, deadline, async || {
        let index = prng.index(hosts.len()).unwrap_or(0);
        download(cluster, &hosts[index], &object, prng.fork()).await
    });
    let outcome = outcome.await;
    let Object { cid, bytes, gateway } = object;
    let last = outcome.as_ref().err().map(|fault| format!("{}: {fault}", fault.kind));
    let detail = format!(
        "object {cid} of {} bytes, acknowledged by n{gateway}, is lost ({})",
        bytes.len(),
        last.unwrap_or_default()
    );
    Finding { detail, is_readable: outcome.is_ok() }
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

async fn download(
    cluster: &Cluster,
    host: &Host,
    object: &Object,
    mut prng: Prng,
) -> Result<(), Fault> {
    let (oracle, object) = (cluster.oracle.clone(), object.clone());
    inside(cluster, host, async move |node| {
        fetch(&node, &oracle, &object, ByteRange::default(), &mut prng).await
    })
    .await
}

async fn upload(cluster: &Cluster, host: &Host, bytes: Bytes) -> Result<(), Fault> {
    inside(cluster, host, async move |node| {
        let source = Box::pin(futures::stream::iter([Ok(bytes)]));
        node.upload(source, UploadOptions::default()).await.map(|_| ())
    })
    .await
}

/// Runs a request inside the process of a host, and gives it up in time.
async fn inside<F, W>(cluster: &Cluster, host: &Host, work: W) -> Result<(), Fault>
where
    W: FnOnce(Node<SimEnv>) -> F,
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let unavailable = |detail: &str| Fault::new(Kind::Unavailable, detail);
    let node = host.node().ok_or_else(|| unavailable("the peer does not run"))?;
    let (done, outcome) = oneshot::channel();
    let env = node.env().clone();
    let request = work(node);
    env.spawn("client.verdict", async move {
        drop(done.send(request.await));
    });
    tokio::select! {
        biased; // an outcome beats the end of patience
        outcome = outcome => outcome.unwrap_or_else(|_| Err(unavailable("the peer went away"))),
        () = cluster.world.clock().sleep(TRY_WITHIN) => Err(unavailable("no answer in time")),
    }
}
