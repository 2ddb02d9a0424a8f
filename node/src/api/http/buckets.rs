//! `/api/v1/buckets`: where objects are.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use protocol::api;
use protocol::metadata::{BucketName, Op, Source, UserName, query};
use protocol::{Fault, Kind};

use super::auth::{Caller, GUARDED};
use super::params::Params;
use super::problem::Failure;
use super::{Api, PAGE_MAX, documents, limit_of, named, proposed};
use crate::meta::Freshness;

/// Lists buckets in order of their names.
#[utoipa::path(get, path = "/api/v1/buckets", responses((status = 200, body = api::Buckets)),
    params(("after" = Option<String>, Query), ("limit" = Option<usize>, Query)))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<api::Buckets>, Failure> {
    let mut params = Params::new(query);
    let after = params.take("after")?.map(|text| named(BucketName::new(&text))).transpose()?;
    let limit = limit_of(&mut params)?;
    params.end("after, limit")?;
    let read = move |state: &dyn Source| query::buckets(state, after.as_ref(), limit);
    let found = api.node.meta().read(GUARDED, read).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.name.to_string());
    debug_assert!(limit <= PAGE_MAX);
    Ok(Json(api::Buckets { buckets: found.iter().map(documents::bucket).collect(), next }))
}

/// Shows a bucket.
#[utoipa::path(get, path = "/api/v1/buckets/{name}", responses((status = 200, body = api::Bucket)))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<api::Bucket>, Failure> {
    bucket(&api, named(BucketName::new(&name))?).await.map(Json)
}

/// Makes a bucket.
#[utoipa::path(put, path = "/api/v1/buckets/{name}", request_body = api::SetBucket,
    responses((status = 201, body = api::Bucket)))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Option<Json<api::SetBucket>>,
) -> Result<(StatusCode, Json<api::Bucket>), Failure> {
    let name = named(BucketName::new(&name))?;
    proposed(&api, &caller, &headers, Op::CreateBucket { name: name.clone() }).await?;
    if let Some(Json(set)) = body
        && set != api::SetBucket::default()
    {
        proposed(&api, &caller, &HeaderMap::new(), set_op(name.clone(), set)?).await?;
    }
    Ok((StatusCode::CREATED, Json(bucket(&api, name).await?)))
}

/// Changes a bucket.
#[utoipa::path(patch, path = "/api/v1/buckets/{name}", request_body = api::SetBucket,
    responses((status = 200, body = api::Bucket)))]
pub(super) async fn set(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(set): Json<api::SetBucket>,
) -> Result<Json<api::Bucket>, Failure> {
    let name = named(BucketName::new(&name))?;
    proposed(&api, &caller, &headers, set_op(name.clone(), set)?).await?;
    bucket(&api, name).await.map(Json)
}

/// Removes an empty bucket.
#[utoipa::path(delete, path = "/api/v1/buckets/{name}", responses((status = 204)))]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let name = named(BucketName::new(&name))?;
    proposed(&api, &caller, &headers, Op::RemoveBucket { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn set_op(name: BucketName, set: api::SetBucket) -> Result<Op, Failure> {
    Ok(Op::SetBucket {
        name,
        owner: set.owner.map(|owner| named(UserName::new(&owner))).transpose()?,
        // 0 takes a bound away.
        keep_versions: set.keep_versions.map(|count| (count > 0).then_some(count)),
        quota_bytes: set.quota_bytes.map(|bytes| (bytes > 0).then_some(bytes)),
        quota_objects: set.quota_objects.map(|count| (count > 0).then_some(count)),
    })
}

async fn bucket(api: &Api, name: BucketName) -> Result<api::Bucket, Failure> {
    let wanted = name.clone();
    let read = move |state: &dyn Source| query::bucket(state, &wanted);
    let found = api.node.meta().read(Freshness::Latest, read).await?;
    let found =
        found.ok_or_else(|| Fault::new(Kind::NotFound, format!("there is no bucket {name}")))?;
    Ok(documents::bucket(&found))
}
