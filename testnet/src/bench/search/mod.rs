//! Searches over many names: what the peers' index costs and how soon it answers, beside SQLite's FTS5 over the same names.
//!
//! The index is the daemon's own type, in a folder of its own; nothing else of a daemon runs. Both answer the same questions
//! one after the other, from a process that has just written them. Never: judges.

mod entries;
mod fts5;
mod measure;

pub(super) use measure::{OBJECTS_DEFAULT, Searches, run};
