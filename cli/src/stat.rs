//! `shoal stat`: what an object or a CID is, down to its blocks.
//!
//! Fetches the interior nodes of a file, never its leaves: a node says which leaves there are, and how long.
//! Never: trusts sizes to be sound; they are what the blocks say.

use std::collections::BTreeSet;

use bytes::Bytes;
use protocol::api::{Object, Versions};
use protocol::dag::pb::Node;
use protocol::dag::{Content, DagError, LeafStep, Leaves};
use protocol::{Cid, Codec, Fault};

use crate::args::Stat;
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::list::Pages;
use crate::object;
use crate::output::{self, ObjectRow};
use crate::question::Question;
use crate::target::{Name, Target};

/// Blocks of one file that are told apart: a TiB of fixed chunks, some 60 MiB of memory. Larger files are
/// shown without a count.
const BLOCKS_MAX: usize = 1 << 20;

/// Shows what a target is.
///
/// # Errors
/// Those of fetching its nodes; [`protocol::Kind::Invalid`] if it is neither file nor directory.
pub(crate) async fn run(endpoints: &Endpoints, args: &Stat, json: bool) -> Result<(), Failure> {
    let version = args.version.as_deref();
    let row = match &args.target {
        Target::Content(cid) => {
            object::no_version(*cid, version)?;
            look(endpoints, *cid).await?.0
        }
        Target::Name(name) => {
            let object = object::look(endpoints, name, version).await?;
            look_at_object(endpoints, name, object).await?
        }
    };
    if json { output::json(&row) } else { show(&row) }
}

async fn look_at_object(
    endpoints: &Endpoints,
    name: &Name,
    object: Object,
) -> Result<ObjectRow, Fault> {
    if object.cid.is_none() {
        // A delete marker, which was asked for by its version.
        return Ok(ObjectRow::of(object));
    }
    let (seen, blocks) = look(endpoints, object::cid_of(name, &object)?).await?;
    let mut row = ObjectRow {
        kind: seen.kind,
        dag_bytes: seen.dag_bytes,
        links: seen.links,
        blocks: seen.blocks,
        block_bytes: seen.block_bytes,
        ..ObjectRow::of(object)
    };
    let before = version_before(endpoints, name, row.version.as_deref()).await?;
    if let (Some(blocks), Some(before)) = (blocks, before) {
        let (_, blocks_before) = look(endpoints, before).await?;
        if let Some(before) = blocks_before {
            let (count, bytes) = blocks.count_without(&before);
            (row.new_blocks, row.new_block_bytes) = (Some(count), Some(bytes));
        }
    }
    Ok(row)
}

/// Returns the content of the latest version before `version` that is still listed and has some.
async fn version_before(
    endpoints: &Endpoints,
    name: &Name,
    version: Option<&str>,
) -> Result<Option<Cid>, Fault> {
    let question = Question::get(name.path("versions"), format!("list the versions of {name}"));
    let after = version.map(str::to_owned);
    let mut pages = Pages::new(endpoints, question, None, after);
    while let Some(page) = pages.next::<Versions>().await? {
        if let Some(older) = page.versions.iter().find(|older| older.cid.is_some()) {
            return object::cid_of(name, older).map(Some);
        }
    }
    Ok(None)
}

fn show(row: &ObjectRow) -> Result<(), Failure> {
    let mut lines = Vec::new();
    let mut add = |label: &str, text: String| {
        lines.push(output::plain(&format!("{label:<14} {text}")) + "\n");
    };
    let size = |bytes: u64| format!("{} ({bytes} bytes)", output::bytes_text(bytes));
    let blocks = |count: Option<u64>, bytes: Option<u64>| {
        count.zip(bytes).map(|(count, bytes)| format!("{count}, {}", size(bytes)))
    };
    if let (Some(bucket), Some(key)) = (&row.bucket, &row.key) {
        add("name", format!("{bucket}/{key}"));
    }
    if let Some(version) = &row.version {
        let current = if row.current == Some(true) { "  current" } else { "" };
        add("version", format!("{version}{current}"));
    }
    add("cid", row.cid.clone().unwrap_or_else(|| "none: deleted".to_owned()));
    let rows = [
        ("kind", row.kind.map(str::to_owned)),
        ("size", Some(size(row.size))),
        ("content type", row.content_type.clone()),
        ("owner", row.owner.clone()),
        ("modified", row.modified.clone()),
        ("public", row.public.filter(|public| *public).map(|_| "yes".to_owned())),
        ("links", row.links.map(|links| links.to_string())),
        ("blocks", blocks(row.blocks, row.block_bytes)),
        ("new blocks", blocks(row.new_blocks, row.new_block_bytes)),
    ];
    for (label, text) in rows {
        if let Some(text) = text {
            add(label, text);
        }
    }
    for (name, value) in &row.tags {
        add("tag", format!("{name}={value}"));
    }
    output::text(&lines.concat())
}

