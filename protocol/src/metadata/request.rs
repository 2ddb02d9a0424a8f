//! Requests: which one a change belongs to, over all its repetitions.
//!
//! A client names what it asks for, so that it can ask again when no answer came. The name holds for one user and one
//! change: under the same name, anything else is a request of its own. Never: remembers answers; `apply` does.

use serde::{Deserialize, Serialize};

use super::command::{Actor, ObjectName, Op, Precondition};
use super::name::{ContentType, Tags};
use crate::cid::{Cid, Codec};
use crate::format::{FormatError, encode};
use crate::limits::COMMAND_BYTES_MAX;

/// Names one request over all its repetitions. Chosen by chance by whoever asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub [u8; 16]);

impl core::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a client asks for, as far as each repetition says the same.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum Asked<'a> {
    /// A change without bytes.
    Change(&'a Op),
    /// An object. Its bytes are not known when its answer is looked for: whoever finds one must compare them.
    Put {
        /// Which.
        name: &'a ObjectName,
        /// Its media type.
        content_type: &'a ContentType,
        /// Its tags.
        tags: &'a Tags,
        /// Whether others than members may find and read it.
        public: bool,
        /// Of the object as it is.
        precondition: &'a Precondition,
    },
    /// A change of some bytes of an object, which are not known either.
    Edit {
        /// Which.
        name: &'a ObjectName,
        /// From this byte on; behind the last one when absent.
        offset: Option<u64>,
        /// Of the object as it is.
        precondition: &'a Precondition,
        /// How often it was built on a version that was not current any more: every attempt is a command of its own.
        attempt: u32,
    },
    /// Content without a name.
    Pin {
        /// Its root.
        root: Cid,
    },
}

impl RequestId {
    /// Returns the id under which the cluster knows what `actor` asks for under this one: the first half of the SHA-256 of all
    /// three, so that an answer reaches nobody and nothing else.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] for what no command can say.
    pub fn to(self, actor: &Actor, asked: &Asked<'_>) -> Result<Self, FormatError> {
        // With whichever token it is asked again, it is the same user who does.
        let actor = &actor.user().map_or(Actor::System, |user| Actor::User(user.clone()));
        let bytes = encode("a request", &(self, actor, asked), COMMAND_BYTES_MAX)?;
        let mut id = [0; 16];
        id.copy_from_slice(&Cid::of(Codec::Raw, &bytes).digest()[..16]);
        Ok(Self(id))
    }
}
