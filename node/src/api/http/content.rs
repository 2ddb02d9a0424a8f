//! `/api/v1/content`: bytes by their root CID, and what all reads of bytes have in common.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::api::{self, Asked};
use protocol::dag::{ByteRange, Chunker};
use protocol::limits::REPLICAS_MAX;
use protocol::metadata::{NoTag, Op, Outcome, Source, Tag, UserName, query};
use protocol::topology::ReplicaCount;
use protocol::{Cid, Fault, Kind, OwnerId};

use super::auth::{Caller, GUARDED};
use super::params::{self, Params};
use super::problem::{self, Failure};
use super::{Api, body, documents, limit_of, named, proposed, request_id};
use crate::flows::{Root, UploadOptions};

/// The end of a path that should be a CID, or why it is not even text.
pub(super) type CidPath = Result<Path<String>, PathRejection>;

/// Returns the CID of a path, or says why it is none.
pub(super) fn parse_cid(path: CidPath) -> Result<Cid, Failure> {
    let Path(text) = path.map_err(|rejection| Failure::invalid(rejection.body_text()))?;
    text.parse().map_err(|error: protocol::cid::CidError| Failure::invalid(error.to_string()))
}

/// Returns a number of copies, or says why it is none.
pub(super) fn replicas(text: &str) -> Result<ReplicaCount, Failure> {
    let count = text.parse().ok().and_then(ReplicaCount::new);
    count.ok_or_else(|| {
        Failure::invalid(format!("replicas={text:?} is outside 1 to {REPLICAS_MAX}"))
    })
}

/// Takes how content is stored out of a query.
pub(super) fn options(params: &mut Params) -> Result<UploadOptions, Failure> {
    let chunker = match params.take("chunker")?.as_deref() {
        None | Some("fixed") => Chunker::Fixed,
        Some("fastcdc") => Chunker::FastCdc,
        Some(text) => {
            return Err(Failure::invalid(format!("chunker={text:?} is neither fixed nor fastcdc")));
        }
    };
    let replicas = params.take("replicas")?.map(|text| replicas(&text)).transpose()?;
    Ok(UploadOptions { replicas, chunker })
}

/// Takes the upload that a request is part of out of a query.
pub(super) fn upload_of(params: &mut Params) -> Result<Option<OwnerId>, Failure> {
    let upload: Option<OwnerId> =
        params.parse("upload", "the id of an upload (32 hexadecimal digits)")?;
    match upload {
        Some(OwnerId::REPAIR) => Err(Failure::invalid("upload must not be all zeros")),
        upload => Ok(upload),
    }
}

/// Stores a body and answers with its root CID once it is durable. Without `upload` it is pinned: kept, though it
/// has no name, until it is deleted.
#[utoipa::path(post, path = "/api/v1/content", request_body = Vec<u8>,
    params(("replicas" = Option<u8>, Query), ("chunker" = Option<String>, Query), ("upload" = Option<String>, Query)),
    responses((status = 201, body = api::Stored)))]
pub(super) async fn store(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    // First, so that also a body that is refused unread is read to its end.
    let pieces = body::pieces(api.node.env().clone(), body);
    params::no_condition(&headers)?;
    let mut params = Params::new(query);
    let options = options(&mut params)?;
    let upload = upload_of(&mut params)?;
    params.end("replicas, chunker, upload")?;
    let stored = match upload {
        Some(upload) => api.node.upload_part(&caller.actor(), upload, pieces, options).await?,
        None => {
            let request = request_id(&api, &headers)?;
            api.node.pin_content(caller.actor(), request, pieces, options).await?
        }
    };
    let cid = stored.root.cid.to_string();
    let location = format!("/api/v1/content/{cid}");
    let answer = api::Stored {
        cid,
        size: stored.root.size,
        dag_bytes: stored.root.dag_bytes,
        blocks: stored.blocks,
    };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(answer)).into_response())
}

/// Pins a root whose blocks were uploaded one by one.
#[utoipa::path(put, path = "/api/v1/content/{cid}",
    params(("upload" = String, Query), ("size" = u64, Query)), responses((status = 201)))]
