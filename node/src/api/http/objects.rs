//! `/api/v1/objects` and `/api/v1/versions`: bytes and facts by name.
//!
//! Never: decides; holds an object whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
// The description takes a type that is called `Object` for any value in braces.
use protocol::api::Object as ObjectDocument;
use protocol::api::{self, ObjectOp};
use protocol::metadata::query::ListQuery;
use protocol::metadata::{
    BucketName, Content, ContentType, ObjectKey, ObjectName, ObjectVersion, Op, Outcome,
    Precondition, Source, Tags, UserName, Written, query,
};
use protocol::{Fault, Kind};

use super::auth::{Caller, GUARDED};
use super::content::{self, Entity};
use super::params::{self, Params};
use super::problem::Failure;
use super::{Api, body, documents, limit_of, named, proposed, request_id};
use crate::flows::{Change, Description, EditAt, Root, new_request};
use crate::meta::Freshness;

/// Header with the version of an object.
const VERSION: HeaderName = HeaderName::from_static("x-shoal-version");
/// Header with the user who wrote an object.
const OWNER: HeaderName = HeaderName::from_static("x-shoal-owner");
/// Header with one tag of an object.
const TAG: HeaderName = HeaderName::from_static("x-shoal-tag");

/// Returns the object that a path names.
fn name_of(bucket: &str, key: &str) -> Result<ObjectName, Failure> {
    Ok(ObjectName { bucket: named(BucketName::new(bucket))?, key: named(ObjectKey::new(key))? })
}

fn version_of(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| Failure::invalid(format!("{text:?} is no version (a decimal number)")))
}

/// Returns what a change is, of the parts that all changes of one object have.
fn change_of(
    api: &Api,
    caller: &Caller,
    name: ObjectName,
    headers: &HeaderMap,
) -> Result<Change, Failure> {
    let request = match params::request_id(headers)? {
        Some(request) => request,
        None => new_request(api.node.env()),
    };
    let precondition = params::precondition(headers)?;
    Ok(Change { actor: caller.actor(), request, name, precondition })
}

/// Stores an object: its bytes are the body.
#[utoipa::path(put, path = "/api/v1/objects/{bucket}/{*key}", request_body = Vec<u8>,
    params(("replicas" = Option<u8>, Query), ("chunker" = Option<String>, Query),
        ("public" = Option<bool>, Query), ("tag" = Option<Vec<String>>, Query)),
    responses((status = 200, body = ObjectDocument), (status = 201, body = api::Object),
        (status = 412, body = api::Problem)))]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((bucket, key)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    // First, so that also a body that is refused unread is read to its end.
    let pieces = body::pieces(api.node.env().clone(), body);
    let mut params = Params::new(query);
    let options = content::options(&mut params)?;
    let description = Description {
        content_type: content_type_of(params::content_type(&headers)?)?,
        tags: named(Tags::new(params::tags(params.take_all("tag"))?))?,
        public: params.flag("public")?.unwrap_or(false),
    };
    params.end("replicas, chunker, public, tag")?;
    let change = change_of(&api, &caller, name_of(&bucket, &key)?, &headers)?;
    let name = change.name.clone();
    let written = api.node.put_object(change, description.clone(), pieces, options).await?;
    let status = if written.replaced.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok(answered(status, documents::written(&name, &written, &description, &caller.0)))
}

/// Changes a range of an object, or its end: a new version that shares every unchanged block.
#[utoipa::path(patch, path = "/api/v1/objects/{bucket}/{*key}", request_body = Vec<u8>,
    params(("offset" = Option<u64>, Query), ("append" = Option<bool>, Query),
        ("replicas" = Option<u8>, Query), ("chunker" = Option<String>, Query)),
    responses((status = 200, body = ObjectDocument), (status = 412, body = api::Problem)))]
