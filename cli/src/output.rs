//! What people and programs see: lines, JSON, tables and progress.
//!
//! The only file that prints. Results go to standard output, progress and errors to standard error.
//! Text from a peer is shown without control characters. Never: decides what happened.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::api::Object;
use protocol::{Cid, Fault};
use serde::Serialize;

use crate::failure::{Failure, stdout_failure};

/// One object, as every command and the HTTP interface show it. What it has no name for is null.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ObjectRow {
    pub(crate) bucket: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) cid: Option<String>,
    /// Bytes of a file; of a directory, bytes of all its blocks.
    pub(crate) size: u64,
    pub(crate) version: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<bool>,
    /// `file` or `directory`; absent where only the name was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    /// The path on this machine that was read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// Bytes of all blocks of the DAG, each occurrence counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dag_bytes: Option<u64>,
    /// Links of the root block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) links: Option<u64>,
    /// Blocks of a file, each counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blocks: Option<u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) block_bytes: Option<u64>,
    /// Those of them that the version before does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new_blocks: Option<u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new_block_bytes: Option<u64>,
    /// Bytes written by a download, and how many of them an earlier one had left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_written: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_resumed: Option<u64>,
}

impl ObjectRow {
    /// Returns the row of content that has no name in the cluster.
    pub(crate) fn new(cid: Cid, kind: &'static str, size: u64) -> Self {
        Self { cid: Some(cid.to_string()), kind: Some(kind), size, ..Self::default() }
    }

    /// Returns the row of an object.
    pub(crate) fn of(object: Object) -> Self {
        Self {
            bucket: object.bucket,
            key: object.key,
            cid: object.cid,
            size: object.size,
            version: object.version,
            content_type: Some(object.content_type),
            owner: Some(object.owner),
            tags: object.tags,
            modified: Some(object.modified),
            public: Some(object.public),
            current: Some(object.current),
            deleted: Some(object.deleted),
            ..Self::default()
        }
    }
}

/// Prints an object as people read it, on one line, or as JSON. Errors as [`line()`].
pub(crate) fn object(object: Object, json_wanted: bool) -> Result<(), Failure> {
    if json_wanted {
        return json(&ObjectRow::of(object));
    }
    line(&object_line(&object))
}

/// Returns CID, name and version of an object, as people read them.
pub(crate) fn object_line(object: &Object) -> String {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let name = format!("{}/{}", or_dash(&object.bucket), or_dash(&object.key));
    plain(&format!("{}  {name}  version {}", or_dash(&object.cid), or_dash(&object.version)))
}

/// Prints a long array, or an object with one in it, row by row, so that its rows need no memory.
#[derive(Debug)]
pub(crate) struct JsonRows {
    /// What comes before the first row, until it is printed: a question that is refused prints nothing.
    head: String,
    has_rows: bool,
}

impl JsonRows {
    /// Returns an object with the array `name`. Prints nothing yet.
    pub(crate) fn open(name: &str) -> Self {
        Self { head: format!("{{\"{name}\":["), has_rows: false }
    }

    /// Returns an array that stands alone. Prints nothing yet.
    pub(crate) fn array() -> Self {
        Self { head: "[".to_owned(), has_rows: false }
    }

    /// Prints the end of an array that stands alone. Errors as [`line()`].
    pub(crate) fn close_array(mut self) -> Result<(), Failure> {
        line(&format!("{}]", std::mem::take(&mut self.head)))
    }

    /// Prints some rows. Errors as [`line()`].
    pub(crate) fn rows<T: Serialize>(&mut self, rows: &[T]) -> Result<(), Failure> {
        let mut out = std::mem::take(&mut self.head);
        for row in rows {
            out.push_str(if self.has_rows { ",\n" } else { "\n" });
            out.push_str(&json_text(row));
            self.has_rows = true;
        }
        text(&out)
    }

    /// Prints the end of the array, what else the object has, and its end. Errors as [`line()`].
    pub(crate) fn close(mut self, rest: &[(&str, serde_json::Value)]) -> Result<(), Failure> {
        let rest = rest.iter().map(|(name, value)| format!(",\n\"{name}\":{value}"));
        let head = std::mem::take(&mut self.head);
        line(&format!("{head}]{}}}", rest.collect::<String>()))
    }
}

/// Prints one line to standard output.
///
/// # Errors
/// [`Failure::OutputClosed`] if nobody reads it any more.
pub(crate) fn line(line: &str) -> Result<(), Failure> {
    text(&format!("{line}\n"))
}

/// Prints `text` as it is: lines that end already. Errors as [`line()`].
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| stdout_failure(&error))
}

fn json_text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("keys are strings, numbers are finite")
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

/// Prints what is wrong with the command line, as one line on standard error.
pub(crate) fn usage(error: &clap::Error) {
    let text = error.to_string();
    // What is wrong stands in the first paragraph, over several lines if several arguments are missing.
    let wrong = text.split("\n\n").next().unwrap_or(&text);
    let words: Vec<_> = wrong.trim_start_matches("error: ").split_whitespace().collect();
    drop(writeln!(io::stderr().lock(), "shoal: {}; see --help", plain(&words.join(" "))));
}

/// Prints what somebody should know although all went well, as one line on standard error.
pub(crate) fn warning(text: &str) {
    drop(writeln!(io::stderr().lock(), "shoal: {}", plain(text)));
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

    /// Does something that prints, without the bar in between.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
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
        assert!(!object.contains_key("public") && object["kind"] == "file");
        assert!(object["cid"].is_string() && object["size"] == 0 && object["tags"].is_object());
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a [2Jb c");
    }
}