pub(super) async fn pin(
    State(api): State<Arc<Api>>,
    caller: Caller,
    cid: CidPath,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let root = parse_cid(cid)?;
    let mut params = Params::new(query);
    let upload = upload_of(&mut params)?;
    let size = params.parse("size", "a number of bytes")?;
    params.end("upload, size")?;
    let (Some(upload), Some(size)) = (upload, size) else {
        return Err(Failure::invalid("upload=ID and size=N are needed"));
    };
    let op = Op::Pin { root, size, upload };
    api.node.refer(caller.actor(), request_id(&api, &headers)?, op).await?;
    Ok(StatusCode::CREATED)
}

/// Brings all of another cluster's public content into an upload, as it is: to be named by `POST objects/{bucket}/{key}`, or
/// pinned.
#[utoipa::path(post, path = "/api/v1/content/{cid}/import",
    params(("upload" = String, Query), ("replicas" = Option<u8>, Query)),
    responses((status = 200, body = api::Imported), (status = 404, body = api::Problem)))]
pub(super) async fn import(
    State(api): State<Arc<Api>>,
    caller: Caller,
    cid: CidPath,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Json<api::Imported>, Failure> {
    let root = parse_cid(cid)?;
    params::no_condition(&headers)?;
    let mut params = Params::new(query);
    let upload = upload_of(&mut params)?;
    let replicas = params.take("replicas")?.map(|text| replicas(&text)).transpose()?;
    params.end("upload, replicas")?;
    let upload = upload.ok_or_else(|| Failure::invalid("upload=ID is needed"))?;
    let options = UploadOptions { replicas, ..UploadOptions::default() };
    let (size, listed) = api.node.import(caller.actor(), root, upload, options).await?;
    let (content_type, tags) = listed.map(|listed| (listed.content_type, listed.tags)).unzip();
    let cid = root.to_string();
    Ok(Json(api::Imported { cid, size, content_type, tags: tags.unwrap_or_default() }))
}

/// Lists a page of the content that is pinned.
#[utoipa::path(get, path = "/api/v1/content",
    params(("after" = Option<String>, Query), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = api::Listing)))]
pub(super) async fn pins(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<api::Listing>, Failure> {
    let mut params = Params::new(query);
    let after = match params.take("after")? {
        Some(text) => Some(pin_after(&text)?),
        None => None,
    };
    let limit = limit_of(&mut params)?;
    params.end("after, limit")?;
    let read = move |state: &dyn Source| {
        query::pins(state, after.as_ref().map(|(root, user)| (root, user)), limit)
    };
    let found = api.node.meta().read(GUARDED, read).await?;
    let next = found.last().filter(|_| found.len() == limit);
    let next = next.map(|last| format!("{}/{}", last.root, last.user));
    let objects = found.iter().map(documents::pin).collect();
    Ok(Json(api::Listing { objects, prefixes: Vec::new(), next }))
}

/// Returns where a page of pins begins: behind one root and user.
fn pin_after(text: &str) -> Result<(Cid, UserName), Failure> {
    let (root, user) = text.split_once('/').ok_or_else(|| {
        Failure::invalid(format!("after={text:?} is no \"next\" of this listing"))
    })?;
    Ok((named(root.parse())?, named(UserName::new(user))?))
}

/// What is read: a root, and what is told of it.
pub(super) struct Entity {
    /// The root of its content.
    pub(super) root: Root,
    /// What people call it.
    pub(super) what: String,
    /// Its version, where it has one: another way to name it in a precondition.
    pub(super) version: Option<u64>,
    /// Headers of its own.
    pub(super) headers: Vec<(HeaderName, String)>,
}

/// Reads content by its CID.
#[utoipa::path(get, path = "/api/v1/content/{cid}",
    responses((status = 200, body = Vec<u8>), (status = 206, body = Vec<u8>), (status = 304),
        (status = 404, body = api::Problem), (status = 412, body = api::Problem)))]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    cid: CidPath,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let root = parse_cid(cid)?;
    let own = vec![
        // Content under a CID never changes.
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
    ];
    let entity =
        Entity { root: Root::Bare(root), what: root.to_string(), version: None, headers: own };
    serve(&api, entity, &method, &headers).await
}

