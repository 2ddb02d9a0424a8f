//! DAGs that are what they say, and DAGs that are not.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::audit::{Audit, AuditError, AuditStep, Audited};
use super::directory::{self, Entry};
use super::file::Block;
use super::pb::{Link, Node};
use super::unixfs::{NodeKind, UnixFs};
use super::{Content, DagError};
use crate::limits::{AUDIT_DEPTH_MAX, AUDIT_NODES_AHEAD, DAG_DEPTH_MAX};
use crate::{Cid, Codec, Prng};

/// A part of a DAG, as whoever links to it should know it.
#[derive(Clone, Copy, Debug)]
struct Part {
    cid: Cid,
    /// None of a directory.
    file_bytes: Option<u64>,
    dag_bytes: u64,
}

/// Blocks, and a lie about one link on the way, if there is to be one.
#[derive(Default)]
struct Maker {
    blocks: BTreeMap<Cid, Bytes>,
    /// How many links of files were made.
    links: u64,
    /// At which of them a lie is told, and what is added.
    lie: Option<(u64, i64)>,
}

impl Maker {
    fn leaf(&mut self, bytes: Bytes) -> Part {
        let cid = Cid::of(Codec::Raw, &bytes);
        let len = bytes.len() as u64;
        self.blocks.insert(cid, bytes);
        Part { cid, file_bytes: Some(len), dag_bytes: len }
    }

    fn put(&mut self, node: &Node) -> (Cid, u64) {
        let block = Block::of_node(node);
        let len = block.bytes.len() as u64;
        self.blocks.insert(block.cid, block.bytes);
        (block.cid, len)
    }

    /// Makes a node of a file that fits itself, and its children unless there is a lie. Its `Tsize`s are nonsense.
    fn file(&mut self, children: &[Part], data: &'static [u8]) -> Part {
        let mut unixfs = UnixFs::new(NodeKind::File);
        unixfs.data = (!data.is_empty()).then(|| Bytes::from_static(data));
        for child in children {
            let bytes = child.file_bytes.expect("a file consists of files");
            let lie = self.lie.filter(|(at, _)| *at == self.links).map_or(0, |(_, by)| by);
            unixfs.block_sizes.push(bytes.saturating_add_signed(lie));
            self.links += 1;
        }
        let size = data.len() as u64 + unixfs.block_sizes.iter().sum::<u64>();
        unixfs.file_bytes = Some(size);
        let link = |part: &Part| Link { cid: part.cid, name: Bytes::new(), dag_bytes: 1 };
        let links = children.iter().map(link).collect();
        let (cid, len) = self.put(&Node { links, data: Some(unixfs.encode()) });
        let below: u64 = children.iter().map(|child| child.dag_bytes).sum();
        Part { cid, file_bytes: Some(size), dag_bytes: below + len }
    }

    /// Makes a directory of few entries, whose `Tsize`s are nonsense.
    fn folder(&mut self, entries: &[Part]) -> Part {
        let link = |(number, part): (usize, &Part)| Link {
            cid: part.cid,
            name: format!("e{number}").into(),
            dag_bytes: 0,
        };
        let links = entries.iter().enumerate().map(link).collect();
        let data = Some(UnixFs::new(NodeKind::Directory).encode());
        let (cid, len) = self.put(&Node { links, data });
        let below: u64 = entries.iter().map(|entry| entry.dag_bytes).sum();
        Part { cid, file_bytes: None, dag_bytes: below + len }
    }

    /// Makes a tree in which the same part often stands in several places.
    fn random(&mut self, prng: &mut Prng) -> Part {
        let mut files: Vec<Part> = Vec::new();
        for number in 0..1 + prng.below(6) {
            let len = usize::try_from(prng.below(5)).unwrap();
            files.push(self.leaf(vec![u8::try_from(number % 3).unwrap(); len].into()));
        }
        for _ in 0..prng.below(12) {
            let children: Vec<Part> =
                (0..prng.below(5)).map(|_| files[prng.index(files.len()).unwrap()]).collect();
            let data: &[u8] = if prng.chance(1, 4) { b"own" } else { b"" };
            files.push(self.file(&children, data));
        }
        if prng.chance(1, 3) {
            return files.pop().unwrap();
        }
        for _ in 0..1 + prng.below(6) {
            let entries: Vec<Part> =
                (0..prng.below(7)).map(|_| files[prng.index(files.len()).unwrap()]).collect();
            files.push(self.folder(&entries));
            if prng.chance(1, 2) {
                // Directories are files to directories alone.
                files.retain(|part| part.file_bytes.is_none());
            }
        }
        files.pop().unwrap()
    }
}

/// What an audit asked for.
#[derive(Debug, Default)]
struct Asked {
    nodes: usize,
    leaves: usize,
    /// Most nodes under way at a time.
    ahead: usize,
}

