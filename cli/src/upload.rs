//! `shoal upload` and `shoal update`: files to objects, or to content without a name.
//!
//! What is to be sent is planned before the first byte is: a tree that cannot be stored, or two files that
//! would get one name, cost nothing. Never: sends bytes itself; that is done in [`crate::send`].

use std::collections::BTreeSet;
use std::path::Path;

use futures::stream::{self, StreamExt};
use protocol::api::Object;
use protocol::dag::Root;
use protocol::{Fault, Kind};
use reqwest::Method;
use serde::Deserialize;

use crate::args::{Labels, Match, Storage, Tag, Update, Upload};
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::object::{self, CHANGE_ATTEMPTS_MAX};
use crate::output::{self, ObjectRow, Progress};
use crate::question::Question;
use crate::send::{PIECES_AHEAD, Sending, Sent};
use crate::source::Source;
use crate::target::{Destination, Name, Place};
use crate::tree::{self, FILES_AT_A_TIME, PIECES_AHEAD_EACH};

/// Uploads every path, in order, and prints the CID of each.
///
/// # Errors
/// The first one that happens. What was stored before is printed all the same.
pub(crate) async fn run(endpoints: &Endpoints, args: &Upload, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let ended = match &args.to {
        None => upload_content(endpoints, args, json, &mut rows).await,
        Some(to) => upload_objects(endpoints, args, to, json, &mut rows).await,
    };
    if json {
        output::json(&rows)?;
    }
    ended
}

async fn upload_content(
    endpoints: &Endpoints,
    args: &Upload,
    json: bool,
    rows: &mut Vec<ObjectRow>,
) -> Result<(), Failure> {
    for path in &args.paths {
        let (root, kind, size) = match Source::at(path)? {
            Some(source) => {
                let root = content(endpoints, &source, args.storage).await?;
                (root, "file", root.size)
            }
            None => {
                let root = tree::upload(endpoints, path, args.storage).await?;
                (root, "directory", root.dag_bytes)
            }
        };
        if json {
            let mut row = ObjectRow::new(root.cid, kind, size);
            row.path = Some(path.display().to_string());
            row.dag_bytes = Some(root.dag_bytes);
            rows.push(row);
        } else {
            output::line(&output::plain(&format!("{}  {}", root.cid, path.display())))?;
        }
    }
    Ok(())
}

async fn content(endpoints: &Endpoints, source: &Source, storage: Storage) -> Result<Root, Fault> {
    let question = Question::change(Method::POST, "content", format!("upload {}", source.name()))
        .header("content-type", "application/octet-stream");
    let question = storage.ask(question);
    let sent = send(endpoints, source, &question, storage).await?;
    Ok(sent.root.expect("a root was asked for"))
}

/// Sends one source, with a progress bar of its own.
async fn send(
    endpoints: &Endpoints,
    source: &Source,
    question: &Question,
    storage: Storage,
) -> Result<Sent, Fault> {
    let progress = Progress::start(&source.name(), source.bytes());
    let chunker = Some(storage.chunker());
    let pieces_ahead = PIECES_AHEAD;
    let progress_seen = &progress;
    let sending =
        Sending { endpoints, source, question, chunker, pieces_ahead, progress: progress_seen };
    let sent = sending.run().await;
    progress.finish();
    sent
}

async fn upload_objects(
    endpoints: &Endpoints,
    args: &Upload,
    to: &Destination,
    json: bool,
    rows: &mut Vec<ObjectRow>,
) -> Result<(), Failure> {
    let plan = plan(args, to)?;
    let label = plan.first().map(|(source, _)| source.name()).unwrap_or_default();
    let label = if plan.len() == 1 { label } else { format!("{} files", plan.len()) };
    let bytes_total = plan.iter().map(|(source, _)| source.bytes()).sum::<Option<u64>>();
    let progress = Progress::start(&label, bytes_total);
    let pieces_ahead = if plan.len() == 1 { PIECES_AHEAD } else { PIECES_AHEAD_EACH };
    let uploads = stream::iter(&plan).map(|(source, name)| {
        let progress = &progress;
        async move {
            let question = put(name, source, args);
            let chunker = Some(args.storage.chunker());
            let question = &question;
            let sending = Sending { endpoints, source, question, chunker, pieces_ahead, progress };
            (source, name, sending.run().await)
        }
    });
    let mut uploads = std::pin::pin!(uploads.buffered(FILES_AT_A_TIME));
    while let Some((source, name, sent)) = uploads.next().await {
        let sent = match sent {
            Ok(sent) => sent,
            Err(fault) => {
                progress.finish();
                return Err(fault.into());
            }
        };
        let object = object_of(&sent, name)?;
        if json {
            let mut row = ObjectRow::of(object);
            row.kind = Some("file");
            row.path = Some(source.name());
            row.dag_bytes = sent.root.map(|root| root.dag_bytes);
            rows.push(row);
        } else {
            progress.suspend(|| output::line(&output::object_line(&object)))?;
        }
    }
    progress.finish();
    Ok(())
}

