//! Copies that holders bring to each other: that they do, that all are there, and that nobody waits for one who does not.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use node::env::Env as _;
use node::peers::Placements;
use node::{Node, Planted, UploadOptions};
use protocol::Fault;
use protocol::topology::ReplicaCount;
use protocol::transfer::SpreadRule;

use super::cluster::Cluster;
use super::operator;
use super::plan::Plan;
use super::requests::{actor, new_request};
use crate::sim::oracle::Oracle;
use crate::sim::{SimEnv, world};

/// Bytes of an object of several blocks.
const OBJECT_BYTES: usize = 5 << 20;
/// Its blocks: leaves and the root.
const OBJECT_BLOCKS: u64 = 6;

/// Stores an object through one of five peers that all hold everything, with copies spreading by `rule`. Returns the copies that
/// were brought, those that were placed late, and the jobs in the queue at the end.
fn brought(rule: SpreadRule) -> (u64, u64, u64) {
    let mut seen = (0, 0, 0);
    let body = async |world: world::World| {
        let mut plan = Plan::draw(&mut world.prng(), Some(5));
        plan.replicas = ReplicaCount::new(5).expect("five are few");
        plan.spread = rule;
        let (oracle, placements) = (Oracle::new(&world), Placements::default());
        let cluster = Cluster::new(&world, &oracle, plan, Planted::default(), placements);
        assert!(operator::form(&cluster).await, "the cluster forms");
        // Until every queue has heard who is there.
        world.clock().sleep(Duration::from_secs(2)).await;
        let nodes: Vec<_> = cluster.hosts().iter().filter_map(|host| host.node()).collect();
        let held = |node: &Node<SimEnv>| node.usage().blocks;
        let before: Vec<u64> = nodes.iter().map(held).collect();
        let mut prng = nodes[0].env().prng();
        let bytes: Vec<u8> =
            (0..OBJECT_BYTES / 8).flat_map(|_| prng.next_u64().to_le_bytes()).collect();
        let pieces: Vec<Result<Bytes, Fault>> = vec![Ok(bytes.into())];
        let (request, options) = (new_request(nodes[0].env()), UploadOptions::default());
        let stored = nodes[0].pin_content(actor(), request, stream::iter(pieces), options).await;
        stored.expect("it is stored");
        // The late ones.
        world.clock().sleep(Duration::from_secs(5)).await;
        for (node, before) in nodes.iter().zip(before) {
            assert_eq!(held(node) - before, OBJECT_BLOCKS, "copies at one of five");
        }
        let metrics = &nodes[0].context().metrics;
        let queue = nodes[0].queue().await.expect("it runs");
        let taken: u64 = queue.given.iter().map(|moved| moved.jobs).sum();
        seen = (metrics.copies_brought.get(), taken, queue.by_kind.values().sum());
    };
    world::run(11, false, body).expect("there is a runtime");
    seen
}

#[test]
fn of_four_copies_at_others_the_gateway_sends_one() {
    let rule = SpreadRule { after_bytes: 0, block_bytes_min: 0, ..SpreadRule::default() };
    assert_eq!(brought(rule), (3 * OBJECT_BLOCKS, 3 * OBJECT_BLOCKS, 0));
}

#[test]
fn short_uploads_are_sent_to_all() {
    assert_eq!(brought(SpreadRule::default()), (0, 0, 0));
}

#[test]
fn a_copy_that_is_not_brought_in_time_is_sent() {
    let rule = SpreadRule {
        after_bytes: 0,
        block_bytes_min: 0,
        bring_patience: Duration::ZERO,
        ..SpreadRule::default()
    };
    let (brought, _, left) = brought(rule);
    assert_eq!((brought, left), (0, 0));
}
