//! The options of the commands about objects and content.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use protocol::limits::REPLICAS_MAX;

use super::value::{Match, Range, Tag};
use crate::target::{Destination, Name, Place, Target};

#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// Files, directories, or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The name it gets; ending in `/`, the place where each PATH gets its file's name [default: no name]
    #[arg(long, value_name = "BUCKET/KEY")]
    pub(crate) to: Option<Destination>,
    #[command(flatten)]
    pub(crate) labels: Labels,
    #[command(flatten)]
    pub(crate) conditions: Preconditions,
    #[command(flatten)]
    pub(crate) storage: Storage,
}

/// What is said of an object beside its bytes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Labels {
    /// A tag; repeat it for more
    #[arg(long = "tag", value_name = "K=V", requires = "to")]
    pub(crate) tags: Vec<Tag>,
    /// Let others than members find and read it
    #[arg(long, requires = "to")]
    pub(crate) public: bool,
    /// Media type [default: guessed from the file's name]
    #[arg(long, value_name = "TYPE", requires = "to")]
    pub(crate) content_type: Option<String>,
}

/// What must be true of the object that is written to.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Preconditions {
    /// Only if its current version, or the CID of its content, is this; `*`: only if it exists
    #[arg(long, value_name = "V", requires = "to")]
    pub(crate) if_match: Option<Match>,
    /// Only if its current version and CID are not this; `*`: only if it does not exist
    #[arg(long, value_name = "V", requires = "to")]
    pub(crate) if_none_match: Option<Match>,
}

/// How content is stored.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Storage {
    /// Copies of each block [default: the cluster's number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(REPLICAS_MAX)))]
    pub(crate) replicas: Option<u8>,
    /// How files are cut into blocks; `fastcdc` shares more between versions, but has CIDs of its own
    #[arg(long, value_enum)]
    pub(crate) chunker: Option<ChunkerName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChunkerName {
    /// Every MiB: the CID is the one that IPFS tools compute
    Fixed,
    /// Where the content says so
    Fastcdc,
}

#[derive(Debug, Args)]
pub(crate) struct Download {
    /// BUCKET/KEY or a CID
    #[arg(value_name = "TARGET")]
    pub(crate) target: Target,
    /// Where to write; `-` is standard output [default: the last part of the key, or the CID]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Only bytes A to B, both included and counted from 0; `A-` goes to the end
    #[arg(long, value_name = "A-B")]
    pub(crate) range: Option<Range>,
    /// An older version of the object
    #[arg(long, value_name = "V")]
    pub(crate) version: Option<String>,
    /// Replace a file that exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Keep another cluster's public content here, under this name, instead of writing a file; TARGET is its CID
    #[arg(long, value_name = "BUCKET/KEY", value_parser = Name::read_for_body, conflicts_with_all = ["output", "range", "version", "force"])]
    pub(crate) import: Option<Name>,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// BUCKET/KEY or a CID
    #[arg(value_name = "TARGET")]
    pub(crate) target: Target,
    /// Only bytes A to B, both included and counted from 0; `A-` goes to the end
    #[arg(long, value_name = "A-B")]
    pub(crate) range: Option<Range>,
    /// An older version of the object
    #[arg(long, value_name = "V")]
    pub(crate) version: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// BUCKET/KEY or a CID
    #[arg(value_name = "TARGET")]
    pub(crate) target: Target,
    /// An older version of the object
    #[arg(long, value_name = "V")]
    pub(crate) version: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Where to look [default: the buckets themselves]
    #[arg(value_name = "BUCKET[/PREFIX]")]
    pub(crate) place: Option<Place>,
    /// Only what this user wrote, in all buckets unless one is named
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: Option<String>,
    /// Content that was uploaded without a name
    #[arg(long, conflicts_with_all = ["place", "owner", "recursive"])]
    pub(crate) pinned: bool,
    /// Every key, also behind the next slash
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// At most so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Go on behind this place, `next` of an earlier listing
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Words, prefix*, "a phrase", -not, tag:NAME, tag:NAME=VALUE, type:image, size:>1MB, owner:NAME, bucket:NAME,
    /// cluster:NAME; all must hold
    #[arg(required_unless_present = "tags", value_name = "QUERY")]
    pub(crate) query: Vec<String>,
    /// Only this cluster, by name or id
    #[arg(long, value_name = "NAME", conflicts_with = "local")]
    pub(crate) cluster: Option<String>,
    /// Only the cluster that is asked
    #[arg(long)]
    pub(crate) local: bool,
    /// Only what has this tag; may be repeated
    #[arg(long = "tag", value_name = "K=V")]
    pub(crate) tags: Vec<Tag>,
    /// At most so many hits
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// Go on behind this place, `next` of an earlier search
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// BUCKET/KEY; with --recursive BUCKET or BUCKET/PREFIX
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// All objects of a bucket, or whose keys begin with a prefix, that there are now
    #[arg(short, long)]
    pub(crate) recursive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// BUCKET/KEY or a CID; with --recursive also BUCKET or BUCKET/PREFIX/
    #[arg(required = true, value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// This version for good, instead of the object
    #[arg(long, value_name = "V", conflicts_with = "recursive")]
    pub(crate) version: Option<String>,
    /// The object and all objects below KEY/, or all of a bucket
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Only if its current version, or the CID of its content, is this; with --version, of that version
    #[arg(long, value_name = "V", conflicts_with = "recursive")]
    pub(crate) if_match: Option<Match>,
}

