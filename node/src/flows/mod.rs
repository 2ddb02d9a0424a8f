//! Where the services meet: what a peer does for somebody, from beginning to end.
//!
//! A flow performs the outputs of a machine of `protocol`; it owns what it needs for one piece of work and
//! nothing longer. Never: decisions, which are the machine's; formats, which are the API's.

mod catalog;
mod collect;
mod context;
mod download;
mod drain;
mod edit;
mod heal;
mod holder;
mod join;
mod locks;
mod members;
mod metrics;
mod objects;
mod parts;
mod propose;
mod release;
mod removal;
mod repeat;
mod root;
mod scrub;
mod search;
mod upload;
mod work;

pub use catalog::Catalogs;
pub use context::{Context, Planted};
pub use download::{Download, block, download};
pub use edit::{EditAt, edit_object};
pub use heal::{Heal, HealMetrics, HealSettings};
pub use locks::{Acquire, LockWaits, acquire as acquire_lock, lock_name};
pub use metrics::FlowMetrics;
pub use objects::{Change, Description, pin_content, put_object};
pub use parts::{begin_upload, end_upload, put_block, refer, upload_part};
pub use root::Root;
pub use scrub::{Scrub, ScrubMetrics};
pub use search::{FoundHit, Part, Scope, Search, Searched};
pub use upload::{UploadOptions, Uploaded};
pub use work::WorkSettings;

pub(crate) use catalog::{
    Keep, answer as answer_strangers, fetch, fetch_block, import, keep as keep_catalogs,
    tell as tell_catalog,
};
pub(crate) use collect::collect;
pub(crate) use drain::drain;
pub(crate) use heal::heal;
pub(crate) use join::{answer_guests, ask as ask_to_join};
pub(crate) use members::{all_members, follow as follow_members};
pub(crate) use propose::{new_request, propose};
pub(crate) use removal::removal;
pub(crate) use scrub::{ScrubInbox, rewrite, scrub};
pub(crate) use search::follow as follow_objects;
pub(crate) use work::{carry_out, follow_peers, queue};