pub(super) async fn patch(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((bucket, key)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let pieces = body::pieces(api.node.env().clone(), body);
    let mut params = Params::new(query);
    let options = content::options(&mut params)?;
    let at = match (params.parse("offset", "a number of bytes")?, params.flag("append")?) {
        (Some(offset), None | Some(false)) => EditAt::Offset(offset),
        (None, Some(true)) => EditAt::End,
        (Some(_), Some(true)) | (None, None | Some(false)) => {
            return Err(Failure::invalid("either offset=N or append says where the bytes go"));
        }
    };
    params.end("offset, append, replicas, chunker")?;
    let change = change_of(&api, &caller, name_of(&bucket, &key)?, &headers)?;
    let name = change.name.clone();
    let written = api.node.edit_object(change, at, pieces, options).await?;
    object_at(&api, &caller, name, written, &Description::default()).await
}

/// Reads an object: its bytes, or with `meta` what is known of it.
#[utoipa::path(get, path = "/api/v1/objects/{bucket}/{*key}",
    params(("version" = Option<String>, Query), ("meta" = Option<bool>, Query)),
    responses((status = 200, body = Vec<u8>), (status = 206, body = Vec<u8>), (status = 304),
        (status = 404, body = api::Problem), (status = 412, body = api::Problem)))]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    Path((bucket, key)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let name = name_of(&bucket, &key)?;
    let mut params = Params::new(query);
    let version = params.take("version")?.map(|text| version_of(&text)).transpose()?;
    let meta = params.flag("meta")?.unwrap_or(false);
    params.end("version, meta")?;
    let (found, current) = find(&api, &name, version, GUARDED).await?;
    let object = documents::object(&name, &found, current);
    if meta {
        return Ok(answered(StatusCode::OK, object));
    }
    let Some(content) = &found.content else {
        let detail =
            format!("version {} of {bucket}/{key} says that it was deleted", found.version);
        return Err(Fault::new(Kind::NotFound, detail).into());
    };
    let entity = Entity {
        root: Root::Named(content.root),
        what: format!("{bucket}/{key}"),
        version: Some(found.version),
        headers: headers_of(&object),
    };
    content::serve(&api, entity, &method, &headers).await
}

fn headers_of(object: &api::Object) -> Vec<(HeaderName, String)> {
    let mut headers = vec![
        (header::CONTENT_TYPE, object.content_type.clone()),
        // Another version may take the name at any time.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (OWNER, object.owner.clone()),
    ];
    headers.extend(object.version.clone().map(|version| (VERSION, version)));
    headers
        .extend(documents::http_date(&object.modified).map(|date| (header::LAST_MODIFIED, date)));
    let tags = object.tags.iter().map(|(name, value)| format!("{name}={value}"));
    headers.extend(tags.map(|tag| (TAG, documents::percent_encoded(&tag))));
    headers
}

/// Deletes an object, or removes one version of it. A precondition is of the version that is removed, where one is named.
#[utoipa::path(delete, path = "/api/v1/objects/{bucket}/{*key}",
    params(("version" = Option<String>, Query)),
    responses((status = 200, body = api::Deleted), (status = 412, body = api::Problem)))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((bucket, key)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Json<api::Deleted>, Failure> {
    let name = name_of(&bucket, &key)?;
    let mut params = Params::new(query);
    let version = params.take("version")?.map(|text| version_of(&text)).transpose()?;
    params.end("version")?;
    let precondition = params::precondition(&headers)?;
    let op = match version {
        None => Op::Delete { bucket: name.bucket, key: name.key, precondition },
        // What peers of earlier builds know, where it says all there is to say.
        Some(version) if precondition == Precondition::default() => {
            Op::DeleteVersion { bucket: name.bucket, key: name.key, version }
        }
        Some(version) => {
            Op::DeleteVersionIf { bucket: name.bucket, key: name.key, version, precondition }
        }
    };
    let Outcome::Deleted { version } = proposed(&api, &caller, &headers, op).await? else {
        return Err(documents::other_answer().into());
    };
    let existed = version.is_some();
    let version = version.map(|version| version.to_string());
    Ok(Json(api::Deleted { bucket, key, version, existed }))
}

/// Copies, moves, restores, names or describes an object without its bytes.
#[utoipa::path(post, path = "/api/v1/objects/{bucket}/{*key}", request_body = ObjectOp,
    responses((status = 200, body = ObjectDocument), (status = 412, body = api::Problem)))]
pub(super) async fn act(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((bucket, key)): Path<(String, String)>,
    headers: HeaderMap,
    Json(op): Json<ObjectOp>,
) -> Result<Response, Failure> {
    let name = name_of(&bucket, &key)?;
    let precondition = params::precondition(&headers)?;
    let refers = matches!(op, ObjectOp::Name { .. });
    let op = op_of(name.clone(), op, precondition)?;
    let told = told_of(&op);
    let outcome = match refers {
        true => api.node.refer(caller.actor(), request_id(&api, &headers)?, op).await?,
        false => proposed(&api, &caller, &headers, op).await?,
    };
    let Outcome::Written(written) = outcome else {
        return Err(documents::other_answer().into());
    };
    object_at(&api, &caller, name, written, &told).await
}

