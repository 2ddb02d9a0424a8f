//! A download whose consumer stops reading: how much it fetches, and how long it is kept.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use node::env::Env as _;
use node::peers::Placements;
use node::{Node, Planted, Root, UploadOptions};
use protocol::dag::ByteRange;
use protocol::limits::UNREAD_MAX;
use protocol::{Fault, Kind};

use super::cluster::Cluster;
use super::operator;
use super::plan::Plan;
use super::requests::{actor, new_request};
use crate::sim::oracle::Oracle;
use crate::sim::{SimEnv, world};

/// Bytes of the object: more than a download may fetch ahead.
const OBJECT_BYTES: usize = 24 << 20;

/// Runs a test against a node of a cluster of three.
fn on_node(seed: u64, test: impl AsyncFnOnce(Node<SimEnv>)) {
    let body = async |world: world::World| {
        let plan = Plan::draw(&mut world.prng(), Some(3));
        let (oracle, placements) = (Oracle::new(&world), Placements::default());
        let cluster = Cluster::new(&world, &oracle, plan, Planted::default(), placements);
        assert!(operator::form(&cluster).await, "the cluster forms");
        test(cluster.hosts()[0].node().expect("it runs")).await;
    };
    world::run(seed, false, body).expect("there is a runtime");
}

#[test]
fn a_download_goes_on_after_a_pause_and_is_given_up_after_a_long_one() {
    on_node(1, async |node| {
        let mut prng = node.env().prng();
        let bytes: Vec<u8> =
            (0..OBJECT_BYTES / 8).flat_map(|_| prng.next_u64().to_le_bytes()).collect();
        let pieces: Vec<Result<Bytes, Fault>> = vec![Ok(bytes.into())];
        let (request, options) = (new_request(node.env()), UploadOptions::default());
        let stored = node.pin_content(actor(), request, stream::iter(pieces), options).await;
        let root = stored.expect("it is stored").root.cid;
        let rest = async |pause| {
            let mut download = node.download(Root::Bare(root), ByteRange::default()).await?;
            let first = download.next().await.expect("there is a first piece")?;
            node.env().sleep_until(node.env().now().after(pause)).await;
            let mut read = first.len();
            while let Some(piece) = download.next().await {
                read += piece?.len();
            }
            Ok::<_, Fault>(read)
        };
        assert_eq!(rest(UNREAD_MAX - Duration::from_secs(1)).await, Ok(OBJECT_BYTES));
        let given_up = rest(UNREAD_MAX + Duration::from_secs(1)).await.expect_err("it has ended");
        assert_eq!(given_up.kind, Kind::Unavailable);
        assert!(given_up.detail.contains("300 s"), "{given_up}");
    });
}
