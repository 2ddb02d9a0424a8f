//! `/api/v1/content`: bytes by their root CID.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::api;
use protocol::dag::{ByteRange, Chunker};
use protocol::limits::REPLICAS_MAX;
use protocol::topology::ReplicaCount;
use protocol::{Cid, Fault, Kind};

use super::Api;
use super::body;
use super::problem::{self, Failure};
use super::range;
use crate::env::Env;
use crate::flows::UploadOptions;

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

fn options(query: &BTreeMap<String, String>) -> Result<UploadOptions, Failure> {
    let mut options = UploadOptions::default();
    for (name, value) in query {
        match name.as_str() {
            "replicas" => options.replicas = Some(replicas(value)?),
            "chunker" => {
                options.chunker = match value.as_str() {
                    "fixed" => Chunker::Fixed,
                    "fastcdc" => Chunker::FastCdc,
                    _ => {
                        return Err(Failure::invalid(format!(
                            "chunker={value:?} is neither fixed nor fastcdc"
                        )));
                    }
                };
            }
            _ => {
                return Err(Failure::invalid(format!(
                    "there is no query parameter {name:?} (there are replicas, chunker)"
                )));
            }
        }
    }
    Ok(options)
}

/// `POST /api/v1/content`: stores a body and answers with its root CID once it is acknowledged.
pub(super) async fn store<E: Env>(
    State(api): State<Arc<Api<E>>>,
    Query(query): Query<BTreeMap<String, String>>,
    body: Body,
) -> Result<Response, Failure> {
    // First, so that also a body that is refused unread is read to its end.
    let pieces = body::pieces(api.node.env().clone(), body);
    let options = options(&query)?;
    let stored = api.node.upload(pieces, options).await?;
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

/// `GET` and `HEAD /api/v1/content/{cid}`: the bytes of a root, or a range of them.
pub(super) async fn read<E: Env>(
    State(api): State<Arc<Api<E>>>,
    cid: CidPath,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let cid = parse_cid(cid)?;
    let etag = format!("\"{cid}\"");
    if headers.get(header::IF_MATCH).is_some_and(|value| !matches_etag(value, &etag)) {
        let fault = Fault::new(Kind::Conflict, format!("If-Match names something else than {cid}"));
        return Ok(problem::at_status(StatusCode::PRECONDITION_FAILED, &fault));
    }
    if let Some(value) = headers.get(header::IF_NONE_MATCH)
        && matches_etag(value, &etag)
    {
        if value.as_bytes() == b"*" {
            // Anything that exists matches, so that it has to be looked for.
            api.node.download(cid, ByteRange { start: 0, end: Some(0) }).await?;
        }
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    // A range of something else than the client has a part of is of no use to it.
    let is_other =
        headers.get(header::IF_RANGE).is_some_and(|value| value.as_bytes() != etag.as_bytes());
    let fixed: [(HeaderName, String); 4] = [
        (header::ETAG, etag),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        // Content under a CID never changes.
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
    ];
    let asked = if is_other { range::Asked::All } else { range::asked(&headers) };
    if method == Method::HEAD || asked != range::Asked::All {
        let size = api.node.download(cid, ByteRange { start: 0, end: Some(0) }).await?.size();
        let Some(part) = asked.within(size) else {
            let detail = format!("the range lies outside the {size} bytes of {cid}");
            let fault = Fault::new(Kind::Invalid, detail);
            let mut response = problem::at_status(StatusCode::RANGE_NOT_SATISFIABLE, &fault);
            insert(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(response);
        };
        let body = if method == Method::HEAD {
            Body::empty()
        } else {
            let range = ByteRange { start: part.first, end: Some(part.end) };
            body::of_download(api.node.download(cid, range).await?)
        };
        let mut response = (fixed, body).into_response();
        insert(&mut response, header::CONTENT_LENGTH, &(part.end - part.first).to_string());
        if asked != range::Asked::All {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let content_range = format!("bytes {}-{}/{size}", part.first, part.end - 1);
            insert(&mut response, header::CONTENT_RANGE, &content_range);
        }
        return Ok(response);
    }
    let download = api.node.download(cid, ByteRange { start: 0, end: None }).await?;
    let size = download.size();
    let mut response = (fixed, body::of_download(download)).into_response();
    insert(&mut response, header::CONTENT_LENGTH, &size.to_string());
    Ok(response)
}

/// `DELETE /api/v1/content/{cid}`: frees the blocks of a root that nothing else refers to.
pub(super) async fn delete<E: Env>(
    State(api): State<Arc<Api<E>>>,
    cid: CidPath,
) -> Result<Json<api::Freed>, Failure> {
    let freed = api.node.delete(parse_cid(cid)?).await?;
    Ok(Json(api::Freed {
        blocks: freed.blocks,
        bytes: freed.bytes,
        peers_missed: freed.peers_missed,
    }))
}

pub(super) fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn matches_etag(value: &HeaderValue, etag: &str) -> bool {
    value.to_str().is_ok_and(|list| {
        list.split(',').any(|one| {
            let one = one.trim();
            one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag
        })
    })
}
