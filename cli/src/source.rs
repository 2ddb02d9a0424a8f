//! The bytes of an upload: read piece by piece on a thread of their own, and named on the way.
//!
//! While a piece is sent, the same piece is cut and hashed here, so that the root is known without reading
//! twice and the peer's answer can be checked against it. Memory: the channel and one chunk.
//! Owns the open file. Never: sends.
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: reading and hashing block a thread of their own"
)]

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use protocol::dag::{Block, Chunker, FileBuilder, Root, Splitter};
use protocol::{Cid, Codec, Fault, Kind};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::failure::io_fault;

/// Bytes read and sent at a time: a whole chunk, so that fixed chunks are hashed where they were read.
const PIECE_BYTES: usize = 1 << 20;

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A regular file of this many bytes; can be read again.
    File { path: PathBuf, bytes: u64 },
    /// A pipe; its bytes come once.
    Pipe { path: PathBuf },
    /// Standard input; its bytes come once.
    Stdin,
}

impl Source {
    /// Returns the source at `path`, or `None` if it is a directory. `-` is standard input.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Denied`]; [`Kind::Invalid`] for what is neither file nor pipe.
    pub(crate) fn at(path: &Path) -> Result<Option<Self>, Fault> {
        if path == Path::new("-") {
            return Ok(Some(Self::Stdin));
        }
        let found =
            std::fs::metadata(path).map_err(|error| io_fault("cannot read", path, &error))?;
        if found.is_dir() {
            return Ok(None);
        }
        if found.is_file() {
            return Ok(Some(Self::File { path: path.to_owned(), bytes: found.len() }));
        }
        if found.file_type().is_fifo() {
            return Ok(Some(Self::Pipe { path: path.to_owned() }));
        }
        let detail = format!("cannot upload {}: not a file, directory or pipe", path.display());
        Err(Fault::new(Kind::Invalid, detail))
    }

    /// Returns the source at `path`, which is no directory. Errors as [`Source::at`].
    pub(crate) fn file_at(path: &Path) -> Result<Self, Fault> {
        Self::at(path)?.ok_or_else(|| {
            let detail = format!("cannot read {}: it is a directory, name a file", path.display());
            Fault::new(Kind::Invalid, detail)
        })
    }

    /// Returns how many bytes there are, if that is known before reading.
    pub(crate) fn bytes(&self) -> Option<u64> {
        match self {
            Self::File { bytes, .. } => Some(*bytes),
            Self::Pipe { .. } | Self::Stdin => None,
        }
    }

    /// Says whether reading can start over.
    pub(crate) fn is_rereadable(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Returns the name people know it by.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File { path, .. } | Self::Pipe { path } => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
        }
    }

    /// Starts reading from the first byte, at most `pieces_ahead` pieces ahead of whoever takes them.
    ///
    /// # Errors
    /// As opening the file does.
    pub(crate) fn read(&self, chunker: Chunker, pieces_ahead: usize) -> Result<Reading, Fault> {
        let (pieces_in, pieces) = mpsc::channel(pieces_ahead);
        let failed = Arc::new(OnceLock::new());
        let thread = Thread {
            source: self.clone(),
            chunker,
            pieces: pieces_in,
            failed: Arc::clone(&failed),
        };
        let root = match self {
            Self::File { path, .. } | Self::Pipe { path } => {
                let file =
                    File::open(path).map_err(|error| io_fault("cannot read", path, &error))?;
                tokio::task::spawn_blocking(move || thread.run(&file, || file.metadata()))
            }
            Self::Stdin => tokio::task::spawn_blocking(move || {
                // Only regular files are looked at again afterwards.
                thread.run(io::stdin().lock(), || Err(io::ErrorKind::Unsupported.into()))
            }),
        };
        Ok(Reading { pieces, failed, root })
    }
}

/// A source that is being read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The bytes in order; an error if they cannot be had, after which nothing comes.
    pub(crate) pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// Why reading failed, set before the error is handed on.
    pub(crate) failed: Arc<OnceLock<Fault>>,
    /// The root of what was read, after all pieces were taken; `None` if they were not.
    pub(crate) root: JoinHandle<Option<Root>>,
}

struct Thread {
    source: Source,
    chunker: Chunker,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    failed: Arc<OnceLock<Fault>>,
}

impl Thread {
    fn run(self, input: impl Read, look: impl Fn() -> io::Result<Metadata>) -> Option<Root> {
        match self.read_all(input, look) {
            Ok(root) => root,
            Err(fault) => {
                let cause = io::Error::other(fault.detail.clone());
                // Only this thread sets it, once.
                drop(self.failed.set(fault));
                // Whoever does not listen any more does not need to know.
                drop(self.pieces.blocking_send(Err(cause)));
                None
            }
        }
    }

