//! Blocks whose name is right and whose bytes are no node of any file, stored and then read as content.

use anyhow::{Context, bail, ensure};
use protocol::{Cid, Codec};

use super::super::stage::Ctx;
use crate::http::HttpError;

/// How many there are.
pub(super) const COUNT: usize = 8;

/// Returns a field of Protobuf with bytes in it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7F).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend(bytes);
    out
}

/// Returns a node: a link to `target` `links` times, and this UnixFS message.
fn node(target: &Cid, links: usize, unixfs: &[u8]) -> Vec<u8> {
    let link = [field(1, &target.to_bytes()), field(2, b"")].concat();
    [field(2, &link).repeat(links), field(1, unixfs)].concat()
}

fn nodes() -> [(&'static str, Vec<u8>); COUNT] {
    let leaf = Cid::of(Codec::Raw, b"nobody has this");
    // UnixFS: type file, a size of all ones, and block sizes that add up to anything.
    let huge = [&[8, 2, 24][..], &[0xFF; 9], &[1, 32], &[0xFF; 9], &[1]].concat();
    [
        ("random bytes", vec![0x5A; 100]),
        ("nothing", Vec::new()),
        ("a length beyond the end", vec![0x0A, 0xFF, 0xFF, 0x03, 1]),
        ("no UnixFS in it", node(&leaf, 0, &[0xFF; 20])),
        ("a size of all ones", node(&leaf, 1, &huge)),
        ("links without sizes", node(&leaf, 1000, &[8, 2, 24, 100])),
        ("sizes without links", node(&leaf, 0, &[8, 2, 24, 100, 32, 50, 32, 50])),
        ("a type that is not known", node(&leaf, 1, &[8, 99, 24, 1, 32, 1])),
    ]
}

/// Stores each block and reads it as content: refused at either, and nothing else is harmed.
pub(super) async fn run(ctx: &Ctx, url: &str) -> anyhow::Result<()> {
    for (name, bytes) in nodes() {
        let cid = Cid::of(Codec::DagPb, &bytes);
        match ctx.http.put_block(url, &cid.to_string(), bytes.into()).await {
            Ok(()) => {}
            Err(HttpError::Problem(problem)) if problem.status == 400 => continue,
            Err(error) => return Err(error).context(format!("{name}: put")),
        }
        match ctx.http.get(&format!("{url}/api/v1/content/{cid}")).await {
            Err(HttpError::Problem(problem)) => {
                ensure!(problem.kind != "internal", "{name}: {}", problem.detail);
            }
            // Begun, and cut off where nothing more could be had.
            Err(HttpError::Broken(_)) => {}
            Err(error @ HttpError::Wrong { .. }) => return Err(error).context(name),
            Ok(content) if content.is_empty() => {}
            Ok(content) => bail!("{name}: read as {} bytes", content.len()),
        }
    }
    Ok(())
}