/// Has a DAG audited with up to `window` questions under way, which are answered in an order drawn from `prng`.
fn audit(
    root: Cid,
    blocks: &BTreeMap<Cid, Bytes>,
    window: usize,
    prng: &mut Prng,
) -> Result<(Audited, Asked), AuditError> {
    let mut audit = Audit::new(root);
    let (mut under_way, mut asked) = (Vec::new(), Asked::default());
    let mut seen = std::collections::BTreeSet::new();
    while audit.found().is_none() {
        while under_way.len() < window
            && let Some(step) = audit.next_step()?
        {
            match step {
                AuditStep::Read(cid) => {
                    assert!(seen.insert(cid), "a node is asked for once");
                    asked.nodes += 1;
                }
                AuditStep::Measure(_) => asked.leaves += 1,
            }
            under_way.push(step);
        }
        let nodes = under_way.iter().filter(|step| matches!(step, AuditStep::Read(_))).count();
        asked.ahead = asked.ahead.max(nodes);
        if audit.found().is_some() {
            break;
        }
        let at = prng.index(under_way.len()).expect("an audit that is not over asks");
        match under_way.swap_remove(at) {
            AuditStep::Read(cid) => audit.node(cid, &blocks[&cid])?,
            AuditStep::Measure(cid) => {
                assert!(audit.wants_leaf(&cid));
                audit.leaf(cid, blocks[&cid].len() as u64)?;
            }
        }
    }
    assert!(under_way.is_empty(), "nothing is asked in vain");
    Ok((audit.found().unwrap(), asked))
}

fn quick(maker: &Maker, root: Cid) -> Result<Audited, AuditError> {
    audit(root, &maker.blocks, 4, &mut Prng::new(1)).map(|(found, _)| found)
}

proptest! {
    #[test]
    fn what_tells_the_truth_is_counted_whole_in_any_order(
        seed in any::<u64>(), window in 1..9usize,
    ) {
        let (mut prng, mut maker) = (Prng::new(seed), Maker::default());
        let root = maker.random(&mut prng);
        let (found, asked) = audit(root.cid, &maker.blocks, window, &mut prng).unwrap();
        prop_assert_eq!(found.dag_bytes, root.dag_bytes);
        let content = root.file_bytes.map_or(Content::Directory, |size| Content::File { size });
        prop_assert_eq!(found.content, content);
        prop_assert!(asked.nodes + asked.leaves <= maker.blocks.len(), "{:?}", asked);
        prop_assert!(asked.ahead <= AUDIT_NODES_AHEAD + 1, "{:?}", asked);
    }

    #[test]
    fn one_lie_anywhere_below_is_found_in_any_order(
        seed in any::<u64>(), window in 1..9usize, at in any::<u64>(), more in any::<bool>(), by in 1..5_i64,
    ) {
        let mut honest = Maker::default();
        let root = honest.random(&mut Prng::new(seed));
        let lie = (honest.links > 0).then(|| (at % honest.links, if more { by } else { -by }));
        let mut maker = Maker { lie, ..Maker::default() };
        let false_root = maker.random(&mut Prng::new(seed));
        let mut prng = Prng::new(seed);
        let audited = audit(false_root.cid, &maker.blocks, window, &mut prng).map(|(found, _)| found);
        // A lie in what nothing below the root links to is none, nor one that takes away from nothing.
        if false_root.cid == root.cid {
            prop_assert_eq!(audited.unwrap().dag_bytes, root.dag_bytes);
        } else {
            prop_assert!(matches!(audited, Err(AuditError::Sizes { .. })), "{:?}", audited);
        }
    }

    #[test]
    fn what_is_built_here_is_what_it_says(counts in proptest::collection::vec(0..40_000_usize, 1..5)) {
        let (mut maker, mut entries) = (Maker::default(), Vec::new());
        for (number, count) in counts.into_iter().enumerate() {
            let (mut builder, mut nodes) = (super::FileBuilder::new(), Vec::new());
            for at in 0..count.div_ceil(16) {
                let leaf = maker.leaf(Bytes::from((at % 300).to_string()));
                builder.leaf(leaf.cid, u32::try_from(leaf.dag_bytes).unwrap(), &mut nodes);
            }
            let root = builder.finish(&mut nodes);
            maker.leaf(Bytes::new());
            maker.blocks.extend(nodes.into_iter().map(|block| (block.cid, block.bytes)));
            let content = Content::File { size: root.size };
            let expected = Audited { content, dag_bytes: root.dag_bytes };
            prop_assert_eq!(quick(&maker, root.cid), Ok(expected));
            let name = format!("f{number}");
            entries.push(Entry { name, cid: root.cid, dag_bytes: root.dag_bytes });
        }
        let mut blocks = Vec::new();
        let root = directory::build(entries, &mut blocks).unwrap();
        maker.blocks.extend(blocks.into_iter().map(|block| (block.cid, block.bytes)));
        let expected = Audited { content: Content::Directory, dag_bytes: root.dag_bytes };
        prop_assert_eq!(quick(&maker, root.cid), Ok(expected));
    }
}