    fn read_all(
        &self,
        mut input: impl Read,
        look: impl Fn() -> io::Result<Metadata>,
    ) -> Result<Option<Root>, Fault> {
        let name = PathBuf::from(self.source.name());
        let broken = |error: io::Error| io_fault("cannot read", &name, &error);
        let changed = || {
            let detail = format!("{} changed while it was read; upload it again", name.display());
            Fault::new(Kind::Conflict, detail)
        };
        let before = if self.source.is_rereadable() { Some(look().map_err(broken)?) } else { None };
        if before.as_ref().is_some_and(|before| Some(before.len()) != self.source.bytes()) {
            return Err(changed());
        }
        let mut naming = Naming::new(self.chunker);
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            (&mut input).take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(broken)?;
            if piece.is_empty() {
                break;
            }
            let piece = Bytes::from(piece);
            let bytes_read = naming.bytes + piece.len() as u64;
            if self.source.bytes().is_some_and(|bytes| bytes_read > bytes) {
                return Err(changed());
            }
            // Sent first, hashed second: the network works while this thread does.
            if self.pieces.blocking_send(Ok(piece.clone())).is_err() {
                return Ok(None);
            }
            naming.push(piece);
        }
        if let Some(before) = before {
            let after = look().map_err(broken)?;
            if naming.bytes != before.len()
                || after.len() != before.len()
                || is_newer(&before, &after)
            {
                return Err(changed());
            }
        }
        Ok(Some(naming.finish()))
    }
}

fn is_newer(before: &Metadata, after: &Metadata) -> bool {
    match (before.modified(), after.modified()) {
        (Ok(before), Ok(after)) => before != after,
        // Without times on this system only the size tells.
        _ => false,
    }
}

/// Computes the root of bytes that pass by.
#[derive(Debug)]
struct Naming {
    splitter: Splitter,
    builder: FileBuilder,
    chunks: Vec<Bytes>,
    nodes: Vec<Block>,
    bytes: u64,
}

impl Naming {
    fn new(chunker: Chunker) -> Self {
        let (chunks, nodes) = (Vec::new(), Vec::new());
        Self {
            splitter: Splitter::new(chunker),
            builder: FileBuilder::new(),
            chunks,
            nodes,
            bytes: 0,
        }
    }

    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        self.splitter.push(piece, &mut self.chunks);
        name_chunks(&mut self.builder, &mut self.chunks, &mut self.nodes);
    }

    fn finish(mut self) -> Root {
        self.splitter.finish(&mut self.chunks);
        name_chunks(&mut self.builder, &mut self.chunks, &mut self.nodes);
        self.builder.finish(&mut self.nodes)
    }
}

fn name_chunks(builder: &mut FileBuilder, chunks: &mut Vec<Bytes>, nodes: &mut Vec<Block>) {
    for chunk in chunks.drain(..) {
        let bytes = u32::try_from(chunk.len()).expect("a chunk is at most a MiB");
        builder.leaf(Cid::of(Codec::Raw, &chunk), bytes, nodes);
    }
    // The peer builds the nodes itself; here only their names count.
    nodes.clear();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Cursor, Read};
    use std::path::Path;
    use std::sync::{Arc, OnceLock};

    use protocol::dag::Chunker;
    use protocol::{Cid, Codec, Fault, Kind};
    use tokio::sync::mpsc;

    use super::{Source, Thread};

    /// Reads `input` in place of the file at `path`; returns the root.
    fn read(path: &Path, input: impl Read) -> Result<Cid, Fault> {
        let source = Source::at(path).unwrap().unwrap();
        let (pieces, _taken) = mpsc::channel(8);
        let failed = Arc::new(OnceLock::new());
        let thread = Thread { source, chunker: Chunker::Fixed, pieces, failed };
        thread.read_all(input, || fs::metadata(path)).map(|root| root.unwrap().cid)
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        fs::write(&path, b"hello").unwrap();
        assert_eq!(read(&path, Cursor::new("hello")), Ok(Cid::of(Codec::Raw, b"hello")));
        for other in ["hell", "hello!", ""] {
            let fault = read(&path, Cursor::new(other)).unwrap_err();
            assert_eq!(fault.kind, Kind::Conflict, "{other}");
            assert!(fault.detail.contains("changed while it was read"), "{fault}");
        }
        // As long as before, but written to meanwhile.
        let writes = Touching { path: &path, bytes: Cursor::new("hello") };
        assert_eq!(read(&path, writes).unwrap_err().kind, Kind::Conflict);
    }

    struct Touching<'a> {
        path: &'a Path,
        bytes: Cursor<&'static str>,
    }

    impl Read for Touching<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let file = fs::File::options().write(true).open(self.path)?;
            file.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
            self.bytes.read(out)
        }
    }
}