fn op_of(name: ObjectName, op: ObjectOp, precondition: Precondition) -> Result<Op, Failure> {
    let tags_of = |tags: BTreeMap<String, String>| named(Tags::new(tags));
    let type_of = |text: String| named(ContentType::new(&text));
    let ObjectName { bucket, key } = name.clone();
    Ok(match op {
        ObjectOp::Copy { from, tags, content_type } => Op::Copy {
            version: from.version.as_deref().map(version_of).transpose()?,
            from: name_of(&from.bucket, &from.key)?,
            to: name,
            from_precondition: Precondition::default(),
            to_precondition: precondition,
            tags: tags.map(tags_of).transpose()?,
            content_type: content_type.map(type_of).transpose()?,
        },
        ObjectOp::Move { from } if from.version.is_some() => {
            return Err(Failure::invalid("a version cannot be moved; copy it"));
        }
        ObjectOp::Move { from } => Op::Move {
            from: name_of(&from.bucket, &from.key)?,
            to: name,
            from_precondition: Precondition::default(),
            to_precondition: precondition,
        },
        ObjectOp::Restore { version } => {
            Op::Restore { bucket, key, version: version_of(&version)?, precondition }
        }
        ObjectOp::Name { cid, upload, size, tags, content_type, public } => Op::Put {
            bucket,
            key,
            content: Content {
                root: named(cid.parse::<protocol::Cid>())?,
                size,
                content_type: content_type_of(content_type)?,
                upload: named(upload.parse::<protocol::OwnerId>())?,
            },
            tags: tags_of(tags)?,
            public,
            precondition,
            create_bucket: true,
        },
        ObjectOp::Set { tags, content_type, public } => Op::SetObject {
            bucket,
            key,
            tags: tags.map(tags_of).transpose()?,
            content_type: content_type.map(type_of).transpose()?,
            public,
            precondition,
        },
    })
}

/// Lists a page of a bucket.
#[utoipa::path(get, path = "/api/v1/objects/{bucket}",
    params(("prefix" = Option<String>, Query), ("delimiter" = Option<String>, Query),
        ("after" = Option<String>, Query), ("limit" = Option<usize>, Query),
        ("owner" = Option<String>, Query)),
    responses((status = 200, body = api::Listing)))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Path(bucket): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<api::Listing>, Failure> {
    let bucket = named(BucketName::new(&bucket))?;
    let mut params = Params::new(query);
    let list = ListQuery {
        prefix: params.take("prefix")?.unwrap_or_default(),
        delimiter: params.take("delimiter")?.filter(|text| !text.is_empty()),
        after: params.take("after")?,
        owner: params.take("owner")?.map(|text| named(UserName::new(&text))).transpose()?,
        limit: limit_of(&mut params)?,
    };
    params.end("prefix, delimiter, after, limit, owner")?;
    let wanted = bucket.clone();
    let read = move |state: &dyn Source| {
        let exists = query::bucket(state, &wanted)?.is_some();
        Ok((exists, query::list(state, &wanted, &list)?))
    };
    let (exists, found) = api.node.meta().read(GUARDED, read).await?;
    if !exists {
        return Err(Fault::new(Kind::NotFound, format!("there is no bucket {bucket}")).into());
    }
    Ok(Json(api::Listing {
        objects: found.objects.iter().map(documents::named_object).collect(),
        prefixes: found.prefixes,
        next: found.next,
    }))
}

/// Lists a page of one user's objects in all buckets.
#[utoipa::path(get, path = "/api/v1/objects",
    params(("owner" = Option<String>, Query), ("after" = Option<String>, Query), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = api::Listing)))]
pub(super) async fn owned(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<api::Listing>, Failure> {
    let mut params = Params::new(query);
    let owner = match params.take("owner")? {
        Some(text) => named(UserName::new(&text))?,
        None => caller.0.name.clone(),
    };
    let after = match params.take("after")? {
        Some(text) => {
            let (bucket, key) = text.split_once('/').ok_or_else(|| {
                Failure::invalid(format!("after={text:?} is not of the form BUCKET/KEY"))
            })?;
            Some(name_of(bucket, key)?)
        }
        None => None,
    };
    let limit = limit_of(&mut params)?;
    params.end("owner, after, limit")?;
    let read = move |state: &dyn Source| query::owned(state, &owner, after.as_ref(), limit);
    let found = api.node.meta().read(GUARDED, read).await?;
    let next = found.last().filter(|_| found.len() == limit);
    let next = next.map(|last| format!("{}/{}", last.name.bucket, last.name.key));
    let objects = found.iter().map(documents::named_object).collect();
    Ok(Json(api::Listing { objects, prefixes: Vec::new(), next }))
}

/// Lists a page of the versions of an object, newest first.
#[utoipa::path(get, path = "/api/v1/versions/{bucket}/{*key}",
    params(("after" = Option<String>, Query), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = api::Versions), (status = 404, body = api::Problem)))]
