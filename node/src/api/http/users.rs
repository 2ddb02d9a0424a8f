//! `/api/v1/users` and `/api/v1/tokens`: who may ask, and by which secrets.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use protocol::api;
use protocol::metadata::{Label, Op, Outcome, Role, Source, UserName, query};
use protocol::{Fault, Kind};

use super::auth::{Caller, GUARDED};
use super::params::Params;
use super::problem::Failure;
use super::{Api, documents, id_of, limit_of, named, proposed};
use crate::access;
use crate::env::Env;
use crate::meta::Freshness;

/// Says whose token the request carries.
#[utoipa::path(get, path = "/api/v1/whoami", responses((status = 200, body = api::User)))]
pub(super) async fn whoami(caller: Caller) -> Json<api::User> {
    Json(documents::user(&caller.0))
}

/// Lists a page of the users. For administrators.
#[utoipa::path(get, path = "/api/v1/users",
    params(("after" = Option<String>, Query), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = api::Users)))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<api::Users>, Failure> {
    caller.must_be_admin()?;
    let mut params = Params::new(query);
    let after = params.take("after")?.map(|text| named(UserName::new(&text))).transpose()?;
    let limit = limit_of(&mut params)?;
    params.end("after, limit")?;
    let read = move |state: &dyn Source| query::users(state, after.as_ref(), limit);
    let found = api.node.meta().read(GUARDED, read).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.name.to_string());
    Ok(Json(api::Users { users: found.iter().map(documents::user).collect(), next }))
}

/// Makes a user. For administrators.
#[utoipa::path(post, path = "/api/v1/users", request_body = api::CreateUser,
    responses((status = 201, body = api::User)))]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    Json(create): Json<api::CreateUser>,
) -> Result<(StatusCode, Json<api::User>), Failure> {
    let name = named(UserName::new(&create.name))?;
    let role = if create.admin { Role::Admin } else { Role::User };
    proposed(&api, &caller, &headers, Op::CreateUser { name: name.clone(), role }).await?;
    let read = move |state: &dyn Source| query::user(state, &name);
    let found = api.node.meta().read(Freshness::Latest, read).await?;
    let found = found.ok_or_else(|| Fault::new(Kind::Conflict, "the user was removed again"))?;
    Ok((StatusCode::CREATED, Json(documents::user(&found))))
}

/// Removes a user who owns no bucket, and all tokens of theirs. For administrators.
#[utoipa::path(delete, path = "/api/v1/users/{name}", responses((status = 204)))]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let name = named(UserName::new(&name))?;
    proposed(&api, &caller, &headers, Op::RemoveUser { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists a page of tokens: of all users for administrators, else one's own.
#[utoipa::path(get, path = "/api/v1/tokens",
    params(("after" = Option<String>, Query), ("limit" = Option<usize>, Query)),
    responses((status = 200, body = api::Tokens)))]
pub(super) async fn tokens(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<api::Tokens>, Failure> {
    let mut params = Params::new(query);
    let after = params.take("after")?.map(|text| id_of(&text, "a token")).transpose()?;
    let limit = limit_of(&mut params)?;
    params.end("after, limit")?;
    let of = (!caller.is_admin()).then(|| caller.0.name.clone());
    let read = move |state: &dyn Source| query::tokens(state, of.as_ref(), after, limit);
    let found = api.node.meta().read(GUARDED, read).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.id.to_string());
    Ok(Json(api::Tokens { tokens: found.iter().map(documents::token).collect(), next }))
}

/// Makes a token; its secret is shown this once.
#[utoipa::path(post, path = "/api/v1/tokens", request_body = api::CreateToken,
    responses((status = 201, body = api::Secret)))]
pub(super) async fn create_token(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Json(create): Json<api::CreateToken>,
) -> Result<(StatusCode, Json<api::Secret>), Failure> {
    let user = match create.user {
        Some(name) => named(UserName::new(&name))?,
        None => caller.0.name.clone(),
    };
    let mut secret = [0; 32];
    api.node.env().fill_secret(&mut secret);
    let token = access::text_of(&secret);
    let label = named(Label::new(&create.label))?;
    let op = Op::CreateToken { user: user.clone(), hash: access::hash_of(&token), label };
    let outcome = proposed(&api, &caller, &HeaderMap::new(), op).await?;
    let Outcome::TokenCreated { id } = outcome else {
        return Err(documents::other_answer().into());
    };
    let secret = api::Secret { id: id.to_string(), user: user.to_string(), token };
    Ok((StatusCode::CREATED, Json(secret)))
}

/// Revokes a token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", responses((status = 204)))]
pub(super) async fn revoke_token(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let op = Op::RevokeToken { id: id_of(&id, "a token")? };
    proposed(&api, &caller, &headers, op).await?;
    Ok(StatusCode::NO_CONTENT)
}
