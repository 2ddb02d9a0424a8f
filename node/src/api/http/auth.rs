//! Who asks: every request but the watchers' carries a token of a user.
//!
//! Never: decides what a user may do; `protocol::metadata` does.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::metadata::{Actor, Role, User, query};
use protocol::{Fault, Kind};

use super::Api;
use super::problem::{self, Failure};
use crate::access;
use crate::meta::Freshness;

/// What the answer to a `GET` is read from: what this peer knows. Its guard waited until that was everything that was
/// acknowledged before the request came.
pub(super) const GUARDED: Freshness = Freshness::Local;

/// The user whose token a request carries, and the token's id.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) User, u64);

impl Caller {
    /// Returns the user as the one who acts, by the token: a change is made only if that is still valid then.
    pub(super) fn actor(&self) -> Actor {
        Actor::Bearer { user: self.0.name.clone(), token: self.1 }
    }

    /// Says whether this is an administrator.
    pub(super) fn is_admin(&self) -> bool {
        self.0.role == Role::Admin
    }

    /// Refuses everybody but administrators.
    pub(super) fn must_be_admin(&self) -> Result<(), Failure> {
        if self.is_admin() {
            return Ok(());
        }
        let detail = format!("user {} is no administrator of this cluster", self.0.name);
        Err(Failure(Fault::new(Kind::Denied, detail)))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let unknown = || Failure(Fault::new(Kind::Internal, "a route is served without its guard"));
        parts.extensions.get::<Self>().cloned().ok_or_else(unknown)
    }
}

/// Lets requests with a valid token pass, and tells their handlers whose it is. What is read is read after this peer knows of
/// every token that was revoked; a change says by which token it is made.
pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let only_reads = request.method().is_safe();
    let attempts: &[Freshness] =
        if only_reads { &[Freshness::Latest] } else { &[Freshness::Local, Freshness::Latest] };
    pass(&api, attempts, request, next).await
}

/// The same for what a peer says of itself and of the others, which has to be seen also while the cluster cannot agree on anything:
/// a token that was revoked meanwhile is refused once this peer hears of it.
pub(super) async fn guard_local(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    pass(&api, &[Freshness::Local, Freshness::Latest], request, next).await
}

async fn pass(api: &Api, attempts: &[Freshness], mut request: Request, next: Next) -> Response {
    match caller(api, request.headers(), attempts).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(None) => refused(),
        Err(fault) => Failure(fault).into_response(),
    }
}

async fn caller(
    api: &Api,
    headers: &HeaderMap,
    attempts: &[Freshness],
) -> Result<Option<Caller>, Fault> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, token)) = value.and_then(|value| value.split_once(' ')) else {
        return Ok(None);
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let hash = access::hash_of(token.trim());
    // Every peer has the list; a token that was made a moment ago may need one that is up to date.
    for freshness in attempts {
        let found =
            api.node.meta().read(*freshness, move |state| query::user_of_token(state, &hash));
        if let Some((user, id)) = found.await? {
            return Ok(Some(Caller(user, id)));
        }
    }
    Ok(None)
}

fn refused() -> Response {
    let detail = "a valid token is needed: Authorization: Bearer TOKEN (the administrator's lies in the file \
                  admin-token in the data directory of the daemon that founded the cluster)";
    let mut response =
        problem::at_status(StatusCode::UNAUTHORIZED, &Fault::new(Kind::Denied, detail));
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
