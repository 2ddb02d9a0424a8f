//! `shoal ls` and `shoal versions`: buckets, objects and versions, page by page.
//!
//! A page is printed before the next one is asked for, so that a bucket of any size needs little memory.
//! Never: sorts; peers answer in order.

use protocol::api::{Bucket, Buckets, Listing, Object, Tokens, Users, Versions as VersionsPage};
use protocol::{Fault, Kind};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::{List, Versions};
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output::{self, JsonRows};
use crate::question::Question;
use crate::target::{Place, segment};

/// Rows of one page: the most that a peer gives.
pub(crate) const PAGE_ROWS_MAX: u64 = 1000;

/// Lists buckets, objects, or content without a name.
///
/// # Errors
/// The most telling of the peers' refusals, after the pages that came before.
pub(crate) async fn run(endpoints: &Endpoints, args: &List, json: bool) -> Result<(), Failure> {
    let question = match (&args.place, &args.owner) {
        (Some(place), owner) => {
            in_bucket(place, !args.recursive).parameter_if("owner", owner.as_ref())
        }
        (None, Some(owner)) => Question::get("objects", format!("list the objects of {owner}"))
            .parameter("owner", owner),
        (None, None) if args.pinned => Question::get("content", "list content"),
        (None, None) => return buckets(endpoints, args.limit, args.after.clone(), json).await,
    };
    let mut pages = Pages::new(endpoints, question, args.limit, args.after.clone());
    let has_bucket = args.place.is_some();
    let mut prefixes = Vec::new();
    let mut rows = json.then(|| JsonRows::open("objects"));
    while let Some(page) = pages.next::<Listing>().await? {
        match &mut rows {
            Some(rows) => {
                rows.rows(&page.objects)?;
                prefixes.extend(page.prefixes);
            }
            None => output::text(&page_text(&page, has_bucket))?,
        }
    }
    match rows {
        Some(rows) => rows.close(&[("prefixes", prefixes.into()), ("next", pages.rest())]),
        None => pages.tell_rest(),
    }
}

/// Returns the question for a page of `place`.
pub(crate) fn in_bucket(place: &Place, is_delimited: bool) -> Question {
    let question =
        Question::get(format!("objects/{}", segment(&place.bucket)), format!("list {place}"))
            .parameter("prefix", &place.prefix);
    if is_delimited { question.parameter("delimiter", "/") } else { question }
}

/// Lists the buckets. Errors as [`run()`].
pub(crate) async fn buckets(
    endpoints: &Endpoints,
    limit: Option<u64>,
    after: Option<String>,
    json: bool,
) -> Result<(), Failure> {
    let question = Question::get("buckets", "list the buckets");
    let mut pages = Pages::new(endpoints, question, limit, after);
    let mut rows = json.then(|| JsonRows::open("buckets"));
    let mut table = Vec::new();
    while let Some(page) = pages.next::<Buckets>().await? {
        match &mut rows {
            Some(rows) => rows.rows(&page.buckets)?,
            None => table.extend(page.buckets.into_iter().map(bucket_row)),
        }
    }
    match rows {
        Some(rows) => rows.close(&[("next", pages.rest())]),
        None => {
            output::table(["BUCKET", "OWNER", "OBJECTS", "VERSIONS", "SIZE", "CREATED"], &table)?;
            pages.tell_rest()
        }
    }
}

fn bucket_row(bucket: Bucket) -> [String; 6] {
    let size = output::bytes_text(bucket.bytes);
    let counts = (bucket.objects.to_string(), bucket.versions.to_string());
    [bucket.name, bucket.owner, counts.0, counts.1, size, bucket.created]
}

/// Lists the versions of an object. Errors as [`run()`].
pub(crate) async fn versions(
    endpoints: &Endpoints,
    args: &Versions,
    json: bool,
) -> Result<(), Failure> {
    let doing = format!("list the versions of {}", args.name);
    let question = Question::get(args.name.path("versions"), doing);
    let mut pages = Pages::new(endpoints, question, args.limit, args.after.clone());
    let mut rows = json.then(|| JsonRows::open("versions"));
    while let Some(page) = pages.next::<VersionsPage>().await? {
        match &mut rows {
            Some(rows) => rows.rows(&page.versions)?,
            None => output::text(&page.versions.iter().map(version_text).collect::<String>())?,
        }
    }
    match rows {
        Some(rows) => rows.close(&[("next", pages.rest())]),
        None => pages.tell_rest(),
    }
}

