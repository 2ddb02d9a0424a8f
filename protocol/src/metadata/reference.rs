//! Names and pins of content that its client uploaded in parts: what they say of it, and whether that is so.
//!
//! Never: looks at content; [`crate::dag::Audit`] does.

use super::command::Op;
use crate::dag::{Audited, Content};
use crate::error::Kind;
use crate::{Cid, OwnerId};

/// What a change says of the content that it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its root.
    pub root: Cid,
    /// How many bytes it has: those of a file; of a directory, those of all its blocks ([`Audited::dag_bytes`]).
    pub size: u64,
    /// Which upload has it.
    pub upload: OwnerId,
    /// Whether it becomes an object: a file alone can.
    pub is_named: bool,
}

/// Why content cannot be referred to as it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It has another size.
    #[error("{root} has {found} bytes, not size={size}")]
    Size {
        /// Its root.
        root: Cid,
        /// The size that it has.
        found: u64,
        /// The size that it should have.
        size: u64,
    },
    /// It is no file.
    #[error("{root} is a directory, and no object's content: pin it")]
    Directory {
        /// Its root.
        root: Cid,
    },
}

impl Misfit {
    /// Returns the kind of failure this is to whoever asked.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Size { .. } | Self::Directory { .. } => Kind::Invalid,
        }
    }
}

impl Reference {
    /// Returns what a change refers to; `None` for one that brings no content.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others bring no content")]
    pub const fn of(op: &Op) -> Option<Self> {
        Some(match op {
            Op::Put { content, .. } => Self {
                root: content.root,
                size: content.size,
                upload: content.upload,
                is_named: true,
            },
            Op::Pin { root, size, upload } => {
                Self { root: *root, size: *size, upload: *upload, is_named: false }
            }
            _ => return None,
        })
    }

    /// Checks what was found at the root.
    ///
    /// # Errors
    /// Any [`Misfit`].
    pub const fn check(&self, audited: &Audited) -> Result<(), Misfit> {
        let Self { root, size, is_named, .. } = *self;
        let found = match audited.content {
            Content::File { size } => size,
            Content::Directory if is_named => return Err(Misfit::Directory { root }),
            Content::Directory => audited.dag_bytes,
        };
        if found == size { Ok(()) } else { Err(Misfit::Size { root, found, size }) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Misfit, Reference};
    use crate::dag::{Audited, Content};
    use crate::metadata::Op;
    use crate::metadata::testing::{object, put, root, upload};

    #[test]
    fn a_name_needs_a_file_of_its_size_and_a_pin_what_is_below_it() {
        let name = Reference::of(&put(&object("docs", "a"), upload(3, 1), Default::default()));
        let name = name.unwrap();
        let pin = |size| Op::Pin { root: root(1), size, upload: upload(3, 1) };
        let pin = |size| Reference::of(&pin(size)).unwrap();
        let file = |size| Audited { content: Content::File { size }, dag_bytes: 900 };
        let folder = Audited { content: Content::Directory, dag_bytes: 900 };
        assert_eq!(name.check(&file(name.size)), Ok(()));
        let (root, found, size) = (name.root, name.size + 1, name.size);
        assert_eq!(name.check(&file(found)), Err(Misfit::Size { root, found, size }));
        assert_eq!(name.check(&folder), Err(Misfit::Directory { root }));
        assert_eq!(pin(7).check(&file(7)), Ok(()));
        assert!(pin(900).check(&file(7)).is_err());
        assert_eq!(pin(900).check(&folder), Ok(()));
        assert!(pin(899).check(&folder).is_err());
        assert_eq!(Reference::of(&Op::Unpin { root }), None);
    }
}