#[test]
fn a_directory_of_many_nodes_is_counted_whole() {
    let mut maker = Maker::default();
    let leaf = maker.leaf(Bytes::from_static(b"leaf"));
    let entry = |number: u32| Entry { name: format!("{number:0>99}"), cid: leaf.cid, dag_bytes: 4 };
    let mut blocks = Vec::new();
    let root = directory::build((0..5000).map(entry).collect(), &mut blocks).unwrap();
    assert!(blocks.len() > 200, "it is spread");
    maker.blocks.extend(blocks.into_iter().map(|block| (block.cid, block.bytes)));
    assert_eq!(quick(&maker, root.cid).unwrap().dag_bytes, root.dag_bytes);
}

#[test]
fn the_block_that_lies_is_named() {
    let mut maker = Maker { lie: Some((1, 3)), ..Maker::default() };
    let leaf = maker.leaf(Bytes::from_static(b"leaf"));
    let other = maker.leaf(Bytes::from_static(b"other"));
    let file = maker.file(&[leaf, other], b"");
    let root = maker.file(&[file, leaf], b"");
    let lie = AuditError::Sizes { parent: file.cid, child: other.cid, said: 8, found: 5 };
    assert_eq!(quick(&maker, root.cid), Err(lie));
}

#[test]
fn a_file_has_no_directory_in_it_and_a_root_is_one_of_both() {
    let mut maker = Maker::default();
    let folder = maker.folder(&[]);
    let file = maker.file(&[Part { file_bytes: Some(0), ..folder }], b"");
    let source = DagError::NotAFile;
    let refused = Err(AuditError::Block { cid: folder.cid, source: source.clone() });
    assert_eq!(quick(&maker, file.cid), refused);
    let link = Node { links: Vec::new(), data: Some(UnixFs::new(NodeKind::Symlink).encode()) };
    let (cid, len) = maker.put(&link);
    assert_eq!(quick(&maker, cid), Err(AuditError::Block { cid, source }));
    // In a directory it is kept, and counted.
    let link = Part { cid, file_bytes: None, dag_bytes: len };
    let root = maker.folder(&[link, link]);
    assert_eq!(quick(&maker, root.cid).unwrap().dag_bytes, root.dag_bytes);
}

#[test]
fn a_small_dag_that_stands_for_an_endless_one_is_walked_once() {
    let mut maker = Maker::default();
    let mut part = maker.leaf(Bytes::new());
    for _ in 0..DAG_DEPTH_MAX {
        part = maker.file(&[part; 2], b"");
    }
    let (found, asked) = audit(part.cid, &maker.blocks, 4, &mut Prng::new(1)).unwrap();
    assert_eq!((found.dag_bytes, asked.nodes), (part.dag_bytes, DAG_DEPTH_MAX));
    assert_eq!(asked.leaves, 1);
    // One level more is deeper than any reader goes.
    let deeper = maker.file(&[part], b"");
    assert!(
        matches!(quick(&maker, deeper.cid), Err(AuditError::Block { cid, .. }) if cid == deeper.cid)
    );
    // Sums that no number holds are refused; directories may be deeper, but not endless.
    let mut folder = maker.folder(&[part; 100]);
    for _ in 0..20 {
        let below = Part { dag_bytes: 0, ..folder };
        folder = maker.folder(&[below; 100]);
    }
    assert!(matches!(quick(&maker, folder.cid), Err(AuditError::Block { .. })));
    let mut folder = maker.folder(&[]);
    for _ in 0..AUDIT_DEPTH_MAX {
        folder = maker.folder(&[folder]);
    }
    assert!(matches!(quick(&maker, folder.cid), Err(AuditError::TooDeep { .. })));
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut maker = Maker::default();
    let leaf = maker.leaf(Bytes::from_static(b"leaf"));
    let root = maker.file(&[leaf], b"");
    let mut audit = Audit::new(root.cid);
    audit.leaf(leaf.cid, 9).unwrap();
    audit.node(root.cid, &Bytes::from_static(b"before it was asked for")).unwrap();
    assert_eq!(audit.next_step(), Ok(Some(AuditStep::Read(root.cid))));
    assert_eq!(audit.next_step(), Ok(None));
    audit.node(root.cid, &maker.blocks[&root.cid]).unwrap();
    assert_eq!(audit.next_step(), Ok(Some(AuditStep::Measure(leaf.cid))));
    audit.leaf(leaf.cid, 4).unwrap();
    audit.leaf(leaf.cid, 5).unwrap();
    assert_eq!(audit.found().map(|found| found.content), Some(Content::File { size: 4 }));
}
