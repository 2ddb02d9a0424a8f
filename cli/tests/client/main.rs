//! The client as people run it, against peers that are made to fail.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conditions;
mod content;
mod fake;
mod lock;
mod names;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;

const MIB: usize = 1 << 20;

/// Bytes of the vectors' generator.
fn bytes_of(seed: u32, count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(count + 4);
    let mut word = seed;
    while out.len() < count {
        word = word.wrapping_add(0x9E37_79B9);
        let mut x = word;
        x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
        x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
        out.extend_from_slice(&(x ^ (x >> 16)).to_le_bytes());
    }
    out.truncate(count);
    out
}

/// A directory of its own, in memory where the system has such: some disks take minutes to remove
/// thousands of files.
fn home() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn command(peers: &[&str], args: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
    command.args(args).current_dir(directory).env("SHOAL_ENDPOINT", peers.join(","));
    // A daemon of whoever runs the tests is none of theirs.
    command.env("XDG_DATA_HOME", directory.join("data-home")).env_remove("SHOAL_TOKEN");
    command
}

fn shoal(peers: &[&str], args: &[&str], directory: &Path) -> Output {
    command(peers, args, directory).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn assert_exit(output: &Output, status: i32, message: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(message), "expected {message:?} in {said:?}");
    assert!(said.lines().count() <= 1, "more than a line: {said}");
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    assert_exit(output, 0, "");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// An address where nobody listens, nor can begin to: the socket is bound and stays so.
struct Dead {
    url: String,
    _bound: TcpSocket,
}

impl Dead {
    fn bind() -> Self {
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { url: format!("http://{}", bound.local_addr().unwrap()), _bound: bound }
    }
}

fn write_tree(directory: &Path, entries: &[(String, usize)]) {
    for (seed, (name, bytes)) in (1000..).zip(entries) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes_of(seed, *bytes)).unwrap();
    }
}