/// Answers a `GET` or `HEAD` of bytes: preconditions, ranges, and the bytes.
pub(super) async fn serve(
    api: &Api,
    entity: Entity,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    params::no_time_condition(headers)?;
    let cid = entity.root.cid();
    let etag = format!("\"{cid}\"");
    let matches = |value: &HeaderValue| matches_tag(value, cid, entity.version);
    let mut wanted = headers.get_all(header::IF_MATCH).iter().peekable();
    if wanted.peek().is_some() && !wanted.any(matches) {
        let detail = format!("If-Match names something else than {} is", entity.what);
        return Err(Fault::new(Kind::Precondition, detail).into());
    }
    if let Some(value) = headers.get(header::IF_NONE_MATCH)
        && matches(value)
    {
        if value.as_bytes() == b"*" {
            // Anything that exists matches, so that it has to be looked for.
            api.node.download(entity.root, ByteRange { start: 0, end: Some(0) }).await?;
        }
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    // A range of something else than the client has a part of is of no use to it.
    let is_other =
        headers.get(header::IF_RANGE).is_some_and(|value| value.as_bytes() != etag.as_bytes());
    let asked = if is_other { Asked::All } else { asked_range(headers) };
    let is_head = *method == Method::HEAD;
    if !is_head && asked == Asked::All {
        let download = api.node.download(entity.root, ByteRange { start: 0, end: None }).await?;
        let size = download.size();
        return Ok(with_headers(body::of_download(download), entity, etag, size));
    }
    let size = api.node.download(entity.root, ByteRange { start: 0, end: Some(0) }).await?.size();
    let Some(part) = asked.within(size) else {
        let detail = format!("the range lies outside the {size} bytes of {}", entity.what);
        let fault = Fault::new(Kind::Invalid, detail);
        let mut response = problem::at_status(StatusCode::RANGE_NOT_SATISFIABLE, &fault);
        insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
        return Ok(response);
    };
    let body = if is_head {
        Body::empty()
    } else {
        let range = ByteRange { start: part.first, end: Some(part.end) };
        body::of_download(api.node.download(entity.root, range).await?)
    };
    let mut response = with_headers(body, entity, etag, part.end - part.first);
    if asked != Asked::All {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let content_range = format!("bytes {}-{}/{size}", part.first, part.end - 1);
        insert(&mut response, header::CONTENT_RANGE, &content_range);
    }
    Ok(response)
}

fn with_headers(body: Body, entity: Entity, etag: String, length: u64) -> Response {
    let mut response = body.into_response();
    insert(&mut response, header::ETAG, &etag);
    insert(&mut response, header::ACCEPT_RANGES, "bytes");
    insert(&mut response, header::CONTENT_LENGTH, &length.to_string());
    for (name, value) in entity.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            // One that may stand several times does.
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// Lets go of content without a name; its blocks are freed after the grace period.
#[utoipa::path(delete, path = "/api/v1/content/{cid}", responses((status = 204), (status = 404, body = api::Problem)))]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    cid: CidPath,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let root = parse_cid(cid)?;
    let mut any = false;
    // The client's id is that of the first step: under the same one, a second would get the first one's answer.
    let mut headers = headers;
    loop {
        let outcome = proposed(&api, &caller, &headers, Op::Unpin { root }).await?;
        let Outcome::Unpinned { pins, more } = outcome else {
            return Err(documents::other_answer().into());
        };
        any |= pins > 0;
        if !more {
            break;
        }
        headers = HeaderMap::new();
    }
    if any {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Fault::new(Kind::NotFound, format!("nobody keeps {root} without a name")).into())
}

pub(super) fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Returns which range a request asks for: everything when it names several.
fn asked_range(headers: &HeaderMap) -> Asked {
    let mut values = headers.get_all(header::RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Asked::All };
    value.to_str().map_or(Asked::All, Asked::of)
}

fn matches_tag(value: &HeaderValue, root: Cid, version: Option<u64>) -> bool {
    value.to_str().is_ok_and(|list| {
        list.split(',').map(str::trim).any(|one| match one.parse() {
            Ok(Tag::Root(of)) => of == root,
            Ok(Tag::Version(of)) => Some(of) == version,
            Err(NoTag) => one == "*",
        })
    })
}
