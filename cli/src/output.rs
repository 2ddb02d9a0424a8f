//! What people and programs see: lines, JSON, tables and progress.
//!
//! The only file that prints. Results go to standard output, progress and errors to standard error.
//! Text from a peer is shown without control characters. Never: decides what happened.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::{Cid, Fault};
use serde::Serialize;

use crate::failure::{Failure, stdout_failure};

/// One object, as every command and the HTTP interface show it. What it has no name for is null.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ObjectRow {
    pub(crate) bucket: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) cid: String,
    /// Bytes of a file; of a directory, bytes of all its blocks.
    pub(crate) size: u64,
    pub(crate) version: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) modified: Option<String>,
    /// `file` or `directory`.
    pub(crate) kind: &'static str,
    /// The path on this machine that was read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Bytes of all blocks of the DAG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dag_bytes: Option<u64>,
    /// Links of the root block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) links: Option<u64>,
    /// Bytes written by a download, and how many of them an earlier one had left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_written: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_resumed: Option<u64>,
}

impl ObjectRow {
    /// Returns the row of content that has no name in the cluster.
    pub(crate) fn new(cid: Cid, kind: &'static str, size: u64) -> Self {
        Self { cid: cid.to_string(), kind, size, ..Self::default() }
    }
}

/// Prints one line to standard output.
///
/// # Errors
/// [`Failure::OutputClosed`] if nobody reads it any more.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| stdout_failure(&error))
}

/// Prints `value` as JSON over several lines. Errors as [`line()`].
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("keys are strings, numbers are finite");
    line(&text)
}

/// Prints rows below their headings, columns aligned, the last one free. Errors as [`line()`].
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    rows: &[[String; N]],
) -> Result<(), Failure> {
    let shown = |row: &[String; N]| row.clone().map(|cell| plain(&cell));
    let rows: Vec<[String; N]> = rows.iter().map(shown).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    });
    for row in std::iter::once(&headings.map(str::to_owned)).chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints what failed, as one line on standard error.
pub(crate) fn fault(fault: &Fault) {
    // Nothing can be done about a closed standard error; the exit status still tells.
    drop(writeln!(io::stderr().lock(), "shoal: {}", plain(&fault.detail)));
}

/// Returns `text` on one line without control characters, which could rewrite a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns a number of bytes as people read it: `1.5 GiB`.
pub(crate) fn bytes_text(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A progress bar on a terminal; nothing in a pipe.
#[derive(Clone, Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Returns a bar for `bytes_total` bytes, or one without an end.
    pub(crate) fn start(label: &str, bytes_total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(bytes_total, ProgressDrawTarget::stderr());
        let template = if bytes_total.is_some() {
            "{msg} [{bar:24}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left"
        } else {
            "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(plain(label));
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }

    /// Counts bytes that are done.
    pub(crate) fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Takes back bytes that have to be done again.
    pub(crate) fn take_back(&self, bytes: u64) {
        self.0.dec(bytes);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{ObjectRow, plain};
    use protocol::{Cid, Codec};

    #[test]
    fn a_row_has_every_field_of_the_contract() {
        let row = ObjectRow::new(Cid::of(Codec::Raw, b""), "file", 0);
        let json = serde_json::to_value(&row).unwrap();
        let object = json.as_object().unwrap();
        for key in ["bucket", "key", "version", "content_type", "owner", "modified"] {
            assert!(object[key].is_null(), "{key}");
        }
        assert!(object["cid"].is_string() && object["size"] == 0 && object["tags"].is_object());
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a [2Jb c");
    }
}
