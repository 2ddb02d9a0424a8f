//! Readers that begin a download and then read nothing.

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use protocol::limits::{CHUNK_BYTES, TRANSFER_BYTES_MAX};
use reqwest::Method;

use super::stage::Ctx;
use crate::content::Content;
use crate::harness::UpOptions;
use crate::process::resident_bytes;

/// Readers at a time.
const READERS: u32 = 60;

/// What they ask for: much more than a download may fetch ahead.
const CONTENT: Content = Content { seed: 91, size: 48 << 20 };

/// Memory that a peer may take for them: what all downloads may fetch ahead, and for each the chunk that it holds at
/// least, what was given to its connection, and the connection.
const GROWTH_BYTES_MAX: u64 = TRANSFER_BYTES_MAX as u64 + READERS as u64 * 3 * CHUNK_BYTES as u64;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let stage = ctx.stage(&UpOptions { nodes: vec![1], ..UpOptions::default() }).await?;
    let (url, pid) = (stage.url("a0")?, stage.node("a0")?.pid);
    let cid = ctx.http.upload(&url, CONTENT).await?.cid;
    ctx.http.check(&url, &cid, CONTENT).await.context("a reader before them")?;
    let memory = || resident_bytes(pid).context("the daemon has no resident memory");

    let before = memory()?;
    let begin = async || {
        let request = ctx.http.request(Method::GET, &format!("{url}/api/v1/content/{cid}"));
        request.send().await?.error_for_status().context("a download was refused")
    };
    let unread = try_join_all((0..READERS).map(|_| begin())).await?;
    // Whoever reads is not delayed by them; meanwhile they get all that they will.
    for _ in 0..3 {
        ctx.http.check(&url, &cid, CONTENT).await.context("a reader among them")?;
    }
    let grown = memory()?.saturating_sub(before);
    ensure!(
        grown < GROWTH_BYTES_MAX,
        "memory grew by {grown} bytes for {READERS} readers that do not read"
    );
    ctx.note(format!("memory grew by {} MiB for {READERS} readers", grown >> 20));
    drop(unread);
    Ok(())
}
