//! Peers that keep what was read: who is asked then, what is never kept, and what is not found although it is.

use bytes::Bytes;
use futures::stream;
use node::env::Env as _;
use node::peers::Placements;
use node::{Node, Planted, Root, UploadOptions};
use protocol::dag::ByteRange;
use protocol::topology::ReplicaCount;
use protocol::{Cid, Codec, Fault, Kind, OwnerId};

use super::cluster::Cluster;
use super::operator;
use super::plan::Plan;
use super::requests::{actor, new_request};
use crate::sim::oracle::Oracle;
use crate::sim::{SimEnv, world};

/// Memory of each peer for what was read.
const CACHE_BYTES: u64 = 16 << 20;

/// Bytes of an object of several blocks.
const OBJECT_BYTES: usize = 5 << 20;

/// Who referred to what a test puts into a store by itself.
const OWNER: OwnerId = OwnerId::from_bytes([7; 16]);

/// Runs a test against the nodes of a cluster of three that all hold everything.
fn on_nodes(seed: u64, cache_bytes: u64, test: impl AsyncFnOnce(Vec<Node<SimEnv>>)) {
    let body = async |world: world::World| {
        let mut plan = Plan::draw(&mut world.prng(), Some(3));
        plan.replicas = ReplicaCount::new(3).expect("three are few");
        plan.cache_bytes = cache_bytes;
        let (oracle, placements) = (Oracle::new(&world), Placements::default());
        let cluster = Cluster::new(&world, &oracle, plan, Planted::default(), placements);
        assert!(operator::form(&cluster).await, "the cluster forms");
        test(cluster.hosts().iter().filter_map(|host| host.node()).collect()).await;
    };
    world::run(seed, false, body).expect("there is a runtime");
}

/// Stores an object of several blocks, and returns its root and bytes.
async fn store(node: &Node<SimEnv>) -> (Cid, Vec<u8>) {
    let mut prng = node.env().prng();
    let bytes: Vec<u8> =
        (0..OBJECT_BYTES / 8).flat_map(|_| prng.next_u64().to_le_bytes()).collect();
    let pieces: Vec<Result<Bytes, Fault>> = vec![Ok(bytes.clone().into())];
    let (request, options) = (new_request(node.env()), UploadOptions::default());
    let stored = node.pin_content(actor(), request, stream::iter(pieces), options).await;
    (stored.expect("it is stored").root.cid, bytes)
}

async fn read(node: &Node<SimEnv>, root: Root) -> Result<Vec<u8>, Fault> {
    let mut download = node.download(root, ByteRange::default()).await?;
    let mut read = Vec::new();
    while let Some(piece) = download.next().await {
        read.extend_from_slice(&piece?);
    }
    Ok(read)
}

/// What a peer did to read: blocks it asked of holders, bytes its store read, blocks it found in memory.
fn effort(node: &Node<SimEnv>) -> (u64, u64, u64) {
    let context = node.context();
    let (asked, hits) = (context.metrics.block_requests.get(), context.cache.metrics().hits.get());
    (asked, context.store.metrics().read_bytes.get(), hits)
}

/// Frees every block of one peer, the root among them.
async fn release(node: &Node<SimEnv>, root: Cid) {
    let store = &node.context().store;
    for owner in store.owners_after(None, 100).await.expect("the store answers") {
        store.release(owner).await.expect("the store answers");
    }
    assert_eq!(store.has(vec![root]).await.expect("the store answers"), [false]);
}

#[test]
fn a_second_download_asks_nobody_and_reads_no_disk() {
    on_nodes(1, CACHE_BYTES, async |nodes| {
        let node = &nodes[0];
        let (root, bytes) = store(node).await;
        assert_eq!(node.context().cache.metrics().held_bytes.get(), 0, "uploads are not kept");
        assert_eq!(read(node, Root::Bare(root)).await, Ok(bytes.clone()));
        let (asked, from_disk, _) = effort(node);
        assert!(asked > 5 && from_disk >= OBJECT_BYTES as u64, "{asked} asked, {from_disk} read");
        for again in [Root::Bare(root), Root::Named(root)] {
            let (_, _, hits) = effort(node);
            assert_eq!(read(node, again).await, Ok(bytes.clone()));
            assert_eq!(effort(node), (asked, from_disk, hits + asked), "{again:?}");
        }
    });
}

