//! Directory trees on their way to the cluster: which files there are, and the nodes that name them.
//!
//! The whole tree is looked through before the first byte is sent, so that one that cannot be stored costs
//! nothing. Files go first, then directories, deepest first, the root last: what is stored never points at
//! what is not. Never: follows a symbolic link.

use std::fs::DirEntry;
use std::path::Path;

use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::api::UploadBegun;
use protocol::dag::directory::{self, Entry};
use protocol::dag::{Block, Root};
use protocol::{Fault, Kind};
use reqwest::Method;

use crate::args::Storage;
use crate::endpoint::{BLOCK_REQUESTS_MAX, Endpoints};
use crate::failure::io_fault;
use crate::output::Progress;
use crate::question::Question;
use crate::send::Sending;
use crate::source::Source;
use crate::target::segment;

/// Deepest tree, in directories below each other: what the system's longest path could name, and few
/// enough to walk by recursion.
pub(crate) const TREE_DEPTH_MAX: usize = 256;
/// Files and directories of one tree: some 200 bytes of memory each.
pub(crate) const TREE_ENTRIES_MAX: usize = 200_000;
/// Files of a tree that are sent or fetched at a time. Small ones wait for a disk each, so several do.
pub(crate) const FILES_AT_A_TIME: usize = 8;
/// Pieces that each of these files is read ahead: with eight files 16 MiB.
pub(crate) const PIECES_AHEAD_EACH: usize = 2;

/// A directory that was looked through.
#[derive(Debug, Default)]
struct Folder {
    files: Vec<(String, u64)>,
    folders: Vec<(String, Self)>,
}

/// Stores the tree below `path` as one UnixFS directory without a name; returns its root.
///
/// # Errors
/// [`Kind::Invalid`] for a symbolic link, a special file or a name that is not UTF-8, before anything is
/// sent; those of every file and block.
pub(crate) async fn upload(
    endpoints: &Endpoints,
    path: &Path,
    storage: Storage,
) -> Result<Root, Fault> {
    let tree = Folder::scan(path, 0, &mut 0)?;
    let doing = format!("begin the upload of {}", path.display());
    let begin = Question::change(Method::POST, "uploads", doing);
    let UploadBegun { upload, .. } = begin.ask(endpoints).await?;
    let progress = Progress::start(&path.display().to_string(), Some(tree.bytes()));
    let tree_upload = TreeUpload { endpoints, storage, upload: &upload, progress: &progress };
    let stored = tree_upload.store(path, tree).await;
    progress.finish();
    let end = Question::change(Method::DELETE, format!("uploads/{}", segment(&upload)), "end it");
    // What was pinned stays and the rest goes now; if this is lost, it goes when the upload expires.
    drop(end.tell(endpoints).await);
    stored
}

/// Returns the files below `path` with their paths in it, in the order of their names.
///
/// # Errors
/// As [`upload()`], before anything is sent.
pub(crate) fn files(path: &Path) -> Result<Vec<(Source, String)>, Fault> {
    let tree = Folder::scan(path, 0, &mut 0)?;
    let mut files = Vec::new();
    list_files(path, "", &tree, &mut files);
    Ok(files)
}

impl Folder {
    fn scan(path: &Path, depth: usize, entries_seen: &mut usize) -> Result<Self, Fault> {
        let unfit = |path: &Path, why: &str| {
            let detail = format!("cannot upload {}: {why}; nothing was sent", path.display());
            Fault::new(Kind::Invalid, detail)
        };
        if depth > TREE_DEPTH_MAX {
            return Err(unfit(path, &format!("more than {TREE_DEPTH_MAX} directories deep")));
        }
        let read =
            std::fs::read_dir(path).map_err(|error| io_fault("cannot read", path, &error))?;
        let mut folder = Self::default();
        for found in read {
            let found = found.map_err(|error| io_fault("cannot read", path, &error))?;
            *entries_seen += 1;
            if *entries_seen > TREE_ENTRIES_MAX {
                let why =
                    format!("more than {TREE_ENTRIES_MAX} files and directories; upload its parts");
                return Err(unfit(path, &why));
            }
            let entry_path = found.path();
            let name = found.file_name().into_string();
            let name = name.map_err(|_| unfit(&entry_path, "its name is not UTF-8"))?;
            match kind_of(&found)? {
                EntryKind::File(bytes) => folder.files.push((name, bytes)),
                EntryKind::Folder => {
                    folder.folders.push((name, Self::scan(&entry_path, depth + 1, entries_seen)?));
                }
                EntryKind::Link => {
                    return Err(unfit(&entry_path, "a symbolic link cannot be stored"));
                }
                EntryKind::Special => return Err(unfit(&entry_path, "not a file or directory")),
            }
        }
        // The system lists them in no order; a run that is repeated does the same again.
        folder.files.sort_unstable();
        folder.folders.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(folder)
    }

