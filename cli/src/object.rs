//! The commands that change what is said of an object, without its bytes: copies, names, versions, tags.
//!
//! Never: fetches or sends content.

use std::collections::BTreeMap;

use protocol::api::{Object, ObjectOp};
use protocol::{Cid, Fault, Kind};

use crate::args::{Copy, Match, Move, Restore, Tag, Tags};
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output;
use crate::question::Question;
use crate::target::{Destination, Name};

/// How often what is said of an object is read and set because somebody else wrote the object in between.
pub(crate) const CHANGE_ATTEMPTS_MAX: u32 = 8;

/// Returns what is said of an object, or of a version of it.
///
/// # Errors
/// [`Kind::NotFound`] if there is none.
pub(crate) async fn look(
    endpoints: &Endpoints,
    name: &Name,
    version: Option<&str>,
) -> Result<Object, Fault> {
    Question::about(name, version).ask(endpoints).await
}

/// Returns what is said of an object of which `if_match` holds, and the condition that this is still so.
///
/// Whoever writes back what was read gives that condition along, and so undoes nothing that somebody else did.
///
/// # Errors
/// [`Kind::NotFound`] if there is none, [`Kind::Precondition`] if it is not the one that was meant.
pub(crate) async fn look_to_change(
    endpoints: &Endpoints,
    name: &Name,
    if_match: Option<&Match>,
) -> Result<(Object, Match), Fault> {
    let object = look(endpoints, name, None).await?;
    let Some(version) = object.version.as_deref() else {
        let detail = format!("cannot read the answer about {name}: it has no version");
        return Err(Fault::new(Kind::Internal, detail));
    };
    let cid = object.cid.as_deref();
    if if_match.is_some_and(|wanted| !wanted.holds_of(version, cid)) {
        let detail = format!(
            "cannot change {name}: it is at version {version} with content {}, which is not what --if-match names; look at it and decide anew",
            cid.unwrap_or("-")
        );
        return Err(Fault::new(Kind::Precondition, detail));
    }
    let condition = Match::version(version);
    Ok((object, condition))
}

/// Returns the root of an object.
///
/// # Errors
/// [`Kind::NotFound`] for a delete marker.
pub(crate) fn cid_of(name: &Name, object: &Object) -> Result<Cid, Fault> {
    let Some(cid) = &object.cid else {
        let detail = format!("{name} was deleted; `shoal versions {name}` lists what it was");
        return Err(Fault::new(Kind::NotFound, detail));
    };
    cid.parse().map_err(|error| {
        let detail = format!("cannot read the answer about {name}: {cid:?} is no CID: {error}");
        Fault::new(Kind::Internal, detail)
    })
}

/// Fails if a version of a CID is asked for.
///
/// # Errors
/// [`Kind::Invalid`].
pub(crate) fn no_version(cid: Cid, version: Option<&str>) -> Result<(), Fault> {
    match version {
        None => Ok(()),
        Some(_) => {
            let detail = format!("--version is of an object (BUCKET/KEY), {cid} has none");
            Err(Fault::new(Kind::Invalid, detail))
        }
    }
}

/// Gives a copy of an object a name.
///
/// # Errors
/// The most telling of the peers' refusals.
pub(crate) async fn copy(endpoints: &Endpoints, args: &Copy, json: bool) -> Result<(), Failure> {
    let to = destination(&args.from, &args.to)?;
    let op = ObjectOp::Copy {
        from: args.from.source(args.version.as_deref()),
        tags: (!args.tags.is_empty()).then(|| with_tags(BTreeMap::new(), &args.tags)),
        content_type: args.content_type.clone(),
    };
    let question = Question::on_object(&to, &op, format!("copy {} to {to}", args.from));
    let object = question.conditions(&args.conditions).ask(endpoints).await?;
    output::object(object, json)
}

/// Gives an object another name. Errors as [`copy()`].
pub(crate) async fn rename(endpoints: &Endpoints, args: &Move, json: bool) -> Result<(), Failure> {
    let to = destination(&args.from, &args.to)?;
    let op = ObjectOp::Move { from: args.from.source(None) };
    let question = Question::on_object(&to, &op, format!("move {} to {to}", args.from));
    let object = question.conditions(&args.conditions).ask(endpoints).await?;
    output::object(object, json)
}

/// Makes an older version the current one. Errors as [`copy()`].
pub(crate) async fn restore(
    endpoints: &Endpoints,
    args: &Restore,
    json: bool,
) -> Result<(), Failure> {
    let Restore { name, version, if_match } = args;
    let op = ObjectOp::Restore { version: version.clone() };
    let question = Question::on_object(name, &op, format!("restore version {version} of {name}"));
    let object = question.if_match(if_match.as_ref()).ask(endpoints).await?;
    output::object(object, json)
}

/// Sets and removes tags, or shows them. Those of somebody who does the same meanwhile stay, too.
///
/// # Errors
/// [`Kind::Precondition`] if it is not the one that was meant, or others write it all the time; the most telling of the peers' refusals.
pub(crate) async fn tag(endpoints: &Endpoints, args: &Tags, json: bool) -> Result<(), Failure> {
    let Tags { name, tags, remove, if_match } = args;
    let mut attempt = 1;
    loop {
        let (before, unchanged) = look_to_change(endpoints, name, if_match.as_ref()).await?;
        if tags.is_empty() && remove.is_empty() {
            return show(before, json);
        }
        let mut wanted = before.tags;
        wanted.retain(|name, _| !remove.contains(name));
        let op =
            ObjectOp::Set { tags: Some(with_tags(wanted, tags)), content_type: None, public: None };
        let question = Question::on_object(name, &op, format!("tag {name}"));
        match question.if_match(Some(&unchanged)).ask::<Object>(endpoints).await {
            Ok(object) => return show(object, json),
            Err(fault) if fault.kind == Kind::Precondition && attempt < CHANGE_ATTEMPTS_MAX => {
                attempt += 1
            }
            Err(fault) => return Err(fault.into()),
        }
    }
}

fn show(object: Object, json: bool) -> Result<(), Failure> {
    if json {
        return output::object(object, json);
    }
    let lines =
        object.tags.iter().map(|(name, value)| output::plain(&format!("{name}={value}")) + "\n");
    output::text(&lines.collect::<String>())
}

fn with_tags(mut tags: BTreeMap<String, String>, more: &[Tag]) -> BTreeMap<String, String> {
    tags.extend(more.iter().map(|tag| (tag.name.clone(), tag.value.clone())));
    tags
}

/// Returns the name that is meant: in a place, an object keeps the last part of its key.
fn destination(from: &Name, to: &Destination) -> Result<Name, Fault> {
    let invalid = |why: String| Fault::new(Kind::Invalid, format!("cannot name it: {why}"));
    match to {
        Destination::Name(name) => Ok(name.clone()),
        Destination::Place(place) => {
            let last = from.file_name().ok_or_else(|| {
                invalid(format!(
                    "the last part of {from} is no name of its own; write out the new name"
                ))
            })?;
            place.join(last).map_err(invalid)
        }
    }
}