#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// The object to copy
    #[arg(value_name = "FROM", value_parser = Name::read_for_body)]
    pub(crate) from: Name,
    /// The name of the copy; ending in `/`, the place where it keeps the last part of its key
    #[arg(value_name = "TO")]
    pub(crate) to: Destination,
    /// An older version of the object
    #[arg(long, value_name = "V")]
    pub(crate) version: Option<String>,
    /// A tag of the copy, instead of all those of the object; repeat it for more
    #[arg(long = "tag", value_name = "K=V")]
    pub(crate) tags: Vec<Tag>,
    /// Media type of the copy
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    #[command(flatten)]
    pub(crate) conditions: Preconditions,
}

#[derive(Debug, Args)]
pub(crate) struct Move {
    /// The object to rename
    #[arg(value_name = "FROM", value_parser = Name::read_for_body)]
    pub(crate) from: Name,
    /// Its new name; ending in `/`, the place where it keeps the last part of its key
    #[arg(value_name = "TO")]
    pub(crate) to: Destination,
    #[command(flatten)]
    pub(crate) conditions: Preconditions,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// A file, or `-` for standard input
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The object to replace
    #[arg(value_name = "BUCKET/KEY")]
    pub(crate) name: Name,
    /// Only if its current version, or the CID of its content, is this
    #[arg(long, value_name = "V")]
    pub(crate) if_match: Option<Match>,
    #[command(flatten)]
    pub(crate) storage: Storage,
}

#[derive(Debug, Args)]
pub(crate) struct Write {
    /// The object to change
    #[arg(value_name = "BUCKET/KEY")]
    pub(crate) name: Name,
    /// A file, or `-` for standard input
    #[arg(value_name = "PATH", default_value = "-")]
    pub(crate) path: PathBuf,
    /// Where the bytes go: the first one's place, counted from 0
    #[arg(long, value_name = "N")]
    pub(crate) offset: u64,
    /// Only if its current version, or the CID of its content, is this
    #[arg(long, value_name = "V")]
    pub(crate) if_match: Option<Match>,
}

#[derive(Debug, Args)]
pub(crate) struct Append {
    /// The object to change
    #[arg(value_name = "BUCKET/KEY")]
    pub(crate) name: Name,
    /// A file, or `-` for standard input
    #[arg(value_name = "PATH", default_value = "-")]
    pub(crate) path: PathBuf,
    /// Only if its current version, or the CID of its content, is this
    #[arg(long, value_name = "V")]
    pub(crate) if_match: Option<Match>,
}

#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// The object
    #[arg(value_name = "BUCKET/KEY")]
    pub(crate) name: Name,
    /// At most so many rows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Go on behind this place, `next` of an earlier listing
    #[arg(long, value_name = "NEXT")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The object
    #[arg(value_name = "BUCKET/KEY")]
    pub(crate) name: Name,
    /// The version to bring back
    #[arg(value_name = "V")]
    pub(crate) version: String,
    /// Only if its current version, or the CID of its content, is this
    #[arg(long, value_name = "V")]
    pub(crate) if_match: Option<Match>,
}

#[derive(Debug, Args)]
pub(crate) struct Tags {
    /// The object
    #[arg(value_name = "BUCKET/KEY")]
    pub(crate) name: Name,
    /// Tags to set; all others stay
    #[arg(value_name = "K=V")]
    pub(crate) tags: Vec<Tag>,
    /// A tag to remove; repeat it for more
    #[arg(long, value_name = "K")]
    pub(crate) remove: Vec<String>,
    /// Only if its current version, or the CID of its content, is this
    #[arg(long, value_name = "V")]
    pub(crate) if_match: Option<Match>,
}
