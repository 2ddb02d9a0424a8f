//! A data directory that is replaced by an older copy of itself, in the same place.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, ensure};
use reqwest::Method;

use super::ask::ask;
use super::client::shoald;
use super::requests::put;
use super::stage::Ctx;
use super::views::ensure_voters;
use super::wait::{PATIENCE, Watch, until, within};
use crate::content::Content;
use crate::harness::UpOptions;

/// Objects that are written after the copy was made.
const OBJECTS: u32 = 20;

/// The peer whose directory it is, and one that stays.
const RESTORED: &str = "a1";
const OTHER: &str = "a0";

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let mut stage = ctx.stage(&UpOptions { nodes: vec![3], ..UpOptions::default() }).await?;
    until(PATIENCE, async || ensure_voters(stage.net(), 3).await).await?;
    let node = stage.node(RESTORED)?.clone();
    let files = stage.files()?;
    let copy = files.join("copy");
    stage.net().stop(RESTORED)?;
    put_over(&node.data_dir, &copy).context("copying the directory")?;
    stage.net().restart(RESTORED).await?;
    let content = |seed| Content { seed, size: 100_000 };
    for seed in 0..OBJECTS {
        put(&ctx.http, &node.http, &format!("kept/{seed}"), content(seed), &[])
            .await?
            .expect(201)?;
    }

    stage.net().stop(RESTORED)?;
    put_over(&copy, &node.data_dir).context("putting the copy back")?;
    let flags: Vec<&str> = node.flags.iter().map(String::as_str).collect();
    for start in 1..=2 {
        let watch = Watch::start();
        let ended = within(PATIENCE, "the end of a peer from the past", shoald(&files, &flags));
        let ended = ended.await??.expect(1)?;
        let told = ended.err.lines().filter(|line| line.starts_with("shoald: "));
        let told: Vec<&str> = told.collect();
        let says = |words: &str| told.len() == 1 && told.iter().all(|line| line.contains(words));
        ensure!(
            says("is an older copy of what this peer had") && says("shoal cluster remove"),
            "start {start}: it does not say why it ended: {}",
            ended.err
        );
        ctx.note(format!(
            "a directory that was put back ended its peer after {} ms",
            watch.elapsed().as_millis()
        ));
    }

    let url = stage.url(OTHER)?;
    put(&ctx.http, &url, "kept/meanwhile", content(OBJECTS), &[]).await?.expect(201)?;
    let path = format!("{url}/api/v1/cluster/peers/{}?force=true", node.peer_id);
    ask(ctx.http.request(Method::DELETE, &path)).await.done().context("removing it")?;
    stage.net().wipe(RESTORED)?;
    stage.net().restart(RESTORED).await.context("an empty directory in its place")?;
    for name in stage.names() {
        let at = stage.url(&name)?;
        for seed in 0..OBJECTS {
            let read = super::requests::get(&ctx.http, &at, &format!("kept/{seed}")).await;
            let read = read?.expect(200).with_context(|| format!("kept/{seed} at {name}"))?;
            ensure!(read.body == content(seed).slice(0, 100_000), "kept/{seed} at {name}");
        }
    }
    until(PATIENCE, async || ensure_voters(stage.net(), 3).await).await?;
    Ok(())
}

/// Makes one folder what another is, writing over the files that are there: each stays where it lies on the disk, as it
/// does under `rsync --inplace` or `cp` over it.
fn put_over(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let names = |of: &Path| -> io::Result<Vec<OsString>> {
        fs::read_dir(of)?.map(|entry| Ok(entry?.file_name())).collect()
    };
    for name in names(to)? {
        if !from.join(&name).exists() {
            let gone = to.join(&name);
            if gone.is_dir() { fs::remove_dir_all(gone)? } else { fs::remove_file(gone)? }
        }
    }
    for name in names(from)? {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            put_over(&from, &to)?;
        } else {
            io::copy(&mut File::open(from)?, &mut File::create(to)?)?;
        }
    }
    Ok(())
}