fn version_text(object: &Object) -> String {
    let version = object.version.as_deref().unwrap_or("-");
    let what = object.cid.as_deref().unwrap_or("deleted");
    let current = if object.current { "  current" } else { "" };
    let size = output::bytes_text(object.size);
    let line = format!(
        "{version:>12}  {size:>11}  {:<30}  {:<12}  {what}{current}",
        object.modified, object.owner
    );
    output::plain(&line) + "\n"
}

fn page_text(page: &Listing, has_bucket: bool) -> String {
    let row = |size: &str, modified: &str, name: &str| {
        output::plain(&format!("{size:>11}  {modified:<30}  {name}")) + "\n"
    };
    let mut lines: Vec<(&str, String)> = Vec::new();
    for object in &page.objects {
        let key = object.key.as_deref().unwrap_or_default();
        let name = match (&object.bucket, &object.cid) {
            (Some(_), _) if has_bucket => key.to_owned(),
            (Some(bucket), _) => format!("{bucket}/{key}"),
            (None, cid) => cid.clone().unwrap_or_default(),
        };
        lines.push((key, row(&output::bytes_text(object.size), &object.modified, &name)));
    }
    lines.extend(page.prefixes.iter().map(|prefix| (prefix.as_str(), row("-", "", prefix))));
    if has_bucket {
        // A page has objects and prefixes in two lists, each in order; here they are one.
        lines.sort_by(|a, b| a.0.cmp(b.0));
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

/// A page of something, and where the next one begins.
pub(crate) trait Page: DeserializeOwned {
    fn row_count(&self) -> usize;
    fn next(&self) -> Option<&String>;
}

impl Page for Listing {
    fn row_count(&self) -> usize {
        self.objects.len() + self.prefixes.len()
    }

    fn next(&self) -> Option<&String> {
        self.next.as_ref()
    }
}

impl Page for Buckets {
    fn row_count(&self) -> usize {
        self.buckets.len()
    }

    fn next(&self) -> Option<&String> {
        self.next.as_ref()
    }
}

impl Page for VersionsPage {
    fn row_count(&self) -> usize {
        self.versions.len()
    }

    fn next(&self) -> Option<&String> {
        self.next.as_ref()
    }
}

impl Page for Users {
    fn row_count(&self) -> usize {
        self.users.len()
    }

    fn next(&self) -> Option<&String> {
        self.next.as_ref()
    }
}

impl Page for Tokens {
    fn row_count(&self) -> usize {
        self.tokens.len()
    }

    fn next(&self) -> Option<&String> {
        self.next.as_ref()
    }
}

/// Asks for page after page, up to a number of rows.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    endpoints: &'a Endpoints,
    question: Question,
    rows_left: Option<u64>,
    after: Option<String>,
    has_ended: bool,
}

impl<'a> Pages<'a> {
    /// Returns the pages that `question` asks for, of which `limit` rows are wanted.
    pub(crate) fn new(
        endpoints: &'a Endpoints,
        question: Question,
        limit: Option<u64>,
        after: Option<String>,
    ) -> Self {
        Self { endpoints, question, rows_left: limit, after, has_ended: false }
    }

    /// Returns the next page, or `None` after the last one or when all wanted rows are there.
    ///
    /// # Errors
    /// The most telling of the peers' refusals.
    pub(crate) async fn next<T: Page>(&mut self) -> Result<Option<T>, Fault> {
        if self.has_ended || self.rows_left == Some(0) {
            return Ok(None);
        }
        let rows = self.rows_left.map_or(PAGE_ROWS_MAX, |left| left.min(PAGE_ROWS_MAX));
        let question = self.question.clone().parameter("limit", rows);
        let question = question.parameter_if("after", self.after.as_ref());
        let page: T = question.ask(self.endpoints).await?;
        let row_count = page.row_count() as u64;
        let next = page.next().cloned();
        // A peer may give fewer rows than asked for, also none, but it must get on.
        if next.is_some() && next == self.after {
            let detail = format!("cannot {}: the peer answers with the same page", question.doing);
            return Err(Fault::new(Kind::Internal, detail));
        }
        self.rows_left = self.rows_left.map(|left| left.saturating_sub(row_count));
        self.has_ended = next.is_none();
        self.after = next;
        Ok(Some(page))
    }

    /// Returns what to go on from, null at the end.
    pub(crate) fn rest(&self) -> Value {
        if self.has_ended { Value::Null } else { self.after.clone().into() }
    }

    /// Says on standard error that there is more, where --limit ended the listing.
    fn tell_rest(&self) -> Result<(), Failure> {
        if let (false, Some(after)) = (self.has_ended, &self.after) {
            output::warning(&format!("there is more: --after {after:?}"));
        }
        Ok(())
    }
}
