//! Searching: what people type, read into what is looked for (`query`), and what an index has to look at again (`backlog`).
//!
//! Never: keeps an index; decides who may see what.

mod backlog;
mod query;

pub use backlog::Backlog;
pub use query::{Clause, Query, QueryError, Wanted};
