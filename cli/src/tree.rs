//! Directory trees on their way to the cluster: which files there are, and the nodes that name them.
//!
//! The whole tree is looked through before the first byte is sent, so that one that cannot be stored costs
//! nothing. Files go first, then directories, deepest first, the root last: what is stored never points at
//! what is not. Never: follows a symbolic link.

use std::fs::DirEntry;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::dag::directory::{self, Entry};
use protocol::dag::{Block, Root};
use protocol::{Fault, Kind, OwnerId};

use crate::args::UploadOptions;
use crate::endpoint::{BLOCK_REQUESTS_MAX, Endpoints};
use crate::failure::io_fault;
use crate::output::Progress;
use crate::source::Source;
use crate::upload;

/// Deepest tree, in directories below each other: what the system's longest path could name, and few
/// enough to walk by recursion.
pub(crate) const TREE_DEPTH_MAX: usize = 256;
/// Files and directories of one tree: some 200 bytes of memory each.
pub(crate) const TREE_ENTRIES_MAX: usize = 200_000;
/// Files of a tree that are sent or fetched at a time. Small ones wait for a disk each, so several do.
pub(crate) const FILES_AT_A_TIME: usize = 8;
/// Pieces that each of these files is read ahead: with eight files 16 MiB.
const PIECES_AHEAD: usize = 2;

/// A directory that was looked through.
#[derive(Debug, Default)]
struct Folder {
    files: Vec<(String, u64)>,
    folders: Vec<(String, Self)>,
}

/// Stores the tree below `path`; returns the root of its directory.
///
/// # Errors
/// [`Kind::Invalid`] for a symbolic link, a special file or a name that is not UTF-8, before anything is
/// sent; those of every file and block.
pub(crate) async fn upload(
    endpoints: &Endpoints,
    path: &Path,
    options: UploadOptions,
) -> Result<Root, Fault> {
    let tree = Folder::scan(path, 0, &mut 0)?;
    let progress = Progress::start(&path.display().to_string(), Some(tree.bytes()));
    let upload = TreeUpload { endpoints, options, owner: random_owner(), progress: &progress };
    let stored = upload.store(path, tree).await;
    progress.finish();
    stored
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
    options: UploadOptions,
    /// Whom the directories' blocks belong to: this upload.
    owner: OwnerId,
    progress: &'a Progress,
}

impl TreeUpload<'_> {
    /// Stores every file of the tree, then its directories.
    async fn store(&self, path: &Path, tree: Folder) -> Result<Root, Fault> {
        let mut files = Vec::new();
        list_files(path, &tree, &mut files);
        let stored = stream::iter(files).map(|source| async move {
            upload::upload(self.endpoints, &source, self.options, PIECES_AHEAD, self.progress).await
        });
        let roots: Vec<Root> = stored.buffered(FILES_AT_A_TIME).try_collect().await?;
        let mut roots = roots.into_iter();
        let mut blocks = Vec::new();
        let root = name_folder(path, &tree, &mut roots, &mut blocks)?;
        self.put(blocks).await?;
        Ok(root)
    }

    /// Stores the blocks of directories, the root, which is the last one, after all others.
    async fn put(&self, mut blocks: Vec<Block>) -> Result<(), Fault> {
        let root = blocks.pop().expect("a directory has a block");
        let query = format!("owner={}", self.owner);
        let stored = stream::iter(blocks).map(|block| {
            let query = &query;
            async move { self.endpoints.put_block(block.cid, &block.bytes, query).await }
        });
        // Blocks of one tree before its root; among themselves nobody can find them yet.
        stored.buffer_unordered(BLOCK_REQUESTS_MAX).try_collect::<()>().await?;
        self.endpoints.put_block(root.cid, &root.bytes, &format!("{query}&root=true")).await
    }
}

/// Appends the files of a tree, in the order in which [`name_folder`] asks for their roots.
fn list_files(path: &Path, folder: &Folder, out: &mut Vec<Source>) {
    for (name, bytes) in &folder.files {
        out.push(Source::File { path: path.join(name), bytes: *bytes });
    }
    for (name, below) in &folder.folders {
        list_files(&path.join(name), below, out);
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

/// Returns an owner that nobody else has: the system seeds every `RandomState`.
fn random_owner() -> OwnerId {
    let random = RandomState::new();
    let halves = [random.hash_one(0_u8), random.hash_one(1_u8)].map(u64::to_le_bytes);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&halves[0]);
    bytes[8..].copy_from_slice(&halves[1]);
    OwnerId::from_bytes(bytes)
}
