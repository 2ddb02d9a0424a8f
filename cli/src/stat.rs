//! `shoal stat` and `shoal rm`: one CID, looked at or removed.
//!
//! Never: fetches more than the root block.

use bytes::Bytes;
use protocol::dag::pb::Node;
use protocol::dag::{Content, DagError};
use protocol::{Cid, Codec, Fault};
use reqwest::Method;
use serde_json::json;

use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output::{self, ObjectRow};

/// Shows what `cid` is, by its root block.
///
/// # Errors
/// Those of fetching the block; [`protocol::Kind::Invalid`] if it is neither file nor directory.
pub(crate) async fn stat(endpoints: &Endpoints, cid: Cid, json: bool) -> Result<(), Failure> {
    let row = look(endpoints, cid).await?;
    if json {
        return output::json(&row);
    }
    output::line(&format!("cid        {}", row.cid))?;
    output::line(&format!("kind       {}", row.kind))?;
    output::line(&format!("size       {} ({} bytes)", output::bytes_text(row.size), row.size))?;
    output::line(&format!("links      {}", row.links.unwrap_or(0)))
}

async fn look(endpoints: &Endpoints, cid: Cid) -> Result<ObjectRow, Fault> {
    let block = endpoints.block(cid).await?;
    let wrong = |error: DagError| dag_fault(cid, &error);
    let content = Content::of_root(cid, &block).map_err(wrong)?;
    let (links, dag_bytes) = links_of(cid, &block).map_err(wrong)?;
    let mut row = match content {
        Content::File { size } => ObjectRow::new(cid, "file", size),
        Content::Directory => ObjectRow::new(cid, "directory", dag_bytes),
    };
    row.dag_bytes = Some(dag_bytes);
    row.links = Some(links);
    Ok(row)
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

/// Removes `cid`, and shows what became free.
///
/// # Errors
/// The most telling of the peers' refusals.
pub(crate) async fn remove(endpoints: &Endpoints, cid: Cid, json: bool) -> Result<(), Failure> {
    let doing = format!("remove {cid}");
    let freed = endpoints.json(Method::DELETE, &format!("content/{cid}"), &doing).await?;
    let count = |key: &str| freed.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let (blocks, bytes, missed) = (count("blocks"), count("bytes"), count("peers_missed"));
    if json {
        return output::json(&json!({
            "cid": cid.to_string(), "blocks": blocks, "bytes": bytes, "peers_missed": missed
        }));
    }
    let rest = match missed {
        0 => String::new(),
        missed => format!(
            "; {missed} peers did not answer and keep what they hold: remove it again when they are back"
        ),
    };
    let freed = output::bytes_text(bytes);
    output::line(&format!("removed {cid}: {blocks} blocks, {freed} free{rest}"))
}

/// Returns the fault of content that cannot be read although its blocks are sound.
pub(crate) fn dag_fault(cid: Cid, error: &DagError) -> Fault {
    Fault::new(error.kind(), format!("cannot read {cid}: {error}"))
}
