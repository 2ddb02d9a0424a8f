//! `shoal rm`: objects, versions of them, whole places, or content without a name.
//!
//! Never: removes what only begins like the key that was named.

use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::api::{Deleted, Listing};
use protocol::{Cid, Fault, Kind};
use reqwest::Method;
use serde::Serialize;

use crate::args::Remove;
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::list::{Pages, in_bucket};
use crate::object;
use crate::output::{self, JsonRows};
use crate::question::Question;
use crate::target::{Name, Place, Target};

/// Objects that are removed at a time. Each waits for an agreement of the peers, so several do.
const REMOVALS_AT_A_TIME: usize = 16;

/// What was removed.
#[derive(Debug, Default, Serialize)]
struct Removed {
    bucket: Option<String>,
    key: Option<String>,
    cid: Option<String>,
    /// The delete marker, or the version that was removed.
    version: Option<String>,
}

/// Removes every target, in order, and shows what was removed.
///
/// # Errors
/// The first one that happens: [`Kind::NotFound`] if there is nothing to remove. What was removed before is
/// shown all the same.
pub(crate) async fn run(endpoints: &Endpoints, args: &Remove, json: bool) -> Result<(), Failure> {
    // All are read before one is removed: a slip in the last one costs nothing.
    let jobs = args.targets.iter().map(|target| job(target, args));
    let jobs: Vec<Job> = jobs.collect::<Result<_, _>>()?;
    let mut report = Report { rows: json.then(JsonRows::array), count: 0 };
    let mut ended = Ok(());
    for job in &jobs {
        ended = match job {
            Job::Object(name) => one(endpoints, name, args, &mut report).await,
            Job::Content(cid) => content(endpoints, *cid, &mut report).await,
            Job::Below(place) => below(endpoints, place, &mut report).await,
        };
        if ended.is_err() {
            break;
        }
    }
    if let Some(rows) = report.rows {
        rows.close_array()?;
    }
    ended
}

/// Shows what was removed, as it is.
struct Report {
    rows: Option<JsonRows>,
    count: u64,
}

impl Report {
    fn add(&mut self, row: Removed) -> Result<(), Failure> {
        self.count += 1;
        match &mut self.rows {
            Some(rows) => rows.rows(&[row]),
            None => output::line(&text(&row)),
        }
    }
}

enum Job {
    Object(Name),
    Content(Cid),
    /// The object of that name, and all whose keys have it and a slash before them.
    Below(Place),
}

fn job(text: &str, args: &Remove) -> Result<Job, Fault> {
    let invalid = |why: String| Fault::new(Kind::Invalid, format!("cannot remove {text:?}: {why}"));
    match text.parse() {
        Ok(Target::Content(cid)) => {
            object::no_version(cid, args.version.as_deref())?;
            if args.if_match.is_some() {
                return Err(invalid(
                    "--if-match is of an object, a CID has no versions".to_owned(),
                ));
            }
            Ok(Job::Content(cid))
        }
        Ok(Target::Name(_)) | Err(_) if args.recursive => {
            text.parse().map(Job::Below).map_err(invalid)
        }
        Ok(Target::Name(name)) => Ok(Job::Object(name)),
        Err(why) if text.ends_with('/') => {
            Err(invalid(format!("{why}; --recursive removes all that is in it")))
        }
        Err(why) => Err(invalid(why)),
    }
}

async fn one(
    endpoints: &Endpoints,
    name: &Name,
    args: &Remove,
    report: &mut Report,
) -> Result<(), Failure> {
    let doing = match &args.version {
        Some(version) => format!("remove version {version} of {name}"),
        None => format!("remove {name}"),
    };
    let question = Question::change(Method::DELETE, name.path("objects"), doing)
        .parameter_if("version", args.version.as_ref())
        .if_match(args.if_match.as_ref());
    let deleted: Deleted = question.ask(endpoints).await?;
    if !deleted.existed {
        let what = match &args.version {
            Some(_) => format!("version of it; `shoal versions {name}` lists those there are"),
            None => "object".to_owned(),
        };
        let detail = format!("cannot {}: there is no such {what}", question.doing);
        return Err(Fault::new(Kind::NotFound, detail).into());
    }
    report.add(row_of(deleted))
}

async fn content(endpoints: &Endpoints, cid: Cid, report: &mut Report) -> Result<(), Failure> {
    let doing = format!("remove {cid}");
    let question = Question::change(Method::DELETE, format!("content/{cid}"), doing);
    question.tell(endpoints).await?;
    report.add(Removed { cid: Some(cid.to_string()), ..Removed::default() })
}

/// Removes a page of objects before the next one is asked for.
async fn below(endpoints: &Endpoints, place: &Place, report: &mut Report) -> Result<(), Failure> {
    let unfit = |why| Fault::new(Kind::Invalid, format!("cannot remove all of {place}: {why}"));
    let removed_before = report.count;
    let mut folder = place.clone();
    if !place.prefix.is_empty() && !place.prefix.ends_with('/') {
        let name = Name::new(&place.bucket, &place.prefix).map_err(unfit)?;
        if let Some(removed) = delete(endpoints, &name).await? {
            report.add(removed)?;
        }
        folder.prefix.push('/');
    }
    let mut pages = Pages::new(endpoints, in_bucket(&folder, false), None, None);
    while let Some(page) = pages.next::<Listing>().await? {
        // A key that no path can hold would remove another object.
        let names = page.objects.iter().filter_map(|object| object.key.as_deref());
        let names = names.map(|key| Name::new(&place.bucket, key).map_err(unfit));
        let removals =
            stream::iter(names).map(|name| async move { delete(endpoints, &name?).await });
        let mut removals = removals.buffered(REMOVALS_AT_A_TIME);
        while let Some(removed) = removals.try_next().await? {
            removed.map_or(Ok(()), |removed| report.add(removed))?;
        }
    }
    if report.count == removed_before {
        let detail = format!("cannot remove {place}: there is nothing in it");
        return Err(Fault::new(Kind::NotFound, detail).into());
    }
    Ok(())
}

/// Removes an object if it is there.
async fn delete(endpoints: &Endpoints, name: &Name) -> Result<Option<Removed>, Fault> {
    let doing = format!("remove {name}");
    let question = Question::change(Method::DELETE, name.path("objects"), doing);
    let deleted: Deleted = question.ask(endpoints).await?;
    Ok(deleted.existed.then(|| row_of(deleted)))
}

fn row_of(deleted: Deleted) -> Removed {
    Removed {
        bucket: Some(deleted.bucket),
        key: Some(deleted.key),
        version: deleted.version,
        ..Removed::default()
    }
}

fn text(row: &Removed) -> String {
    let line = match (&row.bucket, &row.key, &row.cid) {
        (Some(bucket), Some(key), _) => {
            let version = row.version.as_deref().unwrap_or("-");
            format!("removed {bucket}/{key}  version {version}")
        }
        (_, _, cid) => format!("removed {}", cid.as_deref().unwrap_or("-")),
    };
    output::plain(&line)
}
