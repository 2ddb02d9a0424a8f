//! A holder that stands still, as a process on a machine that swaps or a frozen virtual machine does.

use anyhow::Context;

use super::stage::Ctx;
use crate::content::Content;
use crate::harness::UpOptions;

/// Bytes of each object: enough blocks that every peer holds some.
const OBJECT_BYTES: u64 = (24 << 20) + 7;

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions::default()).await?;
    let before = Content { seed: 1, size: OBJECT_BYTES };
    let stored = ctx.http.upload(&stage.url("a0")?, before).await?;

    stage.net().pause("a2")?;
    // At once, while nobody suspects it yet: both have to do with it.
    let (first, second) = (stage.url("a0")?, stage.url("a1")?);
    let during = Content { seed: 2, size: OBJECT_BYTES };
    let (read, stored_during) = futures::join!(
        ctx.http.check(&first, &stored.cid, before),
        ctx.http.upload(&second, during)
    );
    read.context("through a0, at once")?;
    let stored_during = stored_during.context("an upload through a1, at once")?;
    for name in ["a0", "a1", "a3", "a4"] {
        let url = stage.url(name)?;
        ctx.http
            .check(&url, &stored.cid, before)
            .await
            .with_context(|| format!("through {name}"))?;
    }
    for name in ["a0", "a1", "a3", "a4"] {
        let url = stage.url(name)?;
        let checked = ctx.http.check(&url, &stored_during.cid, during).await;
        checked.with_context(|| format!("stored meanwhile, through {name}"))?;
    }

    stage.net().resume("a2")?;
    stage.net().wait_until_complete().await?;
    let url = stage.url("a2")?;
    ctx.http.check(&url, &stored.cid, before).await.context("through the one that stood still")?;
    ctx.http.check(&url, &stored_during.cid, during).await.context("what it missed")?;
    Ok(())
}