    fn bytes(&self) -> u64 {
        let files: u64 = self.files.iter().map(|(_, bytes)| bytes).sum();
        files + self.folders.iter().map(|(_, folder)| folder.bytes()).sum::<u64>()
    }
}

enum EntryKind {
    File(u64),
    Folder,
    Link,
    Special,
}

fn kind_of(found: &DirEntry) -> Result<EntryKind, Fault> {
    // Of the entry itself, not of what a link leads to.
    let seen = found.metadata().map_err(|error| io_fault("cannot read", &found.path(), &error))?;
    Ok(match seen.file_type() {
        kind if kind.is_symlink() => EntryKind::Link,
        kind if kind.is_file() => EntryKind::File(seen.len()),
        kind if kind.is_dir() => EntryKind::Folder,
        _ => EntryKind::Special,
    })
}

struct TreeUpload<'a> {
    endpoints: &'a Endpoints,
    storage: Storage,
    /// The id of the upload that all requests are part of.
    upload: &'a str,
    progress: &'a Progress,
}

impl TreeUpload<'_> {
    /// Stores every file of the tree, then its directories, and pins the root.
    async fn store(&self, path: &Path, tree: Folder) -> Result<Root, Fault> {
        let mut files = Vec::new();
        list_files(path, "", &tree, &mut files);
        let stored = stream::iter(files).map(|(source, _)| async move { self.file(&source).await });
        let roots: Vec<Root> = stored.buffered(FILES_AT_A_TIME).try_collect().await?;
        let mut roots = roots.into_iter();
        let mut blocks = Vec::new();
        let root = name_folder(path, &tree, &mut roots, &mut blocks)?;
        self.put(blocks).await?;
        let doing = format!("keep {} of {}", root.cid, path.display());
        let pin = Question::change(Method::PUT, format!("content/{}", root.cid), doing)
            .parameter("upload", self.upload)
            .parameter("size", root.dag_bytes);
        pin.tell(self.endpoints).await?;
        Ok(root)
    }

    async fn file(&self, source: &Source) -> Result<Root, Fault> {
        let question =
            Question::change(Method::POST, "content", format!("upload {}", source.name()))
                .header("content-type", "application/octet-stream")
                .parameter("upload", self.upload);
        let sending = Sending {
            endpoints: self.endpoints,
            source,
            question: &self.storage.ask(question),
            chunker: Some(self.storage.chunker()),
            pieces_ahead: PIECES_AHEAD_EACH,
            progress: self.progress,
        };
        Ok(sending.run().await?.root.expect("a root was asked for"))
    }

    /// Stores the blocks of directories, the root, which is the last one, after all others.
    async fn put(&self, mut blocks: Vec<Block>) -> Result<(), Fault> {
        let root = blocks.pop().expect("a directory has a block");
        let stored = stream::iter(blocks).map(|block| async move { self.put_block(&block).await });
        // Blocks of one tree before its root; among themselves nobody can find them yet.
        stored.buffer_unordered(BLOCK_REQUESTS_MAX).try_collect::<()>().await?;
        self.put_block(&root).await
    }

    async fn put_block(&self, block: &Block) -> Result<(), Fault> {
        let doing = format!("store block {}", block.cid);
        let question = Question::change(Method::PUT, format!("blocks/{}", block.cid), doing)
            .parameter("upload", self.upload)
            .parameter_if("replicas", self.storage.replicas)
            .bytes(block.bytes.clone());
        self.endpoints.put_block(&question).await
    }
}

/// Appends the files of a tree, with their paths behind `prefix`, in the order in which [`name_folder`] asks
/// for their roots.
fn list_files(path: &Path, prefix: &str, folder: &Folder, out: &mut Vec<(Source, String)>) {
    for (name, bytes) in &folder.files {
        let source = Source::File { path: path.join(name), bytes: *bytes };
        out.push((source, format!("{prefix}{name}")));
    }
    for (name, below) in &folder.folders {
        list_files(&path.join(name), &format!("{prefix}{name}/"), below, out);
    }
}

/// Builds the directories of a tree from the roots of its files; appends their blocks, the root last.
fn name_folder(
    path: &Path,
    folder: &Folder,
    roots: &mut impl Iterator<Item = Root>,
    blocks: &mut Vec<Block>,
) -> Result<Root, Fault> {
    let mut entries = Vec::with_capacity(folder.files.len() + folder.folders.len());
    let entry = |name: &String, root: Root| Entry {
        name: name.clone(),
        cid: root.cid,
        dag_bytes: root.dag_bytes,
    };
    for (name, _) in &folder.files {
        entries.push(entry(name, roots.next().expect("every file has a root")));
    }
    for (name, below) in &folder.folders {
        entries.push(entry(name, name_folder(&path.join(name), below, roots, blocks)?));
    }
    directory::build(entries, blocks).map_err(|error| {
        Fault::new(error.kind(), format!("cannot upload {}: {error}", path.display()))
    })
}