/// Returns what gets which name.
///
/// # Errors
/// [`Kind::Invalid`] for what cannot be stored, or has no name of its own where one is needed, and for two
/// of one name; those of looking at the paths.
fn plan(args: &Upload, to: &Destination) -> Result<Vec<(Source, Name)>, Fault> {
    let invalid = |path: &Path, why: &str| {
        Fault::new(Kind::Invalid, format!("cannot upload {}: {why}", path.display()))
    };
    let mut plan = Vec::new();
    for path in &args.paths {
        let own_name = path.file_name().map(|name| name.to_str().ok_or("its name is not UTF-8"));
        let own_name = own_name.transpose().map_err(|why| invalid(path, why))?;
        let source = Source::at(path)?;
        // The one name that is meant, or the place for several.
        let place = match to {
            Destination::Name(name) if args.paths.len() == 1 => match source {
                Some(source) => {
                    plan.push((source, name.clone()));
                    continue;
                }
                None => Place { bucket: name.bucket.clone(), prefix: name.key.clone() },
            },
            Destination::Name(name) => within(
                &Place { bucket: name.bucket.clone(), prefix: name.key.clone() },
                own_name,
                path,
            )?,
            Destination::Place(place) => within(place, own_name, path)?,
        };
        match source {
            Some(source) => {
                if matches!(source, Source::Stdin) {
                    let why = "standard input has no file name; name the object itself";
                    return Err(invalid(path, why));
                }
                let name = Name::new(&place.bucket, &place.prefix);
                plan.push((source, name.map_err(|why| invalid(path, &why))?));
            }
            None => {
                for (source, relative) in tree::files(path)? {
                    let name = place.join(&relative).map_err(|why| invalid(path, &why))?;
                    plan.push((source, name));
                }
            }
        }
    }
    let mut names = BTreeSet::new();
    if let Some((source, name)) = plan.iter().find(|(_, name)| !names.insert(name)) {
        let why = format!("another file gets the name {name}, too; nothing was sent");
        return Err(invalid(Path::new(&source.name()), &why));
    }
    let one = [&args.conditions.if_match, &args.conditions.if_none_match];
    if plan.len() != 1 && one.into_iter().flatten().any(Match::is_one) {
        let detail = format!(
            "a version or CID as a precondition is about one object, but {} would be written; nothing was sent",
            plan.len()
        );
        return Err(Fault::new(Kind::Invalid, detail));
    }
    Ok(plan)
}

/// Returns the place of `own_name` in `place`. A path without a name of its own, such as `.`, is its content.
fn within(place: &Place, own_name: Option<&str>, path: &Path) -> Result<Place, Fault> {
    let Some(own_name) = own_name else { return Ok(place.clone()) };
    let name = place.join(own_name).map_err(|why| {
        Fault::new(Kind::Invalid, format!("cannot upload {}: {why}", path.display()))
    })?;
    Ok(Place { bucket: name.bucket, prefix: name.key })
}

fn put(name: &Name, source: &Source, args: &Upload) -> Question {
    let question = question_of_put(name, source, &args.labels, args.storage);
    question.conditions(&args.conditions)
}

fn question_of_put(name: &Name, source: &Source, labels: &Labels, storage: Storage) -> Question {
    let doing = format!("upload {} to {name}", source.name());
    let mut question = Question::change(Method::PUT, name.path("objects"), doing);
    let guessed = || content_type(source, name);
    let content_type = labels.content_type.clone().unwrap_or_else(guessed);
    question = question.header("content-type", content_type);
    for Tag { name, value } in &labels.tags {
        question = question.parameter("tag", format!("{name}={value}"));
    }
    if labels.public {
        question = question.parameter("public", true);
    }
    storage.ask(question)
}

/// Guesses the media type by the file's name, or if that says nothing, by the object's.
fn content_type(source: &Source, name: &Name) -> String {
    let guess = |name: &str| mime_guess::from_path(name).first_raw();
    guess(&source.name())
        .or_else(|| guess(&name.key))
        .unwrap_or("application/octet-stream")
        .to_owned()
}

fn object_of(sent: &Sent, name: &Name) -> Result<Object, Fault> {
    Object::deserialize(&sent.answer).map_err(|error| {
        Fault::new(Kind::Internal, format!("cannot read the answer about {name}: {error}"))
    })
}

/// Replaces an object that exists; what is said of it stays, also what somebody else says meanwhile.
///
/// # Errors
/// [`Kind::NotFound`] if there is none, [`Kind::Precondition`] if it is not the one that was meant, or others
/// change it all the time; those of sending.
pub(crate) async fn update(
    endpoints: &Endpoints,
    args: &Update,
    json: bool,
) -> Result<(), Failure> {
    let Update { path, name, if_match, storage } = args;
    let source = Source::file_at(path)?;
    let mut attempt = 1;
    loop {
        let (before, unchanged) =
            object::look_to_change(endpoints, name, if_match.as_ref()).await?;
        let labels = Labels {
            tags: before.tags.into_iter().map(|(name, value)| Tag { name, value }).collect(),
            public: before.public,
            content_type: Some(before.content_type),
        };
        let question = question_of_put(name, &source, &labels, *storage).if_match(Some(&unchanged));
        match send(endpoints, &source, &question, *storage).await {
            Ok(sent) => return output::object(object_of(&sent, name)?, json),
            Err(fault) if fault.kind != Kind::Precondition => return Err(fault.into()),
            Err(_) if !source.is_rereadable() => {
                let detail = format!(
                    "cannot replace {name}: somebody changed it meanwhile, and the bytes of {} come only once; nothing was replaced; run the command again",
                    source.name()
                );
                return Err(Fault::new(Kind::Precondition, detail).into());
            }
            // Its labels, and perhaps its content, are others now: they are read again, and replaced.
            Err(_) if attempt < CHANGE_ATTEMPTS_MAX => attempt += 1,
            Err(fault) => return Err(fault.into()),
        }
    }
}
