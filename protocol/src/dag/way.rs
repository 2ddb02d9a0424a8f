//! Which way leads from a root to each block that a reader wants.
//!
//! Whoever may only see what is below a public root says how a block is below it. Owns the parents of nodes that were met, and of
//! leaves until they are asked for. Never: more ways than one for a block.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::{DagError, malformed};
use super::pb::Node;
use crate::cid::{Cid, Codec};
use crate::limits::{DAG_DEPTH_MAX, READ_LINKS_MAX, WAYS_MAX};

/// See the module. Memory: some 100 bytes for each node, and for each leaf of which the parent was met and which was not asked for:
/// [`WAYS_MAX`] of both together.
#[derive(Clone, Debug)]
pub struct Ways {
    root: Cid,
    /// Interior nodes, and their parents.
    nodes: BTreeMap<Cid, Cid>,
    /// Leaves: a parent, and in how many places they are still to be asked for.
    leaves: BTreeMap<Cid, (Cid, u32)>,
}

impl Ways {
    /// Returns the ways below a root, which leads nowhere yet.
    #[must_use]
    pub const fn new(root: Cid) -> Self {
        Self { root, nodes: BTreeMap::new(), leaves: BTreeMap::new() }
    }

    /// Notes where a block leads to. Cost: O(links).
    ///
    /// # Errors
    /// [`DagError`] when it is no block that can be read, or there are too many.
    pub fn learn(&mut self, cid: Cid, bytes: &Bytes) -> Result<(), DagError> {
        if cid.codec() != Codec::DagPb {
            return Ok(());
        }
        let links = Node::decode(bytes, READ_LINKS_MAX)?.links;
        if self.nodes.len() + self.leaves.len() + links.len() > WAYS_MAX {
            return Err(malformed("it has more blocks than can be kept track of"));
        }
        for link in links {
            if link.cid.codec() == Codec::DagPb {
                self.nodes.entry(link.cid).or_insert(cid);
            } else {
                self.leaves.entry(link.cid).or_insert((cid, 0)).1 += 1;
            }
        }
        Ok(())
    }

    /// Returns the blocks on the way to one that is wanted now, itself at the end, the root not among them.
    ///
    /// # Errors
    /// [`DagError`] when none is known.
    pub fn to(&mut self, cid: Cid) -> Result<Vec<Cid>, DagError> {
        let mut way = Vec::new();
        let mut at = cid;
        while at != self.root {
            if way.len() > DAG_DEPTH_MAX {
                return Err(malformed("no way leads to one of its blocks"));
            }
            way.push(at);
            at = self.parent(at).ok_or_else(|| malformed("no way leads to one of its blocks"))?;
        }
        way.reverse();
        Ok(way)
    }

    fn parent(&mut self, cid: Cid) -> Option<Cid> {
        let Some((parent, places)) = self.leaves.get_mut(&cid) else {
            return self.nodes.get(&cid).copied();
        };
        let parent = *parent;
        *places = places.saturating_sub(1);
        if *places == 0 {
            self.leaves.remove(&cid);
        }
        Some(parent)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Ways;
    use crate::cid::{Cid, Codec};
    use crate::dag::pb::{Link, Node};
    use crate::limits::{DAG_DEPTH_MAX, READ_LINKS_MAX, WAYS_MAX};

    fn node(links: &[Cid]) -> (Cid, Bytes) {
        let link = |cid: &Cid| Link { cid: *cid, name: Bytes::new(), dag_bytes: 1 };
        let bytes = Node { links: links.iter().map(link).collect(), data: None }.encode();
        (Cid::of(Codec::DagPb, &bytes), bytes)
    }

    fn leaf(number: u8) -> Cid {
        Cid::of(Codec::Raw, &[number])
    }

    #[test]
    fn each_block_has_its_way_as_often_as_it_is_wanted() {
        let (lower, lower_bytes) = node(&[leaf(1), leaf(2), leaf(1)]);
        let (root, root_bytes) = node(&[lower, leaf(3)]);
        let mut ways = Ways::new(root);
        assert_eq!(ways.to(root).unwrap(), []);
        assert!(ways.to(leaf(1)).is_err(), "nobody said so yet");
        ways.learn(root, &root_bytes).unwrap();
        assert_eq!(ways.to(lower).unwrap(), [lower]);
        ways.learn(lower, &lower_bytes).unwrap();
        assert_eq!(ways.to(leaf(2)).unwrap(), [lower, leaf(2)]);
        for _ in 0..2 {
            assert_eq!(ways.to(leaf(1)).unwrap(), [lower, leaf(1)]);
        }
        assert!(ways.to(leaf(1)).is_err() && ways.to(leaf(2)).is_err(), "they are forgotten");
        assert_eq!(ways.to(leaf(3)).unwrap(), [leaf(3)]);
        ways.learn(leaf(3), &Bytes::from_static(&[3])).unwrap();
        assert!(ways.learn(root, &Bytes::from_static(b"no node")).is_err());
    }

    #[test]
    fn what_nobody_asks_for_does_not_pile_up() {
        let mut ways = Ways::new(leaf(1));
        let mut learnt = 0;
        for first in (0..).step_by(READ_LINKS_MAX) {
            let links: Vec<Cid> = (first..first + READ_LINKS_MAX as u64)
                .map(|number: u64| Cid::of(Codec::Raw, &number.to_be_bytes()))
                .collect();
            let (cid, bytes) = node(&links);
            if ways.learn(cid, &bytes).is_err() {
                break;
            }
            learnt += READ_LINKS_MAX;
        }
        assert!(learnt <= WAYS_MAX && learnt + READ_LINKS_MAX > WAYS_MAX);
    }

    #[test]
    fn a_way_has_an_end() {
        let (mut at, mut all) = (leaf(1), Vec::new());
        for _ in 0..=DAG_DEPTH_MAX + 1 {
            let (cid, bytes) = node(&[at]);
            all.push((cid, bytes));
            at = cid;
        }
        let mut ways = Ways::new(at);
        all.iter().for_each(|(cid, bytes)| ways.learn(*cid, bytes).unwrap());
        assert!(ways.to(leaf(1)).is_err());
        assert!(ways.to(all[5].0).is_ok());
    }
}
