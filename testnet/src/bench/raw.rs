//! What the machine does at best, piece by piece: the network of one machine, one core's hash, the disk.
#![expect(clippy::disallowed_methods, reason = "speed is measured in real time")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::content::Content;

/// Bytes handed over at a time: as many as a chunk has.
const PIECE_BYTES: usize = 1 << 20;

/// Raw figures, in bytes per second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Raw {
    /// One TCP stream over loopback, between two tasks.
    pub(super) loopback: f64,
    /// SHA-256 on one core.
    pub(super) sha256: f64,
    /// Sequential write of a file and one sync at its end.
    pub(super) disk: f64,
}

/// Measures all three over `size` bytes each. `dir`: on the file system the daemons will use.
///
/// # Errors
/// No socket, or the file cannot be written.
pub(super) async fn measure(dir: &Path, size: u64) -> anyhow::Result<Raw> {
    let piece = Content { seed: 1, size: PIECE_BYTES as u64 }.slice(0, PIECE_BYTES as u64);
    let pieces = size.div_ceil(PIECE_BYTES as u64);
    let rate = |elapsed: Duration| (pieces * PIECE_BYTES as u64) as f64 / elapsed.as_secs_f64();
    let loopback = rate(loopback(&piece, pieces).await?);
    let path = dir.join("raw");
    let (sha256, disk) = tokio::task::spawn_blocking(move || {
        let hashed = sha256(&piece, pieces);
        let written = disk(&path, &piece, pieces)
            .with_context(|| format!("cannot write {}", path.display()))?;
        anyhow::Ok((hashed, written))
    })
    .await??;
    Ok(Raw { loopback, sha256: rate(sha256), disk: rate(disk) })
}

async fn loopback(piece: &[u8], pieces: u64) -> anyhow::Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let receiver = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut buffer = vec![0; PIECE_BYTES];
        while stream.read(&mut buffer).await? > 0 {}
        stream.write_all(b".").await
    });
    let mut stream = TcpStream::connect(address).await?;
    let begin = Instant::now();
    for _ in 0..pieces {
        stream.write_all(piece).await?;
    }
    stream.shutdown().await?;
    // One byte back says that everything has arrived.
    stream.read_u8().await?;
    let elapsed = begin.elapsed();
    receiver.await??;
    Ok(elapsed)
}

fn sha256(piece: &[u8], pieces: u64) -> Duration {
    let begin = Instant::now();
    let mut hash = Sha256::new();
    for _ in 0..pieces {
        hash.update(piece);
    }
    std::hint::black_box(hash.finalize());
    begin.elapsed()
}

fn disk(path: &Path, piece: &[u8], pieces: u64) -> std::io::Result<Duration> {
    // What others left to be written must not be written now.
    rustix::fs::sync();
    let begin = Instant::now();
    let mut file = File::create(path)?;
    for _ in 0..pieces {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    let elapsed = begin.elapsed();
    std::fs::remove_file(path)?;
    Ok(elapsed)
}

#[cfg(test)]
mod tests {
    use super::measure;

    #[test]
    fn every_raw_figure_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let raw = runtime.block_on(measure(dir.path(), 3 << 20)).unwrap();
        for rate in [raw.loopback, raw.sha256, raw.disk] {
            assert!(rate.is_finite() && rate > 1e5, "{raw:?}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
