//! `shoal write` and `shoal append`: some bytes of an object, replaced or added.
//!
//! The peer builds the new version from the old one's blocks. Never: reads the object.

use std::path::Path;

use protocol::api::Object;
use reqwest::Method;
use serde::Deserialize;

use protocol::{Fault, Kind};

use crate::args::{Append, Match, Write};
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output::{self, Progress};
use crate::question::Question;
use crate::send::{PIECES_AHEAD, Sending};
use crate::source::Source;
use crate::target::Name;

/// Overwrites a range of an object.
///
/// # Errors
/// Those of reading the source; the most telling of the peers' refusals.
pub(crate) async fn write(endpoints: &Endpoints, args: &Write, json: bool) -> Result<(), Failure> {
    let doing = format!("write to {} at byte {}", args.name, args.offset);
    let question = patch(&args.name, doing, args.if_match.as_ref());
    run(endpoints, &args.path, &question.parameter("offset", args.offset), json).await
}

/// Adds bytes at the end of an object. Errors as [`write()`].
pub(crate) async fn append(
    endpoints: &Endpoints,
    args: &Append,
    json: bool,
) -> Result<(), Failure> {
    let question = patch(&args.name, format!("append to {}", args.name), args.if_match.as_ref());
    run(endpoints, &args.path, &question.flag("append"), json).await
}

fn patch(name: &Name, doing: String, if_match: Option<&Match>) -> Question {
    let question = Question::change(Method::PATCH, name.path("objects"), doing);
    question.header("content-type", "application/octet-stream").if_match(if_match)
}

async fn run(
    endpoints: &Endpoints,
    path: &Path,
    question: &Question,
    json: bool,
) -> Result<(), Failure> {
    let source = &Source::file_at(path)?;
    let bar = Progress::start(&source.name(), source.bytes());
    let (pieces_ahead, progress) = (PIECES_AHEAD, &bar);
    let sending = Sending { endpoints, source, question, chunker: None, pieces_ahead, progress };
    let sent = sending.run().await;
    bar.finish();
    let object = Object::deserialize(&sent?.answer).map_err(|error| {
        Fault::new(Kind::Internal, format!("cannot {}: unreadable answer: {error}", question.doing))
    })?;
    output::object(object, json)
}
