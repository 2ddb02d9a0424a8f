//! `shoal publish` and `shoal unpublish`: what others than this cluster may find and read.
//!
//! Never: changes what is published by itself; each object that is named, and no later one.

use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::api::{Listing, Object, ObjectOp};
use protocol::{Fault, Kind};

use crate::args::Publish;
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::list::{Pages, in_bucket};
use crate::output;
use crate::question::Question;
use crate::target::{Name, Place};

/// Objects that are changed at a time. Each waits for an agreement of the peers, so several do.
const CHANGES_AT_A_TIME: usize = 16;

/// Makes objects public, or takes them back, and shows each.
///
/// # Errors
/// The first one that happens; what was changed before stays so, and was shown.
pub(crate) async fn run(
    endpoints: &Endpoints,
    args: &Publish,
    is_public: bool,
    json: bool,
) -> Result<(), Failure> {
    let mut report = Report { is_public, rows: json.then(Vec::new) };
    let ended = all(endpoints, args, is_public, &mut report).await;
    if let Some(rows) = report.rows {
        output::json(&rows)?;
    }
    ended
}

struct Report {
    is_public: bool,
    rows: Option<Vec<Object>>,
}

impl Report {
    fn add(&mut self, object: Object) -> Result<(), Failure> {
        match &mut self.rows {
            Some(rows) => rows.push(object),
            None => {
                let what = if self.is_public { "published" } else { "withdrawn" };
                let (bucket, key) = (object.bucket.as_deref(), object.key.as_deref());
                let (bucket, key) = (bucket.unwrap_or("-"), key.unwrap_or("-"));
                let cid = object.cid.as_deref().unwrap_or("-");
                output::line(&output::plain(&format!("{what} {bucket}/{key}  {cid}")))?;
            }
        }
        Ok(())
    }
}

async fn all(
    endpoints: &Endpoints,
    args: &Publish,
    is_public: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let invalid = |text: &str, why: String| {
        let doing = doing(is_public);
        Fault::new(Kind::Invalid, format!("cannot {doing} {text:?}: {why}"))
    };
    if !args.recursive {
        // All are read before one is changed: a slip in the last one costs nothing.
        let names = args.names.iter().map(|text| {
            text.parse::<Name>().map_err(|why| {
                invalid(
                    text,
                    format!("{why}; --recursive is for buckets and what is below a prefix"),
                )
            })
        });
        for name in names.collect::<Result<Vec<Name>, Fault>>()? {
            report.add(set(endpoints, &name, is_public).await?)?;
        }
        return Ok(());
    }
    let places =
        args.names.iter().map(|text| text.parse::<Place>().map_err(|why| invalid(text, why)));
    for place in places.collect::<Result<Vec<Place>, Fault>>()? {
        let mut found = 0;
        let mut pages = Pages::new(endpoints, in_bucket(&place, false), None, None);
        while let Some(page) = pages.next::<Listing>().await? {
            let keys = page.objects.into_iter().filter_map(|object| object.key);
            let names =
                keys.map(|key| Name::new(&place.bucket, &key).map_err(|why| invalid(&key, why)));
            let changes = stream::iter(names)
                .map(|name| async move { set(endpoints, &name?, is_public).await });
            let mut changes = changes.buffered(CHANGES_AT_A_TIME);
            while let Some(object) = changes.try_next().await? {
                found += 1;
                report.add(object)?;
            }
        }
        if found == 0 {
            let detail = format!("cannot {} {place}: there is nothing in it", doing(is_public));
            return Err(Fault::new(Kind::NotFound, detail).into());
        }
    }
    Ok(())
}

async fn set(endpoints: &Endpoints, name: &Name, is_public: bool) -> Result<Object, Fault> {
    let op = ObjectOp::Set { tags: None, content_type: None, public: Some(is_public) };
    let doing = format!("{} {name}", doing(is_public));
    Question::on_object(name, &op, doing).ask(endpoints).await
}

const fn doing(is_public: bool) -> &'static str {
    if is_public { "publish" } else { "withdraw" }
}
