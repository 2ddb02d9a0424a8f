//! More uploads at a time than there is memory for a part of each.

use std::sync::Arc;

use anyhow::Context;
use futures::StreamExt;
use futures::future::try_join_all;
use protocol::limits::CHUNK_BYTES;
use reqwest::{Body, Method};
use tokio::sync::Barrier;

use super::stage::Ctx;
use crate::content::Content;
use crate::harness::UpOptions;

/// Uploads at a time: more than a peer holds chunks, fewer than it admits.
const UPLOADS: usize = 110;

/// Bytes of each.
const OBJECT_BYTES: u64 = 3 * CHUNK_BYTES as u64 + 7;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let stage = ctx.stage(&UpOptions { nodes: vec![1], ..UpOptions::default() }).await?;
    let url = stage.url("a0")?;
    let content = |number: usize| Content {
        seed: u32::try_from(number).unwrap_or_default(),
        size: OBJECT_BYTES,
    };
    // In step, so that all of them come to each chunk before any is through.
    let step = Arc::new(Barrier::new(UPLOADS));
    let upload = async |number: usize| {
        let step = Arc::clone(&step);
        let pieces = content(number).stream().then(move |piece| {
            let step = Arc::clone(&step);
            async move {
                step.wait().await;
                piece
            }
        });
        let request = ctx.http.request(Method::POST, &format!("{url}/api/v1/content"));
        let answer = request.body(Body::wrap_stream(pieces)).send().await?;
        answer.error_for_status().context("an upload was refused").map(drop)
    };
    try_join_all((0..UPLOADS).map(upload)).await.context("uploads that go on side by side")?;
    let after = content(UPLOADS);
    let stored = ctx.http.upload(&url, after).await.context("an upload after them")?;
    ctx.http.check(&url, &stored.cid, after).await?;
    Ok(())
}
