//! Uploads of the command line give the roots that other programs computed.
//!
//! The vectors are those of `protocol/tests/vectors`; its test says how their bytes are made. Large files lie
//! on the disk one at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::client::shoal;
use super::stage::{Ctx, Stage};
use crate::content::Content;
use crate::harness::UpOptions;

const VECTORS: &str = include_str!("../../../protocol/tests/vectors/unixfs-v1-2025.jsonl");

/// Bytes of a file that are made at a time.
const PIECE_BYTES: u64 = 4 << 20;

/// One line of the vectors.
#[derive(Debug, Deserialize)]
struct Vector {
    name: String,
    cid: String,
    #[serde(default)]
    size: u64,
    seed: Option<u32>,
    #[serde(default)]
    entries: usize,
    #[serde(default)]
    name_len: usize,
    #[serde(default)]
    last_name_len: usize,
}

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let options = UpOptions { nodes: vec![1], replicas: 1, ..UpOptions::default() };
    let stage = ctx.stage(&options).await?;
    let (mut files, mut directories) = (0, 0);
    for line in VECTORS.lines() {
        let vector: Vector = serde_json::from_str(line)?;
        match vector.seed {
            Some(seed) => {
                files += 1;
                file(ctx, &stage, &vector, Content { seed, size: vector.size }).await
            }
            None => {
                directories += 1;
                directory(&stage, &vector).await
            }
        }
        .with_context(|| vector.name.clone())?;
    }
    ensure!((files, directories) == (13, 8), "{files} files, {directories} directories");
    Ok(())
}

async fn file(ctx: &Ctx, stage: &Stage, vector: &Vector, content: Content) -> anyhow::Result<()> {
    let (folder, url) = (stage.files()?, stage.url("a0")?);
    let path = folder.join(&vector.name);
    write(&path, content)?;
    let uploaded = shoal(&folder, &[&url], &["upload", &vector.name]).await?.expect(0)?;
    std::fs::remove_file(&path)?;
    ensure!(uploaded.cid()? == vector.cid, "{} instead of {}", uploaded.cid()?, vector.cid);
    // What was stored is read back in parts, and goes: the largest would fill small disks.
    for first in [0, content.size / 2, content.size.saturating_sub(5)] {
        let last = (first + 99).min(content.size.saturating_sub(1));
        if first <= last && content.size > 0 {
            ctx.http.check_range(&url, &vector.cid, content, Some((first, last))).await?;
        }
    }
    Ok(ctx.http.delete(&url, &vector.cid).await?)
}

async fn directory(stage: &Stage, vector: &Vector) -> anyhow::Result<()> {
    let (folder, url) = (stage.files()?, stage.url("a0")?);
    let path = folder.join(&vector.name);
    std::fs::create_dir(&path)?;
    for (number, (name, size)) in (1000..).zip(tree(vector)?) {
        let file = path.join(name);
        std::fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
        write(&file, Content { seed: number, size })?;
    }
    let uploaded = shoal(&folder, &[&url], &["upload", &vector.name]).await?.expect(0)?;
    ensure!(uploaded.cid()? == vector.cid, "{} instead of {}", uploaded.cid()?, vector.cid);
    let copy = folder.join("copy");
    shoal(&folder, &[&url], &["download", &vector.cid, "-o", "copy"]).await?.expect(0)?;
    ensure!(read(&path)? == read(&copy)?, "the tree came back as another one");
    std::fs::remove_dir_all(&path)?;
    std::fs::remove_dir_all(&copy)?;
    Ok(())
}

/// Writes content to a file.
pub(super) fn write(path: &Path, content: Content) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    let mut position = 0;
    while position < content.size {
        file.write_all(&content.slice(position, position + PIECE_BYTES))?;
        position += PIECE_BYTES;
    }
    Ok(())
}

/// Returns the files of a directory in their order, with their sizes.
fn tree(vector: &Vector) -> anyhow::Result<Vec<(String, u64)>> {
    let numbered = |count: usize, digits: usize| -> Vec<(String, u64)> {
        (0..count).map(|number| (format!("f{number:0digits$}"), 3)).collect()
    };
    let named = |names: &[(&str, u64)]| -> Vec<(String, u64)> {
        names.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    };
    let tree = match vector.name.as_str() {
        "dir-empty" => Vec::new(),
        "dir-one" => named(&[("a.txt", 5)]),
        "dir-nested" => named(&[
            ("readme.md", 100),
            ("z/last", 1),
            ("sub/a", 3),
            ("sub/deeper/b+c %.bin", 70_000),
            ("sub/deeper/big", (3 << 20) + 5),
            ("ünï/日本.txt", 9),
            ("A", 1),
            ("a", 2),
            (".hidden", 4),
        ]),
        "dir-flat-1000" => numbered(1000, 7),
        "dir-hamt-6000" => numbered(6000, 13),
        "dir-hamt-nested" => {
            let below = numbered(6000, 13).into_iter();
            let mut tree: Vec<_> =
                below.map(|(name, size)| (format!("big/{name}"), size)).collect();
            tree.push(("small/x".to_owned(), 1));
            tree
        }
        "dir-edge-flat" | "dir-edge-hamt" => {
            let mut tree = numbered(vector.entries - 1, vector.name_len - 1);
            tree.push((format!("z{}", "y".repeat(vector.last_name_len - 1)), 3));
            tree
        }
        other => bail!("the directory {other} is not known"),
    };
    ensure!(tree.len() == vector.entries, "{} entries instead of {}", tree.len(), vector.entries);
    Ok(tree)
}

/// Returns every file below a folder by its path, and every folder with nothing.
fn read(root: &Path) -> anyhow::Result<BTreeMap<String, Option<Vec<u8>>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = path.strip_prefix(root)?.to_str().context("a name is not UTF-8")?.to_owned();
            if entry.file_type()?.is_dir() {
                found.insert(name, None);
                waiting.push(path);
            } else {
                found.insert(name, Some(std::fs::read(&path)?));
            }
        }
    }
    Ok(found)
}
