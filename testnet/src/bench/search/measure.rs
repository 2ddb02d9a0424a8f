//! The measuring: both systems take the same names and answer the same questions.

#![expect(clippy::disallowed_methods, reason = "what is measured takes real time")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use node::index::{Index, IndexChange, Page};
use protocol::search::Query;
use protocol::{Prng, WallTime, byte_count};
use serde::Serialize;

use super::entries::{KINDS, NOW_MS, entry, question};
use super::fts5::Fts5;
use crate::bench::report::Table;
use crate::bench::scratch::Scratch;
use crate::process;

/// Names unless others are asked for.
pub(in crate::bench) const OBJECTS_DEFAULT: u64 = 1_000_000;

/// Names that are taken at a time.
const STEP: u64 = 1_000;

/// Names between two commits of the peers' index: as when one is made anew.
const COMMIT_EVERY: u64 = 50_000;

/// Questions of each kind.
const QUESTIONS: usize = 200;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(in crate::bench) struct Searches {
    objects: u64,
    ours: Cost,
    sqlite: Cost,
    kinds: Vec<Kind>,
    /// A commit of as many changes as come in a second: the median of some.
    commit_ms: f64,
}

/// What a system costs.
#[derive(Clone, Copy, Debug, Serialize)]
struct Cost {
    names_per_s: f64,
    disk_bytes: u64,
    /// By how much the process grew while the names were taken.
    memory_bytes: u64,
}

/// How soon a kind of question was answered.
#[derive(Clone, Copy, Debug, Serialize)]
struct Kind {
    kind: &'static str,
    ours_p50_ms: f64,
    ours_p99_ms: f64,
    sqlite_p50_ms: Option<f64>,
    sqlite_p99_ms: Option<f64>,
}

/// Measures both over so many names.
///
/// # Errors
/// One of them cannot be written or read.
pub(in crate::bench) fn run(scratch: &Scratch, objects: u64) -> anyhow::Result<Searches> {
    ensure!(objects >= STEP, "fewer than {STEP} names say nothing");
    let folder = scratch.path().join("names");
    let index = Index::open(&folder).map_err(fault)?;
    let ours = cost(&folder, objects, || {
        for first in (0..objects).step_by(usize::try_from(STEP)?) {
            let names = first..(first + STEP).min(objects);
            let put = names.map(|number| IndexChange::Put(Box::new(entry(number))));
            index.change(put.collect()).map_err(fault)?;
            if (first + STEP).is_multiple_of(COMMIT_EVERY) {
                index.commit(first).map_err(fault)?;
            }
        }
        index.commit(objects).map_err(fault)
    })?;
    let mut commits = Vec::new();
    for round in 0..20 {
        let change = |number| IndexChange::Put(Box::new(entry(number)));
        index.change((round * 200..(round + 1) * 200).map(change).collect()).map_err(fault)?;
        let begun = Instant::now();
        index.commit(objects + round).map_err(fault)?;
        commits.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    index.close();
    let file = scratch.path().join("sqlite");
    std::fs::create_dir(&file)?;
    let sqlite = Fts5::create(&file.join("names.db")).context("SQLite")?;
    let theirs = cost(&file, objects, || {
        for first in (0..objects).step_by(usize::try_from(COMMIT_EVERY)?) {
            sqlite.put((first..(first + COMMIT_EVERY).min(objects)).map(entry))?;
        }
        Ok(())
    })?;
    let kinds = (0..KINDS.len()).map(|kind| answers(&index, &sqlite, kind, objects));
    let kinds = kinds.collect::<anyhow::Result<Vec<Kind>>>()?;
    let commit_ms = percentile(&mut commits, 50);
    Ok(Searches { objects, ours, sqlite: theirs, kinds, commit_ms })
}

fn fault(fault: protocol::Fault) -> anyhow::Error {
    anyhow::anyhow!("{}", fault.detail)
}

fn cost(
    folder: &Path,
    objects: u64,
    build: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Cost> {
    let resident = || process::resident_bytes(std::process::id()).context("no such process");
    let (before, begun) = (resident()?, Instant::now());
    build()?;
    let took = begun.elapsed().as_secs_f64();
    Ok(Cost {
        names_per_s: as_f64(objects) / took,
        disk_bytes: bytes_in(folder)?,
        memory_bytes: resident()?.saturating_sub(before),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { bytes_in(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

fn answers(index: &Index, sqlite: &Fts5, kind: usize, objects: u64) -> anyhow::Result<Kind> {
    let mut prng = Prng::new(7 + kind as u64);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..QUESTIONS {
        let asked = question(kind, objects, &mut prng);
        let begun = Instant::now();
        let query = Query::parse(&asked.ours)?;
        let page = Page { after: 0, limit: 20 };
        let now = WallTime::from_unix_millis(NOW_MS);
        let found = index.search(&query, page, now).map_err(fault)?;
        ours.push(begun.elapsed().as_secs_f64() * 1e3);
        let Some(matches) = &asked.matches else { continue };
        let begun = Instant::now();
        let best = sqlite.best(matches, &asked.besides)?;
        theirs.push(begun.elapsed().as_secs_f64() * 1e3);
        // Forgiving errors finds more, never less.
        ensure!(found.hits.len() >= best, "{:?}: {} and {best}", asked.ours, found.hits.len());
    }
    let has_theirs = !theirs.is_empty();
    Ok(Kind {
        kind: KINDS[kind],
        ours_p50_ms: percentile(&mut ours, 50),
        ours_p99_ms: percentile(&mut ours, 99),
        sqlite_p50_ms: has_theirs.then(|| percentile(&mut theirs, 50)),
        sqlite_p99_ms: has_theirs.then(|| percentile(&mut theirs, 99)),
    })
}

/// Returns a percentile of some figures, 0 of none.
fn percentile(figures: &mut [f64], percent: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    let rank = (figures.len() * percent).div_ceil(100).max(1) - 1;
    figures.get(rank).copied().unwrap_or(0.0)
}

impl Searches {
    /// Returns what was measured, for people.
    pub(in crate::bench) fn tables(&self) -> Vec<Table> {
        let mut costs = Table::new(
            format!("search: {} names, 3 words and a tag or two each", self.objects),
            &["", "names/s", "on disk", "memory"],
        );
        for (name, cost) in [("peers", self.ours), ("SQLite FTS5", self.sqlite)] {
            costs.row([
                name.to_owned(),
                format!("{:.0}", cost.names_per_s),
                byte_count::format(cost.disk_bytes),
                byte_count::format(cost.memory_bytes),
            ]);
        }
        costs.remark(format!("a commit of 200 changes: {:.1} ms", self.commit_ms));
        costs.remark("memory: by how much the process grew meanwhile; files that are mapped count as far as they were touched");
        let mut times = Table::new(
            format!(
                "search: {QUESTIONS} questions of each kind, the best 20; peers count all that match"
            ),
            &["", "p50 ms", "p99 ms", "FTS5 p50 ms", "FTS5 p99 ms"],
        );
        let shown = |figure: Option<f64>| figure.map_or("-".to_owned(), |ms| format!("{ms:.2}"));
        for kind in &self.kinds {
            times.row([
                kind.kind.to_owned(),
                shown(Some(kind.ours_p50_ms)),
                shown(Some(kind.ours_p99_ms)),
                shown(kind.sqlite_p50_ms),
                shown(kind.sqlite_p99_ms),
            ]);
        }
        times.remark(
            "FTS5 forgives no errors; peers forgive them in every word of four letters or more",
        );
        vec![costs, times]
    }
}
