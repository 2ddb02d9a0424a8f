//! What can be wrong with a DAG, or with what is asked of it.
//!
//! Never: says where a block came from; its bytes hash to its name, so whoever made the DAG is to blame.

use crate::cid::CidError;
use crate::error::Kind;

/// Why a DAG cannot be built or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// A block whose bytes do not say what they must. Another copy says the same.
    #[error("block is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A link to a block of a kind that is not stored here.
    #[error("block has a link that cannot be followed: {source}")]
    LinkUnsupported {
        /// What kind it is.
        #[from]
        source: CidError,
    },
    /// The range begins behind the end of the file, or ends before it begins.
    #[error("range from byte {start} lies outside a file of {size} bytes")]
    RangeOutside {
        /// First byte that was asked for.
        start: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// The content is neither a file nor a directory: a symbolic link, or data of another program.
    #[error("content is not a file")]
    NotAFile,
    /// The content is a directory, where a file is needed.
    #[error("content is a directory, not a file")]
    IsDirectory,
    /// The content is a file, or something else, where a directory is needed.
    #[error("content is not a directory")]
    NotADirectory,
    /// A name that no file can be given safely: empty, `.`, `..`, or with `/` or NUL in it.
    #[error("{name:?} is not a name of a directory entry")]
    NameInvalid {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// A name that occurs twice in one directory.
    #[error("directory has more than one entry named {name:?}")]
    NameTwice {
        /// The name, cut to 80 characters.
        name: String,
    },
}

impl DagError {
    /// Returns the kind of failure this is to whoever asked for the content.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Malformed { .. }
            | Self::LinkUnsupported { .. }
            | Self::RangeOutside { .. }
            | Self::NotAFile
            | Self::IsDirectory
            | Self::NotADirectory
            | Self::NameInvalid { .. }
            | Self::NameTwice { .. } => Kind::Invalid,
        }
    }
}

/// Returns the error for a block that is wrong in the given way.
pub(crate) const fn malformed(reason: &'static str) -> DagError {
    DagError::Malformed { reason }
}
