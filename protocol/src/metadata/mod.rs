//! What a cluster agrees on: names, versions, users, members, tickets, topology, locks and leases.
//!
//! The state is an ordered map of bytes ([`Source`]); [`apply`] carries out one command of the Raft log on a [`Draft`]
//! over it. Every peer applies the same commands in the same order to the same bytes, so all peers have the same
//! state. What comes from outside, the time and chance, comes in the command. A command costs a bounded number of
//! reads and writes, however much there is; queries page. Tables, commands and why they are safe:
//! `protocol/README.md`, "Metadata".
//! Never: IO of its own, clocks, chance; loads or scans a whole table; says who is alive.

mod apply;
mod command;
mod desired;
mod effect;
mod keys;
mod lease;
mod name;
mod outcome;
pub mod query;
mod reference;
mod refusal;
mod request;
mod source;
mod table;
mod value;
pub mod voters;

#[cfg(test)]
mod cluster_test;
#[cfg(test)]
mod desired_test;
#[cfg(test)]
mod format_test;
#[cfg(test)]
mod list_test;
#[cfg(test)]
mod lock_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod object_test;
#[cfg(test)]
mod random_test;
#[cfg(test)]
mod request_test;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod voters_test;

pub use apply::{ApplyError, apply, check, may_write, recall};
pub use command::{Actor, Change, Command, Match, NoTag, ObjectName, Op, Precondition, Tag};
pub use desired::desired_topology;
pub use effect::Effect;
pub use lease::LeaseId;
pub use name::{
    BucketName, ContentType, DisplayName, Label, LockName, NameError, ObjectKey, Tags, UserName,
};
pub use outcome::{Outcome, Written, decode_answer, encode_answer};
pub use query::{ListQuery, Listing, NamedObject, UploadState};
pub use reference::{Misfit, Reference};
pub use refusal::{Bounded, Need, Quota, Refusal};
pub use request::{Asked, RequestId};
pub use source::{Draft, Source, SourceError};
pub use table::{session_of, upload_in};
pub use value::{
    Bucket, Catalog, Content, Due, DueEntry, Lease, Lock, LockHolder, LockWaiter, Member,
    MemberState, ObjectVersion, Pin, Published, Role, Session, Settings, Ticket, TicketState,
    Token, Totals, Upload, User,
};
