//! `shoal bucket`: what objects are in, and its bounds.
//!
//! Never: removes objects; a bucket that has some stays.

use protocol::api::{Bucket, SetBucket};
use protocol::{Fault, Kind};
use reqwest::Method;
use serde_json::json;

use crate::args::{BucketCommand, BucketSettings};
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::list;
use crate::output;
use crate::question::Question;
use crate::target::segment;

/// Does what is asked with buckets.
///
/// # Errors
/// [`Kind::Conflict`] to make one that exists, or to remove one that is not empty; the most telling of the
/// peers' refusals.
pub(crate) async fn run(
    endpoints: &Endpoints,
    what: &BucketCommand,
    json: bool,
) -> Result<(), Failure> {
    match what {
        BucketCommand::Create { name, settings } => {
            let question = question(Method::PUT, name, "make");
            let bucket = question.json(&set_bucket(settings)).ask(endpoints).await?;
            show(&bucket, json)
        }
        BucketCommand::Set { name, settings } => {
            let wanted = set_bucket(settings);
            if wanted == SetBucket::default() {
                let detail = format!(
                    "nothing to change about {name}: give --owner, --keep-versions, --quota or --quota-objects"
                );
                return Err(Fault::new(Kind::Invalid, detail).into());
            }
            let question = question(Method::PATCH, name, "change");
            show(&question.json(&wanted).ask(endpoints).await?, json)
        }
        BucketCommand::Ls => list::buckets(endpoints, None, None, json).await,
        BucketCommand::Rm { name } => {
            question(Method::DELETE, name, "remove").tell(endpoints).await?;
            if json {
                return output::json(&json!({ "name": name }));
            }
            output::line(&output::plain(&format!("removed bucket {name}")))
        }
    }
}

fn question(method: Method, name: &str, verb: &str) -> Question {
    let path = format!("buckets/{}", segment(name));
    Question::change(method, path, format!("{verb} bucket {name}"))
}

fn set_bucket(settings: &BucketSettings) -> SetBucket {
    SetBucket {
        owner: settings.owner.clone(),
        keep_versions: settings.keep_versions,
        quota_bytes: settings.quota,
        quota_objects: settings.quota_objects,
    }
}

fn show(bucket: &Bucket, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(bucket);
    }
    let bound = |bound: Option<String>| bound.unwrap_or_else(|| "none".to_owned());
    let line = format!(
        "bucket {}  owner {}  keep-versions {}  quota {}  quota-objects {}",
        bucket.name,
        bucket.owner,
        bucket.keep_versions.map_or("all".to_owned(), |count| count.to_string()),
        bound(bucket.quota_bytes.map(output::bytes_text)),
        bound(bucket.quota_objects.map(|count| count.to_string())),
    );
    output::line(&output::plain(&line))
}
