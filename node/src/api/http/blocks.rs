//! `/api/v1/blocks` and `/api/v1/uploads`: blocks of clients that build their DAGs themselves.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::limits::{BLOCK_BYTES_MAX, DAG_DEPTH_MAX};
use protocol::{Cid, OwnerId, api};

use super::auth::Caller;
use super::content::{CidPath, insert, options, parse_cid, upload_of};
use super::params::Params;
use super::problem::Failure;
use super::{Api, body, named};

/// Reads one block. `below`: the CIDs that lead to it, from the root on, at commas: another cluster's peers give what is below a
/// public root.
#[utoipa::path(get, path = "/api/v1/blocks/{cid}", params(("below" = Option<String>, Query)),
    responses((status = 200, body = Vec<u8>), (status = 404, body = api::Problem)))]
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    cid: CidPath,
    Query(query): Query<Vec<(String, String)>>,
    method: Method,
) -> Result<Response, Failure> {
    let cid = parse_cid(cid)?;
    let mut params = Params::new(query);
    let above = match params.take("below")? {
        Some(text) => {
            text.split(',').map(|cid| named(cid.parse::<Cid>())).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    params.end("below")?;
    if above.len() > DAG_DEPTH_MAX {
        return Err(Failure::invalid(format!("below names more than {DAG_DEPTH_MAX} blocks")));
    }
    let bytes = api.node.block_below(above, cid).await?;
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

/// Stores one block as part of an upload; answers once it is durable on its write quorum.
#[utoipa::path(put, path = "/api/v1/blocks/{cid}", request_body = Vec<u8>,
    params(("upload" = String, Query), ("replicas" = Option<u8>, Query)), responses((status = 201)))]
pub(super) async fn store(
    State(api): State<Arc<Api>>,
    caller: Caller,
    cid: CidPath,
    Query(query): Query<Vec<(String, String)>>,
    body: Body,
) -> Result<StatusCode, Failure> {
    // First, so that also a body that is refused unread is read to its end.
    let pieces = body::pieces(api.node.env().clone(), body);
    let cid = parse_cid(cid)?;
    let mut params = Params::new(query);
    let upload = upload_of(&mut params)?;
    let options = options(&mut params)?;
    params.end("upload, replicas")?;
    let upload = upload
        .ok_or_else(|| Failure::invalid("upload=ID is needed: POST /api/v1/uploads begins one"))?;
    let bytes = body::whole(pieces, BLOCK_BYTES_MAX as usize).await?;
    api.node.put_block(&caller.actor(), upload, (cid, bytes), options).await?;
    Ok(StatusCode::CREATED)
}

/// Begins an upload over several requests.
#[utoipa::path(post, path = "/api/v1/uploads", responses((status = 201, body = api::UploadBegun)))]
pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<(StatusCode, Json<api::UploadBegun>), Failure> {
    let (upload, ttl) = api.node.begin_upload(caller.actor()).await?;
    let expires_in_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    Ok((StatusCode::CREATED, Json(api::UploadBegun { upload: upload.to_string(), expires_in_ms })))
}

/// Ends an upload: what of it got no name is freed.
#[utoipa::path(delete, path = "/api/v1/uploads/{id}", responses((status = 204)))]
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    api.node.end_upload(caller.actor(), named(id.parse::<OwnerId>())?).await?;
    Ok(StatusCode::NO_CONTENT)
}