/// Returns what `cid` is, and its blocks if it is a file that is not too large.
async fn look(endpoints: &Endpoints, cid: Cid) -> Result<(ObjectRow, Option<Blocks>), Fault> {
    let block = endpoints.block(cid).await?;
    let wrong = |error: DagError| dag_fault(cid, &error);
    let content = Content::of_root(cid, &block).map_err(wrong)?;
    let (links, dag_bytes) = links_of(cid, &block).map_err(wrong)?;
    let (mut row, blocks) = match content {
        Content::File { size } => {
            let blocks = Blocks::of_file(endpoints, cid, (block, size)).await?;
            (ObjectRow::new(cid, "file", size), blocks)
        }
        Content::Directory => (ObjectRow::new(cid, "directory", dag_bytes), None),
    };
    row.dag_bytes = Some(dag_bytes);
    row.links = Some(links);
    if let Some(blocks) = &blocks {
        let (count, bytes) = blocks.count_without(&Blocks::default());
        (row.blocks, row.block_bytes) = (Some(count), Some(bytes));
    }
    Ok((row, blocks))
}

/// The blocks of a file, each once, with their bytes.
#[derive(Debug, Default)]
struct Blocks(BTreeSet<(Cid, u64)>);

impl Blocks {
    /// Returns the blocks of the file `cid`, or `None` if they are [`BLOCKS_MAX`] or more. `root`: its
    /// verified root block.
    async fn of_file(
        endpoints: &Endpoints,
        cid: Cid,
        (root, size): (Bytes, u64),
    ) -> Result<Option<Self>, Fault> {
        let wrong = |error: DagError| dag_fault(cid, &error);
        let mut blocks = BTreeSet::from([(cid, root.len() as u64)]);
        let mut leaves = Leaves::new(cid, size);
        // Steps, not blocks: a few blocks can name each other as often as a hostile hand likes.
        for _ in 0..BLOCKS_MAX {
            match leaves.step().map_err(wrong)? {
                LeafStep::End => return Ok(Some(Self(blocks))),
                LeafStep::Leaf(leaf) => {
                    blocks.extend(leaf.cid.map(|cid| (cid, u64::from(leaf.bytes_len))));
                }
                LeafStep::Fetch(node) => {
                    let bytes =
                        if node == cid { root.clone() } else { endpoints.block(node).await? };
                    blocks.insert((node, bytes.len() as u64));
                    leaves.supply(&bytes).map_err(wrong)?;
                }
            }
        }
        Ok(None)
    }

    /// Returns how many of the blocks are not among `others`, and their bytes.
    fn count_without(&self, others: &Self) -> (u64, u64) {
        let own = self.0.difference(&others.0);
        own.fold((0, 0), |(count, sum), (_, bytes)| (count + 1, u64::saturating_add(sum, *bytes)))
    }
}

/// Returns how many links the block `cid` has, and the bytes of all blocks from it down, as it says.
///
/// # Errors
/// [`DagError`] if it is not the block of a node.
pub(crate) fn links_of(cid: Cid, block: &Bytes) -> Result<(u64, u64), DagError> {
    let links = match cid.codec() {
        Codec::Raw => Vec::new(),
        Codec::DagPb => Node::decode(block, usize::MAX)?.links,
    };
    // Whoever made the block may have written any numbers.
    let below = links.iter().fold(0_u64, |sum, link| sum.saturating_add(link.dag_bytes));
    Ok((links.len() as u64, below.saturating_add(block.len() as u64)))
}

/// Returns the fault of content that cannot be read although its blocks are sound.
pub(crate) fn dag_fault(cid: Cid, error: &DagError) -> Fault {
    Fault::new(error.kind(), format!("cannot read {cid}: {error}"))
}
