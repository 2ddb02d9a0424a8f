//! `/api/v1/blocks/{cid}`: single blocks, for clients that check, order and build DAGs themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::OwnerId;
use protocol::limits::BLOCK_BYTES_MAX;

use super::Api;
use super::body;
use super::content::{CidPath, insert, parse_cid, replicas};
use super::problem::Failure;
use crate::env::Env;
use crate::flows::UploadOptions;

/// `GET` and `HEAD /api/v1/blocks/{cid}`: the bytes of one block.
pub(super) async fn read<E: Env>(
    State(api): State<Arc<Api<E>>>,
    cid: CidPath,
    method: Method,
) -> Result<Response, Failure> {
    let cid = parse_cid(cid)?;
    let bytes = api.node.block(cid).await?;
    let length = bytes.len().to_string();
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(bytes) };
    let headers = [
        (header::ETAG, format!("\"{cid}\"")),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (header::CONTENT_TYPE, "application/vnd.ipld.raw".to_owned()),
    ];
    let mut response = (headers, body).into_response();
    insert(&mut response, header::CONTENT_LENGTH, &length);
    Ok(response)
}

/// `PUT /api/v1/blocks/{cid}?owner&root&replicas`: stores one block; answers once it is durable on its write quorum.
pub(super) async fn store<E: Env>(
    State(api): State<Arc<Api<E>>>,
    cid: CidPath,
    Query(query): Query<BTreeMap<String, String>>,
    body: Body,
) -> Result<StatusCode, Failure> {
    // First, so that also a body that is refused unread is read to its end.
    let pieces = body::pieces(api.node.env().clone(), body);
    let cid = parse_cid(cid)?;
    let mut owner: Option<OwnerId> = None;
    let mut root = false;
    let mut options = UploadOptions::default();
    for (name, value) in &query {
        match (name.as_str(), value.as_str()) {
            ("owner", text) => {
                owner =
                    Some(text.parse().map_err(|error: protocol::id::IdError| {
                        Failure::invalid(error.to_string())
                    })?);
            }
            ("replicas", count) => options.replicas = Some(replicas(count)?),
            ("root", "true") => root = true,
            ("root", "false") => root = false,
            _ => {
                return Err(Failure::invalid(format!(
                    "query parameter {name}={value:?} is not understood (owner=ID, root=true|false, replicas=N)"
                )));
            }
        }
    }
    if owner == Some(OwnerId::REPAIR) {
        return Err(Failure::invalid("owner must not be all zeros"));
    }
    let bytes = body::whole(pieces, BLOCK_BYTES_MAX as usize).await?;
    api.node.put_block(cid, bytes, owner, root, options).await?;
    Ok(StatusCode::CREATED)
}