#[test]
fn a_block_that_is_read_alone_is_looked_for_and_kept_as_any_other() {
    on_nodes(1, CACHE_BYTES, async |nodes| {
        let node = &nodes[0];
        let (root, _) = store(node).await;
        let misses = || node.context().cache.metrics().misses.get();
        let before = misses();
        let first = node.block(Root::Bare(root)).await.expect("it is held");
        assert_eq!(misses(), before + 1);
        let (asked, from_disk, hits) = effort(node);
        assert_eq!(node.block(Root::Bare(root)).await, Ok(first));
        assert_eq!((effort(node), misses()), ((asked, from_disk, hits + 1), before + 1));
    });
}

#[test]
fn without_a_cache_every_download_reads_again() {
    on_nodes(1, 0, async |nodes| {
        let node = &nodes[0];
        let (root, bytes) = store(node).await;
        assert_eq!(read(node, Root::Bare(root)).await, Ok(bytes.clone()));
        let (asked, from_disk, _) = effort(node);
        assert_eq!(read(node, Root::Bare(root)).await, Ok(bytes));
        assert_eq!(effort(node), (2 * asked, 2 * from_disk, 0));
    });
}

#[test]
fn what_was_let_go_of_is_not_found_by_its_cid_although_it_is_in_memory() {
    on_nodes(2, CACHE_BYTES, async |nodes| {
        let node = &nodes[0];
        let (root, bytes) = store(node).await;
        assert_eq!(read(node, Root::Bare(root)).await, Ok(bytes.clone()));
        // While another peer holds it, that one says so, and is asked for nothing else.
        release(node, root).await;
        let (asked, from_disk, _) = effort(node);
        assert_eq!(read(node, Root::Bare(root)).await, Ok(bytes.clone()));
        let (now_asked, now_from_disk, _) = effort(node);
        assert_eq!((now_asked, now_from_disk), (asked, from_disk));
        for other in &nodes[1..] {
            release(other, root).await;
        }
        for block in [false, true] {
            let found = if block {
                node.block(Root::Bare(root)).await.map(|bytes| bytes.len())
            } else {
                read(node, Root::Bare(root)).await.map(|bytes| bytes.len())
            };
            assert_eq!(found.expect_err("nobody holds it").kind, Kind::NotFound, "{block}");
        }
        // Where a name refers to it, it is there for whoever can have it.
        assert_eq!(read(node, Root::Named(root)).await, Ok(bytes));
    });
}

#[test]
fn a_wrong_copy_is_neither_delivered_nor_kept() {
    on_nodes(3, CACHE_BYTES, async |nodes| {
        let good = Bytes::from(vec![1; 100_000]);
        let cid = Cid::of(Codec::Raw, &good);
        // Given a store whose copy hashes to another name, with a checksum that fits.
        let (node, other) = (&nodes[0], &nodes[1]);
        let wrong = Bytes::from(vec![2; 100_000]);
        let put = node.context().store.put(cid, wrong, OWNER, true).await;
        put.expect("a store takes what it is given");
        // When it is all there is, nothing comes of it.
        read(node, Root::Bare(cid)).await.expect_err("there is no good copy");
        let cache = &node.context().cache;
        assert_eq!((cache.contains(&cid), cache.metrics().held_bytes.get()), (false, 0));
        // When somebody has a good one, that one is delivered and kept.
        other.context().store.put(cid, good.clone(), OWNER, true).await.expect("it is stored");
        for _ in 0..2 {
            assert_eq!(read(node, Root::Bare(cid)).await, Ok(good.to_vec()));
            assert_eq!(cache.get(&cid), Some(good.clone()));
        }
    });
}