pub(super) async fn versions(
    State(api): State<Arc<Api>>,
    Path((bucket, key)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<api::Versions>, Failure> {
    let name = name_of(&bucket, &key)?;
    let mut params = Params::new(query);
    let after = params.take("after")?.map(|text| version_of(&text)).transpose()?;
    let limit = limit_of(&mut params)?;
    params.end("after, limit")?;
    let wanted = name.clone();
    let read = move |state: &dyn Source| {
        let current =
            query::object(state, &wanted.bucket, &wanted.key)?.map(|current| current.version);
        Ok((current, query::versions(state, &wanted.bucket, &wanted.key, after, limit)?))
    };
    let (current, found) = api.node.meta().read(GUARDED, read).await?;
    if found.is_empty() && after.is_none() {
        return Err(no_object(&name).into());
    }
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.version.to_string());
    let versions = found
        .iter()
        .map(|version| documents::object(&name, version, current == Some(version.version)))
        .collect();
    Ok(Json(api::Versions { versions, next }))
}

/// Returns a version of an object, or its current one, and whether that is what it is.
async fn find(
    api: &Api,
    name: &ObjectName,
    version: Option<u64>,
    freshness: Freshness,
) -> Result<(ObjectVersion, bool), Failure> {
    look(api, name, version, freshness).await?.ok_or_else(|| {
        match version {
            None => no_object(name),
            Some(version) => {
                let detail = format!("{}/{} has no version {version}", name.bucket, name.key);
                Fault::new(Kind::NotFound, detail)
            }
        }
        .into()
    })
}

/// As [`find`], where there may be none.
async fn look(
    api: &Api,
    name: &ObjectName,
    version: Option<u64>,
    freshness: Freshness,
) -> Result<Option<(ObjectVersion, bool)>, Failure> {
    let wanted = name.clone();
    let read = move |state: &dyn Source| {
        let current = query::object(state, &wanted.bucket, &wanted.key)?;
        let is_current = |found: &ObjectVersion| {
            current.as_ref().is_some_and(|current| current.version == found.version)
        };
        let found = match version {
            None => current.clone(),
            Some(version) => query::version(state, &wanted.bucket, &wanted.key, version)?,
        };
        Ok(found.map(|found| (is_current(&found), found)))
    };
    let found = api.node.meta().read(freshness, read).await?;
    Ok(found.map(|(current, found)| (found, current)))
}

/// Answers with a version that was written just now. Versions are numbered by the entries that wrote them.
/// One that was removed since, by the next writers where few versions are kept, is described by what its request `told`.
async fn object_at(
    api: &Api,
    caller: &Caller,
    name: ObjectName,
    written: Written,
    told: &Description,
) -> Result<Response, Failure> {
    let version = written.version;
    let object = match look(api, &name, Some(version), Freshness::Since(version)).await? {
        Some((found, current)) => documents::object(&name, &found, current),
        None => {
            api::Object { current: false, ..documents::written(&name, &written, told, &caller.0) }
        }
    };
    Ok(answered(StatusCode::OK, object))
}

/// Returns what a change says of the object beside its bytes.
fn told_of(op: &Op) -> Description {
    let (tags, content_type, public) = if let Op::Put { tags, content, public, .. } = op {
        (Some(tags), Some(&content.content_type), Some(*public))
    } else if let Op::Copy { tags, content_type, .. } = op {
        (tags.as_ref(), content_type.as_ref(), None)
    } else if let Op::SetObject { tags, content_type, public, .. } = op {
        (tags.as_ref(), content_type.as_ref(), *public)
    } else {
        (None, None, None)
    };
    Description {
        content_type: content_type.cloned().unwrap_or_default(),
        tags: tags.cloned().unwrap_or_default(),
        public: public.unwrap_or_default(),
    }
}

fn answered(status: StatusCode, object: api::Object) -> Response {
    let etag = object.cid.as_ref().map(|cid| format!("\"{cid}\""));
    let version = object.version.clone();
    let mut response = (status, Json(object)).into_response();
    for (name, value) in [(header::ETAG, etag), (VERSION, version)] {
        if let Some(value) = value {
            content::insert(&mut response, name, &value);
        }
    }
    response
}

fn no_object(name: &ObjectName) -> Fault {
    Fault::new(Kind::NotFound, format!("there is no object {}/{}", name.bucket, name.key))
}

fn content_type_of(text: Option<String>) -> Result<ContentType, Failure> {
    text.map(|text| named(ContentType::new(&text))).transpose().map(Option::unwrap_or_default)
}
