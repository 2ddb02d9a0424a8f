//! Content that a client cut itself is counted: a node that says something else of what is below it gets no name and no pin, and
//! the size of a directory is that of its blocks.

use anyhow::{Context, ensure};
use protocol::api::Problem;
use protocol::{Cid, Codec};
use reqwest::Method;

use super::ask::send;
use super::requests::object_url;
use super::users::{Asker, begin, naming};

/// A file and a directory, in UnixFS.
const NODE_FILE: u8 = 2;
const NODE_DIRECTORY: u8 = 1;

/// See the module.
pub(super) async fn run(urls: &[String], ann: &Asker<'_>) -> anyhow::Result<()> {
    let upload = begin(ann, &urls[0]).await?;
    let store = async |url: &str, cid: Cid, bytes: Vec<u8>| {
        let block = format!("{url}/api/v1/blocks/{cid}?upload={upload}");
        send(ann.request(Method::PUT, &block).body(bytes)).await?.expect(201)?;
        anyhow::Ok(cid)
    };
    let leaves = [vec![1; 40_000], vec![2; 300_000]];
    let mut cids = Vec::new();
    for (leaf, url) in leaves.iter().zip(urls) {
        cids.push(store(url, Cid::of(Codec::Raw, leaf), leaf.clone()).await?);
    }
    let make = async |sizes: [u64; 2]| {
        let bytes = node(NODE_FILE, &[(cids[0], "", sizes[0]), (cids[1], "", sizes[1])]);
        let whole = sizes.iter().sum::<u64>();
        let cid = store(&urls[0], Cid::of(Codec::DagPb, &bytes), bytes.clone()).await?;
        anyhow::Ok((cid, whole, bytes.len() as u64))
    };
    let url = object_url(&urls[1], "anns/cut");
    for sizes in [[39_999, 300_000], [40_000, 10], [40_000, 300_001], [40_001, 299_999], [0, 0]] {
        let (cid, whole, _) = make(sizes).await?;
        let named = naming(&cid.to_string(), &upload, usize::try_from(whole)?);
        let answer = send(ann.request(Method::POST, &url).json(&named)).await?;
        answer.expect_problem(400, "invalid").with_context(|| format!("{sizes:?}"))?;
        let told: Problem = answer.document()?;
        ensure!(told.detail.contains(&cid.to_string()), "{} does not name the block", told.detail);
    }
    let (file, whole, file_node) = make([40_000, 300_000]).await?;
    // The size of a directory is that of its blocks, in every place where they stand, whatever its links say.
    let folder = node(NODE_DIRECTORY, &[(file, "a", 1), (file, "b", 1), (cids[0], "c", 1)]);
    let folder_node = folder.len() as u64;
    let folder = store(&urls[2], Cid::of(Codec::DagPb, &folder), folder).await?;
    let below = 2 * (whole + file_node) + 40_000 + folder_node;
    for (size, status) in [(0, 400), (3, 400), (below - 1, 400), (below + 1, 400), (below, 204)] {
        let pin = format!("{}/api/v1/content/{folder}?upload={upload}&size={size}", urls[2]);
        let answer = send(ann.request(Method::PUT, &pin)).await?;
        ensure!(answer.status / 100 == status / 100, "size={size}: {}", answer.status);
        if status == 400 {
            answer.expect_problem(400, "invalid")?;
        }
    }
    let named = naming(&file.to_string(), &begin_again(ann, urls, &upload).await?, 340_000);
    send(ann.request(Method::POST, &url).json(&named)).await?.expect(200)?;
    let found = send(ann.request(Method::GET, &object_url(&urls[2], "anns/cut"))).await?;
    ensure!(found.expect(200)?.body == leaves.concat(), "what was cut has other bytes");
    send(ann.request(Method::DELETE, &format!("{}/api/v1/content/{folder}", urls[0]))).await?;
    send(ann.request(Method::DELETE, &object_url(&urls[0], "anns/cut"))).await?.expect(200)?;
    Ok(())
}

/// Begins another upload, as one is one content, and ends the first.
async fn begin_again(ann: &Asker<'_>, urls: &[String], first: &str) -> anyhow::Result<String> {
    let next = begin(ann, &urls[1]).await?;
    let ended = ann.request(Method::DELETE, &format!("{}/api/v1/uploads/{first}", urls[2]));
    send(ended).await?.expect(204)?;
    Ok(next)
}

/// Returns a dag-pb node of links with their names and, for a file, the bytes that it says are below them.
fn node(kind: u8, links: &[(Cid, &str, u64)]) -> Vec<u8> {
    let number = |mut value: u64, out: &mut Vec<u8>| {
        while value >= 0x80 {
            out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        out.push(value.to_le_bytes()[0]);
    };
    let field = |key: u8, bytes: &[u8], out: &mut Vec<u8>| {
        out.push(key);
        number(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    };
    let (mut out, mut unixfs) = (Vec::new(), vec![8, kind]);
    if kind == NODE_FILE {
        unixfs.push(24);
        number(links.iter().map(|(_, _, bytes)| bytes).sum(), &mut unixfs);
    }
    for (cid, name, bytes) in links {
        let mut link = Vec::new();
        field(10, &cid.to_bytes(), &mut link);
        field(18, name.as_bytes(), &mut link);
        link.extend_from_slice(&[24, 1]);
        field(18, &link, &mut out);
        if kind == NODE_FILE {
            unixfs.push(32);
            number(*bytes, &mut unixfs);
        }
    }
    field(10, &unixfs, &mut out);
    out
}
